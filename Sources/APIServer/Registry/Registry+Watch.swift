import KubeClient
import KubeTypes
import Store
import Wire

/// One reader's watch over a kind: the store's events as that reader's selection sees them.
struct RegistryWatch: Sendable {
    enum Step: Sendable {
        case events([WatchEvent])
        /// Nothing new up to this revision; for bookmarks.
        case idle(Int64)
    }

    private let registry: Registry
    private let definition: ResourceDefinition
    private let filter: ObjectFilter
    private let source: StoreWatch
    private(set) var revision: Int64

    init(
        _ registry: Registry, _ definition: ResourceDefinition, namespace: String, _ filter: ObjectFilter,
        from revision: Int64
    ) {
        self.registry = registry
        self.definition = definition
        self.filter = filter
        self.revision = revision
        var scope = StorageKey.scope(definition.type, namespace: namespace)
        if let name = filter.exactName, !namespace.isEmpty || !definition.type.isNamespaced { scope += name }
        source = registry.store.watch(scope)
    }

    /// - Throws: `APIFailure` 410 when the history is gone, 500 when the server ends; `CancellationError`.
    mutating func next() async throws -> Step {
        while true {
            do {
                switch try await source.next(after: &revision) {
                case .idle(let revision):
                    // A custom kind may be gone; its clients find that out when they come again.
                    if definition.isCustom, registry.catalog.definition(of: definition.type) == nil {
                        throw APIFailure.serverClosing
                    }
                    return .idle(revision)
                case .events(let events):
                    let seen = events.compactMap { event($0) }
                    if !seen.isEmpty { return .events(seen) }
                }
            } catch let failure as StoreFailure {
                throw registry.failure(failure, definition.type, "")
            }
        }
    }

    /// Makes a waiting `next` return `idle`.
    func nudge() { source.nudge() }

    /// An object that begins or stops to match is added or deleted for this reader.
    private func event(_ event: StoreEvent) -> WatchEvent? {
        let object = registry.object(event.record, as: definition, keeping: true)
        if filter.matchesAll {
            switch event.kind {
            case .created: return WatchEvent(.added, object)
            case .updated: return WatchEvent(.modified, object)
            case .deleted: return WatchEvent(.deleted, object)
            }
        }
        let matches = event.kind != .deleted && filter.matches(object)
        var matched = false
        var before: KubeObject?
        if let previous = event.previous {
            let old = registry.object(previous, as: definition, keeping: true)
            matched = filter.matches(old)
            before = old
        }
        switch (matched, matches) {
        case (false, false): return nil
        case (false, true): return WatchEvent(.added, object)
        case (true, true): return WatchEvent(.modified, object)
        case (true, false):
            var last = event.kind == .deleted ? object : before ?? object
            last.resourceVersion = String(event.revision)
            return WatchEvent(.deleted, last)
        }
    }
}

extension Registry {
    /// `resourceVersion`: a version a list gave; "" and "0" start with what there is, as added events.
    /// - Returns: what to send first, and the watch that goes on from there.
    func watch(
        _ definition: ResourceDefinition, namespace: String, _ selection: Selection, from resourceVersion: String,
        sendInitial: Bool = false
    ) throws(APIFailure) -> (initial: [KubeObject], watch: RegistryWatch) {
        let filter = try ObjectFilter(selection, definition)
        if sendInitial || resourceVersion.isEmpty || resourceVersion == "0" {
            let now = try list(definition, namespace: namespace, selection)
            let revision = Int64(now.resourceVersion) ?? 0
            return (now.items, RegistryWatch(self, definition, namespace: namespace, filter, from: revision))
        }
        guard let revision = Int64(resourceVersion), revision > 0 else {
            throw .badRequest(
                "resourceVersion: Invalid value: \"\(resourceVersion)\": it is not a resource version of this server")
        }
        let latest = store.revision
        guard revision <= latest else { throw Self.tooLarge(revision, latest) }
        let horizon = store.horizon
        guard revision >= horizon else { throw .expired("too old resource version: \(revision) (\(horizon))") }
        return ([], RegistryWatch(self, definition, namespace: namespace, filter, from: revision))
    }
}
