import KubeTypes
import ProxyResources

/// The routes gateways take: HTTPRoutes with a Gateway as parent, and VirtualServices that name an Istio Gateway.
struct GatewayRoutes {
    let state: MeshState
    let references: References
    var findings: [PolicyFinding] = []
    var parents: [PolicyReference: [HTTPRouteStatus.Parent]] = [:]
    private(set) var statuses: [GatewayStatus] = []
    var gateways: [(gateway: Gateway, listeners: [OpenListener])] = []
    private var istio: [(gateway: IstioGateway, listeners: [OpenListener])] = []

    /// A listener with the routes attached to it, by host.
    struct OpenListener {
        var name: String
        var port: Int
        var routes: [String: [RankedRoute]] = [:]
        var rules: [String: [RouteRule]] = [:]  // VirtualServices', in their own order
        var attached: Set<PolicyReference> = []
        var use = ListenerUse.requests
        /// TLS that goes on unopened.
        var passed: [TLSRoute] = []
        /// What goes on as it is, or as it is inside TLS; the first of a name counts.
        var forwarded: [ForwardedNames] = []
        var isTLS = false
        /// What its references came to; `refusal` when they came to nothing.
        var tls: MeshState.ResolvedTLS?
        var istioTLS: IstioGateway.Security?
        var hosts: [String] = ["*"]
    }

    init(_ state: MeshState, _ references: References) {
        self.state = state
        self.references = references
    }

    mutating func compile() {
        for gateway in state.gateways.values.oldestFirst() where state.isOurs(gateway) {
            let listeners = gateway.listeners.filter(\.canOpen)
            gateways.append((gateway, listeners.map { self.open($0, of: gateway) }))
        }
        for route in state.routes.oldestFirst() {
            attach(route)
            reportForeignParents(of: route)
        }
        for route in state.connectionRoutes.values.oldestFirst() {
            attach(route)
            reportForeignParents(of: route)
        }
        for gateway in state.istioGateways.values.oldestFirst() { open(gateway) }
        for policy in state.virtualServices.values { reportMissingGateways(of: policy) }
        findings = Array(Set(findings))
        statuses = gateways.map { status(of: $0.gateway, $0.listeners) }.sorted { $0.key < $1.key }
    }

    private mutating func open(_ listener: Gateway.Listener, of gateway: Gateway) -> OpenListener {
        var open = OpenListener(name: listener.name, port: listener.port)
        open.use = listener.use ?? .requests
        open.hosts = [listener.hostname.flatMap { $0.isEmpty ? nil : $0 } ?? "*"]
        guard let tls = listener.tls else { return open }
        open.isTLS = true
        if open.use == .passesTLS { return open }
        open.tls = state.resolve(tls, of: gateway, hosts: [listener.hostname ?? "*"])
        if let refusal = open.tls?.refusal {
            findings.append(
                PolicyFinding(
                    gateway.reference, "spec.listeners[\(listener.index)].tls", .notFound, refusal.message))
        }
        return open
    }

    // MARK: HTTPRoutes

    private mutating func attach(_ route: HTTPRoute) {
        var compiled: RankedRoutes?
        for parent in route.parents where parent.isGateway {
            let field = "spec.parentRefs[\(parent.index)]"
            guard let place = place(of: parent, route) else { continue }
            let made = compiled ?? references.ranked(route)
            compiled = made
            findings += made.failures.compactMap { route.reference.finding($0, $1) }
            let (accepted, places) = attachment(of: route, to: parent, place)
            for (listener, open, hosts) in places {
                gateways[place].listeners[open].attached.insert(route.reference)
                let routes = made.routes(at: listener.port)
                for host in hosts { gateways[place].listeners[open].routes[host, default: []] += routes }
            }
            if !accepted.isTrue { findings.append(PolicyFinding(route.reference, field, .noEffect, accepted.message)) }
            parents[route.reference, default: []].append(
                .init(
                    parent: parent, accepted: accepted.isTrue ? route.acceptance : accepted,
                    resolvedReferences: ConditionState(resolving: made.failures)))
        }
    }

