import CSQLite
import Glibc
import Logging
import Synchronization

/// Copies the write-ahead log into the database file from a thread and a connection of its own, so that writers never wait for it.
final class Checkpointer: @unchecked Sendable {
    /// The log's size in bytes from which it is worth the trouble.
    private static let threshold = 8 << 20
    /// While writes never pause, the log never starts from its beginning by itself; from this size on the writer sees to it.
    private static let restart = 64 << 20

    private let path: String
    private let logger: Logger
    private let isStopping = Atomic(false)
    private let wantsRestart = Atomic(false)
    private var thread = pthread_t()

    /// `@unchecked Sendable`: `thread` is written once, before anybody else knows the object.
    init(path: String, logger: Logger) {
        self.path = path
        self.logger = logger
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
        pthread_join(thread, nil)
    }

    /// Whether the writer should copy the rest itself now: it is short, the log is long. Says so once a pass.
    func takeRestartWish() -> Bool {
        wantsRestart.load(ordering: .relaxed) && wantsRestart.exchange(false, ordering: .relaxed)
    }

    private func run() {
        var database: Database?
        while !isStopping.load(ordering: .sequentiallyConsistent) {
            usleep(100_000)
            var details = stat()
            guard stat(path + "-wal", &details) == 0, details.st_size > Self.threshold else { continue }
            do throws(StoreFailure) {
                let open: Database
                if let database { open = database } else { open = try Database(path: path) }
                database = open
                try open.execute("PRAGMA wal_checkpoint(PASSIVE)")
                if details.st_size > Self.restart { wantsRestart.store(true, ordering: .relaxed) }
            } catch {
                logger.warning("the write-ahead log grows", metadata: ["reason": "\(error)"])
            }
            // The file keeps its size and is written from its start again; look at it seldom then.
            for _ in 0..<10 where !isStopping.load(ordering: .sequentiallyConsistent) { usleep(100_000) }
        }
    }
}
