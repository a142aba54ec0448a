import Glibc
package import Logging
import Synchronization

/// A versioned key-value store in one directory of one machine.
///
/// Every write gets the next revision and is on the disk before it is answered. Reads and watches never touch the disk.
package final class EmbeddedStore: Sendable {
    private let memory: Memory
    private let writer: Writer
    private let checkpointer: Checkpointer
    private let lock: CInt

    /// Opens the store, creating it where there is none. Only one process may have it open.
    ///
    /// `historyEvents`: how many events watches may go back.
    package convenience init(
        directory: String, historyEvents: Int = 8192, logger: Logger = Logger(label: "store")
    ) throws(StoreFailure) {
        if mkdir(directory, 0o700) != 0, errno != EEXIST {
            throw .unusable("store directory \(directory) cannot be made: \(String(cString: strerror(errno)))")
        }
        let lock = try Self.lock(directory)
        do throws(StoreFailure) {
            try self.init(path: directory + "/store.db", lock: lock, historyEvents: historyEvents, logger: logger)
        } catch {
            Glibc.close(lock)
            throw error
        }
    }

    private init(path: String, lock: CInt, historyEvents: Int, logger: Logger) throws(StoreFailure) {
        let log = try RecordLog(path: path, logger: logger)
        var limit = History.Limit()
        limit.events = historyEvents
        var events: [StoreEvent] = []
        var index = OrderedIndex()
        let (horizon, latest) = try log.load { event in
            switch event.kind {
            case .created, .updated: index.put(event.record)
            case .deleted: index.remove(event.record.key)
            }
            events.append(event)
        }
        var history = History(limit: limit, horizon: horizon)
        for event in events where event.revision > horizon { history.append(event) }
        memory = Memory(history: history)
        memory.state.withLock { state in
            state.index = index
            state.revision = latest
        }
        log.note([], horizon: history.horizon)
        writer = Writer(log: log, memory: memory)
        checkpointer = Checkpointer(path: path, logger: logger)
        try writer.start()
        do throws(StoreFailure) {
            try checkpointer.start()
        } catch {
            writer.stop()
            throw error
        }
        self.lock = lock
    }

    private static func lock(_ directory: String) throws(StoreFailure) -> CInt {
        let path = directory + "/store.lock"
        let number = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard number >= 0 else { throw .unusable("\(path) cannot be opened: \(String(cString: strerror(errno)))") }
        guard flock(number, LOCK_EX | LOCK_NB) == 0 else {
            Glibc.close(number)
            throw .unusable("store \(directory) is in use by another process")
        }
        return number
    }

    /// Ends watches and refuses new ones; reads and writes go on.
    package func endWatches() { memory.close() }

    /// Ends watches, writes what is queued, and gives the directory free. Safe to repeat.
    package func close() {
        memory.close()
        checkpointer.stop()
        writer.stop()
        flock(lock, LOCK_UN)
    }

    deinit {
        close()
        Glibc.close(lock)
    }

    /// The revision of the latest write.
    package var revision: Int64 { memory.state.withLock { $0.revision } }

    /// The oldest revision a watch may start from.
    package var horizon: Int64 { memory.state.withLock { $0.history.horizon } }

    package var count: Int { memory.state.withLock { $0.index.count } }

    package func get(_ key: String) -> Record? { memory.state.withLock { $0.index[key] } }

    /// The whole store as it is now; later writes do not show in it.
    package func snapshot() -> StoreSnapshot {
        memory.state.withLock { StoreSnapshot(index: $0.index, revision: $0.revision) }
    }

    package func create(_ key: String, _ value: [UInt8]) async throws(StoreFailure) -> Record {
        try await write(key, value, .absent)
    }

    package func update(_ key: String, _ value: [UInt8], _ expectation: Expectation) async throws(StoreFailure)
        -> Record
    {
        try await write(key, value, expectation)
    }

    /// - Returns: the last value, with the revision of the deletion.
    package func delete(_ key: String, _ expectation: Expectation) async throws(StoreFailure) -> Record {
        try await write(key, nil, expectation)
    }

    private func write(_ key: String, _ value: [UInt8]?, _ expectation: Expectation) async throws(StoreFailure)
        -> Record
    {
        let outcome = await withUnsafeContinuation { answer in
            writer.enqueue(PendingWrite(key: key, value: value, expectation: expectation, answer: answer))
        }
        return try outcome.get()
    }

    /// `scope`: a prefix that ends in a slash, or one whole key.
    package func watch(_ scope: String) -> StoreWatch { StoreWatch(memory, scope: scope) }
}
