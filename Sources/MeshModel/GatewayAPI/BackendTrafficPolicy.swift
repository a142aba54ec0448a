package import KubeTypes
package import ProxyResources

/// A `gateway.networking.x-k8s.io` XBackendTrafficPolicy (experimental): how many retries a Service bears, and sessions with it.
package struct BackendTrafficPolicy: Sendable, Hashable, AgedPolicy {
    package var key: ObjectKey
    package var created: String
    package var services: [String]  // in the policy's own namespace
    package var retryBudget: RetryBudget?
    package var session: SessionPolicy?
    package var findings: [PolicyFinding]

    package var reference: PolicyReference { PolicyReference(.backendTrafficPolicies, key) }

    package init(_ object: KubeObject) {
        key = object.key
        created = object.creationTimestamp ?? ""
        var findings: [PolicyFinding] = []
        let spec = PolicyFields(object.spec, at: "spec", of: PolicyReference(.backendTrafficPolicies, object.key))
        spec.reportOthers(
            than: ["targetRefs", "retryConstraint", "sessionPersistence"], as: "it has no effect", to: &findings)
        services = []
        for target in spec.each("targetRefs") {
            guard target.string("kind") == "Service", (target.string("group") ?? "").isEmpty else {
                findings.append(target.finding("kind", .unsupported, "only a Service is a target"))
                continue
            }
            services.append(target.string("name") ?? "")
        }
        if let constraint = spec.inside("retryConstraint") {
            let budget = constraint.inside("budget")
            let rate = constraint.inside("minRetryRate")
            // Without its own words 20 % of what came in 10 s, and 10 in a second.
            let window = budget?.duration("interval", &findings) ?? 10_000
            let interval = rate?.duration("interval", &findings) ?? 1000
            let least = (rate?.int("count") ?? 10) * 1000 / max(1, interval)
            retryBudget = RetryBudget(
                percent: min(100, max(0, budget?.int("percent") ?? 20)),
                minPerSecond: min(1_000_000, max(0, least)), windowMilliseconds: min(3_600_000, max(1000, window)))
        }
        if let persistence = spec.inside("sessionPersistence") {
            session = SessionPolicy(persistence: persistence, &findings)
        }
        self.findings = findings
    }
}

/// Which policy each Service follows: the oldest that names it.
struct BackendTraffic {
    private var policies: [ObjectKey: BackendTrafficPolicy] = [:]
    private(set) var findings: [PolicyFinding] = []

    init(_ state: MeshState) {
        for policy in state.backendTrafficPolicies.values.oldestFirst() {
            for name in policy.services {
                let service = ObjectKey(namespace: policy.key.namespace, name: name)
                if state.services[service] == nil {
                    findings.append(
                        PolicyFinding(
                            policy.reference, "spec.targetRefs", .notFound, "Service \(service) does not exist"))
                } else if let older = policies[service] {
                    findings.append(
                        PolicyFinding(
                            policy.reference, "spec.targetRefs", .conflict,
                            "Service \(service) follows the older \(older.reference)"))
                } else {
                    policies[service] = policy
                }
            }
        }
    }

    /// What the policy says, where a DestinationRule or the Service has not said it.
    func apply(to backend: inout Backend, of service: ObjectKey) {
        guard let policy = policies[service] else { return }
        if backend.resilience.retryBudget == nil { backend.resilience.retryBudget = policy.retryBudget }
        if backend.balance.session == nil { backend.balance.session = policy.session }
    }
}
