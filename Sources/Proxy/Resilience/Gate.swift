import Loop
import Synchronization

/// One limit over all loops of a proxy: how many hold a place, and who waits for one. First come, first served.
///
/// Taking and leaving a place are single atomic steps while nobody waits. A place that is left goes to the first who waits, by a
/// message to its loop; if that connection is gone by then, its loop leaves the place again.
final class Gate: Sendable {
    struct Waiter: Sendable {
        var connection: UInt64  // key in its loop's slab
        var loop: Mailbox<LoopMessage>
    }

    enum Wait { case entered, waits, full }

    let name: String
    private let limit: Atomic<Int>
    private let held = Atomic<Int>(0)
    private let waiting = Atomic<Int>(0)
    /// Connections: those that hold a place and are idle.
    let idle = Atomic<Int>(0)
    private let refused = Atomic<Int>(0)
    private let queue = Mutex<[Waiter]>([])

    init(_ name: String, limit: Int) {
        self.name = name
        self.limit = Atomic(limit)
    }

    /// A new configuration's limit.
    func set(limit new: Int) {
        limit.store(new, ordering: .relaxed)
        if waiting.load(ordering: .sequentiallyConsistent) > 0 { admitWaiters() }
    }

    /// Takes a place when one is free and nobody waits.
    func enter() -> Bool { waiting.load(ordering: .relaxed) == 0 && take() }

    /// Takes a place when one is free, whoever waits.
    func take() -> Bool {
        var now = held.load(ordering: .relaxed)
        while now < limit.load(ordering: .relaxed) {
            let outcome = held.compareExchange(expected: now, desired: now + 1, ordering: .sequentiallyConsistent)
            if outcome.exchanged { return true }
            now = outcome.original
        }
        return false
    }

    func enterOrRefuse() -> Bool {
        if enter() { return true }
        refused.add(1, ordering: .relaxed)
        return false
    }

    func leave() {
        held.subtract(1, ordering: .sequentiallyConsistent)
        if waiting.load(ordering: .sequentiallyConsistent) > 0 { admitWaiters() }
    }

    /// Joins those who wait, `most` at once.
    func wait(_ connection: UInt64, _ loop: Mailbox<LoopMessage>, most: Int) -> Wait {
        let outcome = queue.withLock { queue -> Wait in
            if queue.isEmpty && take() { return .entered }
            if queue.count >= most { return .full }
            queue.append(Waiter(connection: connection, loop: loop))
            // Before looking at `held` once more: who leaves now sees that somebody waits.
            waiting.add(1, ordering: .sequentiallyConsistent)
            return .waits
        }
        if outcome == .full { refused.add(1, ordering: .relaxed) }
        if outcome == .waits { admitWaiters() }
        return outcome
    }

    /// Leaves the queue. False when it was not in it: a place is on its way to it.
    func forget(_ connection: UInt64, _ loop: Mailbox<LoopMessage>) -> Bool {
        queue.withLock { queue in
            guard let place = queue.firstIndex(where: { $0.connection == connection && $0.loop === loop }) else {
                return false
            }
            queue.remove(at: place)
            waiting.subtract(1, ordering: .sequentiallyConsistent)
            return true
        }
    }

    /// Takes the first who waits out of the queue, without a place, if it is of this loop.
    func handOver(to loop: Mailbox<LoopMessage>) -> UInt64? {
        queue.withLock { queue in
            guard let first = queue.first, first.loop === loop else { return nil }
            queue.removeFirst()
            waiting.subtract(1, ordering: .sequentiallyConsistent)
            return first.connection
        }
    }

    private func admitWaiters() {
        queue.withLock { queue in
            var admitted = 0
            while admitted < queue.count, take() {
                queue[admitted].loop.post(.admitted(self, queue[admitted].connection))
                admitted += 1
            }
            if admitted == 0 { return }
            queue.removeFirst(admitted)
            waiting.subtract(admitted, ordering: .sequentiallyConsistent)
        }
    }

    func refuse() { refused.add(1, ordering: .relaxed) }

    var hasWaiters: Bool { waiting.load(ordering: .sequentiallyConsistent) > 0 }

    var gauge: GateGauge {
        GateGauge(
            name: name, limit: limit.load(ordering: .relaxed), held: held.load(ordering: .relaxed),
            waiting: waiting.load(ordering: .relaxed), refused: refused.load(ordering: .relaxed))
    }
}

/// How full a gate is.
struct GateGauge: Sendable, Equatable {
    var name: String
    var limit: Int
    var held: Int
    var waiting: Int
    var refused: Int
}
