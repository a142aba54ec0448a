import KubeClient
import KubeTypes
import Synchronization

/// The kinds whose objects may own or be owned, each with its informer. Custom kinds come and go while the cluster runs.
final class WatchedKinds: Sendable {
    private struct Kind: Hashable {
        var apiVersion: String
        var kind: String
    }
    private struct State {
        var informers: [ResourceType: Informer] = [:]
        var types: [Kind: ResourceType] = [:]
    }

    private let plane: ControlPlane
    private let served: @Sendable () -> [ResourceType]
    private let state = Mutex(State())

    init(_ plane: ControlPlane, _ served: @escaping @Sendable () -> [ResourceType]) {
        self.plane = plane
        self.served = served
    }

    typealias Watched = (type: ResourceType, informer: Informer)

    /// Looks at what is served now.
    ///
    /// - Returns: the kinds that are new, and those that are gone, whose informers have ended.
    @discardableResult
    func refresh() -> (fresh: [Watched], gone: [Watched]) {
        var types: [Kind: ResourceType] = [:]
        for type in served() where type != .events { types[Kind(apiVersion: type.apiVersion, kind: type.kind)] = type }
        let all = Set(types.values)
        let (unknown, gone) = state.withLock { state in
            state.types = types
            let gone = state.informers.filter { !all.contains($0.key) }
            for type in gone.keys { state.informers[type] = nil }
            return (all.filter { state.informers[$0] == nil }, gone)
        }
        for type in gone.keys { plane.informers.drop(type) }
        let fresh = unknown.map { ($0, plane.informers.informer($0, indexes: [.uid])) }
        state.withLock { state in
            for (type, informer) in fresh { state.informers[type] = informer }
        }
        return (fresh, gone.map { ($0.key, $0.value) })
    }

    func informer(_ type: ResourceType) -> Informer? { state.withLock { $0.informers[type] } }

    var informers: [Watched] {
        state.withLock { state in state.informers.map { ($0.key, $0.value) } }
    }

    /// What a reference means; another version of the kind will do.
    func type(of owner: OwnerReference) -> ResourceType? {
        state.withLock { state in
            if let type = state.types[Kind(apiVersion: owner.apiVersion, kind: owner.kind)] { return type }
            let group = APIVersion.group(of: owner.apiVersion)
            return state.types.values.first { $0.group == group && $0.kind == owner.kind }
        }
    }
}
