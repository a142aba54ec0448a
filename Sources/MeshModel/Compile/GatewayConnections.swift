import KubeTypes
import ProxyResources

/// What a listener does with its connections.
package enum ListenerUse: Sendable, Hashable {
    /// Looks at the requests in them.
    case requests
    /// Sends TLS on unopened, by the name asked for.
    case passesTLS
    /// Ends TLS and sends on what is inside.
    case opensTLS
    /// Sends them on as they are.
    case forwards
}

/// The connections to some names that go on as they are, or as they are inside TLS.
struct ForwardedNames: Hashable {
    var hosts: [String]
    var route: TCPRoute
}

extension References {
    /// Where a route's connections go, and what is wrong with its references.
    func backends(of route: ConnectionRoute) -> (shares: [WeightedBackend], failures: [Failure]) {
        var failures: [Failure] = []
        let shares = route.backends.map { reference in
            let resolved = resolve(reference, from: route.reference)
            if resolved.backend == nil { failures.append((reference, resolved)) }
            return WeightedBackend(
                backend: resolved.backend ?? "", weight: min(max(0, reference.weight), 1_000_000))
        }
        return (shares, failures)
    }
}

extension GatewayRoutes {
    mutating func attach(_ route: ConnectionRoute) {
        for parent in route.parents where parent.isGateway {
            let field = "spec.parentRefs[\(parent.index)]"
            guard let place = place(of: parent, route) else { continue }
            let (shares, failures) = references.backends(of: route)
            findings += failures.compactMap { route.reference.finding($0, $1) }
            var accepted = ConditionState(false, "UnsupportedValue", ConnectionRoute.noUDP)
            if route.type != .udpRoutes {
                let found = attachment(of: route, to: parent, place)
                accepted = found.accepted
                for (listener, open, hosts) in found.places {
                    add(route, shares, to: listener, place, open, hosts)
                }
            }
            if !accepted.isTrue { findings.append(PolicyFinding(route.reference, field, .noEffect, accepted.message)) }
            parents[route.reference, default: []].append(
                .init(parent: parent, accepted: accepted, resolvedReferences: ConditionState(resolving: failures)))
        }
        for parent in route.parents where parent.isService {
            let accepted = ConditionState(
                false, "UnsupportedValue",
                "a \(route.type.kind) attaches to Gateways only; a VirtualService's tls and tcp routes hold at sidecars"
            )
            findings.append(
                PolicyFinding(
                    route.reference, "spec.parentRefs[\(parent.index)]", .unsupported, accepted.message))
            parents[route.reference, default: []].append(
                .init(parent: parent, accepted: accepted, resolvedReferences: ConditionState(true, "ResolvedRefs")))
        }
    }

    private mutating func add(
        _ route: ConnectionRoute, _ shares: [WeightedBackend], to listener: Gateway.Listener, _ place: Int, _ open: Int,
        _ hosts: [String]
    ) {
        let name = route.reference.description
        if listener.use == .passesTLS {
            gateways[place].listeners[open].passed.append(TLSRoute(name: name, hosts: hosts, backends: shares))
        } else {
            gateways[place].listeners[open].forwarded.append(
                ForwardedNames(hosts: hosts, route: TCPRoute(name: name, backends: shares)))
        }
        gateways[place].listeners[open].attached.insert(route.reference)
    }

    // MARK: Istio

    /// The routes of one policy at one server that does not look at requests.
    mutating func attach(
        _ policy: VirtualService, to listener: inout OpenListener, of gateway: ObjectKey, hosts allowed: [String]
    ) {
        let scope = ConnectionScope(gateway: gateway, port: listener.port)
        if listener.use == .passesTLS {
            for route in references.tlsRoutes(policy, scope, &findings) {
                let shared = allowed.flatMap { sharedHosts(route.hosts, $0) }
                if shared.isEmpty { continue }
                listener.passed.append(
                    TLSRoute(name: route.name, hosts: unique(shared), backends: route.backends))
                listener.attached.insert(policy.reference)
            }
            return
        }
        let own = policy.hosts.map { references.hosts.full($0, from: policy.key.namespace) }
        let shared = allowed.flatMap { sharedHosts(own, $0) }
        if shared.isEmpty { return }
        for route in references.tcpRoutes(policy, scope, &findings) {
            listener.forwarded.append(ForwardedNames(hosts: unique(shared), route: route))
            listener.attached.insert(policy.reference)
        }
    }

    /// The Gateways with routes to each Service.
    var gatewaysOfServices: [ObjectKey: Set<ObjectKey>] {
        var found: [ObjectKey: Set<ObjectKey>] = [:]
        for (gateway, listeners) in gateways {
            for listener in listeners {
                let requests = listener.routes.values.joined().flatMap(\.rule.backends)
                let shares =
                    requests + listener.passed.flatMap(\.backends) + listener.forwarded.flatMap(\.route.backends)
                for share in shares {
                    let parts = share.backend.split(separator: "/", maxSplits: 1)
                    if parts.count < 2 { continue }
                    let name = String(parts[1].prefix { $0 != ":" })
                    found[ObjectKey(namespace: String(parts[0]), name: name), default: []].insert(gateway.key)
                }
            }
        }
        return found
    }

    // MARK: What a pod serves

    /// The oldest of its Gateways that has one gives it.
    func clientCertificate(of pod: MeshPod) -> KeyPair? {
        if !pod.isGateway { return nil }
        for (gateway, _) in gateways where gateway.isServed(by: pod) {
            if let reference = gateway.backendCertificate {
                return state.pair(reference, of: gateway, "InvalidClientCertificateRef").pair
            }
        }
        return nil
    }

    /// How TLS of some listeners ends: for requests, and for what goes on as it is.
    func servers(_ open: OpenListener, beside pod: MeshPod) -> [TLSServer] {
        let server = open.istioTLS.map { state.resolve($0, hosts: open.hosts, beside: pod) } ?? open.tls?.server
        guard let server else { return [] }
        if open.use == .requests { return [server] }
        var taken: Set<String> = []
        return open.forwarded.compactMap { forwarded in
            let hosts = forwarded.hosts.filter { taken.insert($0).inserted }
            if hosts.isEmpty { return nil }
            var made = server
            made.hosts = hosts
            made.backends = forwarded.route.backends
            return made
        }
    }
}

private func unique(_ names: [String]) -> [String] { Array(Set(names)).sorted() }
