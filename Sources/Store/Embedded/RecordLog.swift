import CSQLite
import Logging

/// The writes on disk: a row a revision. Rows a later one made useless are deleted once the later one left the history.
///
/// Used by the opening thread, then by the writer's only.
final class RecordLog {
    /// From so many useless rows on, a write takes some away with it, however busy the store is.
    private static let mostGarbage = 8192
    /// Rows it takes away then at least: neighbours go at the cost of one.
    private static let leastGarbage = 256

    private let database: Database
    private let begin: Statement
    private let commit: Statement
    private let insert: Statement
    private let remove: Statement
    private let noteHorizon: Statement
    private let grant: Statement
    private let revoke: Statement
    private let logger: Logger
    /// Revisions of rows, each with the revision from whose leaving the history on it is useless. In order of the latter.
    private var superseded: [(row: Int64, by: Int64)] = []
    private var nextSuperseded = 0
    private var horizon: Int64 = 0

    /// Opens or creates the file, with a write-ahead log. A commit is whole or not there after a crash of the machine; whether it
    /// is there is the matter of `LogSync`. Checkpoints sync by themselves.
    init(path: String, logger: Logger) throws(StoreFailure) {
        database = try Database(path: path)
        self.logger = logger
        // The page size holds for new files only. Larger pages hold more records of an object's size for one entry in the log.
        // Rows come at the end and go at the beginning, and nothing is read in between: little needs to stay in memory.
        try database.execute(
            """
            PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0;
            PRAGMA cache_size=-8192;
            """)
        try RecordSchema.prepare(database)
        begin = try database.prepare("BEGIN IMMEDIATE")
        commit = try database.prepare("COMMIT")
        insert = try database.prepare(
            "INSERT INTO record(revision, key, created, value, lease, checksum) VALUES(?, ?, ?, ?, ?, ?)")
        remove = try database.prepare("DELETE FROM record WHERE revision BETWEEN ? AND ?")
        noteHorizon = try database.prepare("UPDATE horizon SET revision = ? WHERE id = 1")
        grant = try database.prepare("INSERT INTO lease(id, seconds) VALUES(?, ?)")
        revoke = try database.prepare("DELETE FROM lease WHERE id = ?")
    }

    /// Reads all rows in order, each with what its key held before.
    ///
    /// - Throws: `damaged`, naming the first record that is not what was written.
    func load(_ body: (StoreEvent) -> Void) throws(StoreFailure) -> (horizon: Int64, latest: Int64) {
        horizon = try RecordSchema.horizon(database)
        let rows = try RecordRows(database)
        var check = RecordCheck(horizon: horizon)
        var current: [String: Record] = [:]
        while let row = try rows.next() {
            if let damage = check.damage(of: row) { throw .damaged(path: database.path, what: damage) }
            let previous = current[row.key]
            let record = Record(
                key: row.key, value: row.value ?? previous?.value ?? [], revision: row.revision, created: row.created,
                lease: row.lease)
            let kind: StoreEvent.Kind = row.value == nil ? .deleted : previous == nil ? .created : .updated
            current[row.key] = row.value == nil ? nil : record
            let event = StoreEvent(kind: kind, record: record, previous: previous)
            supersede(by: event)
            body(event)
        }
        return (horizon, check.latest)
    }

    func leases() throws(StoreFailure) -> [StoreLease] {
        let rows = try database.prepare("SELECT id, seconds FROM lease")
        var found: [StoreLease] = []
        while try rows.step() { found.append(StoreLease(id: rows.integer(0), seconds: rows.integer(1))) }
        return found
    }

    /// Writes all or nothing; on the disk when the log is synced.
    func append(_ events: [StoreEvent], granted: [StoreLease] = [], revoked: [Int64] = []) throws(StoreFailure) {
        let end = isCrowded ? garbageEnd(limit: max(Self.leastGarbage, 2 * events.count)) : nextSuperseded
        try transaction { () throws(StoreFailure) in
            for lease in granted {
                grant.bind(1, lease.id)
                grant.bind(2, lease.seconds)
                try grant.run()
            }
            for event in events { try write(event) }
            for id in revoked {
                revoke.bind(1, id)
                try revoke.run()
            }
            if end > nextSuperseded { try removeGarbage(to: end) }
        }
        forgetGarbage(to: end)
    }

