import Glibc
import Store
import TestSupport
import Testing

/// Runs `store-load note`, which writes down what was acknowledged and what its watch saw, and kills it again and again.
@Suite("A store whose process is killed", .serialized)
struct KillTests {
    /// How often; the whole check is 200 times.
    private static let kills = getenv("WEFT_STORE_KILLS").flatMap { Int(String(cString: $0)) } ?? 200

    private struct Line: Hashable {
        let revision: Int64
        let kind: Substring
        let key: Substring
        let value: Substring

        init?(_ text: Substring) {
            let parts = text.split(separator: " ")
            guard parts.count == 4, let revision = Int64(parts[0]) else { return nil }
            (self.revision, kind, key, value) = (revision, parts[1], parts[2], parts[3])
        }
    }

    @Test("every acknowledged write is there after kill -9, and the watch skips and repeats no revision")
    func killed() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path
        var size: off_t = 0
        for round in 0..<Self.kills {
            let child = try TestProcess(
                [try BuiltProgram.path("store-load"), "note", "--directory", path], output: .file("\(path)/log"))
            // At a random point, but not before it has written something: a start alone would be no load.
            let wanted = size + off_t.random(in: 1...6000)
            for _ in 0..<20_000 where size < wanted {
                usleep(500)
                size = Self.size("\(path)/acknowledged")
            }
            usleep(useconds_t.random(in: 0...2000))
            child.end()
            let status = child.wait()
            let log = String(decoding: (try? readBytes("\(path)/log")) ?? [], as: UTF8.self)
            try #require(status == SIGKILL, "round \(round): the writer ended by itself: \(log)")
            try #require(size >= wanted, "round \(round): the writer did not write: \(log)")
            size = Self.size("\(path)/acknowledged")
        }
        try await check(path)
    }

    private static func size(_ path: String) -> off_t {
        var details = stat()
        return stat(path, &details) == 0 ? details.st_size : 0
    }

    private func lines(_ path: String) throws -> [Line] {
        String(decoding: try readBytes(path), as: UTF8.self).split(separator: "\n").compactMap { Line($0) }
    }

    /// What the killed processes' watches wrote down, and then what one that goes on after them sees: writes that reached the
    /// disk without anybody having been told.
    private func watched(_ path: String, _ store: EmbeddedStore) async throws -> [Line] {
        var lines = try lines("\(path)/watched")
        let watch = store.watch("/registry/")
        var position = lines.last?.revision ?? 0
        while position < store.revision {
            guard case .events(let events) = try await watch.next(after: &position) else { continue }
            for event in events {
                let value = String(decoding: event.record.value, as: UTF8.self)
                lines.append(try #require(Line("\(event.revision) \(event.kind) \(event.record.key) \(value)")))
            }
        }
        return lines
    }

    private func check(_ path: String) async throws {
        let store = try EmbeddedStore(directory: path, historyEvents: 4096)
        defer { store.close() }
        let watched = try await watched(path, store)
        let acknowledged = try lines("\(path)/acknowledged")
        #expect(acknowledged.count >= Self.kills)
        // One line a revision, from the first on.
        let revisions = watched.map(\.revision)
        #expect(revisions.first == 1)
        let breaks = zip(revisions, revisions.dropFirst()).filter { $1 != $0 + 1 }
        #expect(breaks.isEmpty, "the watch skipped or repeated: \(breaks.prefix(5))")
        #expect(revisions.last == store.revision)
        // What was acknowledged is what happened, and what happened is what is there.
        let seen = Dictionary(watched.map { ($0.revision, $0) }) { first, _ in first }
        let wrong = acknowledged.filter { seen[$0.revision] != $0 }
        #expect(wrong.isEmpty, "acknowledged, and not seen so: \(wrong.prefix(5))")
        var last: [Substring: Line] = [:]
        for line in watched { last[line.key] = line }
        for (key, line) in last {
            let found = store.get(String(key))
            if line.kind == "deleted" {
                #expect(found == nil, "\(key) was deleted at \(line.revision) and is there")
            } else {
                #expect(text(found) == String(line.value), "\(key) was written at \(line.revision)")
                #expect(found?.revision == line.revision)
            }
        }
    }
}
