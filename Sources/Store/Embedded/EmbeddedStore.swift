import Glibc
package import Logging
import Synchronization

/// A versioned key-value store in one directory of one machine.
///
/// Every write gets the next revision and is on the disk before it is answered. Reads and watches never touch the disk.
package final class EmbeddedStore: MemoryBacked {
    package let memory: Memory
    private let writer: Writer
    private let checkpointer: Checkpointer
    private let lock: CInt
    /// Gives up what is too old.
    private let ageing: Task<Void, Never>?

    /// The name of the database file in the store's directory.
    static let fileName = "store.db"

    /// Opens the store, creating it where there is none. Only one process may have it open.
    ///
    /// - Parameters:
    ///   - historyEvents: how many events watches may go back.
    ///   - historyAge: and for how long; `nil`: however old they are.
    package convenience init(
        directory: String, historyEvents: Int = 8192, historyAge: HistoryAge? = nil,
        logger: Logger = Logger(label: "store")
    ) throws(StoreFailure) {
        if mkdir(directory, 0o700) != 0, errno != EEXIST {
            throw .unusable("store directory \(directory) cannot be made: \(String(cString: strerror(errno)))")
        }
        let lock = try Self.lock(directory)
        do throws(StoreFailure) {
            try self.init(
                path: "\(directory)/\(Self.fileName)", lock: lock, historyEvents: historyEvents, historyAge: historyAge,
                logger: logger)
        } catch {
            Glibc.close(lock)
            throw error
        }
    }

    private init(
        path: String, lock: CInt, historyEvents: Int, historyAge: HistoryAge?, logger: Logger
    ) throws(StoreFailure) {
        let log = try RecordLog(path: path, logger: logger)
        var limit = History.Limit()
        limit.events = historyEvents
        var events: [StoreEvent] = []
        var index = OrderedIndex()
        var leases = LeaseTable()
        // What was left of a lease when the last process ended is not known: it lasts for its whole time again.
        for lease in try log.leases() { leases.grant(lease, at: .now) }
        let (horizon, latest) = try log.load { event in
            switch event.kind {
            case .created, .updated: index.put(event.record)
            case .deleted: index.remove(event.record.key)
            }
            leases.note(event)
            events.append(event)
        }
        var history = History(limit: limit, horizon: horizon)
        for event in events where event.revision > horizon { history.append(event) }
        memory = Memory(history: history, index: index, revision: latest)
        log.note([], horizon: history.horizon)
        checkpointer = Checkpointer(path: path, pageSize: try log.pageSize(), logger: logger)
        writer = Writer(log: log, memory: memory, leases: leases, checkpointer: checkpointer)
        try writer.start()
        do throws(StoreFailure) {
            try checkpointer.start()
        } catch {
            writer.stop()
            throw error
        }
        self.lock = lock
        ageing = historyAge.map { [memory, writer] age in
            Task {
                var before = latest
                await age.run {
                    let now = memory.state.withLock { $0.revision }
                    memory.compact(to: before)
                    // Rows of no more use go when nobody writes.
                    writer.nudge()
                    before = now
                }
            }
        }
    }

    static func lock(_ directory: String) throws(StoreFailure) -> CInt {
        let path = directory + "/store.lock"
        let number = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard number >= 0 else { throw .unusable("\(path) cannot be opened: \(String(cString: strerror(errno)))") }
        guard flock(number, LOCK_EX | LOCK_NB) == 0 else {
            Glibc.close(number)
            throw .unusable("store \(directory) is in use by another process")
        }
        return number
    }

    package func close() {
        memory.close()
        ageing?.cancel()
        checkpointer.stop()
        writer.stop()
        flock(lock, LOCK_UN)
    }

    deinit {
        close()
        Glibc.close(lock)
    }

    package var isShared: Bool { false }
    /// Nobody else writes: memory holds every answered write.
    package func catchUp() async throws(StoreFailure) {}

    package func create(_ key: String, _ value: [UInt8], lease: Int64) async throws(StoreFailure) -> Record {
        try await record(.put(key: key, value: value, lease: lease, .absent))
    }

    package func update(
        _ key: String, _ value: [UInt8], _ expectation: Expectation, lease: Int64
    ) async throws(StoreFailure) -> Record {
        try await record(.put(key: key, value: value, lease: lease, expectation))
    }

    package func delete(_ key: String, _ expectation: Expectation) async throws(StoreFailure) -> Record {
        try await record(.delete(key: key, expectation))
    }

    package func grantLease(seconds: Int64) async throws(StoreFailure) -> StoreLease {
        guard (1...9_000_000_000).contains(seconds) else {
            throw .unusable("a lease cannot last \(seconds) seconds: 1 to 9000000000")
        }
        let lease = StoreLease(id: Int64.random(in: 1...Int64.max), seconds: seconds)
        _ = try await work(.grant(lease))
        return lease
    }

    package func renewLease(_ id: Int64) async throws(StoreFailure) -> StoreLease {
        guard case .lease(let lease) = try await work(.renew(id)) else { throw .leaseMissing(id) }
        return lease
    }

    package func revokeLease(_ id: Int64) async throws(StoreFailure) { _ = try await work(.revoke(id)) }

    package func compact(to revision: Int64) async throws(StoreFailure) { _ = try await work(.compact(revision)) }

    private func record(_ kind: PendingWork.Kind) async throws(StoreFailure) -> Record {
        guard case .record(let record) = try await work(kind) else { throw .closed }
        return record
    }

    private func work(_ kind: PendingWork.Kind) async throws(StoreFailure) -> PendingWork.Outcome {
        let outcome = await withUnsafeContinuation { answer in writer.enqueue(PendingWork(kind: kind, answer: answer)) }
        return try outcome.get()
    }
}
