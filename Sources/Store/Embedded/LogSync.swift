import Glibc
import Synchronization

/// Writes that are in the log and wait to be on the disk, with those who wait for them.
struct WrittenBatch {
    let events: [StoreEvent]
    /// Whether anything of it is in the log.
    let isWritten: Bool
    /// The revision history shall be given up to.
    let compaction: Int64?
    let answers: [(PendingWork.Answer, Result<PendingWork.Outcome, StoreFailure>)]
}

/// The thread that puts what is written on the disk, then shows it to readers, then answers. Meanwhile the writer writes what is
/// next: the disk and the processor work at the same time, and one sync does for all that came before it.
///
/// `@unchecked Sendable`: the queue is only touched with the lock held; `thread` is written before anybody else knows the object.
final class LogSync: @unchecked Sendable {
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var queue: [WrittenBatch] = []
    private var isStopping = false
    private var thread = pthread_t()
    private let broken = Mutex<StoreFailure?>(nil)
    /// Batches that were not answered yet.
    private let batches = Atomic(0)

    private let memory: Memory
    private let path: String
    private let file: CInt
    private let answered: @Sendable () -> Void

    /// - Parameters:
    ///   - path: the write-ahead log's file. Of the database file itself no second descriptor may be closed in this process: that
    ///     would end SQLite's locks. The log has none.
    ///   - answered: called on this thread when batches were answered.
    init(path: String, memory: Memory, answered: @escaping @Sendable () -> Void) throws(StoreFailure) {
        file = open(path, O_RDWR | O_CLOEXEC)
        guard file >= 0 else {
            throw .unusable("\(path) cannot be opened: \(String(cString: strerror(errno)))")
        }
        self.path = path
        self.memory = memory
        self.answered = answered
        pthread_mutex_init(lock, nil)
        pthread_cond_init(wake, nil)
    }

    deinit {
        close(file)
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
                Unmanaged<LogSync>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, Unmanaged.passRetained(self).toOpaque())
        if code != 0 { throw .unusable("the store's sync thread cannot start: \(String(cString: strerror(code)))") }
    }

    /// Ends after what is queued is answered.
    func stop() {
        pthread_mutex_lock(lock)
        isStopping = true
        pthread_cond_signal(wake)
        pthread_mutex_unlock(lock)
        pthread_join(thread, nil)
    }

    /// How many batches were not answered yet.
    var depth: Int { batches.load(ordering: .acquiring) }

    /// Why nothing can be written any more.
    var failure: StoreFailure? { broken.withLock { $0 } }

    func enqueue(_ batch: WrittenBatch) {
        batches.add(1, ordering: .acquiringAndReleasing)
        pthread_mutex_lock(lock)
        queue.append(batch)
        pthread_cond_signal(wake)
        pthread_mutex_unlock(lock)
    }

    /// The same on the caller's own thread; only while there is nothing else (`depth` is 0) and nobody who adds to it.
    func finish(_ batch: WrittenBatch) { finish([batch]) }

    private func run() {
        while true {
            pthread_mutex_lock(lock)
            while queue.isEmpty, !isStopping { pthread_cond_wait(wake, lock) }
            let found = queue
            queue = []
            pthread_mutex_unlock(lock)
            if found.isEmpty { return }
            finish(found)
            batches.subtract(found.count, ordering: .acquiringAndReleasing)
            answered()
        }
    }

    private func finish(_ found: [WrittenBatch]) {
        if found.contains(where: \.isWritten), let failure = sync() {
            for batch in found {
                for (answer, outcome) in batch.answers {
                    if case .success = outcome {
                        answer.resume(returning: .failure(failure))
                    } else {
                        answer.resume(returning: outcome)
                    }
                }
            }
            return
        }
        for batch in found {
            if !batch.events.isEmpty { memory.publish(batch.events) }
            if let compaction = batch.compaction { memory.compact(to: compaction) }
            for (answer, outcome) in batch.answers { answer.resume(returning: outcome) }
        }
    }

    /// After a failed sync nobody knows what is on the disk, and a second one may wrongly succeed (the kernel has given the pages
    /// up): nothing is written any more until the store is opened anew and reads what is there.
    private func sync() -> StoreFailure? {
        if let failure { return failure }
        while fdatasync(file) != 0 {
            let code = errno
            if code == EINTR { continue }
            let failure = StoreFailure.unusable(
                "\(path) cannot be put on the disk: \(String(cString: strerror(code))); nothing is written until a restart"
            )
            broken.withLock { $0 = failure }
            return failure
        }
        return nil
    }
}
