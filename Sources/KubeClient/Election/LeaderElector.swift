package import KubeTypes
package import Logging
import Synchronization

/// Makes one of many candidates lead at a time, by a record that all of them read and write.
package final class LeaderElector: Sendable {
    private struct State {
        var candidacy: Candidacy
        /// The object as it was written or read last.
        var object: KubeObject?
    }

    package let key: ObjectKey
    private let api: any KubeAPI
    private let lock: LeaderLock
    private let timing: LeaderTiming
    private let logger: Logger
    private let wallClock: @Sendable () -> Timestamp
    private let state: Mutex<State>

    package init(
        _ api: any KubeAPI, _ key: ObjectKey, identity: String, lock: LeaderLock = .lease,
        timing: LeaderTiming = LeaderTiming(), logger: Logger = Logger(label: "election"),
        wallClock: @escaping @Sendable () -> Timestamp = { .now() }
    ) {
        precondition(timing.renewDeadline < timing.lease && timing.retry < timing.renewDeadline)
        self.api = api
        self.key = key
        self.lock = lock
        self.timing = timing
        self.logger = logger
        self.wallClock = wallClock
        state = Mutex(State(candidacy: Candidacy(identity: identity, timing: timing)))
    }

    /// Who leads, as far as this candidate knows; empty for nobody.
    package var leader: String { state.withLock { $0.candidacy.leader } }

    /// Waits for the lead, then runs `body` until it ends, the lead is lost, or this task is cancelled; `body` is cancelled in the
    /// latter two. The lead is given up afterwards where it is still ours.
    package func lead(_ body: @escaping @Sendable () async -> Void) async {
        guard await acquire() else { return }
        logger.info("leading", metadata: ["record": "\(lock.rawValue)/\(key.namespace)/\(key.name)"])
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await body() }
            group.addTask { [self] in await renewUntilLost() }
            await group.next()
            group.cancelAll()
        }
        await resign()
    }

    /// - Returns: `false` when the task was cancelled before.
    private func acquire() async -> Bool {
        while !Task.isCancelled {
            if await attempt(until: .now + timing.renewDeadline) { return true }
            // Candidates that began together do not go on asking together.
            try? await Task.sleep(for: timing.retry * Double.random(in: 1...2.2))
        }
        return false
    }

    private func renewUntilLost() async {
        var renewed = ContinuousClock.now
        while (try? await Task.sleep(for: timing.retry)) != nil {
            let began = ContinuousClock.now
            if await attempt(until: renewed + timing.renewDeadline) {
                renewed = began
            } else if ContinuousClock.now >= renewed + timing.renewDeadline || leader != identity {
                logger.warning("the lead is lost", metadata: ["leader": "\(leader)"])
                return
            }
        }
    }

    private var identity: String { state.withLock { $0.candidacy.identity } }

    /// One attempt to write the record; `false` when another holds it or the server does not do it in time.
    private func attempt(until deadline: ContinuousClock.Instant) async -> Bool {
        let answer = AsyncStream<Bool>.makeStream()
        // A request may last far longer than we can wait; then it ends unheard, and what it wrote is read next time.
        let request = Task {
            answer.continuation.yield(await self.claim())
            answer.continuation.finish()
        }
        let timer = Task {
            try? await Task.sleep(until: deadline, clock: .continuous)
            answer.continuation.finish()
        }
        var isDone = false
        for await outcome in answer.stream {
            isDone = outcome
            break
        }
        timer.cancel()
        request.cancel()
        return isDone && ContinuousClock.now < deadline
    }

    private func claim() async -> Bool {
        do throws(APIFailure) {
            // Who leads need not read what only it writes; a conflict tells when somebody else did.
            if let object = state.withLock({ $0.candidacy.isLeader ? $0.object : nil }) {
                if let done = try? await write(object) { return done }
            }
            let object: KubeObject
            do throws(APIFailure) { object = try await api.get(lock.type, key) } catch {
                guard error.isNotFound else { throw error }
                return try await create()
            }
            state.withLock { state in
                state.object = object
                state.candidacy.see(lock.record(in: object), at: .now)
            }
            return try await write(object)
        } catch {
            if !error.isConflict {
                logger.debug("the leader's record was not written", metadata: ["reason": "\(error.message)"])
            }
            return false
        }
    }

    private func create() async throws(APIFailure) -> Bool {
        let record = state.withLock { state in
            state.candidacy.see(nil, at: .now)
            return state.candidacy.claim(at: .now, wallClock: wallClock())
        }
        guard let record else { return false }
        var object = lock.emptyObject(key)
        lock.write(record, into: &object)
        keep(try await api.create(lock.type, object))
        return true
    }

    private func write(_ object: KubeObject) async throws(APIFailure) -> Bool {
        guard let record = state.withLock({ $0.candidacy.claim(at: .now, wallClock: wallClock()) }) else {
            return false
        }
        var object = object
        lock.write(record, into: &object)
        keep(try await api.update(lock.type, object))
        return true
    }

    private func keep(_ object: KubeObject) {
        state.withLock { state in
            state.object = object
            state.candidacy.see(lock.record(in: object), at: .now)
        }
    }

    /// Lets others lead at once. Not where the lead is lost: the record is another's then, and the write a conflict.
    private func resign() async {
        let (given, record) = state.withLock { ($0.object, $0.candidacy.resignation(wallClock: wallClock())) }
        guard var object = given, let record else { return }
        lock.write(record, into: &object)
        let resigned = object
        // Also when this task is cancelled, which is how most leads end.
        await Task { [self] in
            if let object = try? await api.update(lock.type, resigned) { keep(object) }
        }.value
    }
}
