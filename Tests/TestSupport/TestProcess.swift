import Glibc
import Synchronization

/// A program beside a test; killed with the value at the latest. One task at a time waits for it.
package final class TestProcess: Sendable {
    package struct NotStarted: Error, CustomStringConvertible {
        package let description: String
    }

    /// What one of its standard streams is.
    package enum Stream: Sendable {
        /// Nothing to read, and nobody who reads.
        case nothing
        /// Read from its beginning, or written to its end.
        case file(String)
        case descriptor(CInt)
    }

    private enum State { case running(pid_t), ended(CInt) }
    private let state: Mutex<State>

    /// - Parameters:
    ///   - words: the program, with its whole path, and its arguments.
    ///   - environment: `nil` is the test's own.
    ///   - errors: `nil` is where its output goes.
    package init(
        _ words: [String], environment: [String]? = nil, input: Stream = .nothing, output: Stream, errors: Stream? = nil
    ) throws(NotStarted) {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        Self.connect(0, input, O_RDONLY, &actions)
        Self.connect(1, output, O_WRONLY | O_CREAT | O_APPEND, &actions)
        Self.connect(2, errors ?? .descriptor(1), O_WRONLY | O_CREAT | O_APPEND, &actions)
        // The threads of a pool block signals, and children inherit that.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var arguments = words.map { strdup($0) } + [nil]
        var variables = (environment ?? []).map { strdup($0) } + [nil]
        defer { for text in arguments + variables { free(text) } }
        var process: pid_t = 0
        let code =
            environment == nil
            ? posix_spawn(&process, words[0], &actions, &attributes, &arguments, environ)
            : posix_spawn(&process, words[0], &actions, &attributes, &arguments, &variables)
        guard code == 0 else {
            throw NotStarted(description: "\(words[0]) cannot be started: \(String(cString: strerror(code)))")
        }
        state = Mutex(.running(process))
    }

    private static func connect(
        _ number: CInt, _ stream: Stream, _ flags: CInt, _ actions: inout posix_spawn_file_actions_t
    ) {
        switch stream {
        case .nothing: posix_spawn_file_actions_addopen(&actions, number, "/dev/null", O_RDWR, 0)
        case .file(let path): posix_spawn_file_actions_addopen(&actions, number, path, flags, 0o600)
        case .descriptor(let other): posix_spawn_file_actions_adddup2(&actions, other, number)
        }
    }

    deinit { end() }

    /// Waits for its end.
    ///
    /// - Returns: what `waitpid` says of it.
    @discardableResult
    package func wait() -> CInt {
        let process: pid_t
        switch state.withLock({ $0 }) {
        case .ended(let status): return status
        case .running(let number): process = number
        }
        var status: CInt = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        let found = status
        state.withLock { $0 = .ended(found) }
        return found
    }

    /// The same as shells say it: 128 and the signal's number for one that was killed.
    package func exitCode() -> Int {
        let status = wait()
        return status & 0x7F == 0 ? Int(status >> 8 & 0xFF) : 128 + Int(status & 0x7F)
    }

    package func signal(_ number: CInt) {
        if case .running(let process) = state.withLock({ $0 }) { kill(process, number) }
    }

    /// Ends it, and waits until it has ended; again is nothing.
    package func end(_ number: CInt = SIGKILL) {
        signal(number)
        wait()
    }
}

/// A port of loopback that nobody has now.
package func unusedPort() -> Int {
    let number = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    defer { close(number) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let code = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(number, $0, size) == 0 ? getsockname(number, $0, &size) : -1
        }
    }
    precondition(code == 0, "loopback has no port left: \(String(cString: strerror(errno)))")
    return Int(UInt16(bigEndian: address.sin_port))
}
