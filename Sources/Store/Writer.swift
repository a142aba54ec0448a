import Glibc
import Synchronization

/// A write waiting for its turn.
struct PendingWrite {
    let key: String
    /// `nil` deletes.
    let value: [UInt8]?
    let expectation: Expectation
    let answer: UnsafeContinuation<Result<Record, StoreFailure>, Never>
}

/// The one thread that writes. Takes what is queued, writes it in one transaction, and answers all when that is on the disk.
///
/// `@unchecked Sendable`: the queue is only touched with the lock held, everything else only by the thread.
final class Writer: @unchecked Sendable {
    private static let batchLimit = 1024
    /// Rows deleted in one transaction when there is nothing better to do.
    private static let compactionStep = 512

    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var queue: [PendingWrite] = []
    private var isStopping = false
    private var thread = pthread_t()

    private let log: RecordLog
    private let memory: Memory

    init(log: RecordLog, memory: Memory) {
        self.log = log
        self.memory = memory
        pthread_mutex_init(lock, nil)
        pthread_cond_init(wake, nil)
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

    func enqueue(_ write: PendingWrite) {
        pthread_mutex_lock(lock)
        let isAccepted = !isStopping
        if isAccepted { queue.append(write) }
        pthread_cond_signal(wake)
        pthread_mutex_unlock(lock)
        if !isAccepted { write.answer.resume(returning: .failure(.closed)) }
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
            while queue.isEmpty, !isStopping {
                if log.hasGarbage {
                    pthread_mutex_unlock(lock)
                    log.compact(Self.compactionStep)
                    pthread_mutex_lock(lock)
                    continue
                }
                pthread_cond_wait(wake, lock)
            }
            let batch = Array(queue.prefix(Self.batchLimit))
            queue.removeFirst(batch.count)
            pthread_mutex_unlock(lock)
            if batch.isEmpty { break }
            write(batch)
        }
        log.close()
    }

    private func write(_ batch: [PendingWrite]) {
        let snapshot = memory.state.withLock { StoreSnapshot(index: $0.index, revision: $0.revision) }
        var plan = WritePlan(snapshot)
        let outcomes = batch.map { plan.add($0) }
        do throws(StoreFailure) {
            if !plan.events.isEmpty { try log.append(plan.events) }
        } catch {
            // Writes refused on their own account keep their reason; the others were rolled back.
            for (write, outcome) in zip(batch, outcomes) {
                switch outcome {
                case .success: write.answer.resume(returning: .failure(error))
                case .failure: write.answer.resume(returning: outcome)
                }
            }
            return
        }
        memory.publish(plan.events)
        let horizon = memory.state.withLock { $0.history.horizon }
        log.note(plan.events, horizon: horizon)
        for (write, outcome) in zip(batch, outcomes) { write.answer.resume(returning: outcome) }
    }
}

/// What a batch of writes comes to, each seeing those before it.
struct WritePlan {
    private let snapshot: StoreSnapshot
    private var changed: [String: Record?] = [:]
    private(set) var events: [StoreEvent] = []

    init(_ snapshot: StoreSnapshot) { self.snapshot = snapshot }

    mutating func add(_ write: PendingWrite) -> Result<Record, StoreFailure> {
        let current = changed[write.key] ?? snapshot.index[write.key]
        switch (write.expectation, current) {
        case (.absent, .some): return .failure(.exists(key: write.key))
        case (.absent, nil): break
        case (_, nil): return .failure(.missing(key: write.key))
        case (.revision(let expected), let current?) where current.revision != expected:
            return .failure(.changed(key: write.key, revision: current.revision))
        default: break
        }
        let revision = snapshot.revision + Int64(events.count) + 1
        let record = Record(
            key: write.key, value: write.value ?? current?.value ?? [], revision: revision,
            created: current?.created ?? revision)
        let kind: StoreEvent.Kind = write.value == nil ? .deleted : current == nil ? .created : .updated
        events.append(StoreEvent(kind: kind, record: record, previous: current))
        changed[write.key] = .some(kind == .deleted ? nil : record)
        return .success(record)
    }
}
