package import KubeTypes
package import ProxyResources
import Wire

/// An Istio VirtualService, read into what routing needs.
package struct VirtualService: Sendable, Hashable, AgedPolicy {
    package struct Match: Sendable, Hashable {
        package var route: RouteMatch
        package var port: Int?
        package var gateways: [String]?
    }

    package struct Destination: Sendable, Hashable {
        package var field: String
        package var host: String
        package var subset: String?
        package var port: Int?
        package var weight: Int
    }

    package struct Rule: Sendable, Hashable {
        package var index: Int
        package var matches: [Match]
        package var matchesAll: Bool  // no `match` at all
        package var destinations: [Destination]
        package var timeoutMilliseconds: Int?
        package var retry: RetryPolicy?
        package var headers: HeaderChanges
        package var directStatus: Int?
    }

    package var key: ObjectKey
    package var created: String
    package var generation: Int
    package var hosts: [String]
    package var gateways: [String]  // `mesh`, `name` or `namespace/name`
    package var exportTo: [String]
    package var rules: [Rule]
    package var resilience: Annotated<RouteResilience>
    package var findings: [PolicyFinding]

    /// The word for all sidecars.
    package static let mesh = "mesh"

    package var reference: PolicyReference { PolicyReference(.virtualServices, key) }

    package init(_ object: KubeObject) {
        key = object.key
        created = object.creationTimestamp ?? ""
        generation = object.generation
        let spec = PolicyFields(object.spec, at: "spec", of: PolicyReference(.virtualServices, object.key))
        var findings: [PolicyFinding] = []
        resilience = Annotated(object, MeshWords.resilience, RouteResilience.init(json:of:))
        spec.reportOthers(than: ["hosts", "gateways", "http", "exportTo"], as: "it has no effect", to: &findings)
        hosts = spec.strings("hosts").map { $0.lowercased() }
        if hosts.isEmpty { findings.append(spec.finding("hosts", .invalid, "must name at least one host")) }
        let named = spec.strings("gateways")
        gateways = named.isEmpty ? [Self.mesh] : named
        exportTo = spec.strings("exportTo")
        var rules: [Rule] = []
        for (index, fields) in spec.each("http").enumerated() {
            rules.append(VirtualServiceReader.rule(fields, index: index, &findings))
        }
        self.rules = rules
        let own = PolicyReference(.virtualServices, object.key)
        self.findings = findings + [resilience.finding(own, MeshWords.resilience)].compactMap { $0 }
    }

    /// The names of the gateways it binds, in full.
    var gatewayKeys: [ObjectKey] { gateways.filter { $0 != Self.mesh }.map { gatewayKey($0) } }

    func gatewayKey(_ name: String) -> ObjectKey {
        let parts = name.split(separator: "/", maxSplits: 1).map(String.init)
        return parts.count == 2
            ? ObjectKey(namespace: parts[0], name: parts[1]) : ObjectKey(namespace: key.namespace, name: name)
    }

    /// `namespace`: of the clients; `nil` for those of any namespace.
    func isExported(to namespace: String?) -> Bool {
        if exportTo.isEmpty || exportTo.contains("*") { return true }
        guard let namespace else { return false }
        return exportTo.contains(namespace) || (exportTo.contains(".") && namespace == key.namespace)
    }
}

enum VirtualServiceReader {
    static func rule(_ fields: PolicyFields, index: Int, _ findings: inout [PolicyFinding]) -> VirtualService.Rule {
        var rule = VirtualService.Rule(
            index: index, matches: [], matchesAll: false, destinations: [], timeoutMilliseconds: nil,
            headers: HeaderChanges(), directStatus: nil)
        fields.reportOthers(
            than: [
                "name", "match", "route", "timeout", "retries", "headers", "directResponse", "redirect", "rewrite",
                "delegate",
            ],
            as: "requests are routed without it", to: &findings)
        // Left out, these would send requests where they must not go.
        for field in ["redirect", "rewrite", "delegate"] where fields.has(field) {
            findings.append(fields.finding(field, .unsupported, "is not supported: the route answers 500"))
            rule.directStatus = 500
        }
        let matches = fields.each("match")
        rule.matchesAll = matches.isEmpty
        for match in matches {
            if let read = self.match(match, &findings) { rule.matches.append(read) }
        }
        rule.timeoutMilliseconds = fields.duration("timeout", &findings).flatMap { $0 > 0 ? $0 : nil }
        if let retries = fields.inside("retries") { rule.retry = IstioResilience.retry(retries, &findings) }
        if let headers = fields.inside("headers") { rule.headers = changes(headers, &findings) }
        if let answer = fields.inside("directResponse") {
            rule.directStatus = rule.directStatus ?? answer.int("status") ?? 200
            answer.reportOthers(than: ["status"], as: "the answer has no body", to: &findings)
        }
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
        if rule.destinations.isEmpty, rule.directStatus == nil {
            findings.append(fields.finding("route", .invalid, "is required: the rule has nowhere to send a request"))
            rule.directStatus = 500
        }
        return rule
    }

