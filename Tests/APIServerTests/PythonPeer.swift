import Glibc
import Kernel
import Testing

/// One of the Python programs in `Peers`, running beside a test. What it writes is read line by line.
final class PythonPeer: @unchecked Sendable {  // One task at a time uses it.
    private var process: pid_t = 0
    private let reading: CInt
    private var pending: [UInt8] = []

    init(_ name: String, _ arguments: String...) throws {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let python = "\(root)/.build/tools/bin/python"
        try #require(access(python, X_OK) == 0, "no Python: run `make deps`")
        var ends: [CInt] = [0, 0]
        pipe(&ends)
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        reading = ends[0]
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        var words =
            ([python, "-u", "\(root)/Tests/APIServerTests/Peers/\(name)"] + arguments).map { strdup($0) } + [nil]
        posix_spawn(&process, python, &actions, nil, &words, nil)
        for word in words { free(word) }
        posix_spawn_file_actions_destroy(&actions)
        close(ends[1])
    }

    /// The next line, within a minute; `nil` at the end.
    func line() async -> String? { await onThread { self.next() } }

    /// All it writes until its end.
    func lines() async -> [String] {
        var lines: [String] = []
        while let line = await line() { lines.append(line) }
        return lines
    }

    private func next() -> String? {
        while true {
            if let end = pending.firstIndex(of: 10) {
                let line = String(decoding: pending[..<end], as: UTF8.self)
                pending.removeFirst(end + 1)
                return line
            }
            var waiting = pollfd(fd: reading, events: Int16(POLLIN), revents: 0)
            if poll(&waiting, 1, 60_000) <= 0 { return nil }
            var space = [UInt8](repeating: 0, count: 4096)
            let count = read(reading, &space, space.count)
            if count <= 0 { return nil }
            pending += space[..<count]
        }
    }

    func end() {
        guard process > 0 else { return }
        kill(process, SIGKILL)
        var status: CInt = 0
        waitpid(process, &status, 0)
        process = 0
        close(reading)
    }
}

/// What `body` finds, looking every few milliseconds for at most a minute.
func soon<Value>(_ body: () async throws -> Value?) async rethrows -> Value? {
    let deadline = ContinuousClock.now + .seconds(60)
    while ContinuousClock.now < deadline {
        if let found = try await body() { return found }
        try? await Task.sleep(for: .milliseconds(10))
    }
    return nil
}

/// A file of its own with this text.
func temporaryFile(_ text: String) throws -> String {
    let path = try temporaryDirectory("weft-file") + "/text"
    let file = open(path, O_CREAT | O_WRONLY, 0o600)
    try #require(file >= 0)
    defer { close(file) }
    let bytes = Array(text.utf8)
    try #require(write(file, bytes, bytes.count) == bytes.count)
    return path
}

func parent(_ path: String) -> String { String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]) }
