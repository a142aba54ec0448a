package import KubeTypes
package import ProxyResources
package import Wire

/// A `gateway.networking.k8s.io` HTTPRoute, read into what routing needs.
package struct HTTPRoute: Sendable, Hashable, AgedPolicy {
    package struct Parent: Sendable, Hashable {
        package var index: Int
        package var group: String
        package var kind: String
        package var key: ObjectKey
        package var sectionName: String?
        package var port: Int?
        package var json: JSON  // as written, for the status
    }

    package struct BackendReference: Sendable, Hashable {
        package var field: String
        package var group: String
        package var kind: String
        package var key: ObjectKey
        package var port: Int?
        package var weight: Int
    }

    package struct Rule: Sendable, Hashable {
        package var index: Int
        package var matches: [RouteMatch]  // never empty, unless no match can be carried out
        package var backends: [BackendReference]
        package var timeoutMilliseconds: Int?
        package var retry: RetryPolicy?
        package var headers: HeaderChanges
        /// The rule asks for something that cannot be left out, so it answers with an error instead.
        package var isRefused: Bool
    }

    package var key: ObjectKey
    package var created: String
    package var generation: Int
    package var parents: [Parent]
    package var hostnames: [String]
    package var rules: [Rule]
    package var resilience: Annotated<RouteResilience>
    package var findings: [PolicyFinding]

    package var reference: PolicyReference { PolicyReference(.httpRoutes, key) }

    package init(_ object: KubeObject) {
        key = object.key
        created = object.creationTimestamp ?? ""
        generation = object.generation
        let reader = HTTPRouteReader(namespace: object.namespace)
        var findings: [PolicyFinding] = []
        resilience = Annotated(object, MeshWords.resilience, RouteResilience.init(json:of:))
        let spec = PolicyFields(object.spec, at: "spec", of: PolicyReference(.httpRoutes, object.key))
        spec.reportOthers(
            than: ["parentRefs", "hostnames", "rules", "useDefaultGateways"], as: "it has no effect", to: &findings)
        parents = spec.each("parentRefs").enumerated().map { reader.parent($0.element, index: $0.offset) }
        hostnames = spec.strings("hostnames").map { $0.lowercased() }
        var rules: [Rule] = []
        if spec.has("rules") {
            for (index, fields) in spec.each("rules").enumerated() {
                rules.append(reader.rule(fields, index: index, &findings))
            }
        }
        self.rules = rules
        let own = PolicyReference(.httpRoutes, object.key)
        self.findings = findings + [resilience.finding(own, MeshWords.resilience)].compactMap { $0 }
    }
}

/// Changes to a request's headers, in the order remove, set, add.
package struct HeaderChanges: Sendable, Hashable {
    package var set: [HeaderValue] = []
    package var add: [HeaderValue] = []
    package var remove: [String] = []
    package init() {}

    /// Leaves out what may not be changed, and says so.
    mutating func check(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) {
        func isUsable(_ field: String, _ name: String, _ value: String) -> Bool {
            guard let fault = HeaderRules.fault(name: name) ?? HeaderRules.fault(value: value) else { return true }
            findings.append(fields.finding(field, .invalid, fault))
            return false
        }
        set = set.filter { isUsable("set", $0.name, $0.value) }
        add = add.filter { isUsable("add", $0.name, $0.value) }
        remove = remove.filter { isUsable("remove", $0, "") }
    }
}

struct HTTPRouteReader {
    let namespace: String

    func parent(_ fields: PolicyFields, index: Int) -> HTTPRoute.Parent {
        HTTPRoute.Parent(
            index: index, group: fields.string("group") ?? "gateway.networking.k8s.io",
            kind: fields.string("kind") ?? "Gateway",
            key: ObjectKey(namespace: fields.string("namespace") ?? namespace, name: fields.string("name") ?? ""),
            sectionName: fields.string("sectionName"), port: fields.int("port"), json: fields.json)
    }

