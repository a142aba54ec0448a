import CSQLite
import Glibc
import Synchronization

/// The one thread that writes. Takes what is queued and writes it in one transaction; `LogSync` answers when that is on the disk.
///
/// `@unchecked Sendable`: the queue is only touched with the lock held, everything else only by the thread.
final class Writer: @unchecked Sendable {
    private static let batchLimit = 1024
    /// How many batches may wait for the disk: one that is being synced and the next. Meanwhile work gathers for larger ones.
    private static let depthLimit = 2
    /// Rows deleted in one transaction when there is nothing better to do.
    private static let compactionStep = 512
    /// After a disk that was full, leases that ran out are tried again so much later.
    private static let expiryPause = Duration.seconds(1)

    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var queue: [PendingWork] = []
    private var isStopping = false
    private enum Wait { case none, work, disk }
    private var waitsFor = Wait.none
    private var thread = pthread_t()

    private let log: RecordLog
    private let memory: Memory
    private let checkpointer: Checkpointer
    private var leases: LeaseTable
    private var records: PlannedRecords
    /// Set by `start`, before the thread runs.
    private var sync: LogSync?
    private var nextExpiry: ContinuousClock.Instant?

    init(log: RecordLog, memory: Memory, leases: LeaseTable, checkpointer: Checkpointer) {
        self.log = log
        self.memory = memory
        self.leases = leases
        records = PlannedRecords(memory)
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
        log.afterCommit(Unmanaged.passUnretained(checkpointer).toOpaque()) { checkpointer, _, _, pages in
            guard let checkpointer else { return SQLITE_OK }
            Unmanaged<Checkpointer>.fromOpaque(checkpointer).takeUnretainedValue().note(pages: Int(pages))
            return SQLITE_OK
        }
        let sync = try LogSync(path: log.writeAheadPath, memory: memory) { [weak self] in self?.nudge() }
        self.sync = sync
        try sync.start()
        let code = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Writer>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, Unmanaged.passRetained(self).toOpaque())
        if code != 0 {
            sync.stop()
            throw .unusable("the store's writer thread cannot start: \(String(cString: strerror(code)))")
        }
    }

    func enqueue(_ work: PendingWork) {
        pthread_mutex_lock(lock)
        let isAccepted = !isStopping
        if isAccepted { queue.append(work) }
        // While it waits for the disk, what comes may gather.
        if waitsFor == .work { pthread_cond_signal(wake) }
        pthread_mutex_unlock(lock)
        if !isAccepted { work.answer?.resume(returning: .failure(.closed)) }
    }

    /// The writer looks again whether it may begin, or whether there is something to take away.
    func nudge() {
        pthread_mutex_lock(lock)
        if waitsFor != .none { pthread_cond_signal(wake) }
        pthread_mutex_unlock(lock)
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
        guard let sync else { return }
        var batch: [PendingWork] = []
        while true {
            pthread_mutex_lock(lock)
            while !mayBegin(sync) {
                if queue.isEmpty, sync.depth == 0, hasGarbage() {
                    pthread_mutex_unlock(lock)
                    log.compact(Self.compactionStep)
                    pthread_mutex_lock(lock)
                    continue
                }
                wait()
            }
            if queue.count <= Self.batchLimit {
                swap(&batch, &queue)
            } else {
                batch = Array(queue.prefix(Self.batchLimit))
                queue.removeFirst(batch.count)
            }
            let isLast = queue.isEmpty
            let isEnd = batch.isEmpty && isStopping
            pthread_mutex_unlock(lock)
            if isEnd { break }
            if isExpiryDue { batch += expiries() }
            // Who writes alone is not made to wait for another thread.
            write(batch, sync, here: isLast && batch.count == 1 && sync.depth == 0)
            batch.removeAll(keepingCapacity: true)
            if checkpointer.takeRestartWish() {
                log.finishCheckpoint()
                checkpointer.noteRestart()
            }
        }
        sync.stop()
        log.close()
    }

    private func hasGarbage() -> Bool {
        log.note([], horizon: memory.state.withLock { $0.history.horizon })
        return log.hasGarbage
    }

    private func mayBegin(_ sync: LogSync) -> Bool {
        guard !queue.isEmpty || isExpiryDue else { return isStopping }
        return sync.depth < Self.depthLimit
    }

    /// Waits for work, for the disk, or until the next lease runs out.
    private func wait() {
        waitsFor = queue.isEmpty ? .work : .disk
        defer { waitsFor = .none }
        guard let nextExpiry, !isExpiryDue else {
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

    /// - Parameter here: on this thread also what follows, instead of on the sync's.
    private func write(_ batch: [PendingWork], _ sync: LogSync, here: Bool) {
        records.forgetPublished()
        var plan = WritePlan(after: records.revision)
        var outcomes = batch.map { plan.add($0.kind, over: records, leases) }
        do throws(StoreFailure) {
            if let failure = sync.failure { throw failure }
            if !plan.isEmpty { try log.append(plan.events, granted: plan.granted, revoked: plan.revoked) }
            records.note(plan.events)
            log.note(plan.events, horizon: memory.state.withLock { $0.history.horizon })
            if !leases.isEmpty || !plan.granted.isEmpty { changeLeases(plan, batch, &outcomes) }
        } catch {
            // Work refused on its own account keeps its reason; the rest was rolled back.
            for place in outcomes.indices {
                if case .success = outcomes[place] { outcomes[place] = .failure(error) }
            }
            plan = WritePlan(after: records.revision)
        }
        var answers: [(PendingWork.Answer, Result<PendingWork.Outcome, StoreFailure>)] = []
        answers.reserveCapacity(batch.count)
        for (work, outcome) in zip(batch, outcomes) {
            if let answer = work.answer { answers.append((answer, outcome)) }
        }
        // Also what was refused is answered in turn: its reason may be a write that readers do not see yet.
        let written = WrittenBatch(
            events: plan.events, isWritten: !plan.isEmpty, compaction: plan.compaction, answers: answers)
        if here { sync.finish(written) } else { sync.enqueue(written) }
    }

    private func changeLeases(
        _ plan: WritePlan, _ batch: [PendingWork],
        _ outcomes: inout [Result<PendingWork.Outcome, StoreFailure>]
    ) {
        let now = ContinuousClock.now
        for lease in plan.granted { leases.grant(lease, at: now) }
        for event in plan.events { leases.note(event) }
        for id in plan.revoked { leases.remove(id) }
        renew(batch, &outcomes, at: now)
        nextExpiry = leases.nextDeadline
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
