import CSQLite
import Logging

/// The writes on disk: a row a revision. Rows a later one made useless are deleted once the later one left the history.
///
/// Used by the opening thread, then by the writer's only.
final class RecordLog {
    private let database: Database
    private let insert: Statement
    private let remove: Statement
    private let noteHorizon: Statement
    private let logger: Logger
    /// Revisions of rows, each with the revision from whose leaving the history on it is useless. In order of the latter.
    private var superseded: [(row: Int64, by: Int64)] = []
    private var nextSuperseded = 0
    private var horizon: Int64 = 0

    /// Opens or creates the file. WAL with a sync a commit: an answered write survives a crash of the machine.
    init(path: String, logger: Logger) throws(StoreFailure) {
        database = try Database(path: path)
        self.logger = logger
        try database.execute(
            """
            PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-16384;
            CREATE TABLE IF NOT EXISTS record(revision INTEGER PRIMARY KEY, key TEXT NOT NULL, created INTEGER NOT NULL, value BLOB);
            CREATE TABLE IF NOT EXISTS horizon(id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL);
            INSERT OR IGNORE INTO horizon VALUES(1, 0);
            """)
        insert = try database.prepare("INSERT INTO record VALUES(?, ?, ?, ?)")
        remove = try database.prepare("DELETE FROM record WHERE revision = ?")
        noteHorizon = try database.prepare("UPDATE horizon SET revision = ? WHERE id = 1")
    }

    /// Reads all rows in order, each with what its key held before.
    func load(_ body: (StoreEvent) -> Void) throws(StoreFailure) -> (horizon: Int64, latest: Int64) {
        let saved = try database.prepare("SELECT revision FROM horizon")
        if try saved.step() { horizon = saved.integer(0) }
        let rows = try database.prepare("SELECT revision, key, created, value FROM record ORDER BY revision")
        var current: [String: Record] = [:]
        var latest = horizon
        while try rows.step() {
            let key = rows.text(1)
            let value = rows.bytes(3)
            let previous = current[key]
            latest = rows.integer(0)
            let record = Record(
                key: key, value: value ?? previous?.value ?? [], revision: latest, created: rows.integer(2))
            let kind: StoreEvent.Kind = value == nil ? .deleted : previous == nil ? .created : .updated
            current[key] = value == nil ? nil : record
            let event = StoreEvent(kind: kind, record: record, previous: previous)
            supersede(by: event)
            body(event)
        }
        return (horizon, latest)
    }

    /// Writes all or nothing, durably.
    func append(_ events: [StoreEvent]) throws(StoreFailure) {
        try transaction { () throws(StoreFailure) in
            for event in events {
                insert.bind(1, event.revision)
                insert.bind(2, event.record.key)
                insert.bind(3, event.record.created)
                insert.bind(4, event.kind == .deleted ? nil : event.record.value)
                try insert.run()
            }
        }
    }

    private func transaction(_ body: () throws(StoreFailure) -> Void) throws(StoreFailure) {
        try database.execute("BEGIN IMMEDIATE")
        do throws(StoreFailure) {
            try body()
            try database.execute("COMMIT")
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

    func compact(_ limit: Int) {
        var end = nextSuperseded
        while end < superseded.count, end - nextSuperseded < limit, superseded[end].by <= horizon { end += 1 }
        do throws(StoreFailure) {
            try transaction { () throws(StoreFailure) in
                noteHorizon.bind(1, horizon)
                try noteHorizon.run()
                for place in nextSuperseded..<end {
                    remove.bind(1, superseded[place].row)
                    try remove.run()
                }
            }
        } catch {
            // Nothing is lost: what stays is found again at the next start.
            logger.warning("old revisions stay in the store", metadata: ["reason": "\(error)"])
        }
        nextSuperseded = end
        if nextSuperseded > 65536 {
            superseded.removeFirst(nextSuperseded)
            nextSuperseded = 0
        }
    }

    /// Puts the write-ahead log into the database file, as far as possible.
    func close() {
        try? database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    }
}
