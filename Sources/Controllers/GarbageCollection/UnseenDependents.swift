import KubeClient
import KubeTypes
import Synchronization

/// The dependents of an owner that our caches may not show yet.
///
/// Each kind has a watch of its own, so an owner's deletion may be seen before a dependent that was made earlier. Letting the owner go
/// then would end it before its dependents, or delete those that were to be orphaned. So kinds whose cache is behind the deletion are
/// listed; one listing serves all owners that were deleted before it.
final class UnseenDependents: Sendable {
    private struct Scope: Hashable {
        var type: ResourceType
        /// Empty for all.
        var namespace: String
    }
    private struct Listing {
        var version: Int
        /// By the uid of an owner.
        var owned: [String: [KubeObject]]
    }
    private let listings = Mutex<[Scope: Listing]>([:])

    /// Dependents of `owner` as of its last change at least, in kinds whose cache is older. A kind that cannot be listed has none.
    func dependents(
        of owner: KubeObject, _ kinds: WatchedKinds, _ api: any KubeAPI
    ) async -> [(place: GarbageCollector.Place, object: KubeObject)] {
        guard let version = Int(owner.resourceVersion) else { return [] }
        forgetSeen(kinds)
        var found: [(place: GarbageCollector.Place, object: KubeObject)] = []
        for (type, informer) in kinds.informers where type.isNamespaced || owner.namespace.isEmpty {
            let scope = Scope(type: type, namespace: owner.namespace)
            if informer.cache.version >= version { continue }
            for object in await owned(by: owner.uid, scope, version, api) {
                found.append((GarbageCollector.Place(type: type, key: object.key), object))
            }
        }
        return found
    }

    /// A listing holds all objects of its scope that have owners: once the cache has caught up, it has them too.
    private func forgetSeen(_ kinds: WatchedKinds) {
        listings.withLock { listings in
            listings = listings.filter { scope, listing in
                kinds.informer(scope.type).map { $0.cache.version < listing.version } ?? false
            }
        }
    }

    private func owned(
        by owner: String, _ scope: Scope, _ version: Int, _ api: any KubeAPI
    ) async -> [KubeObject] {
        let known = listings.withLock { listings in listings[scope] }
        if let known, known.version >= version { return known.owned[owner] ?? [] }
        guard let list = try? await api.list(scope.type, namespace: scope.namespace, .all) else { return [] }
        var listing = Listing(version: Int(list.resourceVersion) ?? 0, owned: [:])
        for object in list.items {
            for reference in object.ownerReferences { listing.owned[reference.uid, default: []].append(object) }
        }
        let answer = listing.owned[owner] ?? []
        listings.withLock { [listing] listings in
            if listing.version >= listings[scope]?.version ?? 0 { listings[scope] = listing }
        }
        return answer
    }
}
