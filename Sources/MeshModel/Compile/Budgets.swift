package import KubeTypes
import ProxyResources

/// The global limits of all policies. Limits of one namespace and name share one budget, so they must say the same.
struct Budgets {
    private(set) var limits: [String: RateLimit] = [:]
    private(set) var findings: [PolicyFinding] = []
    private var givers: [String: PolicyReference] = [:]

    init(_ state: MeshState) {
        for route in state.routes.sorted(by: { ($0.created, $0.reference) < ($1.created, $1.reference) }) {
            let list = route.resilience.value?.rateLimits ?? []
            add(list, route.reference, "metadata.annotations[\(MeshWords.resilience)]: rateLimits")
        }
        for service in state.virtualServices.values.oldestFirst() {
            let list = service.resilience.value?.rateLimits ?? []
            add(list, service.reference, "metadata.annotations[\(MeshWords.resilience)]: rateLimits")
        }
        for (key, pod) in state.pods.sorted(by: { $0.key < $1.key }) where !pod.isFinished {
            let list = pod.rateLimits.value ?? []
            add(list, PolicyReference(.pods, key), "metadata.annotations[\(MeshWords.rateLimits)]: limits")
        }
    }

    private mutating func add(_ list: [RateLimit], _ giver: PolicyReference, _ field: String) {
        for (place, limit) in list.enumerated() {
            guard let budget = limit.global?.budget else { continue }
            guard let known = limits[budget], let first = givers[budget] else {
                limits[budget] = limit
                givers[budget] = giver
                continue
            }
            if known.shares(with: limit) { continue }
            findings.append(
                PolicyFinding(
                    giver, "\(field)[\(place)]", .conflict,
                    "the budget \(budget) is \(known.terms) by \(first), and that holds; this says \(limit.terms)"))
        }
    }
}

extension RateLimit {
    fileprivate func shares(with other: RateLimit) -> Bool {
        requests == other.requests && perMilliseconds == other.perMilliseconds && burst == other.burst
            && key == other.key && maxKeys == other.maxKeys
    }

    fileprivate var terms: String {
        let limit = "\(requests) requests in \(perMilliseconds) ms"
        let sudden = burst > 0 ? ", \(burst) at once" : ""
        switch key {
        case .none: return limit + sudden
        case .header(let name): return "\(limit)\(sudden) for each header:\(name)"
        case .principal: return "\(limit)\(sudden) for each principal"
        case .address: return "\(limit)\(sudden) for each address"
        case .path: return "\(limit)\(sudden) for each path"
        }
    }
}

extension MeshModel {
    /// The budgets a pod's configuration has, which are those its proxy may lease tokens of.
    package func budgets(of pod: ObjectKey) -> Set<String> {
        guard let workload = workloads[pod], !budgets.isEmpty else { return [] }
        var found: Set<String> = []
        func add(_ limits: [RateLimit]) {
            for limit in limits { if let budget = limit.global?.budget { found.insert(budget) } }
        }
        add(workload.rateLimits)
        for port in workload.inboundPorts { add(port.rateLimits) }
        for listener in workload.gatewayListeners {
            for host in listener.routes { for rule in host.rules { add(rule.resilience.rateLimits) } }
        }
        for port in servicePorts.values { for rule in port.routes { add(rule.resilience.rateLimits) } }
        for rules in (routesOfClients[pod.namespace] ?? [:]).values {
            for rule in rules.requests { add(rule.resilience.rateLimits) }
        }
        return found
    }
}