    private func write(_ event: StoreEvent) throws(StoreFailure) {
        let record = event.record
        let value = event.kind == .deleted ? nil : record.value
        insert.bind(1, record.revision)
        insert.bind(3, record.created)
        insert.bind(5, record.lease)
        insert.bind(
            6,
            RecordChecksum.of(
                revision: record.revision, key: record.key, created: record.created, lease: record.lease, value: value))
        try insert.run((2, record.key), (4, value))
    }

    private func transaction(_ body: () throws(StoreFailure) -> Void) throws(StoreFailure) {
        try begin.run()
        do throws(StoreFailure) {
            try body()
            try commit.run()
        } catch {
            // SQLite may have rolled back by itself already.
            try? database.execute("ROLLBACK")
            throw error
        }
    }

    /// Learns what became useless, and what may go now.
    func note(_ events: [StoreEvent], horizon: Int64) {
        for event in events { supersede(by: event) }
        self.horizon = horizon
    }

    private func supersede(by event: StoreEvent) {
        if let previous = event.previous { superseded.append((previous.revision, event.revision)) }
        if event.kind == .deleted { superseded.append((event.revision, event.revision)) }
    }

    /// A row goes only when the one that replaced it is not in the history either, since its event shows the row as the previous value.
    var hasGarbage: Bool { nextSuperseded < superseded.count && superseded[nextSuperseded].by <= horizon }

    private var isCrowded: Bool {
        let place = nextSuperseded + Self.mostGarbage + Self.leastGarbage
        return place < superseded.count && superseded[place].by <= horizon
    }

    private func garbageEnd(limit: Int) -> Int {
        var end = nextSuperseded
        while end < superseded.count, end - nextSuperseded < limit, superseded[end].by <= horizon { end += 1 }
        return end
    }

    private func removeGarbage(to end: Int) throws(StoreFailure) {
        noteHorizon.bind(1, horizon)
        try noteHorizon.run()
        let rows = superseded[nextSuperseded..<end].map(\.row).sorted()
        var place = 0
        while place < rows.count {
            var last = place
            while last + 1 < rows.count, rows[last + 1] <= rows[last] + 1 { last += 1 }
            remove.bind(1, rows[place])
            remove.bind(2, rows[last])
            try remove.run()
            place = last + 1
        }
    }

    private func forgetGarbage(to end: Int) {
        nextSuperseded = end
        if nextSuperseded > 65536 {
            superseded.removeFirst(nextSuperseded)
            nextSuperseded = 0
        }
    }

    /// Takes away up to `limit` useless rows.
    func compact(_ limit: Int) {
        let end = garbageEnd(limit: limit)
        do throws(StoreFailure) {
            try transaction { () throws(StoreFailure) in try removeGarbage(to: end) }
        } catch {
            // Nothing is lost: what stays is found again at the next start.
            logger.warning("old revisions stay in the store", metadata: ["reason": "\(error)"])
        }
        forgetGarbage(to: end)
    }

    /// Copies what little the other thread's checkpoint left, so that the write-ahead log starts from its beginning again.
    func finishCheckpoint() { _ = try? database.checkpoint() }

    func afterCommit(_ body: UnsafeMutableRawPointer, _ call: @escaping Database.AfterCommit) {
        database.afterCommit(body, call)
    }

    func pageSize() throws(StoreFailure) -> Int {
        let answer = try database.prepare("PRAGMA page_size")
        return try answer.step() ? Int(answer.integer(0)) : 4096
    }

    /// The log's file, which lasts as long as this connection.
    var writeAheadPath: String { database.path + "-wal" }

    /// Puts the write-ahead log into the database file, as far as possible.
    func close() {
        try? database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    }
}
