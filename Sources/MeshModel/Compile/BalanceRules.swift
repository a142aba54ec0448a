import KubeTypes
import ProxyResources
import Wire

/// How a backend's endpoints are chosen, from what its Service and the DestinationRule in force say. The rule goes first.
struct BalanceRules {
    let service: MeshService
    let policy: TrafficPolicy

    func apply(to backend: inout Backend) {
        let loadBalancer = policy.loadBalancer
        var balance = loadBalancer?.balance ?? service.balance
        if let outlier = policy.outlier {
            backend.outlier = outlier.policy
            balance.panicPercent = outlier.panicPercent
        }
        balance.locality = locality(loadBalancer, hasOutlier: policy.outlier != nil)
        backend.balance = balance
    }

    /// As Istio has it, places make a difference where failing endpoints are found out, unless something else is said.
    private func locality(_ loadBalancer: TrafficPolicy.LoadBalancer?, hasOutlier: Bool) -> LocalityPolicy {
        if loadBalancer?.isLocalityOff ?? false { return LocalityPolicy() }
        if var said = loadBalancer?.locality {
            // Without outlier detection only fixed shares have an effect.
            if !hasOutlier { (said.prefer, said.failover) = ([], []) }
            return said
        }
        if service.locality != LocalityPolicy() { return service.locality }
        return hasOutlier ? LocalityPolicy(prefer: [.region, .zone, .subzone]) : LocalityPolicy()
    }
}

extension MeshWords {
    /// On a Service: `least-request`, `round-robin`, `random` or `peak-ewma`.
    package static let balance = "weft.dev/load-balancing"
}

extension MeshService {
    /// What a Service says by itself: an annotation of ours, session affinity, and where its traffic may go.
    static func balance(_ object: KubeObject) -> BalancePolicy {
        var policy = BalancePolicy()
        switch object.annotations[MeshWords.balance] {
        case "round-robin": policy.algorithm = .roundRobin
        case "random": policy.algorithm = .random
        case "peak-ewma": policy.algorithm = .peakEWMA
        default: break
        }
        if object.spec["sessionAffinity"]?.string == "ClientIP" {
            policy.algorithm = .maglev
            policy.hashOn = [HashInput(.source)]
        }
        return policy
    }

    static func locality(_ object: KubeObject) -> LocalityPolicy {
        if object.spec["internalTrafficPolicy"]?.string == "Local" {
            return LocalityPolicy(prefer: [.node], others: .never)
        }
        switch object.spec["trafficDistribution"]?.string {
        case "PreferClose", "PreferSameZone": return LocalityPolicy(prefer: [.zone])
        case "PreferSameNode": return LocalityPolicy(prefer: [.zone, .node])
        default: return LocalityPolicy()
        }
    }
}
