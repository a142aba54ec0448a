import KubeTypes
import ProxyResources
import Wire

/// Reads one `http` route of a VirtualService.
enum VirtualServiceReader {
    private static let known: Set<String> = [
        "name", "match", "route", "timeout", "retries", "headers", "directResponse", "redirect", "rewrite", "delegate",
        "fault",
        "mirror", "mirrorPercentage", "mirrorPercent", "mirror_percent", "mirrors", "corsPolicy",
    ]

    static func rule(
        _ fields: PolicyFields, index: Int, of namespace: String, _ findings: inout [PolicyFinding]
    ) -> VirtualService.Rule {
        var rule = VirtualService.Rule(
            index: index, matches: [], matchesAll: false, destinations: [], timeoutMilliseconds: nil,
            request: HeaderEdits(), actions: RouteActions(), mirrors: [], directStatus: nil, keepsPort: false,
            delegate: nil)
        fields.reportOthers(than: known, as: "requests are routed without it", to: &findings)
        let matches = fields.each("match")
        rule.matchesAll = matches.isEmpty
        for match in matches {
            if let read = VirtualServiceMatchReader.match(match, &findings) { rule.matches.append(read) }
        }
        rule.timeoutMilliseconds = fields.duration("timeout", &findings).flatMap { $0 > 0 ? $0 : nil }
        if let retries = fields.inside("retries") { rule.retry = IstioResilience.retry(retries, &findings) }
        if let headers = fields.inside("headers") {
            let changes = self.changes(headers, &findings)
            rule.request = changes.request
            rule.actions.response = changes.response
            if let host = changes.host { rule.actions.host = host }
        }
        readActions(fields, into: &rule, &findings)
        if let delegate = fields.inside("delegate") {
            rule.delegate = ObjectKey(
                namespace: delegate.string("namespace") ?? namespace, name: delegate.string("name") ?? "")
        }
        readDestinations(fields, into: &rule, &findings)
        return rule
    }

    private static func readDestinations(
        _ fields: PolicyFields, into rule: inout VirtualService.Rule, _ findings: inout [PolicyFinding]
    ) {
        rule.destinations = fields.each("route").map { destination($0, &findings) }
        let weights = rule.destinations.map(\.weight)
        // Alone, an absent weight is all of it.
        if rule.destinations.count == 1, weights[0] == 0 { rule.destinations[0].weight = 100 }
        if weights.contains(where: { $0 < 0 }) {
            findings.append(fields.finding("route", .invalid, "a weight is negative"))
        } else if weights.count > 1, weights.reduce(0, +) == 0 {
            findings.append(
                fields.finding("route", .invalid, "the sum of the weights is 0, so no destination can be chosen"))
        }
        let goesElsewhere = rule.directStatus != nil || rule.actions.redirect != nil || rule.delegate != nil
        if rule.destinations.isEmpty, !goesElsewhere {
            findings.append(fields.finding("route", .invalid, "is required: the rule has nowhere to send a request"))
            rule.directStatus = 500
        } else if !rule.destinations.isEmpty, goesElsewhere {
            findings.append(
                fields.finding(
                    "route", .noEffect, "redirect, directResponse and delegate stand instead of destinations"))
        }
    }

    private static func readActions(
        _ fields: PolicyFields, into rule: inout VirtualService.Rule, _ findings: inout [PolicyFinding]
    ) {
        let reader = VirtualServiceActionReader()
        if let answer = fields.inside("directResponse") {
            let status = answer.int("status") ?? 200
            if !(200...599).contains(status) {
                findings.append(answer.finding("status", .invalid, "is \(status), must be from 200 to 599"))
            }
            rule.directStatus = (200...599).contains(status) ? status : 500
            rule.actions.directBody = reader.body(answer, &findings)
        }
        if let redirect = fields.inside("redirect") { reader.redirect(redirect, into: &rule, &findings) }
        if let rewrite = fields.inside("rewrite") { reader.rewrite(rewrite, into: &rule, &findings) }
        if let fault = fields.inside("fault") { rule.actions.fault = reader.fault(fault, &findings) }
        if let cors = fields.inside("corsPolicy") { rule.actions.cors = reader.cors(cors, &findings) }
        if let mirror = fields.inside("mirror") {
            let share = reader.share(fields, "mirrorPercentage", &findings)
            let whole = (fields.int("mirrorPercent") ?? fields.int("mirror_percent")).map { $0 * 10_000 }
            rule.mirrors.append(
                VirtualService.MirrorDestination(
                    destination: target(mirror, at: mirror.path), millionths: share ?? whole ?? 1_000_000))
        }
        for mirror in fields.each("mirrors") {
            guard let inside = mirror.inside("destination") else {
                findings.append(mirror.finding("destination", .invalid, "is required"))
                continue
            }
            let share = reader.share(mirror, "percentage", &findings)
            rule.mirrors.append(
                VirtualService.MirrorDestination(
                    destination: target(inside, at: inside.path), millionths: share ?? 1_000_000))
        }
        for (index, mirror) in rule.mirrors.enumerated() where !(0...1_000_000).contains(mirror.millionths) {
            findings.append(fields.finding("mirror", .invalid, "the percentage must be from 0 to 100"))
            rule.mirrors[index].millionths = min(max(0, mirror.millionths), 1_000_000)
        }
    }

