import KubeClient
import KubeTypes
import Store
import Synchronization

/// How often objects of some kinds were written: those who keep something made of them ask whether it still holds.
final class KindWrites: Sendable {
    final class Counter: Sendable {
        private let changes = Atomic<Int>(0)
        private let members = Atomic<Int>(0)

        func count(onlyMembership: Bool) -> Int {
            onlyMembership ? members.load(ordering: .acquiring) : changes.load(ordering: .acquiring)
        }
        func add(isMembership: Bool) {
            if isMembership { members.add(1, ordering: .acquiringAndReleasing) }
            changes.add(1, ordering: .acquiringAndReleasing)
        }
    }

    private struct Entry {
        let group: String
        let type: ResourceType
        let counter: Counter
    }

    /// By the resource's name.
    private let entries = Mutex<[String: [Entry]]>([:])

    func counter(_ type: ResourceType) -> Counter {
        entries.withLock { entries in
            let same = entries[type.resource] ?? []
            if let known = same.first(where: { $0.group == type.group }) { return known.counter }
            let made = Counter()
            entries[type.resource] = same + [Entry(group: type.group, type: type, counter: made)]
            return made
        }
    }

    /// Called after each write, before it is answered: who wrote sees the effect with the next request.
    ///
    /// - Parameter isMembership: an object has come or gone, rather than changed.
    func note(_ type: ResourceType, isMembership: Bool) {
        let entry = entries.withLock { $0[type.resource]?.first { $0.group == type.group } }
        entry?.counter.add(isMembership: isMembership)
    }

    /// The kinds somebody asks about.
    var types: [ResourceType] { entries.withLock { $0.values.flatMap { $0.map(\.type) } } }
}

/// Something made of all objects of a kind, once for each change of them rather than for each request.
final class KindIndex<Made: Sendable>: Sendable {
    private struct State {
        var version = -1
        var made: Made?
    }
    private let registry: Registry
    private let type: ResourceType
    private let writes: KindWrites.Counter
    private let onlyMembership: Bool
    private let make: @Sendable ([KubeObject]) -> Made
    private let state = Mutex(State())

    /// - Parameter onlyMembership: what is made does not change while objects only change.
    init(
        _ registry: Registry, _ type: ResourceType, onlyMembership: Bool = false,
        make: @escaping @Sendable ([KubeObject]) -> Made
    ) {
        self.registry = registry
        self.type = type
        self.onlyMembership = onlyMembership
        self.make = make
        writes = registry.writes.counter(type)
    }

    func current() async throws(APIFailure) -> Made {
        let version = writes.count(onlyMembership: onlyMembership)
        let kept = state.withLock { $0.version == version ? $0.made : nil }
        if let kept { return kept }
        let definition = try registry.definition(of: type)
        let made = make(try registry.list(definition, namespace: "", .all).items)
        state.withLock { state in
            // A slower maker must not replace what a later one has made.
            if version >= state.version { state = State(version: version, made: made) }
        }
        return made
    }
}

/// Single objects that many requests look at, decoded once for each revision.
final class ObjectLookup: Sendable {
    private struct Kept {
        var revision: Int64
        var object: KubeObject
    }
    private static let most = 4096

    private let registry: Registry
    private let type: ResourceType
    private let kept = Mutex<[ObjectKey: Kept]>([:])

    init(_ registry: Registry, _ type: ResourceType) {
        self.registry = registry
        self.type = type
    }

    /// - Returns: `nil` when there is none.
    func find(_ key: ObjectKey) async throws(APIFailure) -> KubeObject? {
        guard let record = registry.store.get(StorageKey.key(type, key)) else { return nil }
        if let known = kept.withLock({ $0[key] }), known.revision == record.revision { return known.object }
        let object = registry.object(record, as: try registry.definition(of: type))
        kept.withLock { kept in
            if kept.count >= Self.most { kept.removeAll(keepingCapacity: true) }
            kept[key] = Kept(revision: record.revision, object: object)
        }
        return object
    }
}
