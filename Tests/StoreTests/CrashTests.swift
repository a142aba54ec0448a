import Glibc
import Store
import Testing

/// Set in the child only: the directory it writes to until it is killed.
private let crashDirectory = getenv("WEFT_STORE_CRASH_DIRECTORY").map { String(cString: $0) }

@Suite("A store whose process is killed")
struct CrashTests {
    /// Also what the killed program of the test below does, in its parent's directory and without an end.
    @Test("sixteen writers, and every acknowledged write is there")
    func child() async throws {
        if let crashDirectory { try await Self.write(to: crashDirectory, each: .max) }
        let directory = try TemporaryDirectory()
        try await Self.write(to: directory.path, each: 40)
        let store = try EmbeddedStore(directory: directory.path, historyEvents: 64)
        for writer in 0..<16 {
            for place in 0..<20 {
                #expect(store.get("/registry/pods/r0/\(writer)-\(place)").map(text) == "\(place + 20)")
            }
        }
        #expect(try readLines("\(directory.path)/acknowledged").count == 16 * 40)
        store.close()
    }

    /// Writes from many tasks, and notes every acknowledged write in a file.
    private static func write(to directory: String, each: Int) async throws {
        let store = try EmbeddedStore(directory: directory, historyEvents: 64)
        let notes = open("\(directory)/acknowledged", O_WRONLY | O_CREAT | O_APPEND, 0o600)
        defer { close(notes) }
        let round = store.revision
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<16 {
                group.addTask {
                    for number in 0..<each {
                        let key = "/registry/pods/r\(round)/\(writer)-\(number % 20)"
                        let record: Record
                        if store.get(key) == nil {
                            record = try await store.create(key, Array("\(number)".utf8))
                        } else {
                            record = try await store.update(key, Array("\(number)".utf8), .present)
                        }
                        let line = Array("\(key) \(number) \(record.revision)\n".utf8)
                        _ = Glibc.write(notes, line, line.count)
                    }
                }
            }
            try await group.waitForAll()
        }
        store.close()
    }

    @Test("every acknowledged write is there after kill -9")
    func killed() async throws {
        let directory = try TemporaryDirectory()
        var total = 0
        for round in 0..<5 {
            let child = try spawnChild(directory.path)
            var size = 0
            let wanted = total + 2000 + round * 700
            for _ in 0..<2000 where size < wanted {
                usleep(5000)
                var details = stat()
                if stat("\(directory.path)/acknowledged", &details) == 0 { size = Int(details.st_size) }
            }
            kill(child, SIGKILL)
            var status: CInt = 0
            waitpid(child, &status, 0)
            #expect(size >= wanted, "the child did not write; status \(status)")
            let acknowledged = try readLines("\(directory.path)/acknowledged")
            var latest: [String: (value: String, revision: Int64)] = [:]
            for line in acknowledged {
                let parts = line.split(separator: " ").map(String.init)
                guard parts.count == 3, let revision = Int64(parts[2]) else { continue }
                if revision > latest[parts[0]]?.revision ?? 0 { latest[parts[0]] = (parts[1], revision) }
            }
            let store = try EmbeddedStore(directory: directory.path, historyEvents: 64)
            for (key, wanted) in latest {
                let found = try #require(store.get(key), "\(key) was acknowledged at \(wanted.revision) and is gone")
                // One write more may have reached the disk without its answer reaching the note.
                #expect(found.revision >= wanted.revision)
                if found.revision == wanted.revision { #expect(text(found) == wanted.value) }
            }
            let highest = latest.values.map(\.revision).max() ?? 0
            #expect(store.revision >= highest)
            total = size
            store.close()
        }
    }

    private func spawnChild(_ directory: String) throws -> pid_t {
        let arguments = ["/proc/self/exe", "--testing-library", "swift-testing", "--filter", "CrashTests/child"]
        var variables: [String] = ["WEFT_STORE_CRASH_DIRECTORY=\(directory)"]
        for name in ["LD_LIBRARY_PATH", "PATH", "HOME"] {
            if let value = getenv(name) { variables.append("\(name)=\(String(cString: value))") }
        }
        var link = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &link, 4095)
        let program = String(decoding: link[..<max(0, count)].map(UInt8.init(bitPattern:)), as: UTF8.self)
        var argv = arguments.map { strdup($0) } + [nil]
        var environment = variables.map { strdup($0) } + [nil]
        defer { (argv + environment).forEach { free($0) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        var child: pid_t = 0
        let code = posix_spawn(&child, program, &actions, nil, &argv, &environment)
        try #require(code == 0)
        return child
    }

    private func readLines(_ path: String) throws -> [String] {
        let file = open(path, O_RDONLY)
        try #require(file >= 0)
        defer { close(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(file, &chunk, chunk.count)
            if count <= 0 { break }
            bytes += chunk[..<count]
        }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    @Test("a full disk refuses the write, keeps what is stored, and recovers")
    func fullDisk() async throws {
        let directory = try TemporaryDirectory()
        try #require(mount("weft-store-test", directory.path, "tmpfs", 0, "size=1m") == 0, "needs root")
        defer { umount2(directory.path, CInt(MNT_DETACH)) }
        do {
            let store = try EmbeddedStore(directory: directory.path, historyEvents: 4)
            let value = [UInt8](repeating: 7, count: 20_000)
            var stored = 0
            var failure: StoreFailure?
            while failure == nil, stored < 200 {
                do throws(StoreFailure) {
                    _ = try await store.create("/registry/pods/a/\(stored)", value)
                    stored += 1
                } catch {
                    failure = error
                }
            }
            #expect(failure == .diskFull(path: "\(directory.path)/store.db"))
            #expect(store.count == stored)
            #expect(store.get("/registry/pods/a/\(stored)") == nil)
            #expect(store.get("/registry/pods/a/\(stored - 1)")?.value == value)
            let grown = mount("weft-store-test", directory.path, "tmpfs", UInt(MS_REMOUNT), "size=8m")
            try #require(grown == 0)
            _ = try await store.create("/registry/pods/a/after", value)
            store.close()
        }
        let store = try EmbeddedStore(directory: directory.path)
        #expect(store.get("/registry/pods/a/after") != nil)
        store.close()
    }
}
