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
    /// What of the store it sees.
    let scope: String
    var selection: Selection { filter.selection }
    private(set) var revision: Int64

    init(
        _ registry: Registry, _ definition: ResourceDefinition, namespace: String, _ filter: ObjectFilter,
        from revision: Int64
    ) {
        self.registry = registry
        self.definition = definition
        self.filter = filter
        self.revision = revision
        var scope = StorageKey.scope(definition.storageType, namespace: namespace)
        if let name = filter.exactName, !namespace.isEmpty || !definition.type.isNamespaced { scope += name }
        self.scope = scope
        source = registry.store.watch(scope)
    }

    /// - Throws: `APIFailure` 410 when the history is gone, 500 when the server ends; `CancellationError`.
    mutating func next() async throws -> Step {
        switch try await nextSeen() {
        case .idle(let revision): return .idle(revision)
        case .events(let events):
            return .events(
                events.map { event in
                    var object = registry.object(event.record, as: definition, keeping: true)
                    if event.revision != event.record.revision { object.resourceVersion = String(event.revision) }
                    return WatchEvent(event.kind, object)
                })
        }
    }

    /// The same, with what the store has of each object.
    mutating func nextSeen() async throws -> SeenStep {
        while true {
            do {
                switch try await source.next(after: &revision) {
                case .idle(let revision):
                    try requireKind()
                    return .idle(revision)
                case .events(let events):
                    let seen = events.compactMap { self.seen($0) }
                    if !seen.isEmpty { return .events(try await registry.shown(seen, as: definition)) }
                }
            } catch let failure as StoreFailure {
                throw registry.failure(failure, definition.type, "")
            }
        }
    }

    /// What has happened and not been seen; `nil` when all has.
    mutating func poll() throws(APIFailure) -> [SeenEvent]? {
        do throws(StoreFailure) {
            let events = try source.poll(after: &revision)
            return events.isEmpty ? nil : events.compactMap { seen($0) }
        } catch {
            throw registry.failure(error, definition.type, "")
        }
    }

    /// Goes on from where somebody else has read to.
    mutating func skip(to revision: Int64) { self.revision = max(self.revision, revision) }

    /// A custom kind may be gone; its clients find that out when they come again.
    func requireKind() throws(APIFailure) {
        if definition.isCustom, registry.catalog.definition(of: definition.type) == nil {
            throw APIFailure.serverClosing
        }
    }

    /// Whether events can be shown without asking anybody.
    var isDirect: Bool { definition.custom?.conversion == nil }

    /// Makes a waiting `next` return `idle`.
    func nudge() { source.nudge() }

    private func matches(_ record: Record) -> Bool {
        filter.matches(registry.plainValue(record))
            ?? filter.matches(registry.object(record, as: definition, keeping: true))
    }

    /// An object that begins or stops to match is added or deleted for this reader.
    func seen(_ event: StoreEvent) -> SeenEvent? {
        let revision = event.revision
        func shown(_ kind: WatchEvent.Kind, _ record: Record) -> SeenEvent {
            SeenEvent(kind: kind, record: record, revision: revision)
        }
        if filter.matchesAll {
            switch event.kind {
            case .created: return shown(.added, event.record)
            case .updated: return shown(.modified, event.record)
            case .deleted: return shown(.deleted, event.record)
            }
        }
        let matches = event.kind != .deleted && matches(event.record)
        let matched = event.previous.map { self.matches($0) } ?? false
        switch (matched, matches) {
        case (false, false): return nil
        case (false, true): return shown(.added, event.record)
        case (true, true): return shown(.modified, event.record)
        case (true, false):
            return shown(.deleted, event.kind == .deleted ? event.record : event.previous ?? event.record)
        }
    }
}

/// An event as one reader sees it: the record to be shown, and the revision to be shown with it.
struct SeenEvent: Sendable {
    let kind: WatchEvent.Kind
    let record: Record
    let revision: Int64
}

enum SeenStep: Sendable {
    case events([SeenEvent])
    /// Nothing new up to this revision; for bookmarks.
    case idle(Int64)
}

extension Registry {
    /// `resourceVersion`: a version a list gave; "" and "0" start with what there is, as added events.
    /// - Returns: what to send first, and the watch that goes on from there.
    func watch(
        _ definition: ResourceDefinition, namespace: String, _ selection: Selection, from resourceVersion: String,
        sendInitial: Bool = false
    ) throws(APIFailure) -> (initial: [KubeObject], watch: RegistryWatch) {
        let (initial, watch) = try watchRecords(
            definition, namespace: namespace, selection, from: resourceVersion, sendInitial: sendInitial)
        return (initial.map { object($0, as: definition) }, watch)
    }

    func watchRecords(
        _ definition: ResourceDefinition, namespace: String, _ selection: Selection, from resourceVersion: String,
        sendInitial: Bool = false
    ) throws(APIFailure) -> (initial: [Record], watch: RegistryWatch) {
        let filter = try ObjectFilter(selection, definition)
        if sendInitial || resourceVersion.isEmpty || resourceVersion == "0" {
            if let asked = Int64(resourceVersion), asked > store.revision {
                throw Self.tooLarge(asked, store.revision)
            }
            let now = try records(definition, namespace: namespace, selection)
            return (now.records, RegistryWatch(self, definition, namespace: namespace, filter, from: now.revision))
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
