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

extension KubeObject {
    /// Whether the owner with this uid, deleted in the foreground, waits for the end of this object.
    func blocks(_ owner: String) -> Bool { ownerReferences.contains { $0.uid == owner && $0.blocksDeletion } }

    /// The owners that waited for this object and no longer do, now that it is `changed`.
    func ownersReleased(by changed: KubeObject) -> [OwnerReference] {
        ownerReferences.filter { $0.blocksDeletion && !changed.blocks($0.uid) }
    }
}
