import Glibc
import Kernel
import Loop

/// A proxy's life after its start, on the main thread: it waits for signals, which must be blocked in all threads.
///
/// SIGTERM and SIGINT end it, SIGHUP reads the configuration file again, SIGUSR2 puts the program at `nextProgram` in its place: see
/// docs/decisions/0007-upgrade-in-place.md.
package struct ProgramLife {
    /// To be blocked before any thread starts.
    package static let signals = [SIGTERM, SIGINT, SIGHUP, SIGUSR2, SIGCHLD]
    static let patience = 30

    private let program: Program
    private let arguments: [String]
    private var successor: Successor?
    /// When the connections of this process must have ended.
    private var limit: UInt64 = 0

    /// - Parameter arguments: of this program, for the next.
    package init(_ program: Program, _ arguments: [String]) {
        self.program = program
        self.arguments = arguments
        UpgradeFiles(program.options).notePid()
        Predecessor.listen(program)
    }

    /// Returns the status to exit with.
    package mutating func run() -> CInt {
        while true {
            let number = Signals.next(within: successor == nil ? nil : 100)
            switch number {
            case SIGHUP:
                if let successor { kill(successor.pid, SIGHUP) } else { program.reload() }
            case SIGUSR2: handOver()
            case SIGTERM, SIGINT:
                guard let successor else {
                    program.drain()
                    return 0
                }
                kill(successor.pid, SIGTERM)
                return Holder.end(of: successor.pid)
            case SIGCHLD:
                if let successor, let status = Holder.reap(successor.pid) { return status }
            default: break
            }
            if let successor, program.hasLeft(by: limit) { return hold(successor) }
        }
    }

    private mutating func handOver() {
        if Predecessor.holds {
            // The process that started this one decides.
            kill(getppid(), SIGUSR2)
            return
        }
        if let successor {
            // Connections here still end, while the one that took over is to be replaced already.
            var holder = Holder(successor, program.options, arguments)
            holder.handOver()
            self.successor = holder.current
            return
        }
        let files = UpgradeFiles(program.options)
        do {
            let sockets = program.sockets()
            let next = try Successor.start(files.nextProgram, arguments, sockets: sockets)
            if let fault = next.fault(within: Self.patience) {
                next.end()
                throw ConfigurationFault("process \(next.pid), \(files.nextProgram), \(fault)")
            }
            log("process \(next.pid) has taken over \(sockets.count) sockets; connections here may end")
            files.settle(isReady: true)
            files.note("ready \(next.pid)")
            successor = next
            limit = Clock.monotonic + UInt64(program.options.handoverSeconds) * 1_000_000_000
            program.leave()
        } catch {
            log("upgrade: \(error); this process goes on", level: "error")
            files.settle(isReady: false)
            files.note("failed: \(error); process \(getpid()) goes on")
        }
    }

    /// All connections have ended, but whoever started this process looks at its number: it stays as a small one.
    private func hold(_ successor: Successor) -> CInt {
        let path = UpgradeFiles(program.options).nextProgram
        _ = fcntl(successor.channel, F_SETFD, 0)
        let words = [path, "hold", "\(successor.pid)", "\(successor.channel)"] + arguments
        _ = ExecTexts.with(words, Environment.own) { execve(path, $0, $1) }
        log("\(path): \(String(cString: strerror(errno))); this process stays as it is", level: "warning")
        var holder = Holder(successor, program.options, arguments)
        return holder.run()
    }
}

/// Taking signals that are blocked.
enum Signals {
    /// Whether a signal to end waits to be taken.
    static var isAskedToEnd: Bool {
        var pending = sigset_t()
        sigpending(&pending)
        return sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1
    }

    /// - Parameter milliseconds: how long to wait; nil for ever.
    /// - Returns: 0 when none came.
    static func next(within milliseconds: Int?) -> CInt {
        var set = sigset_t()
        sigemptyset(&set)
        for number in ProgramLife.signals { sigaddset(&set, number) }
        guard let milliseconds else {
            var number: CInt = 0
            sigwait(&set, &number)
            return number
        }
        var limit = timespec(tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000)
        return max(0, sigtimedwait(&set, nil, &limit))
    }
}

/// What an upgrade leaves in the state directory: the program to start, the number of the process to ask, and how it went.
struct UpgradeFiles {
    private let directory: String

    /// Where sidecars and gateways keep their state in a pod, and where others do.
    static let usualDirectories = ["/var/run/weft/state", "/tmp/weft-proxy"]

    init(_ options: ProgramOptions) { directory = options.role == .run ? "" : options.stateDirectory }

    /// Put here to be tried; and one that was tried well.
    static func next(in directory: String) -> String { directory + "/meshproxy.next" }
    private var placed: String { directory + "/meshproxy" }

    /// A program put into the state directory, else this one, as its file is now.
    var nextProgram: String {
        if !directory.isEmpty {
            for path in [Self.next(in: directory), placed] where access(path, X_OK) == 0 { return path }
        }
        var bytes = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &bytes, bytes.count - 1)
        if count <= 0 { return "/proc/self/exe" }
        let path = String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let gone = " (deleted)"
        return path.hasSuffix(gone) ? String(path.dropLast(gone.count)) : path
    }

    /// The process that stays whatever takes over.
    func notePid() {
        if directory.isEmpty || Predecessor.holds { return }
        _ = try? SmallFile.makeDirectories(directory, mode: 0o700)
        _ = try? SmallFile.replace(directory + "/pid", with: Array("\(getpid())\n".utf8), mode: 0o600)
    }

    /// The program that was tried is kept for later when it became ready, and gone when it did not.
    func settle(isReady: Bool) {
        if directory.isEmpty { return }
        let next = Self.next(in: directory)
        if isReady { rename(next, placed) } else { unlink(next) }
    }

    func note(_ outcome: String) {
        if directory.isEmpty { return }
        _ = try? SmallFile.replace(directory + "/upgrade", with: Array("\(outcome)\n".utf8), mode: 0o600)
    }
}
