import KubeTypes
import Wire

/// What still stands in a namespace that is being deleted.
struct NamespaceContent {
    /// Objects left, by type.
    var left: [ResourceType: Int] = [:]
    /// Objects left, by finalizer that holds them.
    var held: [String: Int] = [:]
    /// Types that could not be listed or deleted, with the reason.
    var failures: [String] = []

    var isEmpty: Bool { left.isEmpty && failures.isEmpty }

    /// The namespace with conditions that say what it waits for.
    func status(of namespace: KubeObject, now: Timestamp) -> JSON {
        var conditions = Conditions(namespace[Namespace.conditions] ?? [])
        func set(_ type: String, _ status: String, _ reason: String, _ message: String) {
            conditions.set(
                type, status, reason: reason, message: message, now: now,
                refresh: conditions[type]?["message"]?.string != message)
        }
        if failures.isEmpty {
            set(
                "NamespaceDeletionContentFailure", "False", "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization")
        } else {
            set(
                "NamespaceDeletionContentFailure", "True", "ContentDeletionFailed",
                failures.sorted().joined(separator: ", "))
        }
        if left.isEmpty {
            set("NamespaceContentRemaining", "False", "ContentRemoved", "All content successfully removed")
        } else {
            let list = left.map { "\($0.qualifiedName) has \($1) resource instances" }.sorted().joined(separator: ", ")
            set("NamespaceContentRemaining", "True", "SomeResourcesRemain", "Some resources are remaining: \(list)")
        }
        if held.isEmpty {
            set(
                "NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers",
                "All content-preserving finalizers finished")
        } else {
            let list = held.map { "\($0) in \($1) resource instances" }.sorted().joined(separator: ", ")
            set(
                "NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain",
                "Some content in the namespace has finalizers remaining: \(list)")
        }
        var status = namespace.status
        status["phase"] = "Terminating"
        status["conditions"] = .array(conditions.list)
        return status
    }
}
