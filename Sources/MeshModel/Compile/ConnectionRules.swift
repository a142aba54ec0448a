import KubeTypes
import ProxyResources

/// Where a VirtualService's `tls` and `tcp` routes are to hold.
struct ConnectionScope {
    var gateway: ObjectKey?  // `nil` for sidecars
    /// That of the service the client addressed, or the gateway's own.
    var port: Int
    /// Of the service the client addressed; none at a gateway.
    var addresses: [String] = []
}

extension References {
    /// A route for each match that may hold there.
    func tlsRoutes(
        _ policy: VirtualService, _ scope: ConnectionScope, _ findings: inout [PolicyFinding]
    ) -> [TLSRoute] {
        var routes: [TLSRoute] = []
        for rule in policy.connections where rule.isTLS {
            let matches = rule.matches.filter { holds($0, policy, scope) }
            if matches.isEmpty { continue }
            let shares = shares(rule, policy, scope, &findings)
            for match in matches {
                routes.append(
                    TLSRoute(
                        name: "\(policy.reference) \(rule.place)", hosts: match.hosts, backends: shares,
                        source: SourceMatch(match.source, scope)))
            }
        }
        return routes
    }

    func tcpRoutes(
        _ policy: VirtualService, _ scope: ConnectionScope, _ findings: inout [PolicyFinding]
    ) -> [TCPRoute] {
        var routes: [TCPRoute] = []
        for rule in policy.connections where !rule.isTLS {
            let matches = rule.matches.filter { holds($0, policy, scope) }
            if matches.isEmpty && !rule.matchesAll { continue }
            let shares = shares(rule, policy, scope, &findings)
            let sources = rule.matchesAll ? [SourceMatch()] : matches.map { SourceMatch($0.source, scope) }
            for source in sources {
                routes.append(
                    TCPRoute(name: "\(policy.reference) \(rule.place)", backends: shares, source: source))
            }
        }
        return routes
    }

    private func holds(
        _ match: VirtualService.ConnectionRule.Match, _ policy: VirtualService, _ scope: ConnectionScope
    ) -> Bool {
        if match.port ?? scope.port != scope.port { return false }
        if let names = match.gateways, !names.contains(where: { policy.isGateway($0, scope.gateway) }) { return false }
        if match.subnets.isEmpty { return true }
        let ranges = match.subnets.compactMap(AddressRange.init)
        return scope.addresses.compactMap(AddressRange.init).contains { asked in
            ranges.contains { $0.contains(asked.address) }
        }
    }

    private func shares(
        _ rule: VirtualService.ConnectionRule, _ policy: VirtualService, _ scope: ConnectionScope,
        _ findings: inout [PolicyFinding]
    ) -> [WeightedBackend] {
        rule.destinations.map { destination in
            let requested = scope.gateway == nil ? scope.port : nil
            let resolved = resolve(destination, from: policy.key.namespace, requested: requested)
            if case .failed(_, let code, let message) = resolved {
                findings.append(PolicyFinding(policy.reference, destination.field, code, message, severity: .warning))
            }
            return WeightedBackend(backend: resolved.backend ?? "", weight: max(0, destination.weight))
        }
    }
}

extension SourceMatch {
    /// At a gateway whoever connects is outside, so it is nobody's pod.
    fileprivate init(_ names: VirtualService.ConnectionRule.SourceNames, _ scope: ConnectionScope) {
        self.init()
        if scope.gateway == nil { self = SourceMatch(namespace: names.namespace, labels: names.labels) }
    }
}

extension VirtualService {
    /// Whether a name in `gateways` is that of the gateway, or `mesh` where there is none.
    func isGateway(_ name: String, _ gateway: ObjectKey?) -> Bool {
        name == Self.mesh ? gateway == nil : gatewayKey(name) == gateway
    }
}
