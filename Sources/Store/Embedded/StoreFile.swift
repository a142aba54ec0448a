import Glibc

/// An embedded store's file, looked at, copied and put back from outside of the process that serves it.
package enum StoreFile {
    /// What a store or a copy of one holds.
    package struct Report: Sendable {
        /// Rows, those kept for watches included.
        package var records = 0
        package var keys = 0
        package var revision: Int64 = 0
        package var bytes: Int64 = 0
        /// What is damaged, in words; at most `mostDamages` of them.
        package var damages: [String] = []
        package var damageCount = 0
        var checksum = ChecksumOfAll()

        mutating func note(_ damage: String) {
            damageCount += 1
            if damages.count < StoreFile.mostDamages { damages.append(damage) }
        }
    }

    package static let mostDamages = 20
    /// How far a restored store's revisions are ahead of its copy's, so that none of what was written after the copy comes again
    /// with another content: clients that saw those revisions are told to read anew.
    package static let restoredAhead: Int64 = 1_000_000_000

    /// Reads all of a store, or of a copy, and checks it. Also while a server writes to it.
    package static func verify(_ path: String) throws(StoreFailure) -> Report {
        guard access(path, F_OK) == 0 else { throw .unusable("there is no store at \(path)") }
        let database = try Database(path: path, mayCreate: false)
        try database.execute("BEGIN")
        var report = Report()
        do throws(StoreFailure) {
            try check(database, &report)
        } catch {
            guard case .damaged(_, let what) = error else { throw error }
            report.note(what)
        }
        try? database.execute("COMMIT")
        return report
    }

    private static func check(_ database: Database, _ report: inout Report) throws(StoreFailure) {
        let pages = try database.prepare("PRAGMA quick_check(\(mostDamages))")
        while try pages.step() {
            let answer = pages.text(0)
            if answer != "ok" { report.note("the file itself: \(answer)") }
        }
        let found = try RecordSchema.version(of: database)
        guard found == RecordSchema.version else {
            throw .unusable(
                found == 0
                    ? "\(database.path) is no store of this format: if it is an older one, 'meshctl up' brings it up to date"
                    : "store \(database.path) has format \(found), and this program knows \(RecordSchema.version)")
        }
        let size = try database.prepare("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        if try size.step() { report.bytes = size.integer(0) }
        var check = RecordCheck(horizon: try RecordSchema.horizon(database))
        var keys: Set<String> = []
        let rows = try RecordRows(database)
        while let row = try rows.next() {
            report.records += 1
            report.checksum.add(row.checksum)
            if let damage = check.damage(of: row) { report.note(damage) }
            if row.value == nil { keys.remove(row.key) } else { keys.insert(row.key) }
        }
        report.keys = keys.count
        report.revision = check.latest
        try checkSeal(database, &report)
    }

    /// A copy says what it held when it was made.
    private static func checkSeal(_ database: Database, _ report: inout Report) throws(StoreFailure) {
        guard try isCopy(database) else { return }
        let seal = try database.prepare("SELECT records, checksum FROM seal")
        guard try seal.step() else {
            report.note("the copy does not say what it held")
            return
        }
        if seal.integer(0) != Int64(report.records) {
            report.note("the copy was made with \(seal.integer(0)) records and has \(report.records)")
        } else if seal.integer(1) != report.checksum.value {
            report.note("the copy's records are not those it was made with")
        }
    }

    private static func isCopy(_ database: Database) throws(StoreFailure) -> Bool {
        try database.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'seal'").step()
    }

    /// Copies a store as it is at one moment, whoever writes to it, into a new file. The copy appears whole or not at all.
    ///
    /// - Returns: what the copy holds, found by reading it.
    package static func snapshot(directory: String, to file: String) throws(StoreFailure) -> Report {
        let path = "\(directory)/\(EmbeddedStore.fileName)"
        guard access(path, F_OK) == 0 else { throw .unusable("there is no store at \(path)") }
        guard access(file, F_OK) != 0 else {
            throw .unusable("\(file) exists already: choose another name, or remove it")
        }
        let partial = "\(file).partial"
        _ = unlink(partial)
        var isDone = false
        defer { if !isDone { _ = unlink(partial) } }
        let source = try Database(path: path, mayCreate: false)
        let version = try RecordSchema.version(of: source)
        guard version == RecordSchema.version else {
            throw .unusable("store \(path) has format \(version): 'meshctl up' brings it up to date first")
        }
        try copy(source, to: partial)
        let plain = try verify(partial)
        if let damage = plain.damages.first { throw .damaged(path: path, what: damage) }
        try seal(partial, plain)
        try settle(partial, as: file)
        isDone = true
        return try verify(file)
    }

    private static func copy(_ source: Database, to partial: String) throws(StoreFailure) {
        let copy = try source.prepare("VACUUM INTO ?")
        copy.bind(1, partial)
        do throws(StoreFailure) { try copy.run() } catch {
            if case .diskFull = error { throw .diskFull(path: partial) }
            throw error
        }
        chmod(partial, 0o600)
    }

    private static func seal(_ path: String, _ report: Report) throws(StoreFailure) {
        let database = try Database(path: path, mayCreate: false)
        try database.execute(
            """
            CREATE TABLE seal(records INTEGER NOT NULL, checksum INTEGER NOT NULL);
            INSERT INTO seal VALUES(\(report.records), \(report.checksum.value));
            """)
    }

    /// Makes the store of a fresh directory from a copy.
    package static func restore(_ file: String, directory: String) throws(StoreFailure) -> Report {
        guard access(file, R_OK) == 0 else {
            throw .unusable("\(file) cannot be read: \(String(cString: strerror(errno)))")
        }
        let path = "\(directory)/\(EmbeddedStore.fileName)"
        guard access(path, F_OK) != 0 else {
            throw .unusable("\(path) exists already: a copy is put back into a directory without a store only")
        }
        if mkdir(directory, 0o700) != 0, errno != EEXIST {
            throw .unusable("store directory \(directory) cannot be made: \(String(cString: strerror(errno)))")
        }
        let lock = try EmbeddedStore.lock(directory)
        defer { Glibc.close(lock) }
        let report = try verify(file)
        if let damage = report.damages.first { throw .damaged(path: file, what: damage) }
        let partial = "\(path).partial"
        _ = unlink(partial)
        var isDone = false
        defer { if !isDone { _ = unlink(partial) } }
        try unseal(file, into: partial, ahead: report.revision + restoredAhead)
        try settle(partial, as: path)
        isDone = true
        return report
    }

    private static func unseal(_ file: String, into partial: String, ahead horizon: Int64) throws(StoreFailure) {
        let source = try Database(path: file, mayCreate: false)
        guard try isCopy(source) else {
            throw .unusable("\(file) is no copy of a store: make one with 'meshctl store snapshot'")
        }
        try copy(source, to: partial)
        let database = try Database(path: partial, mayCreate: false)
        // Deletions are of no use to anybody now, and neither are the values that later ones replaced.
        try database.execute(
            """
            BEGIN;
            DROP TABLE seal;
            DELETE FROM record WHERE revision NOT IN (SELECT max(revision) FROM record GROUP BY key) OR value IS NULL;
            UPDATE horizon SET revision = \(horizon);
            COMMIT;
            """)
    }

    /// Gives a whole file its name, safe against a crash of the machine.
    private static func settle(_ partial: String, as file: String) throws(StoreFailure) {
        try sync(partial)
        guard rename(partial, file) == 0 else {
            throw .unusable("\(partial) cannot be renamed to \(file): \(String(cString: strerror(errno)))")
        }
        let slash = file.lastIndex(of: "/")
        try sync(slash.map { $0 == file.startIndex ? "/" : String(file[..<$0]) } ?? ".")
    }

    private static func sync(_ path: String) throws(StoreFailure) {
        let number = open(path, O_RDONLY | O_CLOEXEC)
        guard number >= 0, fsync(number) == 0 else {
            let why = String(cString: strerror(errno))
            if number >= 0 { Glibc.close(number) }
            throw .unusable("\(path) cannot be put on the disk: \(why)")
        }
        Glibc.close(number)
    }
}
