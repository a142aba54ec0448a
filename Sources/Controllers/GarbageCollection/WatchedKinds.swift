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

    /// Looks at what is served now.
    /// - Returns: the kinds that are new.
    @discardableResult
    func refresh() -> [(type: ResourceType, informer: Informer)] {
        let known = state.withLock { Set($0.types.values) }
        var fresh: [(type: ResourceType, informer: Informer)] = []
        var all: [Kind: ResourceType] = [:]
        for type in served() where type != .events {
            all[Kind(apiVersion: type.apiVersion, kind: type.kind)] = type
            if known.contains(type) { continue }
            fresh.append((type, plane.informers.informer(type, indexes: [.uid])))
        }
        state.withLock { state in
            state.types = all
            for (type, informer) in fresh { state.informers[type] = informer }
        }
        return fresh
    }

    func informer(_ type: ResourceType) -> Informer? { state.withLock { $0.informers[type] } }

    var informers: [(type: ResourceType, informer: Informer)] {
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
