import KubeTypes
import ProxyResources

/// The DestinationRule in force for each service: one in the service's namespace first, then one in a root namespace, then
/// any other; exact hosts before wildcards; the oldest of equals.
struct SubsetRules {
    private var rules: [ObjectKey: DestinationRule] = [:]
    private(set) var findings: [PolicyFinding] = []

    init(_ state: MeshState) {
        let hosts = HostNames(state.settings)
        var used: Set<ObjectKey> = []
        let ordered = state.destinationRules.values.oldestFirst()
        for service in state.services.values {
            let name = state.settings.host(service.key.name, service.key.namespace)
            var best: (rank: Int, rule: DestinationRule)? = nil
            for rule in ordered {
                let full = hosts.full(rule.host, from: rule.key.namespace)
                guard hosts.covers(full, name) else { continue }
                used.insert(rule.key)
                var rank = full.hasPrefix("*") ? 0 : 10
                if rule.key.namespace == service.key.namespace {
                    rank += 2
                } else if state.settings.rootNamespaces.contains(rule.key.namespace) {
                    rank += 1
                }
                if rank > best?.rank ?? -1 { best = (rank, rule) }
            }
            rules[service.key] = best?.rule
        }
        for rule in ordered {
            if !used.contains(rule.key) {
                findings.append(
                    PolicyFinding(rule.reference, "spec.host", .notFound, "no service has the host \"\(rule.host)\""))
            } else if !rules.values.contains(where: { $0.key == rule.key }) {
                findings.append(
                    PolicyFinding(
                        rule.reference, "spec.host", .conflict, "another DestinationRule for this host is in force"))
            }
        }
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

    /// The service a full host names.
    func service(_ full: String) -> ObjectKey? {
        guard full.hasSuffix(suffix) else { return nil }
        let parts = full.dropLast(suffix.count).split(separator: ".").map(String.init)
        return parts.count == 2 ? ObjectKey(namespace: parts[1], name: parts[0]) : nil
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

    func resolve(_ reference: HTTPRoute.BackendReference, from namespace: String) -> Resolved {
        guard reference.group.isEmpty, reference.kind == "Service" else {
            let kind = reference.group.isEmpty ? reference.kind : "\(reference.kind).\(reference.group)"
            return .failed(
                reason: "InvalidKind", code: .unsupported, message: "kind \(kind) cannot be a backend, only Service")
        }
        let key = reference.key
        if key.namespace != namespace {
            let isPermitted = state.referenceGrants.values.contains {
                $0.key.namespace == key.namespace && $0.permits(routeIn: namespace, toService: key.name)
            }
            if !isPermitted {
                return .failed(
                    reason: "RefNotPermitted", code: .notPermitted,
                    message:
                        "no ReferenceGrant in namespace \(key.namespace) permits HTTPRoutes of \(namespace) to name Service \(key)"
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
        // A service in another namespace may also be written `name.namespace`.
        let short = full.split(separator: ".").map(String.init)
        let key = hosts.service(full) ?? (short.count == 2 ? ObjectKey(namespace: short[1], name: short[0]) : nil)
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
