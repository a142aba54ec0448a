import Glibc
import Synchronization

/// The one thread that writes. Takes what is queued, writes it in one transaction, and answers all when that is on the disk.
///
/// `@unchecked Sendable`: the queue is only touched with the lock held, everything else only by the thread.
final class Writer: @unchecked Sendable {
    private static let batchLimit = 1024
    /// Rows deleted in one transaction when there is nothing better to do.
    private static let compactionStep = 512
    /// After a disk that was full, leases that ran out are tried again so much later.
    private static let expiryPause = Duration.seconds(1)

    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var queue: [PendingWork] = []
    private var isStopping = false
    private var thread = pthread_t()

    private let log: RecordLog
    private let memory: Memory
    private let checkpointer: Checkpointer
    private var leases: LeaseTable
    private var nextExpiry: ContinuousClock.Instant?

    init(log: RecordLog, memory: Memory, leases: LeaseTable, checkpointer: Checkpointer) {
        self.log = log
        self.memory = memory
        self.leases = leases
        self.checkpointer = checkpointer
        nextExpiry = leases.nextDeadline
        pthread_mutex_init(lock, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(wake, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(wake)
        pthread_mutex_destroy(lock)
        wake.deallocate()
        lock.deallocate()
    }

    func start() throws(StoreFailure) {
        let code = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Writer>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, Unmanaged.passRetained(self).toOpaque())
        if code != 0 { throw .unusable("the store's writer thread cannot start: \(String(cString: strerror(code)))") }
    }

    func enqueue(_ work: PendingWork) {
        pthread_mutex_lock(lock)
        let isAccepted = !isStopping
        if isAccepted { queue.append(work) }
        pthread_cond_signal(wake)
        pthread_mutex_unlock(lock)
        if !isAccepted { work.answer?.resume(returning: .failure(.closed)) }
    }

    /// Ends after what is queued is written.
    func stop() {
        pthread_mutex_lock(lock)
        let wasStopping = isStopping
        isStopping = true
        pthread_cond_signal(wake)
        pthread_mutex_unlock(lock)
        if !wasStopping { pthread_join(thread, nil) }
    }

    private func run() {
        while true {
            pthread_mutex_lock(lock)
            while queue.isEmpty, !isStopping, !isExpiryDue {
                if log.hasGarbage {
                    pthread_mutex_unlock(lock)
                    log.compact(Self.compactionStep)
                    pthread_mutex_lock(lock)
                    continue
                }
                wait()
            }
            var batch = Array(queue.prefix(Self.batchLimit))
            queue.removeFirst(batch.count)
            let isEnd = batch.isEmpty && isStopping
            pthread_mutex_unlock(lock)
            if isEnd { break }
            if isExpiryDue { batch += expiries() }
            write(batch)
            if checkpointer.takeRestartWish() { log.finishCheckpoint() }
        }
        log.close()
    }

    /// Waits for work, or until the next lease runs out.
    private func wait() {
        guard let nextExpiry else {
            pthread_cond_wait(wake, lock)
            return
        }
        var until = timespec()
        clock_gettime(CLOCK_MONOTONIC, &until)
        let left = max(.zero, nextExpiry - ContinuousClock.now) + .milliseconds(1)
        until.tv_sec += Int(left.components.seconds)
        until.tv_nsec += Int(left.components.attoseconds / 1_000_000_000)
        if until.tv_nsec >= 1_000_000_000 {
            until.tv_sec += 1
            until.tv_nsec -= 1_000_000_000
        }
        pthread_cond_timedwait(wake, lock, &until)
    }

    private var isExpiryDue: Bool {
        guard let nextExpiry else { return false }
        return nextExpiry <= ContinuousClock.now
    }

    private func expiries() -> [PendingWork] {
        let now = ContinuousClock.now
        nextExpiry = now + Self.expiryPause
        return leases.expired(at: now).map { PendingWork(kind: .revoke($0), answer: nil) }
    }

    private func write(_ batch: [PendingWork]) {
        let snapshot = memory.state.withLock { StoreSnapshot(index: $0.index, revision: $0.revision) }
        var plan = WritePlan(snapshot, leases)
        var outcomes = batch.map { plan.add($0.kind) }
        do throws(StoreFailure) {
            if !plan.isEmpty { try log.append(plan.events, granted: plan.granted, revoked: plan.revoked) }
        } catch {
            // Work refused on its own account keeps its reason; the rest was rolled back.
            for (work, outcome) in zip(batch, outcomes) {
                switch outcome {
                case .success: work.answer?.resume(returning: .failure(error))
                case .failure: work.answer?.resume(returning: outcome)
                }
            }
            return
        }
        let (events, granted, revoked, compaction) = (plan.events, plan.granted, plan.revoked, plan.compaction)
        // The plan's own view of the leases would make a change copy them.
        _ = consume plan
        if !events.isEmpty { memory.publish(events) }
        let horizon = memory.state.withLock { state in
            if let compaction { state.history.compact(to: compaction) }
            return state.history.horizon
        }
        log.note(events, horizon: horizon)
        if !leases.isEmpty || !granted.isEmpty {
            let now = ContinuousClock.now
            for lease in granted { leases.grant(lease, at: now) }
            for event in events { leases.note(event) }
            for id in revoked { leases.remove(id) }
            renew(batch, &outcomes, at: now)
            nextExpiry = leases.nextDeadline
        }
        for (work, outcome) in zip(batch, outcomes) { work.answer?.resume(returning: outcome) }
    }

    private func renew(
        _ batch: [PendingWork], _ outcomes: inout [Result<PendingWork.Outcome, StoreFailure>],
        at now: ContinuousClock.Instant
    ) {
        for (place, work) in batch.enumerated() {
            guard case .renew(let id) = work.kind, case .success = outcomes[place] else { continue }
            // One revoked in the same batch, after this, has ended.
            outcomes[place] = leases.renew(id, at: now).map { .success(.lease($0)) } ?? .failure(.leaseMissing(id))
        }
    }
}
