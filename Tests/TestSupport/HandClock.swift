import Synchronization

/// A clock that stands still until a test moves it.
package final class HandClock: Clock, Sendable {
    package struct Instant: InstantProtocol {
        private var offset = Duration.zero
        package func advanced(by duration: Duration) -> Instant {
            var later = self
            later.offset += duration
            return later
        }
        package func duration(to other: Instant) -> Duration { other.offset - offset }
        package static func < (one: Instant, other: Instant) -> Bool { one.offset < other.offset }
    }

    private struct Sleeper {
        let number: Int
        let end: Instant
        let wake: CheckedContinuation<Void, any Error>
    }
    private struct State {
        var now = Instant()
        var sleepers: [Sleeper] = []
        var next = 0
    }
    private let state = Mutex(State())

    package init() {}

    package var now: Instant { state.withLock { $0.now } }
    package var minimumResolution: Duration { .nanoseconds(1) }
    /// How many sleep now.
    package var sleepers: Int { state.withLock { $0.sleepers.count } }

    package func sleep(until deadline: Instant, tolerance: Duration? = nil) async throws {
        let number = state.withLock { state in
            state.next += 1
            return state.next
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (wake: CheckedContinuation<Void, any Error>) in
                let over = state.withLock { state -> Result<Void, any Error>? in
                    if Task.isCancelled { return .failure(CancellationError()) }
                    if deadline <= state.now { return .success(()) }
                    state.sleepers.append(Sleeper(number: number, end: deadline, wake: wake))
                    return nil
                }
                if let over { wake.resume(with: over) }
            }
        } onCancel: {
            let ended = state.withLock { state -> Sleeper? in
                guard let place = state.sleepers.firstIndex(where: { $0.number == number }) else { return nil }
                return state.sleepers.remove(at: place)
            }
            ended?.wake.resume(throwing: CancellationError())
        }
    }

    package func advance(by duration: Duration) {
        let woken = state.withLock { state -> [Sleeper] in
            let now = state.now.advanced(by: duration)
            state.now = now
            defer { state.sleepers.removeAll { $0.end <= now } }
            return state.sleepers.filter { $0.end <= now }
        }
        for sleeper in woken { sleeper.wake.resume() }
    }

    /// Moves on, and waits until the one who sleeps by this clock has done what it does and sleeps again.
    ///
    /// - Returns: whether it did.
    package func turn(by duration: Duration) async -> Bool {
        guard await eventually({ self.sleepers == 1 }) else { return false }
        advance(by: duration)
        return await eventually { self.sleepers == 1 }
    }
}
