import KubeTypes
import ProxyResources

/// The routes sidecars take: HTTPRoutes with a Service as parent, and VirtualServices of the gateway `mesh`.
///
/// Where both languages speak of one service, the HTTPRoute holds and the VirtualService is reported.
struct MeshRoutes {
    private let state: MeshState
    private let references: References
    private(set) var findings: [PolicyFinding] = []
    private(set) var parents: [PolicyReference: [HTTPRouteStatus.Parent]] = [:]
    /// HTTPRoutes by service and then by port; port 0 stands for all.
    private var attached: [ObjectKey: [(port: Int?, route: HTTPRoute)]] = [:]
    /// VirtualServices by service, exact hosts first, the oldest first.
    private var virtual: [ObjectKey: [VirtualService]] = [:]

    init(_ state: MeshState, _ references: References) {
        self.state = state
        self.references = references
    }

    mutating func compile(into model: inout MeshModel) {
        for route in state.routes.oldestFirst() { attach(route) }
        for policy in state.virtualServices.values.oldestFirst() where policy.gateways.contains(VirtualService.mesh) {
            attach(policy)
        }
        for service in state.services.values.sorted(by: { $0.key < $1.key }) where !service.isExternalName {
            let special = specialNamespaces(service.key)
            for port in service.ports {
                let made = servicePort(service, port)
                model.servicePorts[made.resourceName] = made
                for namespace in special {
                    let routes = self.routes(service, port, client: namespace)
                    var seen = made
                    routes.apply(to: &seen)
                    if seen != made {
                        model.routesOfClients[namespace, default: [:]][made.resourceName] = routes
                    }
                }
            }
        }
        for policy in state.virtualServices.values where policy.hosts.isEmpty { reportUnused(policy) }
        findings = Array(Set(findings))
    }

    /// One without hosts is for others to delegate to.
    private mutating func reportUnused(_ policy: VirtualService) {
        let isNamed = state.virtualServices.values.contains { other in
            other.rules.contains { $0.delegate == policy.key }
        }
        if !isNamed {
            report(policy, "spec.hosts", .noEffect, "names no host, and no VirtualService delegates to this one")
        }
    }

    private mutating func attach(_ route: HTTPRoute) {
        var failures: ConditionState?
        for parent in route.parents where parent.isService {
            let field = "spec.parentRefs[\(parent.index)]"
            let resolved = failures ?? resolvedReferences(route)
            failures = resolved
            var accepted = ConditionState(true, "Accepted")
            if let service = state.services[parent.key], !service.isExternalName {
                if let port = parent.port, !service.ports.contains(where: { $0.port == port }) {
                    accepted = ConditionState(false, "NoMatchingParent", "Service \(parent.key) has no port \(port)")
                } else {
                    attached[parent.key, default: []].append((parent.port, route))
                }
            } else {
                accepted = ConditionState(false, "NoMatchingParent", "Service \(parent.key) does not exist")
            }
            if !accepted.isTrue {
                findings.append(PolicyFinding(route.reference, field, .notFound, accepted.message))
            } else {
                accepted = route.acceptance
            }
            parents[route.reference, default: []].append(
                .init(parent: parent, accepted: accepted, resolvedReferences: resolved))
        }
    }

    private mutating func resolvedReferences(_ route: HTTPRoute) -> ConditionState {
        let failures = references.ranked(route).failures
        findings += failures.compactMap { reference, resolved in route.reference.finding(reference, resolved) }
        return ConditionState(resolving: failures)
    }

    private mutating func attach(_ policy: VirtualService) {
        for (index, host) in policy.hosts.enumerated() {
            let full = references.hosts.full(host, from: policy.key.namespace)
            let named = services(full)
            for service in named {
                if full.hasPrefix("*") {
                    virtual[service, default: []].append(policy)
                } else {
                    let exact = virtual[service]?.firstIndex { $0.hosts.allSatisfy { $0.hasPrefix("*") } }
                    virtual[service, default: []].insert(policy, at: exact ?? virtual[service]?.count ?? 0)
                }
            }
            if named.isEmpty {
                findings.append(
                    PolicyFinding(
                        policy.reference, "spec.hosts[\(index)]", .notFound, "no service has the host \"\(host)\""))
            }
        }
    }

    /// The services a full host, `name.namespace` or a wildcard stands for.
    private func services(_ full: String) -> [ObjectKey] {
        if let exact = references.hosts.service(full) { return state.services[exact] == nil ? [] : [exact] }
        guard full.hasPrefix("*") else { return [] }
        return state.services.keys.filter {
            references.hosts.covers(full, state.settings.host($0.name, $0.namespace))
        }.sorted()
    }

    /// Namespaces whose clients may be routed in their own way: consumer HTTPRoutes, and VirtualServices of other
    /// namespaces than the service's or exported to some only.
    private func specialNamespaces(_ service: ObjectKey) -> [String] {
        var found: Set<String> = []
        for (_, route) in attached[service] ?? [] where route.key.namespace != service.namespace {
            found.insert(route.key.namespace)
        }
        for policy in virtual[service] ?? [] {
            if policy.key.namespace != service.namespace { found.insert(policy.key.namespace) }
            for word in policy.exportTo where word != "*" { found.insert(word == "." ? policy.key.namespace : word) }
        }
        return found.sorted()
    }