    private static func target(_ fields: PolicyFields?, at field: String) -> VirtualService.Destination {
        VirtualService.Destination(
            field: field, host: fields?.string("host") ?? "",
            subset: fields?.string("subset").flatMap { $0.isEmpty ? nil : $0 },
            port: fields?.inside("port")?.int("number"), weight: 0)
    }

    /// A destination of a `tls` or `tcp` route.
    static func share(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> VirtualService.Destination {
        fields.reportOthers(than: ["destination", "weight"], as: "it has no effect", to: &findings)
        var made = target(fields.inside("destination"), at: fields.place("destination"))
        if made.host.isEmpty { findings.append(fields.finding("destination.host", .invalid, "is required")) }
        made.weight = fields.int("weight") ?? 0
        if made.weight < 0 { findings.append(fields.finding("weight", .invalid, "is negative")) }
        return made
    }

    private static func destination(_ fields: PolicyFields, _ findings: inout [PolicyFinding])
        -> VirtualService.Destination
    {
        fields.reportOthers(
            than: ["destination", "weight", "headers"], as: "requests are routed without it", to: &findings)
        var made = target(fields.inside("destination"), at: fields.place("destination"))
        if made.host.isEmpty { findings.append(fields.finding("destination.host", .invalid, "is required")) }
        made.weight = fields.int("weight") ?? 0
        if let headers = fields.inside("headers") {
            let changes = self.changes(headers, &findings)
            (made.request, made.response) = (changes.request, changes.response)
            if changes.host != nil {
                findings.append(
                    headers.finding(
                        "request.set", .unsupported, "the host cannot be set for one destination: it is kept"))
            }
        }
        return made
    }

    /// `host`: the request's new one, where it is set as if it were a header.
    private static func changes(
        _ fields: PolicyFields, _ findings: inout [PolicyFinding]
    ) -> (request: HeaderEdits, response: HeaderEdits, host: String?) {
        fields.reportOthers(than: ["request", "response"], as: "it has no effect", to: &findings)
        var host: String?
        func edits(_ field: String, isRequest: Bool) -> HeaderEdits {
            guard let inside = fields.inside(field) else { return HeaderEdits() }
            func values(_ field: String) -> [HeaderValue] {
                (inside.json[field]?.stringMap ?? [:]).sorted { $0.key < $1.key }.map {
                    HeaderValue(name: $0.key.lowercased(), value: $0.value)
                }
            }
            var edits = HeaderEdits(
                set: values("set"), add: values("add"), remove: inside.strings("remove").map { $0.lowercased() })
            if isRequest, let given = edits.set.first(where: { $0.name == ":authority" || $0.name == "host" }) {
                edits.set.removeAll { $0.name == ":authority" || $0.name == "host" }
                if let fault = HeaderRules.fault(host: given.value) {
                    findings.append(inside.finding("set", .invalid, fault))
                } else {
                    host = given.value
                }
            }
            edits.check(inside, &findings)
            for header in edits.set + edits.add where header.value.contains("%") {
                findings.append(
                    inside.finding(
                        "", .unsupported, "\(header.name) is sent as written: what stands between % is not replaced"))
            }
            return edits
        }
        let request = edits("request", isRequest: true)
        return (request, edits("response", isRequest: false), host)
    }
}
