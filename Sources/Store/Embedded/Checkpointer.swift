import CSQLite
import Glibc
import Logging
import Synchronization

/// Copies the write-ahead log into the database file from a thread and a connection of its own, so that writers never wait for it.
///
/// While writes never pause, no copy ever reaches the log's end, and the log would grow for ever: when what is left is short, the
/// writer copies that itself, and the log begins anew. A log that keeps its size is also quicker to sync than one that grows.
final class Checkpointer: @unchecked Sendable {
    /// The log's size in bytes from which it is copied.
    private static let threshold = 16 << 20
    /// From so much uncopied on, another pass is worth the trouble.
    private static let short = 2 << 20
    /// Passes before the writer is asked to finish, however much is left.
    private static let mostPasses = 6
    /// After a pass that failed, as on a full disk.
    private static let pause: UInt32 = 1

    private let path: String
    private let logger: Logger
    private let isStopping = Atomic(false)
    private let wantsRestart = Atomic(false)
    private let isWorking = Atomic(false)
    /// Pages in the log.
    private let pages = Atomic(0)
    /// From how many on it is copied.
    private let limit: Atomic<Int>
    private let pageSize: Int
    private let work = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    private var thread = pthread_t()

    /// `@unchecked Sendable`: `thread` is written once, before anybody else knows the object.
    init(path: String, pageSize: Int, logger: Logger) {
        self.path = path
        self.pageSize = pageSize
        self.logger = logger
        limit = Atomic(Self.threshold / pageSize)
        sem_init(work, 0, 0)
    }

    deinit {
        sem_destroy(work)
        work.deallocate()
    }

    func start() throws(StoreFailure) {
        let code = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Checkpointer>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, Unmanaged.passRetained(self).toOpaque())
        if code != 0 {
            throw .unusable("the store's checkpoint thread cannot start: \(String(cString: strerror(code)))")
        }
    }

    func stop() {
        if isStopping.exchange(true, ordering: .sequentiallyConsistent) { return }
        sem_post(work)
        pthread_join(thread, nil)
    }

    /// Told by the writer after each commit.
    func note(pages count: Int) {
        let before = pages.exchange(count, ordering: .relaxed)
        if count < before { limit.store(Self.threshold / pageSize, ordering: .relaxed) }
        guard count >= limit.load(ordering: .relaxed), !isWorking.load(ordering: .relaxed) else { return }
        if !isWorking.exchange(true, ordering: .acquiringAndReleasing) { sem_post(work) }
    }

    /// Whether the writer should copy the rest itself now.
    func takeRestartWish() -> Bool {
        wantsRestart.load(ordering: .relaxed) && wantsRestart.exchange(false, ordering: .relaxed)
    }

    /// The writer has done so. Where a reader in another process keeps the log from beginning anew, it grows a little first.
    func noteRestart() {
        let grown = pages.load(ordering: .relaxed) + Self.threshold / 4 / pageSize
        limit.store(grown, ordering: .relaxed)
        isWorking.store(false, ordering: .releasing)
    }

    private func run() {
        var database: Database?
        while true {
            while sem_wait(work) != 0, errno == EINTR {}
            if isStopping.load(ordering: .sequentiallyConsistent) { return }
            do throws(StoreFailure) {
                let open: Database
                if let database { open = database } else { open = try Database(path: path) }
                database = open
                try copy(open)
                wantsRestart.store(true, ordering: .relaxed)
            } catch {
                logger.warning("the write-ahead log grows", metadata: ["reason": "\(error)"])
                sleep(Self.pause)
                isWorking.store(false, ordering: .releasing)
            }
        }
    }

    /// Passes until what is left is short.
    private func copy(_ database: Database) throws(StoreFailure) {
        for _ in 1...Self.mostPasses {
            let copied = try database.checkpoint().copied
            let left = pages.load(ordering: .relaxed) - copied
            if left * pageSize <= Self.short || isStopping.load(ordering: .relaxed) { return }
        }
    }
}
