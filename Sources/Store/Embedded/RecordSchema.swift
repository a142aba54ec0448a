/// How records lie in the database file.
///
/// Version 1 (SQLite's `user_version` was left at 0) had neither leases nor checksums; a store of that version gets both when opened.
enum RecordSchema {
    static let version: Int64 = 2

    static func prepare(_ database: Database) throws(StoreFailure) {
        let found = try version(of: database)
        if found == version { return }
        guard found < version else {
            throw .unusable(
                "store \(database.path) has format \(found), and this program knows up to \(version): it was written by a newer one"
            )
        }
        try database.execute(
            """
            BEGIN IMMEDIATE;
            CREATE TABLE IF NOT EXISTS record(revision INTEGER PRIMARY KEY, key TEXT NOT NULL, created INTEGER NOT NULL, value BLOB);
            CREATE TABLE IF NOT EXISTS horizon(id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL);
            CREATE TABLE IF NOT EXISTS lease(id INTEGER PRIMARY KEY, seconds INTEGER NOT NULL);
            INSERT OR IGNORE INTO horizon VALUES(1, 0);
            ALTER TABLE record ADD COLUMN lease INTEGER NOT NULL DEFAULT 0;
            ALTER TABLE record ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
            """)
        do throws(StoreFailure) {
            try addChecksums(database)
            try database.execute("PRAGMA user_version = \(version); COMMIT")
        } catch {
            try? database.execute("ROLLBACK")
            throw error
        }
    }

    static func version(of database: Database) throws(StoreFailure) -> Int64 {
        let answer = try database.prepare("PRAGMA user_version")
        return try answer.step() ? answer.integer(0) : 0
    }

    private static func addChecksums(_ database: Database) throws(StoreFailure) {
        let write = try database.prepare("UPDATE record SET checksum = ? WHERE revision = ?")
        let rows = try RecordRows(database)
        while let row = try rows.next() {
            write.bind(1, row.expectedChecksum)
            write.bind(2, row.revision)
            try write.run()
        }
    }

    static func horizon(_ database: Database) throws(StoreFailure) -> Int64 {
        let answer = try database.prepare("SELECT revision FROM horizon WHERE id = 1")
        guard try answer.step() else {
            throw .damaged(path: database.path, what: "it does not say how far its history goes")
        }
        return answer.integer(0)
    }
}

/// One row of the log as it lies there.
struct RecordRow {
    let revision: Int64
    let key: String
    let created: Int64
    /// `nil` says the key was deleted.
    let value: [UInt8]?
    let lease: Int64
    let checksum: Int64

    var expectedChecksum: Int64 {
        RecordChecksum.of(revision: revision, key: key, created: created, lease: lease, value: value)
    }
}

/// All rows in the order of their revisions.
struct RecordRows {
    private let rows: Statement

    init(_ database: Database) throws(StoreFailure) {
        rows = try database.prepare(
            "SELECT revision, key, created, value, lease, checksum FROM record ORDER BY revision")
    }

    func next() throws(StoreFailure) -> RecordRow? {
        guard try rows.step() else { return nil }
        return RecordRow(
            revision: rows.integer(0), key: rows.text(1), created: rows.integer(2), value: rows.bytes(3),
            lease: rows.integer(4), checksum: rows.integer(5))
    }
}

/// Finds rows that are not what was written, and revisions that are not there; given all rows in order.
struct RecordCheck {
    private let horizon: Int64
    private(set) var latest: Int64

    init(horizon: Int64) {
        self.horizon = horizon
        latest = horizon
    }

    /// What is wrong with a row, in words; `nil` for a good one.
    mutating func damage(of row: RecordRow) -> String? {
        defer { latest = max(latest, row.revision) }
        if row.checksum != row.expectedChecksum {
            return "the record of key \"\(row.key)\" at revision \(row.revision) does not fit its checksum"
        }
        if row.revision > horizon, row.revision != latest + 1 {
            let missing =
                latest + 2 == row.revision
                ? "revision \(latest + 1) is" : "revisions \(latest + 1) to \(row.revision - 1) are"
            return "\(missing) missing before the record of key \"\(row.key)\""
        }
        return nil
    }
}
