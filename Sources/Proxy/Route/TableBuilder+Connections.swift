import ProxyResources

/// Where a listener's connections go when their requests are not looked at: places among the rules.
struct ConnectionRules {
    /// Of the first of its `tlsRoutes`; the others follow it in their order.
    var firstPassed: Int32 = 0
    /// By its servers' places; -1 for those that serve requests.
    var servers: [Int32] = []
    /// -1 when plain connections carry requests.
    var plain: Int32 = -1
}

extension TableBuilder {
    mutating func addConnectionRules(of listener: GatewayListener) -> ConnectionRules {
        let scope = "TLS \(listener.name):\(listener.port)"
        var made = ConnectionRules()
        made.firstPassed = add(rules: listener.tlsRoutes.map(\.rule), in: scope, port: listener.port).start
        for server in listener.tls {
            let isForwarded = !server.backends.isEmpty
            made.servers.append(
                isForwarded ? add(rules: [server.rule], in: scope, port: listener.port).start : -1)
        }
        if !listener.backends.isEmpty {
            let rule = RouteRule(name: "listener \(listener.name)", backends: listener.backends)
            made.plain = add(rules: [rule], in: "TCP \(listener.name):\(listener.port)", port: listener.port).start
        }
        return made
    }

    mutating func addTunnelRule(of port: ServicePort) -> Int32 {
        guard let route = port.tcpRoutes.first(where: { isOurs($0.source) }) else { return -1 }
        return add(rules: [route.rule], in: "TCP \(port.resourceName)", port: port.port).start
    }

    mutating func addServerNames(of port: ServicePort, to names: inout TLSTableBuilder) {
        let ours = port.tlsRoutes.filter { isOurs($0.source) }
        let run = add(rules: ours.map(\.rule), in: "TLS \(port.resourceName)", port: port.port)
        names.add(ours, firstRule: run.start)
    }

    /// Whether this proxy's connections are among those meant.
    private func isOurs(_ source: SourceMatch) -> Bool {
        source.namespace ?? routes.namespace == routes.namespace
            && source.labels.allSatisfy { routes.labels[$0.key] == $0.value }
    }
}
