import KubeTypes
import ProxyResources

/// The DestinationRule in force for each service: one in the service's namespace first, then one in a root namespace; exact hosts
/// before wildcards; the oldest of equals. Others have no say: anybody could turn off TLS to any service.
struct SubsetRules {
    private var rules: [ObjectKey: DestinationRule] = [:]
    private(set) var findings: [PolicyFinding] = []

    init(_ state: MeshState) {
        let hosts = HostNames(state.settings)
        var candidates: [DestinationRule] = []
        var best: [ObjectKey: (rank: Int, rule: DestinationRule)] = [:]
        for rule in state.destinationRules.values.oldestFirst() {
            let full = hosts.full(rule.host, from: rule.key.namespace)
            let named = Self.services(full, hosts, state)
            if named.isEmpty {
                findings.append(
                    PolicyFinding(rule.reference, "spec.host", .notFound, "no service has the host \"\(rule.host)\""))
            }
            let isFromRoot = state.settings.rootNamespaces.contains(rule.key.namespace)
            let governed = named.filter { $0.namespace == rule.key.namespace || isFromRoot }
            for service in governed {
                let rank = (full.hasPrefix("*") ? 0 : 2) + (rule.key.namespace == service.namespace ? 1 : 0)
                if rank > best[service]?.rank ?? -1 { best[service] = (rank, rule) }
            }
            if !governed.isEmpty {
                candidates.append(rule)
            } else if !named.isEmpty {
                findings.append(
                    PolicyFinding(
                        rule.reference, "spec.host", .noEffect,
                        "\"\(rule.host)\" is in another namespace, which this policy has no say over"))
            }
        }
        rules = best.mapValues(\.rule)
        let inForce = Set(rules.values.map(\.key))
        for rule in candidates where !inForce.contains(rule.key) {
            findings.append(
                PolicyFinding(
                    rule.reference, "spec.host", .conflict, "another DestinationRule for this host is in force"))
        }
    }

    private static func services(_ full: String, _ hosts: HostNames, _ state: MeshState) -> [ObjectKey] {
        if let key = hosts.service(full), !full.hasPrefix("*") { return state.services[key] == nil ? [] : [key] }
        return state.services.keys.filter { hosts.covers(full, state.settings.host($0.name, $0.namespace)) }
    }

    func rule(for service: ObjectKey) -> DestinationRule? { rules[service] }
}

/// Host names as Istio writes them: short ones belong to the namespace of the policy.
struct HostNames {
    let suffix: String  // `.svc.cluster.local`

    init(_ settings: MeshSettings) { suffix = ".svc.\(settings.clusterDomain)" }

    func full(_ host: String, from namespace: String) -> String {
        if host.contains(".") || host.contains("*") { return host }
        return "\(host).\(namespace)\(suffix)"
    }

    /// The service a full host names; `name.namespace` does too.
    func service(_ full: String) -> ObjectKey? {
        let short = full.hasSuffix(suffix) ? full.dropLast(suffix.count) : full[...]
        let parts = short.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        return parts.count == 2 && !full.hasPrefix("*") ? ObjectKey(namespace: parts[1], name: parts[0]) : nil
    }

    /// Whether a host or a wildcard names this host.
    func covers(_ pattern: String, _ name: String) -> Bool {
        if pattern == "*" { return true }
        return pattern.hasPrefix("*") ? name.hasSuffix(pattern.dropFirst()) : pattern == name
    }
}

/// Turns the references of routes into the names of backends.
struct References {
    enum Resolved: Hashable {
        case backend(String)
        /// `reason`: of the condition `ResolvedRefs`.
        case failed(reason: String, code: PolicyFinding.Code, message: String)

        var backend: String? {
            guard case .backend(let name) = self else { return nil }
            return name
        }
    }

    let state: MeshState
    let subsets: SubsetRules
    let hosts: HostNames

    init(_ state: MeshState, _ subsets: SubsetRules) {
        self.state = state
        self.subsets = subsets
        hosts = HostNames(state.settings)
    }

    typealias Failure = (HTTPRoute.BackendReference, Resolved)

    /// - Parameter parents: Services the route is about; it may name them, wherever they are.
    func resolve(
        _ reference: HTTPRoute.BackendReference, from route: PolicyReference, parents: Set<ObjectKey> = []
    ) -> Resolved {
        let namespace = route.key.namespace
        guard reference.group.isEmpty, reference.kind == "Service" else {
            let kind = reference.group.isEmpty ? reference.kind : "\(reference.kind).\(reference.group)"
            return .failed(
                reason: "InvalidKind", code: .unsupported, message: "kind \(kind) cannot be a backend, only Service")
        }
        let key = reference.key
        if key.namespace != namespace, !parents.contains(key) {
            let isPermitted = state.referenceGrants.values.contains {
                $0.key.namespace == key.namespace && $0.permits(route.type.kind, in: namespace, toService: key.name)
            }
            if !isPermitted {
                return .failed(
                    reason: "RefNotPermitted", code: .notPermitted,
                    message:
                        "no ReferenceGrant in namespace \(key.namespace) permits \(route.type.kind)s of \(namespace) to name Service \(key)"
                )
            }
        }
        guard let service = state.services[key], !service.isExternalName else {
            return .failed(reason: "BackendNotFound", code: .notFound, message: "Service \(key) does not exist")
        }
        guard let port = reference.port else {
            return .failed(reason: "UnsupportedValue", code: .invalid, message: "port is required for Service \(key)")
        }
        guard service.ports.contains(where: { $0.port == port }) else {
            return .failed(reason: "BackendNotFound", code: .notFound, message: noPort(port, service))
        }
        return .backend(backendName(key, port))
    }

    /// `requested`: the port the client addressed; `nil` at a gateway.
    func resolve(_ destination: VirtualService.Destination, from namespace: String, requested: Int?) -> Resolved {
        let full = hosts.full(destination.host, from: namespace)
        let key = hosts.service(full)
        guard let key, let service = state.services[key], !service.isExternalName else {
            return .failed(
                reason: "BackendNotFound", code: .notFound, message: "host \"\(destination.host)\" names no service")
        }
        let numbers = service.ports.map(\.port)
        let port: Int
        if let wanted = destination.port {
            guard numbers.contains(wanted) else {
                return .failed(reason: "BackendNotFound", code: .notFound, message: noPort(wanted, service))
            }
            port = wanted
        } else if let requested, numbers.contains(requested) {
            port = requested
        } else if let only = numbers.first, numbers.count == 1 {
            port = only
        } else {
            return .failed(
                reason: "BackendNotFound", code: .notFound,
                message: "Service \(key) has several ports: write destination.port.number")
        }
        guard let subset = destination.subset else { return .backend(backendName(key, port)) }
        guard subsets.rule(for: key)?.subsets.contains(where: { $0.name == subset }) ?? false else {
            return .failed(
                reason: "BackendNotFound", code: .notFound,
                message: "no DestinationRule for host \"\(full)\" has a subset \"\(subset)\"")
        }
        return .backend(backendName(key, port, subset: subset))
    }

    private func noPort(_ port: Int, _ service: MeshService) -> String {
        let list = service.ports.map { String($0.port) }.joined(separator: ", ")
        return "Service \(service.key) has no port \(port), only \(list)"
    }
}
