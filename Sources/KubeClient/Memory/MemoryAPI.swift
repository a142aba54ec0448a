package import KubeTypes
import Synchronization
package import Wire

/// The API over objects in memory: versions, conflicts, finalizers, selectors and watches as the server has them, but no
/// schemas, defaults or admission.
package final class MemoryAPI: KubeAPI {
    package enum Verb: String, Sendable { case get, list, create, update, patch, delete, bind, watch }

    /// A request as a fault sees it; `subresource` is empty for the object itself.
    package struct Request: Sendable {
        package var verb: Verb
        package var type: ResourceType
        package var key: ObjectKey
        package var subresource = ""
    }

    private struct Watcher {
        var type: ResourceType
        var namespace: String
        var filter: SelectionFilter
        var stream: AsyncThrowingStream<WatchEvent, any Error>.Continuation
    }

    private struct State {
        var objects = MemoryObjects()
        var watchers: [Int: Watcher] = [:]
        var lastWatcher = 0
        var fault: (@Sendable (Request) -> APIFailure?)?
        var requests: [Request] = []
    }

    private let state = Mutex(State())
    private let now: @Sendable () -> Timestamp

    package init(now: @escaping @Sendable () -> Timestamp = { .now() }) { self.now = now }

    // MARK: For tests

    /// Stores an object with its status, past all rules.
    @discardableResult
    package func seed(_ type: ResourceType, _ object: KubeObject) -> KubeObject {
        let now = now()
        return state.withLock { state in
            let saved = state.objects.seed(type, object, now: now)
            Self.publish(&state)
            return saved
        }
    }

    /// Refuses each request for which the closure gives a failure.
    package func refuse(_ fault: (@Sendable (Request) -> APIFailure?)?) { state.withLock { $0.fault = fault } }

    /// The writes so far, refused ones too.
    package var writes: [Request] {
        state.withLock { $0.requests }.filter { ![.get, .list, .watch].contains($0.verb) }
    }

    /// Ends all watches, as a server that goes away does.
    package func endWatches() {
        for watcher in takeWatchers() { watcher.stream.finish() }
    }

    /// Forgets past changes and ends all watches: whoever resumes from before gets 410.
    package func compact() {
        let watchers = state.withLock { state in
            state.objects.compact()
            defer { state.watchers.removeAll() }
            return Array(state.watchers.values)
        }
        for watcher in watchers {
            watcher.stream.finish(throwing: APIFailure.expired("too old resource version: the history was compacted"))
        }
    }

    private func takeWatchers() -> [Watcher] {
        state.withLock { state in
            defer { state.watchers.removeAll() }
            return Array(state.watchers.values)
        }
    }

    // MARK: KubeAPI

    package func served(_ kind: String, apiVersion: String) async throws(APIFailure) -> ResourceType {
        try SchemaCatalog.builtIn.type(served: kind, apiVersion: apiVersion)
    }

    package func get(
        _ type: ResourceType, _ key: ObjectKey, subresource: String?
    ) async throws(APIFailure) -> KubeObject {
        try perform(Request(verb: .get, type: type, key: key, subresource: subresource ?? "")) {
            state throws(APIFailure) in
            try MemoryObjects.part(type, try state.objects.find(type, key), subresource)
        }
    }

    package func list(
        _ type: ResourceType, namespace: String, _ selection: Selection
    ) async throws(APIFailure) -> KubeList {
        let filter = try SelectionFilter(selection, of: type)
        return try perform(Request(verb: .list, type: type, key: ObjectKey(namespace: namespace, name: ""))) {
            state throws(APIFailure) in
            let items = state.objects.all(type, namespace: namespace).filter(filter.matches)
            return KubeList(items: items, resourceVersion: String(state.objects.revision))
        }
    }

    package func create(_ type: ResourceType, _ object: KubeObject) async throws(APIFailure) -> KubeObject {
        let now = now()
        return try perform(Request(verb: .create, type: type, key: object.key)) { state throws(APIFailure) in
            try state.objects.create(type, object, now: now)
        }
    }

    package func update(
        _ type: ResourceType, _ object: KubeObject, subresource: String?
    ) async throws(APIFailure) -> KubeObject {
        try perform(Request(verb: .update, type: type, key: object.key, subresource: subresource ?? "")) {
            state throws(APIFailure) in
            let updated = try state.objects.update(type, object, subresource: subresource)
            return try MemoryObjects.part(type, updated, subresource)
        }
    }

    package func patch(
        _ type: ResourceType, _ key: ObjectKey, _ kind: PatchKind, _ body: JSON, subresource: String?
    ) async throws(APIFailure) -> KubeObject {
        let now = now()
        return try perform(Request(verb: .patch, type: type, key: key, subresource: subresource ?? "")) {
            state throws(APIFailure) in
            if kind == .apply, (try? state.objects.find(type, key)) == nil {
                var object = KubeObject(body)
                object.namespace = key.namespace
                object.name = key.name
                return try state.objects.create(type, object, now: now)
            }
            let old = try MemoryObjects.part(type, try state.objects.find(type, key), subresource)
            let json = try kind.applied(body, to: old.json, of: type)
            let updated = try state.objects.update(type, KubeObject(json), subresource: subresource)
            return try MemoryObjects.part(type, updated, subresource)
        }
    }

    package func delete(_ type: ResourceType, _ key: ObjectKey, _ options: DeleteOptions) async throws(APIFailure) {
        let now = now()
        try perform(Request(verb: .delete, type: type, key: key)) { state throws(APIFailure) in
            try state.objects.delete(type, key, options, now: now)
        }
    }

    package func bind(_ pod: ObjectKey, uid: String, node: String) async throws(APIFailure) {
        let now = now()
        try perform(Request(verb: .bind, type: .pods, key: pod)) { state throws(APIFailure) in
            try state.objects.bind(pod, uid: uid, node: node, now: now)
        }
    }

    package func watch(
        _ type: ResourceType, namespace: String, _ selection: Selection, from resourceVersion: String
    ) async throws(APIFailure) -> AsyncThrowingStream<WatchEvent, any Error> {
        let filter = try SelectionFilter(selection, of: type)
        let (stream, continuation) = AsyncThrowingStream.makeStream(of: WatchEvent.self)
        let watcher = Watcher(type: type, namespace: namespace, filter: filter, stream: continuation)
        let number = try perform(Request(verb: .watch, type: type, key: ObjectKey(namespace: namespace, name: ""))) {
            state throws(APIFailure) in
            guard let from = resourceVersion.isEmpty ? state.objects.revision : Int(resourceVersion) else {
                throw .badRequest("invalid resource version \"\(resourceVersion)\"")
            }
            if from < state.objects.compacted {
                throw .expired("too old resource version: \(from) (\(state.objects.compacted))")
            }
            for change in state.objects.changes where change.revision > from {
                Self.send(change, to: watcher)
            }
            state.lastWatcher += 1
            state.watchers[state.lastWatcher] = watcher
            return state.lastWatcher
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { state in _ = state.watchers.removeValue(forKey: number) }
        }
        return stream
    }

    // MARK: Machinery

    private func perform<Result: Sendable>(
        _ request: Request, _ action: (inout State) throws(APIFailure) -> Result
    ) throws(APIFailure) -> Result {
        try state.withLock { state throws(APIFailure) in
            state.requests.append(request)
            if let failure = state.fault?(request) { throw failure }
            let before = state.objects.changes.count
            let result = try action(&state)
            if state.objects.changes.count > before { Self.publish(&state) }
            return result
        }
    }

    /// Sends the newest change; each write makes at most one.
    private static func publish(_ state: inout State) {
        guard let change = state.objects.changes.last else { return }
        for watcher in state.watchers.values { send(change, to: watcher) }
    }

    private static func send(_ change: MemoryObjects.Change, to watcher: Watcher) {
        guard change.type == watcher.type else { return }
        func isSeen(_ object: KubeObject?) -> Bool {
            guard let object else { return false }
            return (watcher.namespace.isEmpty || watcher.namespace == object.namespace)
                && watcher.filter.matches(object)
        }
        switch (isSeen(change.before), isSeen(change.after), change.before, change.after) {
        case (false, true, _, let after?): watcher.stream.yield(WatchEvent(.added, after))
        case (true, true, _, let after?): watcher.stream.yield(WatchEvent(.modified, after))
        case (true, false, let before?, let after):
            // What left the selection is told as it was last seen, at the version of the change.
            var last = before
            last.resourceVersion = (after ?? before).resourceVersion
            watcher.stream.yield(WatchEvent(.deleted, last))
        default: break
        }
    }
}
