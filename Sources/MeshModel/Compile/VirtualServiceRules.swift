import KubeTypes
import ProxyResources

/// Where a VirtualService's rules are to hold.
private struct RouteScope {
    var gateway: ObjectKey?  // `nil` for sidecars
    /// That of the service the client addressed, or the gateway's own.
    var port: Int
}

extension References {
    /// The rules of a VirtualService, in its own order, as sidecars (`gateway` is `nil`) or a gateway take them.
    ///
    /// `port`: that of the service the client addressed, or the gateway's own.
    func rules(
        _ policy: VirtualService, gateway: ObjectKey?, port: Int, _ findings: inout [PolicyFinding]
    ) -> [RouteRule] {
        let scope = RouteScope(gateway: gateway, port: port)
        var rules: [RouteRule] = []
        for rule in policy.rules {
            guard let matches = matches(rule, policy, scope) else { continue }
            guard let key = rule.delegate else {
                rules.append(compiled(rule, policy, matches, scope, &findings))
                continue
            }
            guard let other = state.virtualServices[key], other.hosts.isEmpty else {
                let message =
                    state.virtualServices[key] == nil
                    ? "VirtualService \(key) does not exist" : "VirtualService \(key) has hosts of its own"
                findings.append(
                    PolicyFinding(
                        policy.reference, "spec.http[\(rule.index)].delegate", .notFound, message, severity: .warning))
                rules.append(
                    RouteRule(name: "\(policy.reference) route \(rule.index)", matches: matches, directStatus: 500))
                continue
            }
            for inner in other.rules {
                guard let own = self.matches(inner, other, scope) else { continue }
                let joined = narrowed(matches, by: own)
                if joined.isEmpty && !(matches.isEmpty && own.isEmpty) { continue }
                if inner.delegate != nil {
                    findings.append(
                        PolicyFinding(
                            other.reference, "spec.http[\(inner.index)].delegate", .unsupported,
                            "a VirtualService others delegate to cannot delegate: the route answers 500"))
                    rules.append(
                        RouteRule(name: "\(other.reference) route \(inner.index)", matches: joined, directStatus: 500))
                    continue
                }
                rules.append(compiled(inner.completed(by: rule), other, joined, scope, &findings))
            }
        }
        return rules
    }

    /// The matches that may hold there; empty where the rule takes all, `nil` where it takes none.
    private func matches(_ rule: VirtualService.Rule, _ policy: VirtualService, _ scope: RouteScope) -> [RouteMatch]? {
        if rule.matchesAll { return [] }
        let found = rule.matches.filter { match in
            let isPort = match.port ?? scope.port == scope.port
            let isGateway = match.gateways.map { names in
                names.contains { policy.isGateway($0, scope.gateway) }
            }
            return isPort && isGateway ?? true
        }
        return found.isEmpty ? nil : found.map(\.route)
    }

    private func narrowed(_ outer: [RouteMatch], by inner: [RouteMatch]) -> [RouteMatch] {
        if outer.isEmpty || inner.isEmpty { return outer + inner }
        return outer.flatMap { one in inner.compactMap { one.narrowed(by: $0) } }
    }

    private func compiled(
        _ rule: VirtualService.Rule, _ policy: VirtualService, _ matches: [RouteMatch], _ scope: RouteScope,
        _ findings: inout [PolicyFinding]
    ) -> RouteRule {
        func resolved(_ destination: VirtualService.Destination) -> String? {
            let requested = scope.gateway == nil ? scope.port : nil
            let resolved = resolve(destination, from: policy.key.namespace, requested: requested)
            if case .failed(_, let code, let message) = resolved {
                findings.append(PolicyFinding(policy.reference, destination.field, code, message, severity: .warning))
            }
            return resolved.backend
        }
        var made = RouteRule(
            name: "\(policy.reference) route \(rule.index)", matches: matches,
            backends: rule.destinations.map { destination in
                WeightedBackend(
                    backend: resolved(destination) ?? "", weight: max(0, destination.weight),
                    request: destination.request, response: destination.response)
            }, timeoutMilliseconds: rule.timeoutMilliseconds, setRequestHeaders: rule.request.set,
            addRequestHeaders: rule.request.add, removeRequestHeaders: rule.request.remove,
            directStatus: rule.directStatus, actions: rule.actions)
        made.actions.mirrors = rule.mirrors.compactMap { mirror in
            resolved(mirror.destination).map { Mirror(backend: $0, millionths: mirror.millionths) }
        }
        made.resilience.retry = rule.retry
        made.resilience = made.resilience.over(policy.resilience.value)
        if rule.keepsPort { made.actions.redirect?.port = scope.port }
        if made.directStatus == nil { made.answerWithoutBackend(refused: false) } else { made.backends = [] }
        if made.matches.contains(RouteMatch()) { made.matches = [] }
        return made
    }
}

extension VirtualService.Rule {
    /// A rule of a VirtualService others delegate to, with what the delegating rule gives it where it says nothing itself.
    func completed(by outer: VirtualService.Rule) -> VirtualService.Rule {
        var made = self
        if made.timeoutMilliseconds == nil { made.timeoutMilliseconds = outer.timeoutMilliseconds }
        if made.retry == nil { made.retry = outer.retry }
        if made.request.isEmpty && made.actions.response.isEmpty {
            made.request = outer.request
            made.actions.response = outer.actions.response
        }
        if made.actions.path == nil && made.actions.host == nil {
            made.actions.path = outer.actions.path
            made.actions.host = outer.actions.host
        }
        if made.actions.fault == nil { made.actions.fault = outer.actions.fault }
        if made.actions.cors == nil { made.actions.cors = outer.actions.cors }
        if made.mirrors.isEmpty { made.mirrors = outer.mirrors }
        return made
    }
}

extension RouteMatch {
    /// What both take; `nil` where they contradict each other, or where one match cannot say it.
    func narrowed(by other: RouteMatch) -> RouteMatch? {
        var made = self
        guard let path = path.narrowed(by: other.path) else { return nil }
        made.path = path
        made.ignoresPathCase = path == self.path ? ignoresPathCase : other.ignoresPathCase
        func joined<Value: Equatable>(_ one: Value?, _ other: Value?) -> Value?? {
            if let one, let other { return one == other ? .some(one) : nil }
            return .some(one ?? other)
        }
        guard let method = joined(method, other.method), let methodText = joined(methodText, other.methodText),
            let scheme = joined(scheme, other.scheme), let authority = joined(authority, other.authority),
            let port = joined(port, other.port), let namespace = joined(source.namespace, other.source.namespace)
        else { return nil }
        (made.method, made.methodText, made.scheme) = (method, methodText, scheme)
        (made.authority, made.port, made.source.namespace) = (authority, port, namespace)
        made.headers += other.headers.filter { !headers.contains($0) }
        made.query += other.query.filter { !query.contains($0) }
        for (name, value) in other.source.labels {
            if source.labels[name] ?? value != value { return nil }
            made.source.labels[name] = value
        }
        return made
    }
}

extension RouteMatch.PathMatch {
    fileprivate func narrowed(by other: RouteMatch.PathMatch) -> RouteMatch.PathMatch? {
        switch (self, other) {
        case (.any, _): other
        case (_, .any): self
        case (.textPrefix(let prefix), .exact(let path)): path.hasPrefix(prefix) ? other : nil
        case (.textPrefix(let prefix), .textPrefix(let longer)): longer.hasPrefix(prefix) ? other : nil
        default: self == other ? self : nil
        }
    }
}
