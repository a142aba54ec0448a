import CSQLite
import Glibc
import Store
import TestSupport
import Testing

@Suite("The embedded store's file")
struct StoreFileTests {
    let directory: TemporaryDirectory
    init() throws { directory = try TemporaryDirectory() }

    private var file: String { "\(directory.path)/store.db" }

    private func filled(_ count: Int = 40) async throws {
        let store = try EmbeddedStore(directory: directory.path, historyEvents: 16)
        for number in 0..<count {
            _ = try await store.create(
                "/registry/pods/a/\(number)", [UInt8](repeating: UInt8(number & 255), count: 300))
        }
        _ = try await store.update("/registry/pods/a/1", Array("new".utf8), .present)
        _ = try await store.delete("/registry/pods/a/2", .present)
        store.close()
    }

    private func sql(_ text: String, _ path: String? = nil) throws {
        var handle: OpaquePointer?
        try #require(sqlite3_open(path ?? file, &handle) == SQLITE_OK)
        defer { sqlite3_close(handle) }
        let code = sqlite3_exec(handle, text, nil, nil, nil)
        try #require(code == SQLITE_OK, "\(String(cString: sqlite3_errmsg(handle)))")
    }

    @Test("a whole one is found whole")
    func whole() async throws {
        try await filled()
        let report = try StoreFile.verify(file)
        #expect(report.damages == [] && report.keys == 39 && report.revision == 42)
        #expect(throws: StoreFailure.unusable("there is no store at /nowhere/store.db")) {
            try StoreFile.verify("/nowhere/store.db")
        }
    }

    @Test(
        "what was changed behind its back is named, by verify and by the next start",
        arguments: [
            ("UPDATE record SET value = zeroblob(300) WHERE revision = 8", "key \"/registry/pods/a/7\" at revision 8"),
            (
                "UPDATE record SET key = '/registry/pods/a/else' WHERE revision = 8",
                "key \"/registry/pods/a/else\" at revision 8"
            ),
            ("UPDATE record SET created = 3 WHERE revision = 8", "key \"/registry/pods/a/7\" at revision 8"),
            ("UPDATE record SET value = NULL WHERE revision = 41", "key \"/registry/pods/a/1\" at revision 41"),
            ("DELETE FROM record WHERE revision = 39", "revision 39 is missing"),
            ("DELETE FROM record WHERE revision BETWEEN 37 AND 39", "revisions 37 to 39 are missing"),
        ])
    func changed(_ change: String, _ named: String) async throws {
        try await filled()
        try sql("UPDATE horizon SET revision = 20; \(change)")
        let report = try StoreFile.verify(file)
        #expect(report.damageCount == 1)
        #expect(report.damages.first?.contains(named) == true, "\(report.damages)")
        let failure = #expect(throws: StoreFailure.self) { try EmbeddedStore(directory: directory.path) }
        guard case .damaged(let path, let what) = failure else {
            Issue.record("\(words(failure))")
            return
        }
        #expect(path == file && what.contains(named))
    }

    @Test("a file whose pages are overwritten is refused with its name, and not changed")
    func overwritten() async throws {
        try await filled(400)
        var bytes = try readBytes(file)
        for place in 8192..<min(bytes.count, 24_576) { bytes[place] = UInt8(truncatingIfNeeded: place &* 13) }
        try writeBytes(file, bytes)
        let report = try StoreFile.verify(file)
        #expect(report.damageCount > 0)
        let failure = #expect(throws: StoreFailure.self) { try EmbeddedStore(directory: directory.path) }
        #expect(words(failure).contains("store \(file) is damaged"), "\(words(failure))")
        try writeBytes(file, Array("this is no database at all, but it is long enough to be read as one".utf8))
        let other = #expect(throws: StoreFailure.self) { try EmbeddedStore(directory: directory.path) }
        #expect(words(other).contains("store \(file) is damaged"), "\(words(other))")
    }

    @Test("a store of the first format is opened, and has checksums from then on")
    func migration() async throws {
        try sql(
            """
            PRAGMA journal_mode=WAL;
            CREATE TABLE record(revision INTEGER PRIMARY KEY, key TEXT NOT NULL, created INTEGER NOT NULL, value BLOB);
            CREATE TABLE horizon(id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL);
            INSERT INTO horizon VALUES(1, 0);
            INSERT INTO record VALUES(1, '/registry/a', 1, x'3131'), (2, '/registry/b', 2, x'3232'), (3, '/registry/a', 1, NULL);
            """)
        let store = try EmbeddedStore(directory: directory.path)
        #expect(text(store.get("/registry/b")) == "22" && store.get("/registry/a") == nil && store.revision == 3)
        _ = try await store.create("/registry/c", [])
        store.close()
        #expect(try StoreFile.verify(file).damages == [])
        try sql("PRAGMA user_version = 9")
        let failure = #expect(throws: StoreFailure.self) { try EmbeddedStore(directory: directory.path) }
        #expect(words(failure).contains("has format 9, and this program knows up to 2"))
    }

    @Test("a copy made while many write is one moment's state, and a store made of it goes on far ahead")
    func snapshotAndRestore() async throws {
        let store = try EmbeddedStore(directory: directory.path, historyEvents: 64)
        let lease = try await store.grantLease(seconds: 600)
        _ = try await store.create("/registry/leased", [], lease: lease.id)
        let stop = Flag()
        let writers = Task {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 0..<8 {
                    group.addTask {
                        // Of each pair, the second is written after the first: no moment has it alone.
                        for number in 0... {
                            if stop.isSet { return }
                            _ = try await store.create("/registry/first/\(writer)-\(number)", [])
                            _ = try await store.create("/registry/second/\(writer)-\(number)", [])
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
        #expect(await eventually { store.count > 300 })
        let before = store.revision
        let copy = "\(directory.path)/copy.db"
        let report = try StoreFile.snapshot(directory: directory.path, to: copy)
        stop.set()
        try await writers.value
        #expect(report.revision >= before && report.revision <= store.revision && report.damages == [])
        #expect(throws: StoreFailure.self) { try StoreFile.snapshot(directory: directory.path, to: copy) }
        #expect(throws: StoreFailure.self) { try StoreFile.restore(copy, directory: directory.path) }

        let fresh = try TemporaryDirectory()
        _ = try StoreFile.restore(copy, directory: fresh.path)
        let restored = try EmbeddedStore(directory: fresh.path)
        let then = try store.snapshot(at: max(report.revision, store.horizon))
        if then.revision == report.revision {
            var wanted: [String] = []
            then.index.visit(under: "/registry/") {
                wanted.append("\($0.key) \($0.revision) \($0.created)")
                return true
            }
            var found: [String] = []
            restored.snapshot().index.visit(under: "/registry/") {
                found.append("\($0.key) \($0.revision) \($0.created)")
                return true
            }
            #expect(found == wanted)
        }
        restored.snapshot().index.visit(under: "/registry/second/") {
            #expect(restored.get("/registry/first/\($0.key.dropFirst("/registry/second/".count))") != nil)
            return true
        }
        #expect(restored.revision == report.revision + StoreFile.restoredAhead)
        #expect(restored.horizon == restored.revision)
        try await restored.revokeLease(lease.id)
        #expect(restored.get("/registry/leased") == nil)
        store.close()
        restored.close()
    }

    @Test("a copy that was changed or cut short is not put back, and leaves nothing behind")
    func damagedCopy() async throws {
        try await filled(200)
        let copy = "\(directory.path)/copy.db"
        _ = try StoreFile.snapshot(directory: directory.path, to: copy)
        let good = try readBytes(copy)
        let fresh = "\(directory.path)/fresh"
        for change in [
            "DELETE FROM record WHERE revision = 5", "DELETE FROM seal",
            "UPDATE record SET value = x'00' WHERE revision = 9",
        ] {
            try writeBytes(copy, good)
            try sql(change, copy)
            #expect(throws: StoreFailure.self, "\(change)") { try StoreFile.restore(copy, directory: fresh) }
        }
        try writeBytes(copy, Array(good.prefix(good.count / 2)))
        #expect(throws: StoreFailure.self) { try StoreFile.restore(copy, directory: fresh) }
        #expect(throws: StoreFailure.self) { try StoreFile.restore(file, directory: fresh) }
        #expect(access("\(fresh)/store.db", F_OK) != 0 && access("\(fresh)/store.db.partial", F_OK) != 0)
        try writeBytes(copy, good)
        _ = try StoreFile.restore(copy, directory: fresh)
        let store = try EmbeddedStore(directory: fresh)
        #expect(store.count == 199)
        store.close()
    }

    @Test("however long writes never pause, rows that are of no use any more do not pile up")
    func bounded() async throws {
        let store = try EmbeddedStore(directory: directory.path, historyEvents: 256)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<64 {
                group.addTask {
                    let key = "/registry/pods/a/\(writer)"
                    _ = try await store.create(key, [])
                    for _ in 0..<600 { _ = try await store.update(key, [], .present) }
                }
            }
            try await group.waitForAll()
        }
        let report = try StoreFile.verify(file)
        #expect(report.damages == [] && report.keys == 64)
        // 38,464 were written; what is kept is the history, and a backlog that is bounded.
        #expect(report.records < 16_000, "\(report.records) rows")
        store.close()
    }
}
