import CKernel
import Glibc
import Kernel
import Loop

/// The process that takes a proxy's sockets over, as seen by the one that started it.
///
/// They speak over a pair of connected sockets, a message each: the successor says `ready`; it is asked for its own sockets with
/// `sockets` when another takes over from it, and told to go with `leave`. When the other end closes, the other process is gone.
struct Successor {
    let pid: pid_t
    let channel: CInt

    /// Where the successor finds its end of the channel.
    static let variable = "WEFT_HANDOVER"
    private static let highest: CInt = 700

    /// Starts a program with sockets, named in LISTEN_FDNAMES, and no signals blocked.
    static func start(
        _ program: String, _ arguments: [String], sockets: [(name: String, descriptor: CInt)]
    ) throws(SystemCallFailed) -> Successor {
        var ends: [CInt] = [-1, -1]
        if socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) != 0 {
            throw SystemCallFailed("socketpair", code: errno, on: "the next process")
        }
        defer { close(ends[1]) }
        // First out of the way of the numbers they are to have.
        var copies: [CInt] = []
        defer { for copy in copies { close(copy) } }
        for descriptor in sockets.map(\.descriptor) + [ends[1]] {
            let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, highest)
            let code = errno
            if copy < 0 {
                close(ends[0])
                throw SystemCallFailed("dup", code: code, on: "descriptor \(descriptor)")
            }
            copies.append(copy)
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (place, copy) in copies.enumerated() {
            posix_spawn_file_actions_adddup2(&actions, copy, CInt(3 + place))
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        let added = [
            "LISTEN_FDS=\(sockets.count)", "LISTEN_FDNAMES=\(sockets.map(\.name).joined(separator: ":"))",
            "\(variable)=\(3 + sockets.count)",
        ]
        var pid: pid_t = 0
        // What is tried as `meshproxy.next` is `meshproxy` once it is ready.
        let name = program.hasSuffix(".next") ? String(program.dropLast(5)) : program
        let code = ExecTexts.with([name] + arguments, Environment.own + added) { words, environment in
            posix_spawn(&pid, program, &actions, &attributes, words, environment)
        }
        if code != 0 {
            close(ends[0])
            throw SystemCallFailed("start", code: code, on: program)
        }
        return Successor(pid: pid, channel: ends[0])
    }

    /// Waits until it says that it is ready.
    ///
    /// - Returns: why it will not be; nil when it is.
    func fault(within seconds: Int) -> String? {
        let limit = Clock.monotonic + UInt64(seconds) * 1_000_000_000
        while Clock.monotonic < limit {
            var waiting = pollfd(fd: channel, events: Int16(POLLIN), revents: 0)
            if poll(&waiting, 1, 100) > 0 {
                if Channel.receive(channel, within: 0)?.text == "ready" { return nil }
                return "ended before it was ready; its log says why"
            }
            if Signals.isAskedToEnd { return "was not waited for: this proxy is asked to end" }
        }
        return "was not ready within \(seconds) seconds"
    }

    /// Its listening sockets; none when it does not answer.
    func sockets() -> [(name: String, descriptor: CInt)] {
        guard Channel.send(channel, "sockets"), let answer = Channel.receive(channel, within: 5000) else { return [] }
        let names = answer.text.split(separator: ":").map(String.init)
        return names.count == answer.descriptors.count ? Array(zip(names, answer.descriptors)).map { ($0.0, $0.1) } : []
    }

    func leave() { _ = Channel.send(channel, "leave") }

    /// Ends it: it did not become ready.
    func end() {
        kill(pid, SIGKILL)
        var status: CInt = 0
        waitpid(pid, &status, 0)
        close(channel)
    }
}

/// One message at a time over a pair of connected sockets.
enum Channel {
    struct Message {
        var text: String
        var descriptors: [CInt]
    }

    static func send(_ channel: CInt, _ text: String, _ descriptors: [CInt] = []) -> Bool {
        let bytes = Array(text.utf8)
        return weft_send(channel, bytes, bytes.count, descriptors, descriptors.count, 0) == bytes.count
    }

    /// nil at the end of the channel or of the time.
    static func receive(_ channel: CInt, within milliseconds: Int?) -> Message? {
        var waiting = pollfd(fd: channel, events: Int16(POLLIN), revents: 0)
        if poll(&waiting, 1, milliseconds.map { Int32($0) } ?? -1) <= 0 { return nil }
        var bytes = [UInt8](repeating: 0, count: 65536)
        var descriptors = [CInt](repeating: -1, count: 250)
        var count = descriptors.count
        let size = weft_receive(channel, &bytes, bytes.count, &descriptors, &count, 0)
        if size <= 0 { return nil }
        return Message(text: String(decoding: bytes[..<size], as: UTF8.self), descriptors: Array(descriptors[..<count]))
    }
}

/// What a process gives to those it starts, without what was meant for it alone.
enum Environment {
    static var own: [String] {
        let bytes = (try? SmallFile.read("/proc/self/environ")) ?? []
        return bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }.filter {
            !$0.hasPrefix("LISTEN_") && !$0.hasPrefix(Successor.variable + "=")
        }
    }
}

/// Texts as exec wants them: pointers to their bytes, and a null pointer behind the last.
enum ExecTexts {
    static func with<Value>(
        _ words: [String], _ environment: [String],
        _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>, UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Value
    ) -> Value {
        let first = words.map { strdup($0) } + [nil]
        let second = environment.map { strdup($0) } + [nil]
        defer { for text in first + second { free(text) } }
        return first.withUnsafeBufferPointer { words in
            second.withUnsafeBufferPointer { environment in
                guard let words = words.baseAddress, let environment = environment.baseAddress else {
                    fatalError("an array with elements has no address")
                }
                return body(words, environment)
            }
        }
    }
}
