import KubeClient
import KubeTypes
import Logging
import Wire

/// Deletes what its owners left behind, and finishes deletions in the foreground and orphaning.
struct GarbageCollector: Sendable {
    /// One object of whatever type.
    struct Place: Hashable, Sendable, CustomStringConvertible {
        var type: ResourceType
        var key: ObjectKey
        var description: String { "\(type.qualifiedName) \(key)" }
    }

    private let plane: ControlPlane
    private let kinds: WatchedKinds
    private let unseen = UnseenDependents()
    private let queue: WorkQueue<Place>
    /// Between two looks at which kinds there are.
    private static let interval = Duration.seconds(2)

    /// - Parameter types: all types whose objects may own or be owned, as they are served now.
    init(_ plane: ControlPlane, types: @escaping @Sendable () -> [ResourceType]) {
        self.plane = plane
        kinds = WatchedKinds(plane, types)
        queue = WorkQueue(clock: plane.clock)
    }

    /// Runs until the task is cancelled.
    func run() async {
        lookForKinds()
        await withDiscardingTaskGroup { group in
            group.addTask {
                while !Task.isCancelled {
                    do { try await Task.sleep(for: Self.interval) } catch { return }
                    lookForKinds()
                }
            }
            await queue.run(workers: 4) { place in
                do throws(APIFailure) {
                    try await collect(place)
                    queue.forget(place)
                } catch {
                    if !error.isConflict, !error.isNotFound {
                        plane.logger.debug("garbage collection of \(place): \(error)")
                    }
                    queue.retry(place)
                }
            }
            group.cancelAll()
        }
    }

    private func lookForKinds() {
        let (fresh, gone) = kinds.refresh()
        for (type, informer) in fresh {
            informer.onChange { change in look(at: change, type) }
        }
        // Their ends may have come after the last look at the kind; what they owned is looked at either way.
        for (type, informer) in gone {
            for object in informer.cache.all { look(at: .removed(object), type) }
        }
    }

    private func look(at change: CacheChange, _ type: ResourceType) {
        let object = change.object
        if change.isRemoval {
            for place in dependents(of: object.uid) { queue.add(place) }
            // An owner deleted in the foreground may have waited for this one.
            for owner in object.ownerReferences {
                if let place = place(of: owner, namespace: object.namespace) { queue.add(place) }
            }
            return
        }
        if case .changed(let old, let new) = change, Self.isUninteresting(old, new) { return }
        let isEnding = object.deletionTimestamp != nil && !object.finalizers.isEmpty
        if isEnding || !object.ownerReferences.isEmpty { queue.add(Place(type: type, key: object.key)) }
        if case .changed(let old, _) = change, old.deletionTimestamp == nil, isEnding {
            for place in dependents(of: object.uid) { queue.add(place) }
        }
        guard case .changed(let old, _) = change else { return }
        if old.uid != object.uid {
            for place in dependents(of: old.uid) { queue.add(place) }
        }
        // An owner that waited for this one may go now.
        for owner in old.ownersReleased(by: object) {
            if let place = place(of: owner, namespace: object.namespace) { queue.add(place) }
        }
    }

    /// Most changes are of spec or status, which do not concern owners.
    private static func isUninteresting(_ old: KubeObject, _ new: KubeObject) -> Bool {
        old.uid == new.uid && old.deletionTimestamp == new.deletionTimestamp && old.finalizers == new.finalizers
            && old.metadata["ownerReferences"] == new.metadata["ownerReferences"]
    }

    // MARK: One object

    func collect(_ place: Place) async throws(APIFailure) {
        guard let object = kinds.informer(place.type)?.cache[place.key] else { return }
        if object.deletionTimestamp != nil {
            if object.finalizers.contains("orphan") {
                try await orphan(object, place)
                return
            }
            if object.finalizers.contains("foregroundDeletion") {
                try await finishForeground(object, place)
                return
            }
        }
        var owners: [(reference: OwnerReference, state: OwnerState)] = []
        for owner in object.ownerReferences {
            owners.append((owner, try await state(of: owner, namespace: object.namespace)))
        }
        let isAwaited = owners.contains { $0.state == .awaitsDependents }
        let own = isAwaited ? dependents(of: object.uid) : []
        let hasDependents = !own.isEmpty
        // A circle: what waits for this one is waited for by it, so one of them must not block.
        var version = object.resourceVersion
        if own.contains(where: awaitsDependents) { version = try await unblock(object, place) ?? version }
        let verdict = CollectionVerdict(for: object, owners: owners, hasDependents: hasDependents)
        switch verdict {
        case .keep: return
        case .forget(let uids): try await forget(uids, object, place)
        case .delete(let order):
            let propagation: DeleteOptions.Propagation =
                switch order {
                case .background: .background
                case .foreground: .foreground
                case .orphan: .orphan
                }
            let options = DeleteOptions(
                propagation: propagation, uid: object.uid, resourceVersion: version)
            try await ignoringAbsence { () throws(APIFailure) in
                try await plane.api.delete(place.type, place.key, options)
            }
        }
    }

