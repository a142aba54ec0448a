import Glibc

/// What remains of a process that was taken over: it keeps its number, hands signals on, starts the next upgrade, and ends as its
/// successor does.
package struct Holder {
    private(set) var current: Successor
    private let options: ProgramOptions
    private let arguments: [String]

    init(_ current: Successor, _ options: ProgramOptions, _ arguments: [String]) {
        self.current = current
        self.options = options
        self.arguments = arguments
    }

    /// - Parameter words: `PID CHANNEL` and the arguments of the proxy, as `ProgramLife` gave them; nil when they are not that.
    package init?(_ words: [String], _ options: ProgramOptions) {
        guard words.count > 2, let pid = pid_t(words[0]), let channel = CInt(words[1]), pid > 1, channel > 2,
            fcntl(channel, F_SETFD, FD_CLOEXEC) == 0
        else { return nil }
        self.init(Successor(pid: pid, channel: channel), options, Array(words.dropFirst(2)))
    }

    /// Returns the status to exit with: the successor's.
    package mutating func run() -> CInt {
        if let status = Self.reap(current.pid) { return status }
        while true {
            let number = Signals.next(within: nil)
            switch number {
            case SIGTERM, SIGINT, SIGHUP: kill(current.pid, number)
            case SIGUSR2: handOver()
            case SIGCHLD: if let status = Self.reap(current.pid) { return status }
            default: break
            }
        }
    }

    /// Puts the next program in the place of the present one, which goes on when that is not ready.
    mutating func handOver() {
        let files = UpgradeFiles(options)
        let sockets = current.sockets()
        defer { for socket in sockets { close(socket.descriptor) } }
        do {
            if sockets.isEmpty { throw ConfigurationFault("process \(current.pid) does not give its sockets") }
            let next = try Successor.start(files.nextProgram, arguments, sockets: sockets)
            if let fault = next.fault(within: ProgramLife.patience) {
                next.end()
                throw ConfigurationFault("process \(next.pid), \(files.nextProgram), \(fault)")
            }
            log("process \(next.pid) has taken over \(sockets.count) sockets from process \(current.pid)")
            current.leave()
            close(current.channel)
            current = next
            files.settle(isReady: true)
            files.note("ready \(next.pid)")
        } catch {
            log("upgrade: \(error); process \(current.pid) goes on", level: "error")
            files.settle(isReady: false)
            files.note("failed: \(error); process \(current.pid) goes on")
        }
    }

    /// Takes the status of all children that have ended; the one of `pid`, as a shell would say it.
    static func reap(_ pid: pid_t) -> CInt? {
        var found: CInt? = nil
        var status: CInt = 0
        while true {
            let ended = waitpid(-1, &status, WNOHANG)
            if ended <= 0 { return found }
            if ended == pid { found = status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + (status & 0x7F) }
        }
    }

    static func end(of pid: pid_t) -> CInt {
        var status: CInt = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        return status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + (status & 0x7F)
    }
}