    /// The parent's place among our Gateways; `nil` when it is not ours to answer for.
    mutating func place(of parent: HTTPRoute.Parent, _ route: some AttachedRoute) -> Int? {
        let place = gateways.firstIndex { $0.gateway.key == parent.key }
        if place == nil, state.gateways[parent.key] == nil {
            findings.append(
                PolicyFinding(
                    route.reference, "spec.parentRefs[\(parent.index)]", .notFound,
                    "Gateway \(parent.key) does not exist"))
        }
        return place
    }

    /// Where on a Gateway a route takes effect, and for which hosts.
    func attachment(
        of route: some AttachedRoute, to parent: HTTPRoute.Parent, _ place: Int
    ) -> (accepted: ConditionState, places: [(listener: Gateway.Listener, open: Int, hosts: [String])]) {
        let gateway = gateways[place].gateway
        let named = gateway.listeners.filter {
            $0.canOpen && parent.sectionName ?? $0.name == $0.name && parent.port ?? $0.port == $0.port
        }
        if named.isEmpty {
            let refusal = ConditionState(
                false, "NoMatchingParent", "Gateway \(gateway.key) has no open listener that parentRefs names")
            return (refusal, [])
        }
        let permitted = named.filter {
            $0.kinds.contains(route.type.kind) && admits($0.admission, route.key.namespace, gateway.key.namespace)
        }
        if permitted.isEmpty {
            let message =
                "the listeners of Gateway \(gateway.key) do not allow \(route.type.kind)s of namespace \(route.key.namespace)"
            return (ConditionState(false, "NotAllowedByListeners", message), [])
        }
        var places: [(listener: Gateway.Listener, open: Int, hosts: [String])] = []
        for listener in permitted {
            let hosts = sharedHosts(route.hostnames, listener.hostname)
            guard !hosts.isEmpty, let open = gateways[place].listeners.firstIndex(where: { $0.name == listener.name })
            else { continue }
            places.append((listener, open, hosts))
        }
        if !places.isEmpty { return (ConditionState(true, "Accepted"), places) }
        let message = "no hostname of the route is one of the listeners' of Gateway \(gateway.key)"
        return (ConditionState(false, "NoMatchingListenerHostname", message), [])
    }

    private func admits(_ admission: Gateway.Admission, _ namespace: String, _ own: String) -> Bool {
        switch admission {
        case .same: namespace == own
        case .all: true
        case .nobody: false
        case .labelled(let selector):
            state.namespaces[ObjectKey(name: namespace)].map { selector.matches($0.labels) } ?? false
        }
    }

    private mutating func reportForeignParents(of route: some AttachedRoute) {
        for parent in route.parents where !parent.isGateway && !parent.isService {
            let kind = parent.group.isEmpty ? parent.kind : "\(parent.kind).\(parent.group)"
            findings.append(
                PolicyFinding(
                    route.reference, "spec.parentRefs[\(parent.index)]", .unsupported,
                    "no route attaches to a \(kind): a parent is a Gateway, or a Service with group \"\""))
        }
    }

    // MARK: Istio

