import KubeTypes

/// A policy of either kind, compiled.
protocol CompiledPolicy: Sendable {
    var common: AdmissionPolicy { get }
    init(_ object: KubeObject)
}

/// The policies of one kind with what binds them, compiled once after each change of them.
struct BoundPolicies<Policy: CompiledPolicy>: Sendable {
    private let policies: KindIndex<[Policy]>
    private let bindings: KindIndex<[String: [PolicyBinding]]>

    init(_ registry: Registry, _ policies: ResourceType, _ bindings: ResourceType) {
        self.policies = KindIndex(registry, policies) { objects in
            objects.sorted { $0.name < $1.name }.map { Policy($0) }
        }
        self.bindings = KindIndex(registry, bindings) { PolicyBinding.byPolicy($0) }
    }

    func isEmpty() async throws(APIFailure) -> Bool { try await policies.current().isEmpty }

    /// Each policy with each of its bindings, by the policies' names; none for what decides over admission itself.
    func pairs(for request: AdmissionRequest) async throws(APIFailure) -> [(policy: Policy, binding: PolicyBinding)] {
        let policies = try await policies.current()
        if policies.isEmpty || request.isOfAdmissionItself { return [] }
        let bindings = try await bindings.current()
        if bindings.isEmpty { return [] }
        return policies.flatMap { policy in
            (bindings[policy.common.name] ?? []).map { (policy: policy, binding: $0) }
        }
    }
}
