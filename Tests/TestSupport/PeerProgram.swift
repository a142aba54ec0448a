import Glibc

/// One of the Python programs in `Peers`, running beside a test. What it writes is read line by line.
package final class PeerProgram: @unchecked Sendable {  // One task at a time uses it.
    /// The interpreter that `make deps` made.
    package static let python = root(#filePath) + "/.build/tools/bin/python"

    /// A program in the folder `Peers` of the tests that `file` is one of.
    package static func path(_ name: String, of file: String = #filePath) -> String {
        let target = file.dropFirst(root(file).count + "/Tests/".count).prefix { $0 != "/" }
        return "\(root(file))/Tests/\(target)/Peers/\(name)"
    }

    private static func root(_ file: String) -> String {
        let parts = file.split(separator: "/")
        return "/" + parts.prefix(parts.lastIndex(of: "Tests") ?? 0).joined(separator: "/")
    }

    private let process: TestProcess?
    private let reading: CInt
    private let writing: CInt
    private var pending: [UInt8] = []
    private var isEnded = false

    package init(_ name: String, _ arguments: String..., of file: String = #filePath) {
        var fromChild: [CInt] = [0, 0]
        var toChild: [CInt] = [0, 0]
        pipe(&fromChild)
        pipe(&toChild)
        for end in fromChild + toChild { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        reading = fromChild[0]
        writing = toChild[1]
        process = try? TestProcess(
            [Self.python, Self.path(name, of: file)] + arguments, environment: [], input: .descriptor(toChild[0]),
            output: .descriptor(fromChild[1]), errors: .descriptor(2))
        close(fromChild[1])
        close(toChild[0])
    }

    /// The next line, within a minute; nil at the end.
    package func line() -> String? {
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

    /// The port it says it listens on.
    package func port() -> Int { line().flatMap { Int($0) } ?? 0 }

    package func say(_ text: String) {
        let bytes = Array("\(text)\n".utf8)
        _ = write(writing, bytes, bytes.count)
    }

    /// Waits for its end and gives its status.
    package func status() -> Int32 { Int32(process?.exitCode() ?? 127) }

    /// May be said again: by then the descriptors may be somebody else's.
    package func end() {
        if isEnded { return }
        isEnded = true
        process?.end()
        close(reading)
        close(writing)
    }
}
