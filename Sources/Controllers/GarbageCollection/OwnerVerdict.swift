import KubeTypes

/// What is known of one owner of an object.
enum OwnerState: Hashable {
    case there
    /// Gone, or another object of the same name.
    case absent
    /// Deleted in the foreground: it goes when the dependents that block it are gone.
    case awaitsDependents
}

/// What becomes of an object because of its owners.
enum CollectionVerdict: Hashable {
    case keep
    /// An owner that is there keeps it; it forgets these others, by uid.
    case forget([String])
    case delete(DeletionOrder)

    enum DeletionOrder: Hashable { case background, foreground, orphan }

    /// - Parameter hasDependents: whether objects that block the deletion depend on this one in turn.
    init(for object: KubeObject, owners: [(reference: OwnerReference, state: OwnerState)], hasDependents: Bool) {
        guard !owners.isEmpty else {
            self = .keep
            return
        }
        let gone = owners.filter { $0.state == .absent }
        let waiting = owners.filter { $0.state == .awaitsDependents }
        if owners.count > gone.count + waiting.count {
            let forgotten = (gone + waiting).map(\.reference.uid)
            self = forgotten.isEmpty ? .keep : .forget(forgotten)
            return
        }
        guard object.deletionTimestamp == nil else {
            self = .keep
            return
        }
        if !waiting.isEmpty, hasDependents {
            self = .delete(.foreground)
        } else if object.finalizers.contains("orphan") {
            self = .delete(.orphan)
        } else if object.finalizers.contains("foregroundDeletion") {
            self = .delete(.foreground)
        } else {
            self = .delete(.background)
        }
    }
}
