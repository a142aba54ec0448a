import Synchronization

/// Keys waiting to be worked on. A key waits at most once, and is worked on by one worker at a time; added meanwhile, it comes
/// again afterwards. A failing key comes back after a delay that doubles.
package final class WorkQueue<Key: Hashable & Sendable>: Sendable {
    private struct State {
        var waiting: [Key] = []
        var head = 0
        /// Waiting, or added while being worked on.
        var wanted: Set<Key> = []
        var working: Set<Key> = []
        var failures: [Key: Int] = [:]
        /// When a delayed key is due; a timer for another moment is stale.
        var due: [Key: Duration] = [:]
        var workers: [Int: CheckedContinuation<Key?, Never>] = [:]
        var lastWorker = 0

        mutating func popFirst() -> Key? {
            guard head < waiting.count else { return nil }
            let key = waiting[head]
            head += 1
            if head > 64, head * 2 > waiting.count {
                waiting.removeFirst(head)
                head = 0
            }
            return key
        }
    }
    private struct Delay: Sendable {
        var key: Key
        var due: Duration
        var delay: Duration
    }

    private let state = Mutex(State())
    private let firstDelay: Duration
    private let mostDelay: Duration
    private let now: @Sendable () -> Duration
    private let sleep: @Sendable (Duration) async -> Void
    private let delays: AsyncStream<Delay>
    private let delayed: AsyncStream<Delay>.Continuation

    /// - Parameters:
    ///   - firstDelay: before the first retry of a failing key; it doubles with each failure up to `mostDelay`.
    package init(
        firstDelay: Duration = .milliseconds(5), mostDelay: Duration = .seconds(60),
        clock: some Clock<Duration> = ContinuousClock()
    ) {
        self.firstDelay = firstDelay
        self.mostDelay = mostDelay
        let start = clock.now
        now = { start.duration(to: clock.now) }
        sleep = { try? await clock.sleep(for: $0) }
        (delays, delayed) = AsyncStream.makeStream()
    }

    // MARK: Adding

    package func add(_ key: Key) {
        let handover = state.withLock { state -> (CheckedContinuation<Key?, Never>, Key)? in
            guard state.wanted.insert(key).inserted, !state.working.contains(key) else { return nil }
            state.waiting.append(key)
            return Self.handOver(&state)
        }
        if let (worker, key) = handover { worker.resume(returning: key) }
    }

    /// Adds the key when `delay` has passed, unless it is due earlier already.
    package func add(_ key: Key, after delay: Duration) {
        guard delay > .zero else { return add(key) }
        let due = now() + delay
        let isNew = state.withLock { state in
            if let earlier = state.due[key], earlier <= due { return false }
            state.due[key] = due
            return true
        }
        if isNew { delayed.yield(Delay(key: key, due: due, delay: delay)) }
    }

    /// Adds the key again after its next back-off delay.
    package func retry(_ key: Key) {
        let failures = state.withLock { state in
            state.failures[key, default: 0] += 1
            return state.failures[key, default: 1]
        }
        add(key, after: Backoff.delay(attempt: failures - 1, first: firstDelay, most: mostDelay))
    }

    /// The key was worked on well: its next failure starts with the first delay.
    package func forget(_ key: Key) { state.withLock { state in state.failures[key] = nil } }

    package func failures(of key: Key) -> Int { state.withLock { $0.failures[key] ?? 0 } }

    /// No key is waiting or being worked on; delayed ones may be.
    package var isIdle: Bool { state.withLock { $0.wanted.isEmpty && $0.working.isEmpty } }
    package var count: Int { state.withLock { $0.waiting.count - $0.head } }

    // MARK: Working

    /// Works keys off with `workers` tasks until cancelled. Call once.
    package func run(workers: Int, _ work: @escaping @Sendable (Key) async -> Void) async {
        await withDiscardingTaskGroup { group in
            for _ in 0..<workers {
                group.addTask {
                    while let key = await self.take() {
                        await work(key)
                        self.finish(key)
                    }
                }
            }
            for await delay in delays {
                group.addTask {
                    await self.sleep(delay.delay)
                    self.fire(delay)
                }
            }
        }
    }

    /// The next key, or `nil` when the task is cancelled.
    private func take() async -> Key? {
        let number = state.withLock { state in
            state.lastWorker += 1
            return state.lastWorker
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { (worker: CheckedContinuation<Key?, Never>) in
                let handover = state.withLock { state -> (CheckedContinuation<Key?, Never>, Key?)? in
                    if Task.isCancelled { return (worker, nil) }
                    state.workers[number] = worker
                    return Self.handOver(&state).map { ($0.0, $0.1) }
                }
                if let (worker, key) = handover { worker.resume(returning: key) }
            }
        } onCancel: {
            state.withLock { $0.workers.removeValue(forKey: number) }?.resume(returning: nil)
        }
    }

    private static func handOver(_ state: inout State) -> (CheckedContinuation<Key?, Never>, Key)? {
        guard let number = state.workers.keys.first, let key = state.popFirst() else { return nil }
        guard let worker = state.workers.removeValue(forKey: number) else { return nil }
        state.wanted.remove(key)
        state.working.insert(key)
        return (worker, key)
    }

    private func finish(_ key: Key) {
        let handover = state.withLock { state -> (CheckedContinuation<Key?, Never>, Key)? in
            state.working.remove(key)
            guard state.wanted.contains(key) else { return nil }
            state.waiting.append(key)
            return Self.handOver(&state)
        }
        if let (worker, key) = handover { worker.resume(returning: key) }
    }

    private func fire(_ delay: Delay) {
        let isDue = state.withLock { state in
            guard state.due[delay.key] == delay.due else { return false }
            state.due[delay.key] = nil
            return true
        }
        if isDue { add(delay.key) }
    }
}
