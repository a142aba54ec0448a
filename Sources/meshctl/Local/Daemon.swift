import CKernel
import ClusterLayout
import Glibc
import Kernel
import Wire

/// The daemon of a cluster on this machine: whether it runs, starting it, ending it.
struct Daemon {
    let layout: ClusterLayout

    /// The process that holds the lock on the pid file, if there is one.
    func runningProcess() -> pid_t? {
        guard let file = try? OwnedDescriptor.open(layout.pidFile, flags: O_RDWR) else { return nil }
        var lock = flock()
        lock.l_type = Int16(F_WRLCK)
        guard fcntl(file.number, F_GETLK, &lock) == 0, lock.l_type != Int16(F_UNLCK) else { return nil }
        return lock.l_pid
    }

    /// Whether what holds the lock is a `meshctl down` of somebody else; also while it is not known yet.
    private func mayBeTeardown(_ process: pid_t) -> Bool {
        let text = (try? SmallFile.read(layout.pidFile, limit: 4096)) ?? []
        return ClusterLayout.isTeardown(pidFileText: String(decoding: text, as: UTF8.self), holder: process) != false
    }

    /// Waits for a teardown that is under way to end.
    func waitForTeardown(patience: Duration = .seconds(60)) throws {
        let deadline = ContinuousClock.now + patience
        while let process = runningProcess(), mayBeTeardown(process) {
            if ContinuousClock.now > deadline {
                throw CommandFailure(
                    "another 'meshctl down' of cluster \(layout.name) (process \(process)) has not ended after \(patience)"
                )
            }
            usleep(10_000)
        }
    }

    /// Waits until the daemon that runs says that it is ready.
    func waitUntilReady(patience: Duration = .seconds(90)) throws {
        let deadline = ContinuousClock.now + patience
        while let process = runningProcess() {
            if let text = try? SmallFile.read(layout.readyFile, limit: 4096),
                String(decoding: text, as: UTF8.self) == "\(process)\n"
            {
                return
            }
            if ContinuousClock.now > deadline {
                throw CommandFailure(
                    "meshd (process \(process)) runs, but the cluster is not ready after \(patience); the end of \(layout.daemonLog):\n\(logTail())"
                )
            }
            usleep(20_000)
        }
        throw CommandFailure("meshd ended before the cluster was ready; the end of \(layout.daemonLog):\n\(logTail())")
    }

    /// Another start of the same cluster was faster.
    struct AlreadyStarting: Error {}

    /// Starts the daemon detached from this terminal and hands on its steps until it is ready.
    ///
    /// - Throws: `AlreadyStarting`; `CommandFailure` with the daemon's own words when it gives up, and where its log is.
    func start(arguments: [String], onStep: (String, Duration, String) -> Void) throws {
        let program = try Self.program(named: "meshd")
        try SmallFile.makeDirectories(layout.stateDirectory)
        let log = try OwnedDescriptor.open(layout.daemonLog, flags: O_WRONLY | O_CREAT | O_APPEND, mode: 0o600)
        var ends: [CInt] = [0, 0]
        let code = weft_process_pipe(&ends)
        guard code == 0 else { throw SystemCallFailed("pipe2", code: code, on: "the daemon's progress") }
        let reading = OwnedDescriptor(taking: ends[0])
        let writing = OwnedDescriptor(taking: ends[1])

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, log.number, 1)
        posix_spawn_file_actions_adddup2(&actions, log.number, 2)
        posix_spawn_file_actions_adddup2(&actions, writing.number, 3)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        posix_spawnattr_setflags(&attributes, weft_spawn_setsid())

        let words = [program, "cluster", "--name", layout.name, "--progress-descriptor", "3"] + arguments
        var argv: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { argv.forEach { free($0) } }
        var child: pid_t = 0
        let spawned = posix_spawn(&child, program, &actions, &attributes, &argv, environ)
        guard spawned == 0 else { throw SystemCallFailed("posix_spawn", code: spawned, on: program) }
        _ = close(writing.release())
        try follow(reading, onStep)
    }

    private func follow(_ progress: consuming OwnedDescriptor, _ onStep: (String, Duration, String) -> Void) throws {
        var pending: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let outcome = try chunk.withUnsafeMutableBytes { try progress.read(into: $0) }
            guard case .bytes(let count) = outcome else { break }
            pending += chunk[..<count]
            while let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
                let line = Array(pending[..<end])
                pending.removeSubrange(...end)
                guard let event = try? JSON(parsing: line) else { continue }
                if event["ready"]?.bool == true { return }
                if event["taken"]?.bool == true { throw AlreadyStarting() }
                if let why = event["failed"]?.string { throw CommandFailure(why) }
                if let step = event["step"]?.string {
                    onStep(step, .microseconds(event["microseconds"]?.int ?? 0), event["remark"]?.string ?? "")
                }
            }
        }
        throw CommandFailure("meshd ended before the cluster was ready; the end of \(layout.daemonLog):\n\(logTail())")
    }

    func logTail(lines: Int = 12) -> String {
        guard let bytes = try? SmallFile.read(layout.daemonLog) else { return "(no log)" }
        let text = String(decoding: bytes.suffix(16_384), as: UTF8.self)
        return text.split(separator: "\n").suffix(lines).map { "    \($0)" }.joined(separator: "\n")
    }

    /// Asks the daemon to end, and waits; after `patience`, kills it. Its containers are not touched by either.
    func stop(patience: Duration = .seconds(10)) throws {
        try waitForTeardown()
        guard let process = runningProcess() else { return }
        guard kill(process, SIGTERM) == 0 || errno == ESRCH else {
            throw SystemCallFailed("kill", code: errno, on: "meshd (process \(process))")
        }
        let deadline = ContinuousClock.now + patience
        while runningProcess() == process {
            if ContinuousClock.now > deadline { _ = kill(process, SIGKILL) }
            usleep(10_000)
        }
    }

    /// The ports and nodes the cluster has, as the daemon keeps them.
    func settings() -> JSON? { (try? SmallFile.read(layout.settingsFile)).flatMap { try? JSON(parsing: $0) } }

    /// Runs `meshd teardown` and waits for it.
    func tearDown(keepingData: Bool) throws {
        let program = try Self.program(named: "meshd")
        let words = [program, "teardown", "--name", layout.name] + (keepingData ? ["--keep-data"] : [])
        var argv: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { argv.forEach { free($0) } }
        var child: pid_t = 0
        let code = posix_spawn(&child, program, nil, nil, &argv, environ)
        guard code == 0 else { throw SystemCallFailed("posix_spawn", code: code, on: program) }
        var status: CInt = 0
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        guard status == 0 else {
            throw CommandFailure("meshd teardown failed; what is left of cluster \(layout.name) is named above")
        }
    }

    /// A program of ours, which stands beside this one.
    static func program(named name: String) throws -> String {
        do throws(SystemCallFailed) {
            return try ProgramFile.beside(name)
        } catch {
            if error.call != "access" { throw error }
            throw CommandFailure(
                "\(name) is not beside meshctl (looked for \(error.subject)); build it with 'make build'")
        }
    }
}
