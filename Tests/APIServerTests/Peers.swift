import Glibc
import Kernel
import TestSupport
import Testing

extension PeerProgram {
    /// The next line, within a minute; `nil` at the end.
    func line() async -> String? { await onThread { self.line() } }

    /// All it writes until its end.
    func lines() async -> [String] {
        var lines: [String] = []
        while let line = await line() { lines.append(line) }
        return lines
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
