import KubeClient
import KubeTypes
import Wire

/// Says in the status of each ValidatingAdmissionPolicy that it was taken up, and what its expressions get wrong.
struct PolicyStatus: Sendable {
    let registry: Registry

    /// Until cancelled, or the server ends.
    func run() async {
        while !Task.isCancelled {
            do {
                let definition = try registry.definition(of: AdmissionKind.validatingPolicies)
                var (initial, watch) = try registry.watch(definition, namespace: "", .all, from: "")
                for policy in initial { await note(policy) }
                initial = []
                while true {
                    guard case .events(let events) = try await watch.next() else { continue }
                    for event in events where event.kind != .deleted { await note(event.object) }
                }
            } catch let failure as APIFailure where failure.isExpired {
                continue
            } catch {
                return
            }
        }
    }

    private func note(_ policy: KubeObject) async {
        if policy.status["observedGeneration"]?.int == policy.generation { return }
        guard let definition = try? registry.definition(of: AdmissionKind.validatingPolicies) else { return }
        var context = WriteContext(user: .apiServer)
        context.isAdmitted = true
        let warnings = PolicyTypeCheck(registry.catalog).warnings(policy)
        _ = try? await registry.change(definition, policy.key, subresource: "status", context) {
            old throws(APIFailure) in
            guard old.generation == policy.generation else { return old }
            var fresh = old
            fresh.json[path: ["status", "observedGeneration"]] = .int(Int64(policy.generation))
            var checking = JSON.object(JSONObject())
            if !warnings.isEmpty { checking["expressionWarnings"] = .array(warnings) }
            fresh.json[path: ["status", "typeChecking"]] = checking
            return fresh
        }
    }
}
