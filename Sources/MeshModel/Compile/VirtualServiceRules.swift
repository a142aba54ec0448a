import KubeTypes
import ProxyResources

extension References {
    /// The rules of a VirtualService, in its own order, as sidecars (`gateway` is `nil`) or a gateway take them.
    ///
    /// `port`: that of the service the client addressed, or the gateway's own.
    func rules(
        _ policy: VirtualService, gateway: ObjectKey?, port: Int, _ findings: inout [PolicyFinding]
    ) -> [RouteRule] {
        var rules: [RouteRule] = []
        for rule in policy.rules {
            let matches = rule.matches.filter { match in
                let isPort = match.port ?? port == port
                let isGateway = match.gateways.map { names in
                    names.contains { name in
                        name == VirtualService.mesh ? gateway == nil : policy.gatewayKey(name) == gateway
                    }
                }
                return isPort && isGateway ?? true
            }
            if matches.isEmpty, !rule.matchesAll { continue }
            var backends: [WeightedBackend] = []
            for destination in rule.destinations {
                let resolved = resolve(destination, from: policy.key.namespace, requested: gateway == nil ? port : nil)
                if case .failed(_, let code, let message) = resolved {
                    findings.append(
                        PolicyFinding(policy.reference, destination.field, code, message, severity: .warning))
                }
                backends.append(WeightedBackend(backend: resolved.backend ?? "", weight: max(0, destination.weight)))
            }
            var made = RouteRule(
                name: "\(policy.reference) route \(rule.index)", matches: matches.map(\.route), backends: backends,
                timeoutMilliseconds: rule.timeoutMilliseconds, setRequestHeaders: rule.headers.set,
                addRequestHeaders: rule.headers.add, removeRequestHeaders: rule.headers.remove,
                directStatus: rule.directStatus)
            made.resilience.retry = rule.retry
            made.resilience = made.resilience.over(policy.resilience.value)
            made.answerWithoutBackend(refused: rule.directStatus != nil)
            if made.matches.contains(RouteMatch()) { made.matches = [] }
            rules.append(made)
        }
        return rules
    }
}
