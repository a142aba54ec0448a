// Which backends a resource speaks of. A proxy that does not hold all of the mesh is given these and no others, so every field that
// names a backend must be looked at here.

extension RouteRule {
    package func refer(to names: inout Set<String>) {
        for backend in backends { names.insert(backend.backend) }
        for mirror in actions.mirrors { names.insert(mirror.backend) }
    }
}

extension ServicePort {
    package func refer(to names: inout Set<String>) {
        names.insert(defaultBackend)
        for rule in routes { rule.refer(to: &names) }
        for route in tlsRoutes { route.rule.refer(to: &names) }
        for route in tcpRoutes { route.rule.refer(to: &names) }
    }
}

extension Workload {
    /// What a gateway's listeners route to, and who decides on requests.
    package func refer(to names: inout Set<String>) {
        for listener in gatewayListeners {
            for host in listener.routes {
                for rule in host.rules { rule.refer(to: &names) }
            }
            for route in listener.tlsRoutes { route.rule.refer(to: &names) }
            for server in listener.tls { server.rule.refer(to: &names) }
            for backend in listener.backends { names.insert(backend.backend) }
        }
        for authorizer in security.authorizers { names.insert(authorizer.backend) }
    }
}