    private static func match(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> VirtualService.Match? {
        var match = VirtualService.Match(route: RouteMatch(), port: fields.int("port"), gateways: nil)
        var isUsable = true
        func refuse(_ finding: PolicyFinding) {
            findings.append(finding)
            isUsable = false
        }
        let known: Set<String> = ["uri", "method", "headers", "port", "gateways", "name", "statPrefix"]
        for member in fields.json.object ?? JSONObject()
        where !known.contains(member.key) && member.value != .bool(false) {
            refuse(fields.finding(member.key, .unsupported, "is not supported: this match takes no request"))
        }
        if fields.has("gateways") { match.gateways = fields.strings("gateways") }
        if let uri = fields.inside("uri") {
            if let exact = uri.string("exact") {
                match.route.path = .exact(exact)
            } else if let prefix = uri.string("prefix") {
                match.route.path = prefix == "/" || prefix.isEmpty ? .any : .textPrefix(prefix)
            } else {
                refuse(uri.finding("regex", .unsupported, "is not supported: this match takes no request"))
            }
        }
        if let method = fields.inside("method") {
            if let exact = method.string("exact") {
                match.route.method = exact
            } else {
                refuse(method.finding("", .unsupported, "only exact is supported: this match takes no request"))
            }
        }
        if let headers = fields.inside("headers") {
            for member in headers.json.object ?? JSONObject() {
                let name = member.key.lowercased()
                if let exact = member.value["exact"]?.string {
                    match.route.headers.append(HeaderMatch(name: name, kind: .exact, value: exact))
                } else if let prefix = member.value["prefix"]?.string {
                    match.route.headers.append(HeaderMatch(name: name, kind: .prefix, value: prefix))
                } else if member.value["regex"] != nil {
                    refuse(
                        headers.finding(member.key, .unsupported, "regex is not supported: this match takes no request")
                    )
                } else {
                    match.route.headers.append(HeaderMatch(name: name, kind: .present))
                }
            }
        }
        return isUsable ? match : nil
    }

    private static func destination(_ fields: PolicyFields, _ findings: inout [PolicyFinding])
        -> VirtualService.Destination
    {
        fields.reportOthers(than: ["destination", "weight"], as: "requests are routed without it", to: &findings)
        let destination = fields.inside("destination")
        if destination?.string("host")?.isEmpty ?? true {
            findings.append(fields.finding("destination.host", .invalid, "is required"))
        }
        return VirtualService.Destination(
            field: fields.place("destination"), host: destination?.string("host") ?? "",
            subset: destination?.string("subset").flatMap { $0.isEmpty ? nil : $0 },
            port: destination?.inside("port")?.int("number"), weight: fields.int("weight") ?? 0)
    }

    private static func changes(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> HeaderChanges {
        var changes = HeaderChanges()
        fields.reportOthers(than: ["request"], as: "answers are passed on unchanged", to: &findings)
        guard let request = fields.inside("request") else { return changes }
        func values(_ field: String) -> [HeaderValue] {
            (request.json[field]?.stringMap ?? [:]).sorted { $0.key < $1.key }.map {
                HeaderValue(name: $0.key.lowercased(), value: $0.value)
            }
        }
        changes.set = values("set")
        changes.add = values("add")
        changes.remove = request.strings("remove").map { $0.lowercased() }
        changes.check(request, &findings)
        return changes
    }
}