    private mutating func open(_ gateway: IstioGateway) {
        let policies = state.virtualServices.values.oldestFirst().filter { $0.gatewayKeys.contains(gateway.key) }
        var listeners: [OpenListener] = []
        for server in gateway.servers {
            guard let use = server.use else { continue }
            var listener = OpenListener(name: server.name, port: server.port)
            listener.use = use
            listener.isTLS = server.tls != nil || use == .passesTLS
            listener.istioTLS = server.tls
            listener.hosts = server.hosts.isEmpty ? ["*"] : server.hosts
            if server.redirectsToHTTPS {
                for host in listener.hosts { listener.rules[host] = [.toHTTPS(gateway.reference)] }
            }
            for policy in policies {
                if use != .requests {
                    attach(policy, to: &listener, of: gateway.key, hosts: listener.hosts)
                } else {
                    attachRequests(of: policy, to: &listener, of: gateway.key, server)
                }
            }
            listeners.append(listener)
        }
        istio.append((gateway, listeners))
        for policy in policies where !listeners.contains(where: { $0.attached.contains(policy.reference) }) {
            findings.append(
                PolicyFinding(
                    policy.reference, "spec.hosts", .noEffect,
                    "no host is one of the servers' of Gateway \(gateway.key)"))
        }
        for pod in state.pods.values where pod.isGateway && pod.isSelected(by: gateway.selector) {
            for (index, server) in gateway.servers.enumerated() {
                guard let missing = server.tls.flatMap({ state.missingSecret($0, beside: pod) }) else { continue }
                findings.append(
                    PolicyFinding(
                        gateway.reference, "spec.servers[\(index)].tls.\(missing.field)", .notFound, missing.message))
            }
        }
        if !state.pods.values.contains(where: { $0.isGateway && $0.isSelected(by: gateway.selector) }) {
            findings.append(
                PolicyFinding(gateway.reference, "spec.selector", .notFound, "no gateway pod has these labels"))
        }
    }

    private mutating func attachRequests(
        of policy: VirtualService, to listener: inout OpenListener, of gateway: ObjectKey, _ server: IstioGateway.Server
    ) {
        for host in policy.hosts {
            let full = references.hosts.full(host, from: policy.key.namespace)
            for shared in server.hosts.flatMap({ sharedHosts([full], $0) }) {
                listener.attached.insert(policy.reference)
                if server.redirectsToHTTPS { continue }
                listener.rules[shared, default: []] += references.rules(
                    policy, gateway: gateway, port: server.port, &findings)
            }
        }
    }

    private mutating func reportMissingGateways(of policy: VirtualService) {
        for key in policy.gatewayKeys where state.istioGateways[key] == nil {
            findings.append(
                PolicyFinding(policy.reference, "spec.gateways", .notFound, "Gateway \(key) does not exist"))
        }
    }

    // MARK: What a pod serves

    /// The listeners of a gateway's pod: those of all Gateways it serves, joined by port.
    func listeners(of pod: MeshPod) -> [GatewayListener] {
        guard pod.isGateway else { return [] }
        var open: [OpenListener] = []
        for (gateway, listeners) in gateways where gateway.isServed(by: pod) { open += listeners }
        for (gateway, listeners) in istio where pod.isSelected(by: gateway.selector) { open += listeners }
        return Dictionary(grouping: open) { targetPort(of: pod, $0.port) }.sorted { $0.key < $1.key }.compactMap {
            port, all in
            // A port is plain or not; where they disagree, what is meant to be secret stays so.
            let secured = all.filter(\.isTLS)
            let members = secured.isEmpty ? all : secured
            let names = members.map(\.name)
            let inherited = pod.machineListeners.first { names.contains($0) }
            let requests = members.filter { $0.use == .requests }
            var made = GatewayListener(
                name: names.first ?? "", port: port, inherited: inherited ?? "", routes: virtualHosts(requests))
            made.tls = secured.flatMap { servers($0, beside: pod) }
            made.tlsRoutes = secured.flatMap(\.passed)
            if secured.isEmpty, requests.isEmpty {
                made.backends = members.flatMap(\.forwarded).first?.route.backends ?? []
                if made.backends.isEmpty { return nil }
            }
            // Without any certificate the port stays shut: opened, it would be plain.
            return secured.isEmpty || !made.tls.isEmpty || !made.tlsRoutes.isEmpty ? made : nil
        }
    }

    /// The ports a pod listens on for a Gateway; none when it does not serve it.
    func ports(of pod: MeshPod, for key: ObjectKey) -> [Int] {
        gateways.filter { $0.gateway.key == key && $0.gateway.isServed(by: pod) }.flatMap(\.listeners).map {
            targetPort(of: pod, $0.port)
        }
    }