    private mutating func servicePort(_ service: MeshService, _ port: MeshService.Port) -> ServicePort {
        let (name, namespace) = (service.key.name, service.key.namespace)
        var made = ServicePort(
            namespace: namespace, service: name, port: port.port, addresses: service.addresses,
            hosts: [state.settings.host(name, namespace), "\(name).\(namespace).svc", "\(name).\(namespace)"],
            appProtocol: port.appProtocol, defaultBackend: backendName(service.key, port.port))
        routes(service, port, client: nil).apply(to: &made)
        return made
    }

    /// `client`: the namespace the request comes from; `nil` for any without a say of its own.
    private mutating func routes(_ service: MeshService, _ port: MeshService.Port, client: String?) -> PortRoutes {
        let policies = (virtual[service.key] ?? []).filter { $0.isExported(to: client) }
        let chosen =
            policies.first { $0.key.namespace == client } ?? policies.first {
                $0.key.namespace == service.key.namespace
            }
            ?? policies.first
        var made = PortRoutes(requests: requests(service, port, client: client, chosen, of: policies))
        if let chosen { addConnections(of: chosen, service, port, to: &made) }
        return made
    }

    private mutating func addConnections(
        of policy: VirtualService, _ service: MeshService, _ port: MeshService.Port, to made: inout PortRoutes
    ) {
        if policy.connections.isEmpty { return }
        let scope = ConnectionScope(port: port.port, addresses: service.addresses)
        let (tls, tcp) = (
            references.tlsRoutes(policy, scope, &findings), references.tcpRoutes(policy, scope, &findings)
        )
        if !port.appProtocol.isHTTP {
            (made.tls, made.tcp) = (tls, tcp)
        } else if !tls.isEmpty || !tcp.isEmpty {
            report(
                policy, tls.isEmpty ? "spec.tcp" : "spec.tls", .noEffect,
                "port \(port.port) of Service \(service.key) is declared as HTTP, so requests in it are looked at")
        }
    }

    private mutating func requests(
        _ service: MeshService, _ port: MeshService.Port, client: String?, _ chosen: VirtualService?,
        of policies: [VirtualService]
    ) -> [RouteRule] {
        let rules = httpRoutes(service.key, port.port, client: client)
        if let rules {
            if port.appProtocol == .tcp { reportTCP(service, port.port) }
            for policy in policies where !policy.rules.isEmpty {
                report(policy, "spec.hosts", .conflict, "an HTTPRoute for Service \(service.key) is in force instead")
            }
            return rules + [.notFound]
        }
        guard let chosen else { return [direct(service.key, port.port)] }
        if chosen.key.namespace != client {
            for other in policies where other.key != chosen.key && other.key.namespace == chosen.key.namespace {
                report(
                    other, "spec.hosts", .conflict,
                    "\(chosen.reference) is older and in force for Service \(service.key)")
            }
        }
        let made = references.rules(chosen, gateway: nil, port: port.port, &findings)
        return made.isEmpty ? [direct(service.key, port.port)] : made + [.notFound]
    }

    private func direct(_ service: ObjectKey, _ port: Int) -> RouteRule {
        RouteRule(name: "Service \(service)", backends: [WeightedBackend(backend: backendName(service, port))])
    }

    /// `nil` when no HTTPRoute speaks of this port. A client's own routes come instead of the service's.
    private func httpRoutes(_ service: ObjectKey, _ port: Int, client: String?) -> [RouteRule]? {
        let here = (attached[service] ?? []).filter { $0.port ?? port == port }.map(\.route)
        let consumer = client.map { name in here.filter { $0.key.namespace == name } } ?? []
        let chosen = consumer.isEmpty ? here.filter { $0.key.namespace == service.namespace } : consumer
        return chosen.isEmpty ? nil : ordered(chosen.flatMap { references.ranked($0).routes(at: port) })
    }

    /// A route for all ports of a service has effect on the others.
    private mutating func reportTCP(_ service: MeshService, _ port: Int) {
        for (named, route) in attached[service.key] ?? [] where named == port || service.ports.count == 1 {
            findings.append(
                PolicyFinding(
                    route.reference, "spec.parentRefs", .noEffect,
                    "port \(port) of Service \(service.key) is declared as TCP, so requests in it are not seen"))
        }
    }

    private mutating func report(
        _ policy: VirtualService, _ field: String, _ code: PolicyFinding.Code, _ message: String
    ) {
        findings.append(PolicyFinding(policy.reference, field, code, message))
    }
}

extension ConditionState {
    /// `ResolvedRefs` for a route's references.
    init(resolving failures: [References.Failure]) {
        self.init(true, "ResolvedRefs")
        for (reference, resolved) in failures {
            guard case .failed(let reason, _, let message) = resolved else { continue }
            self.init(false, reason, "\(reference.field): \(message)")
            return
        }
    }
}

extension HTTPRoute {
    /// Of a route that found its parent: whether its rules can be carried out.
    var acceptance: ConditionState {
        let unsupported = findings.first { $0.code == .unsupported && $0.field.hasPrefix("spec.rules") }
        guard let unsupported else { return ConditionState(true, "Accepted") }
        if !rules.isEmpty, rules.allSatisfy(\.isRefused) {
            return ConditionState(false, "UnsupportedValue", "\(unsupported.field) \(unsupported.message)")
        }
        return ConditionState(true, "Accepted", "in part: \(unsupported.field) \(unsupported.message)")
    }
}

extension PolicyReference {
    func finding(_ reference: HTTPRoute.BackendReference, _ resolved: References.Resolved) -> PolicyFinding? {
        guard case .failed(_, let code, let message) = resolved else { return nil }
        return PolicyFinding(self, reference.field, code, message, severity: .warning)
    }
}
