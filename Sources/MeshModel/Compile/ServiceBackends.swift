import KubeTypes
import ProxyResources

/// A service's port as clients reach it: the whole of it and each subset.
struct ServiceBackends {
    let service: MeshService
    let port: MeshService.Port
    let rule: DestinationRule?
    let host: String

    func backends(_ endpoints: EndpointTable, _ secured: BackendSecurity) -> [Backend] {
        let outer = rule?.traffic.over(nil, port: port.port) ?? TrafficPolicy()
        var made = [backend(nil, outer, endpoints, secured)]
        for subset in rule?.subsets ?? [] {
            made.append(backend(subset, subset.traffic.over(outer, port: port.port), endpoints, secured))
        }
        return made
    }

    /// What the rule says that cannot hold for these endpoints.
    func findings(_ made: [Backend]) -> [PolicyFinding] {
        guard let rule, made.contains(where: { backend in backend.endpoints.contains { $0.principal != nil } }) else {
            return []
        }
        func reports(_ policy: TrafficPolicy, _ field: String) -> [PolicyFinding] {
            if policy.proxyProtocol == nil { return [] }
            return [
                PolicyFinding(
                    rule.reference, "\(field).proxyProtocol", .noEffect,
                    "endpoints of Service \(service.key) have sidecars, which expect the mesh's TLS first: nothing is sent before it"
                )
            ]
        }
        return reports(rule.traffic, "spec.trafficPolicy")
            + rule.subsets.enumerated().flatMap {
                reports($0.element.traffic, "spec.subsets[\($0.offset)].trafficPolicy")
            }
    }

    private func backend(
        _ subset: DestinationRule.Subset?, _ policy: TrafficPolicy, _ endpoints: EndpointTable,
        _ secured: BackendSecurity
    ) -> Backend {
        let tls = secured.tls(of: service.key, port: port, policy.security, rule: rule)
        let isPlain = tls != nil || policy.security == .plain
        var found = endpoints.endpoints(of: service.key, port: port, plain: isPlain)
        if let subset { found = found.filter { member in member.labels.map { subset.admits($0) } ?? false } }
        var made = Backend(
            name: backendName(service.key, port.port, subset: subset?.name), service: host,
            namespace: service.key.namespace, endpoints: found.map(\.endpoint),
            appProtocol: policy.pool?.appProtocol ?? port.appProtocol)
        made.resilience = policy.resilience.over(service.resilience.value)
        made.tls = tls
        // Sidecars expect their own TLS first.
        if let version = policy.proxyProtocol, made.endpoints.allSatisfy({ $0.principal == nil }) {
            made.proxyProtocol = version
        }
        BalanceRules(service: service, policy: policy).apply(to: &made)
        return made
    }
}

extension DestinationRule.Subset {
    func admits(_ podLabels: [String: String]) -> Bool { labels.allSatisfy { podLabels[$0.key] == $0.value } }
}