    /// The port a pod listens on for a port of a Gateway: a Service before the pod may map it (80 to 8080), as it must where
    /// the proxy may not open low ports.
    private func targetPort(of pod: MeshPod, _ port: Int) -> Int {
        for service in state.services.values.sorted(by: { $0.key < $1.key })
        where service.key.namespace == pod.key.namespace && !service.selector.isEmpty
            && pod.isSelected(by: service.selector)
        {
            guard let mapped = service.ports.first(where: { $0.port == port }) else { continue }
            switch mapped.target {
            case .number(let number): return number
            case .name(let name): return pod.ports.first { $0.name == name }?.port ?? port
            }
        }
        return port
    }

    /// Each host with its own rules first and then those of the wider hosts that cover it, since a request that no rule of
    /// the narrow host takes may still match the wide one's. Of listeners only the narrowest that covers a host takes its requests.
    private func virtualHosts(_ listeners: [OpenListener]) -> [VirtualHost] {
        if listeners.isEmpty { return [] }
        var routes: [String: [String: [RankedRoute]]] = [:]  // by the listener's host
        var rules: [String: [String: [RouteRule]]] = [:]
        for listener in listeners {
            for limit in listener.hosts {
                for (host, found) in listener.routes where covers(limit, host) {
                    routes[limit, default: [:]][host, default: []] += found
                }
                for (host, found) in listener.rules where covers(limit, host) {
                    rules[limit, default: [:]][host, default: []] += found
                }
            }
        }
        let limits = Set(listeners.flatMap(\.hosts)).sorted(by: isNarrower)
        let named = listeners.flatMap { Array($0.routes.keys) + Array($0.rules.keys) }
        // One that takes its requests away from a wider one stands there without routes too.
        return Set(named + (limits.count > 1 ? limits : [])).sorted(by: isNarrower).compactMap { host in
            guard let limit = limits.first(where: { covers($0, host) }) else { return nil }
            let ours = Set((routes[limit] ?? [:]).keys).union((rules[limit] ?? [:]).keys).sorted(by: isNarrower)
            var all: [RouteRule] = []
            for wider in ours where covers(wider, host) {
                all += ordered(routes[limit]?[wider] ?? []) + (rules[limit]?[wider] ?? [])
            }
            return VirtualHost(hosts: [host], rules: all + [.notFound])
        }
    }

    private func status(of gateway: Gateway, _ open: [OpenListener]) -> GatewayStatus {
        let pods = state.pods.values.filter { gateway.isServed(by: $0) && !$0.isFinished }
        let programmed =
            pods.isEmpty
            ? ConditionState(
                false, "NoResources", "no pod with the label \(MeshWords.gateway)=\(gateway.servedBy) exists")
            : ConditionState(true, "Programmed")
        var addresses: Set<String> = []
        for service in state.services.values where !service.selector.isEmpty {
            if pods.contains(where: { $0.key.namespace == service.key.namespace && $0.isSelected(by: service.selector) }
            ) {
                addresses.formUnion(service.addresses)
            }
        }
        let listeners = gateway.listeners.map { listener in
            let isOpen = listener.canOpen
            let resolved = open.first { $0.name == listener.name }?.tls
            let unresolved = resolved?.refusal
            let refusal = refusal(of: listener)
            var accepted = isOpen ? ConditionState(true, "Accepted") : refusal
            if let unresolved, resolved?.lacksAuthority ?? false {
                accepted = ConditionState(false, "NoValidCACertificate", unresolved.message)
            }
            return GatewayStatus.Listener(
                name: listener.name, attachedRoutes: open.first { $0.name == listener.name }?.attached.count ?? 0,
                kinds: listener.kinds,
                accepted: accepted,
                programmed: isOpen && unresolved == nil
                    ? programmed : ConditionState(false, "Invalid", unresolved?.message ?? refusal.message),
                resolvedReferences: listener.namesUnknownKinds
                    ? ConditionState(false, "InvalidRouteKinds", unknownKinds(listener))
                    : unresolved ?? ConditionState(true, "ResolvedRefs"))
        }
        var accepted = ConditionState(true, "Accepted")
        if gateway.hasParameters {
            accepted = ConditionState(false, "InvalidParameters", "no kind of parameters is known here")
        } else if !listeners.contains(where: { $0.accepted.isTrue }) {
            accepted = ConditionState(false, "ListenersNotValid", "no listener can be opened")
        } else if !listeners.allSatisfy({ $0.accepted.isTrue }) {
            accepted = ConditionState(true, "ListenersNotValid", "some listeners cannot be opened")
        }
        return GatewayStatus(
            key: gateway.key, generation: gateway.generation, accepted: accepted, programmed: programmed,
            resolvedReferences: gateway.backendCertificate.map {
                state.pair($0, of: gateway, "InvalidClientCertificateRef").refusal
            }, addresses: addresses.sorted(), listeners: listeners)
    }