    /// Deletes the dependents that block `object`, and lets it go when none is left.
    private func finishForeground(_ object: KubeObject, _ place: Place) async throws(APIFailure) {
        let all = dependents(of: object.uid)
        var blocking = 0
        for dependent in all {
            guard let found = kinds.informer(dependent.type)?.cache[dependent.key] else { continue }
            if found.blocks(object.uid) { blocking += 1 }
            if found.deletionTimestamp == nil { queue.add(dependent) }
        }
        guard blocking == 0 else { return }
        // One that no cache shows yet comes with its own change, and this owner again with its end.
        let others = await unseen.dependents(of: object, kinds, plane.api)
        if others.contains(where: { $0.object.blocks(object.uid) }) { return }
        try await remove("foregroundDeletion", from: object, place)
    }

    /// Makes the dependents forget `object`, then lets it go.
    private func orphan(_ object: KubeObject, _ place: Place) async throws(APIFailure) {
        for dependent in dependents(of: object.uid) {
            guard let found = kinds.informer(dependent.type)?.cache[dependent.key] else { continue }
            try await forget([object.uid], found, dependent)
        }
        for (dependent, found) in await unseen.dependents(of: object, kinds, plane.api) {
            try await forget([object.uid], found, dependent)
        }
        try await remove("orphan", from: object, place)
    }

    private func remove(_ finalizer: String, from object: KubeObject, _ place: Place) async throws(APIFailure) {
        try await ignoringAbsence { () throws(APIFailure) in
            var latest = try await plane.api.get(place.type, place.key)
            guard latest.uid == object.uid, latest.finalizers.contains(finalizer) else { return }
            latest.finalizers = latest.finalizers.filter { $0 != finalizer }
            _ = try await plane.api.update(place.type, latest)
        }
    }

    private func forget(_ uids: [String], _ object: KubeObject, _ place: Place) async throws(APIFailure) {
        try await ignoringAbsence { () throws(APIFailure) in
            var latest = try await plane.api.get(place.type, place.key)
            guard latest.uid == object.uid else { return }
            let left = latest.ownerReferences.filter { !uids.contains($0.uid) }
            guard left.count != latest.ownerReferences.count else { return }
            latest.ownerReferences = left
            _ = try await plane.api.update(place.type, latest)
        }
    }

    private func awaitsDependents(_ place: Place) -> Bool {
        guard let found = kinds.informer(place.type)?.cache[place.key] else { return false }
        return Self.state(of: found) == .awaitsDependents
    }

    /// Lets the owners of `object` go without it.
    /// - Returns: its version since then; `nil` when there was nothing to do.
    private func unblock(_ object: KubeObject, _ place: Place) async throws(APIFailure) -> String? {
        var version: String?
        try await ignoringAbsence { () throws(APIFailure) in
            var latest = try await plane.api.get(place.type, place.key)
            guard latest.uid == object.uid, latest.ownerReferences.contains(where: \.blocksDeletion) else { return }
            var references = latest.ownerReferences
            for place in references.indices { references[place].blocksDeletion = false }
            latest.ownerReferences = references
            version = try await plane.api.update(place.type, latest).resourceVersion
        }
        return version
    }

    private func ignoringAbsence(_ action: () async throws(APIFailure) -> Void) async throws(APIFailure) {
        do throws(APIFailure) {
            try await action()
        } catch {
            guard error.isNotFound else { throw error }
        }
    }

    // MARK: Relations

    /// The server is asked before an owner counts as absent: the cache may not have it yet.
    private func state(of owner: OwnerReference, namespace: String) async throws(APIFailure) -> OwnerState {
        guard let place = place(of: owner, namespace: namespace) else {
            // A kind we do not watch: nothing is known, so nothing is deleted.
            return .there
        }
        if let cached = kinds.informer(place.type)?.cache[place.key], cached.uid == owner.uid {
            return Self.state(of: cached)
        }
        do throws(APIFailure) {
            let found = try await plane.api.get(place.type, place.key)
            return found.uid == owner.uid ? Self.state(of: found) : .absent
        } catch {
            guard error.isNotFound else { throw error }
            return .absent
        }
    }

    private static func state(of owner: KubeObject) -> OwnerState {
        owner.deletionTimestamp != nil && owner.finalizers.contains("foregroundDeletion") ? .awaitsDependents : .there
    }

    /// Owners stand in the namespace of what they own, or in none.
    private func place(of owner: OwnerReference, namespace: String) -> Place? {
        guard let type = kinds.type(of: owner) else { return nil }
        return Place(type: type, key: ObjectKey(namespace: type.isNamespaced ? namespace : "", name: owner.name))
    }

    private func dependents(of uid: String) -> [Place] {
        kinds.informers.flatMap { type, informer in
            informer.cache.owned(by: uid).map { Place(type: type, key: $0.key) }
        }
    }
}