    func rule(_ fields: PolicyFields, index: Int, _ findings: inout [PolicyFinding]) -> HTTPRoute.Rule {
        fields.reportOthers(
            than: ["name", "matches", "filters", "backendRefs", "timeouts", "retry"],
            as: "requests are routed without it",
            to: &findings)
        var rule = HTTPRoute.Rule(
            index: index, matches: [], backends: [], timeoutMilliseconds: nil, headers: HeaderChanges(),
            isRefused: false)
        let matches = fields.each("matches")
        if matches.isEmpty { rule.matches = [RouteMatch()] }
        for match in matches {
            if let read = self.match(match, &findings) { rule.matches.append(read) }
        }
        for filter in fields.each("filters") { read(filter, into: &rule, &findings) }
        var total = 0
        for backend in fields.each("backendRefs") {
            let reference = self.backend(backend, &rule, &findings)
            if !(0...1_000_000).contains(reference.weight) {
                findings.append(
                    backend.finding("weight", .invalid, "is \(reference.weight), must be from 0 to 1000000"))
            }
            total += max(0, reference.weight)
            rule.backends.append(reference)
        }
        if !rule.backends.isEmpty, total == 0 {
            findings.append(
                fields.finding("backendRefs", .noEffect, "all weights are 0: every request is answered with 500"))
        }
        if let retry = fields.inside("retry") { rule.retry = RouteRetry.policy(retry, &findings) }
        if let timeouts = fields.inside("timeouts") { RouteRetry.apply(timeouts, to: &rule, &findings) }
        return rule
    }

    private func match(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> RouteMatch? {
        var match = RouteMatch()
        var isUsable = true
        func refuse(_ finding: PolicyFinding) {
            findings.append(finding)
            isUsable = false
        }
        for member in fields.json.object ?? JSONObject() where !["path", "method", "headers"].contains(member.key) {
            refuse(fields.finding(member.key, .unsupported, "is not supported: this match takes no request"))
        }
        if let path = fields.inside("path") {
            let value = path.string("value") ?? "/"
            switch path.string("type") ?? "PathPrefix" {
            case "PathPrefix": match.path = value == "/" ? .any : .prefix(value)
            case "Exact": match.path = .exact(value)
            case let other:
                refuse(path.finding("type", .unsupported, "\(other) is not supported: this match takes no request"))
            }
            if !value.hasPrefix("/"), path.string("type") != "RegularExpression" {
                refuse(path.finding("value", .invalid, "\"\(value)\" must begin with /"))
            }
        }
        match.method = fields.string("method")
        for header in fields.each("headers") {
            let name = (header.string("name") ?? "").lowercased()
            if match.headers.contains(where: { $0.name == name }) { continue }  // the first of a name counts
            let type = header.string("type") ?? "Exact"
            if type != "Exact" {
                refuse(header.finding("type", .unsupported, "\(type) is not supported: this match takes no request"))
            }
            match.headers.append(HeaderMatch(name: name, kind: .exact, value: header.string("value") ?? ""))
        }
        return isUsable ? match : nil
    }

    private func read(_ filter: PolicyFields, into rule: inout HTTPRoute.Rule, _ findings: inout [PolicyFinding]) {
        let type = filter.string("type") ?? ""
        guard type == "RequestHeaderModifier" else {
            findings.append(filter.finding("type", .unsupported, "\(type) is not supported: the rule answers 500"))
            rule.isRefused = true
            return
        }
        guard let changes = filter.inside("requestHeaderModifier") else {
            findings.append(filter.finding("requestHeaderModifier", .invalid, "is required by the type of the filter"))
            return
        }
        func values(_ field: String) -> [HeaderValue] {
            changes.each(field).map {
                HeaderValue(name: ($0.string("name") ?? "").lowercased(), value: $0.string("value") ?? "")
            }
        }
        rule.headers.set += values("set")
        rule.headers.add += values("add")
        rule.headers.remove += changes.strings("remove").map { $0.lowercased() }
        rule.headers.check(changes, &findings)
    }

    private func backend(
        _ fields: PolicyFields, _ rule: inout HTTPRoute.Rule, _ findings: inout [PolicyFinding]
    ) -> HTTPRoute.BackendReference {
        if !fields.each("filters").isEmpty {
            findings.append(
                fields.finding("filters", .unsupported, "is not supported for one backend: the rule answers 500"))
            rule.isRefused = true
        }
        return HTTPRoute.BackendReference(
            field: fields.path, group: fields.string("group") ?? "", kind: fields.string("kind") ?? "Service",
            key: ObjectKey(namespace: fields.string("namespace") ?? namespace, name: fields.string("name") ?? ""),
            port: fields.int("port"), weight: fields.int("weight") ?? 1)
    }
}
