import Glibc
import Kernel
import KubeClient
import KubeTypes
import NodeAgent
import Synchronization
import Testing

@Suite struct LogTests {
    private let node = TestNode()
    private var path: String { node.directory + "/0.log" }

    private func line(_ second: Int, _ text: String, _ tag: String = "F") -> String {
        "2026-01-02T03:04:0\(second).000000006Z stdout \(tag) \(text)\n"
    }

    private func read(_ options: LogOptions) async -> String {
        let reader = LogReader(path, options, now: Timestamp("2026-01-02T03:04:10Z") ?? .now()) { true }
        var bytes: [UInt8] = []
        while let more = await reader.next() { bytes += more }
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test("lines come as the program wrote them, parts joined, with times if asked for")
    func plain() async throws {
        try SmallFile.write(line(1, "one") + line(2, "tw", "P") + line(2, "o") + line(3, "three"), to: path)
        #expect(await read(LogOptions()) == "one\ntwo\nthree\n")
        var options = LogOptions()
        options.timestamps = true
        options.tailLines = 1
        #expect(await read(options) == "2026-01-02T03:04:03.000000006Z three\n")
    }

    @Test("tail, since and limit choose what is shown")
    func choices() async throws {
        try SmallFile.write((1...9).map { line($0, "n\($0)") }.joined(), to: path)
        var tail = LogOptions()
        tail.tailLines = 2
        #expect(await read(tail) == "n8\nn9\n")
        tail.tailLines = 0
        #expect(await read(tail) == "")
        tail.tailLines = 100
        #expect(await read(tail).split(separator: "\n").count == 9)
        var since = LogOptions()
        since.sinceSeconds = 3
        #expect(await read(since) == "n7\nn8\nn9\n")
        since.sinceSeconds = nil
        since.sinceTime = "2026-01-02T03:04:09Z"
        #expect(await read(since) == "n9\n")
        var limit = LogOptions()
        limit.limitBytes = 4
        #expect(await read(limit) == "n1\nn")
    }

    @Test("rotated files come first, and count for the tail")
    func rotated() async throws {
        try SmallFile.write(line(1, "old") + line(2, "older"), to: path + ".20260102-030400")
        try SmallFile.write(line(3, "new"), to: path)
        #expect(await read(LogOptions()) == "old\nolder\nnew\n")
        var options = LogOptions()
        options.tailLines = 2
        #expect(await read(options) == "older\nnew\n")
    }

    @Test("following shows what comes, through a rotation, until the run has ended")
    func follow() async throws {
        try SmallFile.write(line(1, "one"), to: path)
        let hasEnded = Mutex(false)
        var options = LogOptions()
        options.follow = true
        let reader = LogReader(path, options) { hasEnded.withLock { $0 } }
        #expect(await reader.next() == Array("one\n".utf8))
        async let next = reader.next()
        try SmallFile.write(line(1, "one") + line(2, "two"), to: path)
        #expect(await next == Array("two\n".utf8))
        _ = path.withCString { old in (path + ".20260102-030400").withCString { rename(old, $0) } }
        try SmallFile.write(line(3, "three"), to: path)
        #expect(await reader.next() == Array("three\n".utf8))
        hasEnded.withLock { $0 = true }
        #expect(await reader.next() == nil)
    }
}