    private func unknownKinds(_ listener: Gateway.Listener) -> String {
        let known = Gateway.Listener.knownKinds(
            listener.protocolName, passesTLS: listener.tls?.isPassthrough ?? false)
        let names = known.joined(separator: " and ")
        return "allowedRoutes.kinds: to a listener of \(listener.protocolName) only \(names) can be attached"
    }

    /// Why a listener is not opened.
    private func refusal(of listener: Gateway.Listener) -> ConditionState {
        if listener.use != nil {
            return ConditionState(false, "PortUnavailable", "port \(listener.port) cannot be listened on")
        }
        let message =
            switch listener.protocolName {
            case "UDP": ConnectionRoute.noUDP
            case "HTTPS", "TLS": "\(listener.protocolName) with these tls settings is not supported"
            default: "\(listener.protocolName) is not supported"
            }
        return ConditionState(false, "UnsupportedProtocol", message)
    }
}

extension RouteRule {
    /// What a plain port that is there for TLS answers.
    static func toHTTPS(_ policy: PolicyReference) -> RouteRule {
        var actions = RouteActions()
        actions.redirect = Redirect(scheme: "https", status: 301)
        return RouteRule(name: "\(policy) httpsRedirect", actions: actions)
    }
}

extension Gateway {
    func isServed(by pod: MeshPod) -> Bool { pod.isGateway && pod.labels[MeshWords.gateway] == servedBy }
}

extension MeshState {
    func isOurs(_ gateway: Gateway) -> Bool { gatewayClasses[ObjectKey(name: gateway.className)]?.isOurs ?? false }
}

// MARK: Hosts

/// The hosts a route serves at a listener: where both name hosts, the narrower of each pair that overlaps.
func sharedHosts(_ hosts: [String], _ listener: String?) -> [String] {
    let limit = listener.flatMap { $0.isEmpty ? nil : $0 } ?? "*"
    if hosts.isEmpty { return [limit] }
    var shared: [String] = []
    for host in hosts {
        if covers(limit, host) {
            shared.append(host)
        } else if covers(host, limit) {
            shared.append(limit)
        }
    }
    return Array(Set(shared)).sorted()
}

/// Whether every name of `host` is one of `pattern`.
private func covers(_ pattern: String, _ host: String) -> Bool {
    if pattern == "*" || pattern == host { return true }
    guard pattern.hasPrefix("*.") else { return false }
    let suffix = pattern.dropFirst()
    return host.hasSuffix(suffix) && host.utf8.count > suffix.utf8.count
}

private func isNarrower(_ one: String, _ other: String) -> Bool {
    func rank(_ host: String) -> (Int, Int) { (host == "*" ? 0 : host.hasPrefix("*.") ? 1 : 2, host.utf8.count) }
    let (a, b) = (rank(one), rank(other))
    return a != b ? a > b : one < other
}
