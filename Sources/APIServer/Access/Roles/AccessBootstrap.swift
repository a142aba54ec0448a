import KubeClient
import KubeTypes
import Wire

/// Brings the default roles, bindings, priority levels and flow schemas to what they should be, at each start.
///
/// What somebody added stays; what is missing comes back, except in objects annotated with autoupdate "false".
struct AccessBootstrap: Sendable {
    let registry: Registry

    func run() async throws(APIFailure) {
        let wanted = AccessDefaults.load()
        let clusterRoles = RoleAggregation.settled(wanted.filter { $0.kind == "ClusterRole" })
        let all = clusterRoles + wanted.filter { $0.kind != "ClusterRole" }
        // All at once: the store writes them together.
        let outcome = await withTaskGroup(of: APIFailure?.self) { group in
            for object in all {
                group.addTask {
                    do throws(APIFailure) { try await ensure(object) } catch { return error }
                    return nil
                }
            }
            var first: APIFailure?
            for await failure in group where first == nil { first = failure }
            return first
        }
        if let outcome { throw outcome }
    }

    private func ensure(_ wanted: KubeObject) async throws(APIFailure) {
        guard let definition = registry.catalog.definition(apiVersion: wanted.apiVersion, kind: wanted.kind) else {
            throw .internalError("the catalog has no \(wanted.kind)")
        }
        let context = WriteContext(user: .apiServer)
        guard registry.exists(definition.storageType, wanted.key) else {
            _ = try await registry.create(definition, namespace: wanted.namespace, wanted, context)
            return
        }
        let found = try registry.get(definition, wanted.key)
        guard let changed = Self.reconciled(found, with: wanted) else { return }
        if changed.json["roleRef"] != found.json["roleRef"] {
            // A binding's role cannot be changed, only replaced.
            _ = try await registry.delete(definition, wanted.key, .init(uid: found.uid), context)
            _ = try await registry.create(definition, namespace: wanted.namespace, wanted, context)
            return
        }
        _ = try await registry.change(definition, wanted.key, context) { old throws(APIFailure) in
            Self.reconciled(old, with: wanted) ?? old
        }
    }

    /// What a found object should be; `nil` when it is so, or wants to be left alone.
    static func reconciled(_ found: KubeObject, with wanted: KubeObject) -> KubeObject? {
        for annotation in ["rbac.authorization.kubernetes.io/autoupdate", "apf.kubernetes.io/autoupdate-spec"]
        where found.annotations[annotation] == "false" { return nil }
        var fresh = found
        if wanted.json["spec"] != nil {
            // Levels and schemas without the annotation were made by somebody else.
            guard found.annotations["apf.kubernetes.io/autoupdate-spec"] == "true" else { return nil }
            fresh.json["spec"] = wanted.json["spec"]
            return fresh.json["spec"] == found.json["spec"] ? nil : fresh
        }
        for (label, value) in wanted.labels where found.labels[label] == nil { fresh.labels[label] = value }
        for (name, value) in wanted.annotations where found.annotations[name] == nil { fresh.annotations[name] = value }
        if let rule = wanted.json["aggregationRule"] {
            fresh.json["aggregationRule"] = rule
        } else if wanted.json["rules"] != nil, wanted.json["rules"] != found.json["rules"] {
            let held = PolicyRule.list(found.json["rules"])
            let missing = PolicyRule.compacted(PolicyRule.missing(PolicyRule.list(wanted.json["rules"]), from: held))
            if !missing.isEmpty {
                fresh.json["rules"] = .array((found.json["rules"]?.array ?? []) + missing.map(\.json))
            }
        }
        if let role = wanted.json["roleRef"] {
            fresh.json["roleRef"] = role
            let namespace = wanted.namespace
            let held = Set((found.json["subjects"]?.array ?? []).compactMap { RoleSubject($0, namespace: namespace) })
            let missing = (wanted.json["subjects"]?.array ?? []).filter { subject in
                RoleSubject(subject, namespace: namespace).map { !held.contains($0) } ?? false
            }
            if !missing.isEmpty {
                fresh.json["subjects"] = .array((found.json["subjects"]?.array ?? []) + missing)
            }
        }
        return fresh == found ? nil : fresh
    }
}
