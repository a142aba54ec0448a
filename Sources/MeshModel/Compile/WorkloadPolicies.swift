import KubeTypes
import ProxyResources

/// Finds what a pod asks of those who call it: policies of its own namespace and of the root namespaces.
struct WorkloadPolicies {
    private let state: MeshState
    private let access: [AccessPolicy]
    private let tokens: [RequestAuthentication]
    private(set) var findings: [PolicyFinding] = []

    init(_ state: MeshState) {
        self.state = state
        access = state.accessPolicies.values.oldestFirst()
        tokens = state.requestAuthentications.values.oldestFirst()
        for policy in access where policy.action == .custom && state.authorizers[policy.provider] == nil {
            findings.append(
                PolicyFinding(
                    policy.reference, "spec.provider.name", .notFound,
                    "no extension provider is called \"\(policy.provider)\": what the policy is about is refused"))
        }
        for policy in access { reportMissingTargets(policy.scope, policy.key, policy.reference) }
        for policy in tokens {
            reportMissingTargets(policy.scope, policy.key, policy.reference)
            for rule in policy.rules where !rule.keysAddress.isEmpty && state.keySets[rule.keysAddress] == nil {
                findings.append(
                    PolicyFinding(
                        policy.reference, "spec.jwtRules", .notFound,
                        "the keys at \(rule.keysAddress) have not been fetched: tokens of \(rule.token.issuer) are refused"
                    ))
            }
        }
    }

    private mutating func reportMissingTargets(_ scope: PolicyScope, _ key: ObjectKey, _ reference: PolicyReference) {
        for name in scope.gateways where state.gateways[ObjectKey(namespace: key.namespace, name: name)] == nil {
            findings.append(PolicyFinding(reference, "spec.targetRefs", .notFound, "Gateway \(name) does not exist"))
        }
    }

    /// - Parameter ports: those a gateway's pod listens on for a Gateway.
    func security(of pod: MeshPod, ports: (ObjectKey) -> [Int]) -> WorkloadSecurity {
        var security = WorkloadSecurity()
        for policy in access {
            guard let covered = coverage(policy.scope, policy.key, pod, ports) else { continue }
            var made = AuthorizationPolicy(
                name: "\(policy.key)", action: policy.action, isDryRun: policy.isDryRun, ports: covered,
                provider: policy.provider, rules: policy.rules)
            if policy.action == .custom {
                if let authorizer = state.authorizers[policy.provider] {
                    if !security.authorizers.contains(authorizer) { security.authorizers.append(authorizer) }
                } else {
                    (made.action, made.provider) = (.deny, "")
                }
            }
            security.policies.append(made)
        }
        for policy in tokens {
            guard coverage(policy.scope, policy.key, pod, ports) != nil else { continue }
            for rule in policy.rules {
                var token = rule.token
                if !rule.keysAddress.isEmpty { token.keys = state.keySets[rule.keysAddress] ?? "" }
                security.tokenRules.append(token)
            }
        }
        security.revoked = state.revoked
        return security
    }

    /// The ports of a pod a policy is about, none standing for all; `nil` when it is not about the pod.
    private func coverage(
        _ scope: PolicyScope, _ key: ObjectKey, _ pod: MeshPod, _ ports: (ObjectKey) -> [Int]
    ) -> [Int]? {
        if scope.isAboutNobody { return nil }
        if !scope.gateways.isEmpty {
            let found = scope.gateways.flatMap { ports(ObjectKey(namespace: key.namespace, name: $0)) }
            return found.isEmpty ? nil : Set(found).sorted()
        }
        let isNear = key.namespace == pod.key.namespace || state.settings.rootNamespaces.contains(key.namespace)
        return isNear && pod.isSelected(by: scope.selector) ? [] : nil
    }
}
