package import KubeTypes
package import ProxyResources
package import Wire

/// A `gateway.networking.k8s.io` HTTPRoute or GRPCRoute, read into what routing needs.
package struct HTTPRoute: Sendable, Hashable, AgedPolicy {
    package struct Parent: Sendable, Hashable {
        package var index: Int
        package var group: String
        package var kind: String
        package var key: ObjectKey
        package var sectionName: String?
        package var port: Int?
        package var json: JSON  // as written, for the status

        var isGateway: Bool { kind == "Gateway" && group == "gateway.networking.k8s.io" }
        var isService: Bool { kind == "Service" && group.isEmpty }
    }

    package struct BackendReference: Sendable, Hashable {
        package var field: String
        package var group: String
        package var kind: String
        package var key: ObjectKey
        package var port: Int?
        package var weight: Int
        package var request = HeaderEdits()
        package var response = HeaderEdits()
    }

    package struct MirrorReference: Sendable, Hashable {
        package var backend: BackendReference
        package var millionths: Int
    }

    package struct Rule: Sendable, Hashable {
        package var index: Int
        package var matches: [RouteMatch]  // never empty, unless no match can be carried out
        /// Of a GRPCRoute's matches: how many characters of the service and of the method each asks for.
        package var callWeights: [[Int]] = []
        package var backends: [BackendReference]
        package var timeoutMilliseconds: Int?
        package var retry: RetryPolicy?
        package var session: SessionPolicy?
        package var request: HeaderEdits
        package var actions: RouteActions
        package var mirrors: [MirrorReference]
        /// The rule asks for something that cannot be left out, so it answers with an error instead.
        package var isRefused: Bool
        var backendCount = 0
    }

    package var type: ResourceType
    package var key: ObjectKey
    package var created: String
    package var generation: Int
    package var parents: [Parent]
    package var hostnames: [String]
    package var rules: [Rule]
    package var resilience: Annotated<RouteResilience>
    package var findings: [PolicyFinding]

    package init(_ object: KubeObject) { self.init(object, of: .httpRoutes) }

    package init(_ object: KubeObject, of type: ResourceType) {
        self.type = type
        key = object.key
        created = object.creationTimestamp ?? ""
        generation = object.generation
        let reader = HTTPRouteReader(namespace: object.namespace, isGRPC: type == .grpcRoutes)
        var findings: [PolicyFinding] = []
        resilience = Annotated(object, MeshWords.resilience, RouteResilience.init(json:of:))
        resilience.value?.rateLimits.nameBudgets(in: object.namespace)
        let spec = PolicyFields(object.spec, at: "spec", of: PolicyReference(type, object.key))
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
        let own = PolicyReference(type, object.key)
        self.findings = findings + [resilience.finding(own, MeshWords.resilience)].compactMap { $0 }
    }
}

struct HTTPRouteReader {
    let namespace: String
    let isGRPC: Bool

    func parent(_ fields: PolicyFields, index: Int) -> HTTPRoute.Parent {
        HTTPRoute.Parent(
            index: index, group: fields.string("group") ?? "gateway.networking.k8s.io",
            kind: fields.string("kind") ?? "Gateway",
            key: ObjectKey(namespace: fields.string("namespace") ?? namespace, name: fields.string("name") ?? ""),
            sectionName: fields.string("sectionName"), port: fields.int("port"), json: fields.json)
    }

    func rule(_ fields: PolicyFields, index: Int, _ findings: inout [PolicyFinding]) -> HTTPRoute.Rule {
        fields.reportOthers(
            than: ["name", "matches", "filters", "backendRefs", "timeouts", "retry", "sessionPersistence"],
            as: "requests are routed without it",
            to: &findings)
        var rule = HTTPRoute.Rule(
            index: index, matches: [], backends: [], timeoutMilliseconds: nil, request: HeaderEdits(),
            actions: RouteActions(), mirrors: [], isRefused: false)
        let matches = fields.each("matches")
        if matches.isEmpty { (rule.matches, rule.callWeights) = ([RouteMatch()], [[0, 0]]) }
        for match in matches {
            let read =
                isGRPC ? RouteMatchReader.grpcMatch(match, &findings) : RouteMatchReader.match(match, &findings)
            guard let read else { continue }
            rule.matches.append(read)
            let call = match.inside("method")
            rule.callWeights.append(
                isGRPC ? ["service", "method"].map { call?.string($0)?.utf8.count ?? 0 } : [])
        }
        if let session = fields.inside("sessionPersistence") {
            rule.session = SessionPolicy(persistence: session, &findings)
        }
        let filters = RouteFilterReader(references: self).filters(fields, &findings)
        (rule.request, rule.actions, rule.mirrors) = (filters.request, filters.actions, filters.mirrors)
        rule.isRefused = filters.isRefused
        var total = 0
        rule.backendCount = fields.each("backendRefs").count
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

    func reference(_ fields: PolicyFields) -> HTTPRoute.BackendReference {
        HTTPRoute.BackendReference(
            field: fields.path, group: fields.string("group") ?? "", kind: fields.string("kind") ?? "Service",
            key: ObjectKey(namespace: fields.string("namespace") ?? namespace, name: fields.string("name") ?? ""),
            port: fields.int("port"), weight: fields.int("weight") ?? 1)
    }

    private func backend(
        _ fields: PolicyFields, _ rule: inout HTTPRoute.Rule, _ findings: inout [PolicyFinding]
    ) -> HTTPRoute.BackendReference {
        var reference = reference(fields)
        let filters = RouteFilterReader(references: self).filters(fields, &findings)
        reference.request = filters.request
        reference.response = filters.actions.response
        var others = filters.actions
        others.response = HeaderEdits()
        if !filters.isRefused, others.isEmpty, filters.mirrors.isEmpty { return reference }
        // What a rule does is done before a backend is chosen; with only one there is no difference.
        let isOnly = !filters.isRefused && rule.backendCount == 1 && rule.actions.redirect == nil
        guard isOnly, rule.actions.takesOver(others) else {
            if !filters.isRefused {
                findings.append(
                    fields.finding(
                        "filters", .unsupported,
                        "for one backend of several only changes of headers are supported: the rule answers 500"))
            }
            rule.isRefused = true
            return reference
        }
        rule.mirrors += filters.mirrors
        return reference
    }
}

extension RouteActions {
    /// Does what `other` does too. False when both say something of one thing.
    fileprivate mutating func takesOver(_ other: RouteActions) -> Bool {
        if other.redirect != nil && redirect != nil { return false }
        if other.cors != nil && cors != nil { return false }
        if other.path != nil && path != nil || other.host != nil && host != nil { return false }
        redirect = redirect ?? other.redirect
        cors = cors ?? other.cors
        path = path ?? other.path
        host = host ?? other.host
        return true
    }
}
