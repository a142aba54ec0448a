import Glibc
import Store
import Testing
import Wire

/// A directory that goes away with the value.
final class TemporaryDirectory {
    let path: String
    init() throws {
        var template = Array("/tmp/weft-store-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
    deinit { removeTree(path) }
}

func removeTree(_ path: String) {
    var details = stat()
    if lstat(path, &details) == 0, details.st_mode & S_IFMT == S_IFDIR, let directory = opendir(path) {
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { removeTree("\(path)/\(name)") }
        }
        closedir(directory)
        rmdir(path)
    } else {
        unlink(path)
    }
}

func text(_ record: Record?) -> String? { record.map { String(decoding: $0.value, as: UTF8.self) } }

@Suite("Embedded store")
struct EmbeddedStoreTests {
    let directory: TemporaryDirectory
    init() throws { directory = try TemporaryDirectory() }

    @Test("what readers made of past values is forgotten once it is no longer recent; present values keep it")
    func forgetsPastDecoded() async throws {
        let store = try EmbeddedStore(directory: directory.path)
        let past = try await store.create("/registry/pods/a/x", Array("1".utf8))
        let present = try await store.update(past.key, Array("2".utf8), .present)
        var decodings = 0
        func read(_ record: Record) {
            _ = record.decoded(keeping: true) { _ in
                decodings += 1
                return .string("made")
            }
        }
        for record in [past, present, past, present] { read(record) }
        #expect(decodings == 2)
        let other = try await store.create("/registry/pods/a/y", [])
        for _ in 0..<600 { _ = try await store.update(other.key, [], .present) }
        read(present)
        #expect(decodings == 2)
        read(past)
        #expect(decodings == 3)
    }

    @Test("a watch from a compacted revision expires; a nudged one says how far it is")
    func expiry() async throws {
        let store = try EmbeddedStore(directory: directory.path, historyEvents: 8)
        for number in 0..<40 { _ = try await store.create("/registry/pods/a/\(number)", []) }
        let watch = store.watch("/registry/pods/")
        var early: Int64 = 1
        await #expect(throws: StoreFailure.expired(asked: 1, oldest: store.horizon)) {
            try await watch.next(after: &early)
        }
        let now = store.revision
        let waiting = Task { () -> Int64? in
            var position = now
            guard case .idle(let revision) = try await watch.next(after: &position) else { return nil }
            return revision
        }
        _ = try await store.create("/registry/nodes/x", [])
        let nudger = Task { while !Task.isCancelled { watch.nudge(); await Task.yield() } }
        let idle = try await waiting.value
        nudger.cancel()
        #expect(idle == now || idle == now + 1)
    }

    @Test("cancelling a waiting watch ends it")
    func cancellation() async throws {
        let store = try EmbeddedStore(directory: directory.path)
        for _ in 0..<200 {
            let waiting = Task {
                var position: Int64 = store.revision
                return try await store.watch("/registry/").next(after: &position)
            }
            waiting.cancel()
            await #expect(throws: CancellationError.self) { _ = try await waiting.value }
        }
    }

    @Test("reopening finds everything, and a watch resumes across it")
    func reopen() async throws {
        var store: EmbeddedStore? = try EmbeddedStore(directory: directory.path)
        let first = try await store?.create("/registry/pods/a/x", Array("1".utf8))
        let second = try await store?.update("/registry/pods/a/x", Array("2".utf8), .present)
        _ = try await store?.create("/registry/pods/a/y", Array("y".utf8))
        _ = try await store?.delete("/registry/pods/a/y", .present)
        #expect(throws: StoreFailure.unusable("store \(directory.path) is in use by another process")) {
            try EmbeddedStore(directory: directory.path)
        }
        store?.close()
        store = nil
        let reopened = try EmbeddedStore(directory: directory.path)
        #expect(text(reopened.get("/registry/pods/a/x")) == "2")
        #expect(reopened.get("/registry/pods/a/x")?.created == first?.revision)
        #expect(reopened.get("/registry/pods/a/y") == nil)
        var position = try #require(second?.revision)
        guard case .events(let events) = try await reopened.watch("/registry/pods/").next(after: &position) else {
            Issue.record("expected events")
            return
        }
        #expect(events.map(\.kind) == [.created, .deleted])
        #expect(text(events.last?.record) == "y")
    }

    @Test("old revisions are compacted, and the store stays right after reopening")
    func compaction() async throws {
        do {
            let store = try EmbeddedStore(directory: directory.path, historyEvents: 16)
            _ = try await store.create("/registry/pods/a/x", Array("0".utf8))
            for number in 1..<500 {
                _ = try await store.update("/registry/pods/a/x", Array("\(number)".utf8), .present)
            }
            for number in 0..<20 {
                _ = try await store.create("/registry/pods/a/y\(number)", [])
                _ = try await store.delete("/registry/pods/a/y\(number)", .present)
            }
            store.close()
        }
        let store = try EmbeddedStore(directory: directory.path, historyEvents: 16)
        #expect(text(store.get("/registry/pods/a/x")) == "499")
        #expect(store.count == 1)
        #expect(store.revision == 540)
        let next = try await store.create("/registry/pods/a/z", [])
        #expect(next.revision == 541)
    }
}
