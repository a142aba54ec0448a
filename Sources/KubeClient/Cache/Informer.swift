package import KubeTypes
package import Logging
import Synchronization

/// Keeps a cache of one type equal to the server's objects, and tells each change.
///
/// Lists once, then watches from the list's version. A watch that ends resumes from the last version seen; one that is too old
/// (410) lists again and tells the difference, so no change is missed. Failures are retried with growing, jittered delays.
package final class Informer: Sendable {
    package typealias Handler = @Sendable (CacheChange) -> Void

    package let type: ResourceType
    package let namespace: String
    package let selection: Selection
    package let cache: ObjectCache

    private struct State {
        var isSynced = false
        var handlers: [Int: Handler] = [:]
        var lastHandler = 0
        var waiters: [Int: CheckedContinuation<Void, any Error>] = [:]
        var lastWaiter = 0
    }
    private let state = Mutex(State())
    private let api: any KubeAPI
    private let clock: any Clock<Duration>
    private let logger: Logger

    package init(
        _ api: any KubeAPI, _ type: ResourceType, namespace: String = "", selection: Selection = .all,
        indexes: [CacheIndex] = [], clock: any Clock<Duration> = ContinuousClock(),
        logger: Logger = Logger(label: "informer", factory: { _ in SwiftLogNoOpLogHandler() })
    ) {
        self.api = api
        self.type = type
        self.namespace = namespace
        self.selection = selection
        self.clock = clock
        self.logger = logger
        cache = ObjectCache(indexes: indexes)
    }

    package var isSynced: Bool { state.withLock { $0.isSynced } }

    /// Calls `handler` for each change, in order, after the cache has it. Objects in the cache already come first, as added.
    /// It runs on the informer's task and must be short: queue a key and return. Ends with `remove(_:)`.
    @discardableResult
    package func onChange(_ handler: @escaping Handler) -> Int {
        // Under the lock that guards the telling of changes, so that none falls between the replay and the first call.
        state.withLock { state in
            for object in cache.all { handler(.added(object)) }
            state.lastHandler += 1
            state.handlers[state.lastHandler] = handler
            return state.lastHandler
        }
    }

    package func remove(_ handler: Int) { state.withLock { state in state.handlers[handler] = nil } }

    /// The changes from now on, objects in the cache first. Buffers without limit: keep reading.
    package func changes() -> AsyncStream<CacheChange> {
        let (stream, continuation) = AsyncStream.makeStream(of: CacheChange.self)
        let number = onChange { continuation.yield($0) }
        continuation.onTermination = { [weak self] _ in self?.remove(number) }
        return stream
    }

    /// Returns once the first list is in the cache.
    package func waitUntilSynced() async throws(CancellationError) {
        let number = state.withLock { state in
            state.lastWaiter += 1
            return state.lastWaiter
        }
        do {
            try await withTaskCancellationHandler {
                try await withCheckedThrowingContinuation { (waiter: CheckedContinuation<Void, any Error>) in
                    let isDone = state.withLock { state in
                        if !state.isSynced, !Task.isCancelled { state.waiters[number] = waiter }
                        return state.isSynced || Task.isCancelled
                    }
                    if isDone { waiter.resume() }
                }
            } onCancel: {
                state.withLock { $0.waiters.removeValue(forKey: number) }?.resume(throwing: CancellationError())
            }
        } catch {
            throw CancellationError()
        }
        if Task.isCancelled { throw CancellationError() }
    }

    // MARK: Running

    /// Runs until the task is cancelled.
    package func run() async {
        var version: String?
        var backoff = Backoff(first: .milliseconds(50), most: .seconds(10))
        while !Task.isCancelled {
            do {
                let start = ContinuousClock.now
                let from = if let version { version } else { try await relist() }
                version = from
                var latest = from
                defer { version = latest }
                try await follow(from: from) { latest = $0 }
                if latest != from || start.duration(to: .now) > .seconds(5) { backoff.reset() }
            } catch let failure as APIFailure where failure.isExpired || failure.reason == "Expired" {
                logger.debug("\(type.qualifiedName): version too old, listing again")
                version = nil
            } catch is CancellationError {
                return
            } catch {
                logger.debug("\(type.qualifiedName): \(error)")
            }
            try? await clock.sleep(for: backoff.next())
        }
    }

    private func relist() async throws -> String {
        let list = try await api.list(type, namespace: namespace, selection)
        tell(cache.replace(with: list))
        let waiters = state.withLock { state in
            state.isSynced = true
            defer { state.waiters.removeAll() }
            return Array(state.waiters.values)
        }
        for waiter in waiters { waiter.resume() }
        return list.resourceVersion
    }

    private func follow(from version: String, seen: (String) -> Void) async throws {
        let events = try await api.watch(type, namespace: namespace, selection, from: version)
        for try await event in events {
            switch event.kind {
            case .added, .modified: tell(cache.set(event.object).map { [$0] } ?? [])
            case .deleted: tell(cache.remove(event.object.key).map { [$0] } ?? [])
            case .bookmark: break
            }
            if !event.object.resourceVersion.isEmpty {
                seen(event.object.resourceVersion)
                cache.advance(to: event.object.resourceVersion)
            }
        }
    }

    private func tell(_ changes: [CacheChange]) {
        guard !changes.isEmpty else { return }
        state.withLock { state in
            for change in changes {
                for handler in state.handlers.values { handler(change) }
            }
        }
    }
}

/// Growing delays between attempts, each shortened by up to a half at random so that many clients do not come at once.
package struct Backoff: Sendable {
    private let first: Duration
    private let most: Duration
    private var attempts = 0

    package init(first: Duration, most: Duration) {
        self.first = first
        self.most = most
    }

    package mutating func reset() { attempts = 0 }

    package mutating func next() -> Duration {
        var random = SystemRandomNumberGenerator()
        return next(using: &random)
    }

    package mutating func next(using random: inout some RandomNumberGenerator) -> Duration {
        let full = Self.delay(attempt: attempts, first: first, most: most)
        attempts += 1
        return full * Double.random(in: 0.5...1, using: &random)
    }

    /// `first` doubled `attempt` times, at most `most`.
    package static func delay(attempt: Int, first: Duration, most: Duration) -> Duration {
        var delay = first
        for _ in 0..<attempt {
            delay *= 2
            if delay >= most { return most }
        }
        return min(delay, most)
    }
}
