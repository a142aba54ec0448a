package import ContainerRuntime
import Glibc
import Kernel
package import KubeClient

/// A command in a container, or the container's own process, with its streams as a session: reads when asked, so a slow reader
/// slows the command.
package actor CommandSession: ExecSession {
    private let running: any RunningExec
    /// All streams of a command with a terminal are one descriptor, which lives until the end.
    private let hasTerminal: Bool
    /// How the container's own process ends is told by its status, not to those attached to it.
    private let isAttached: Bool
    private var open: [CInt: Bool] = [:]  // readable descriptor: whether it is stderr
    private var input: CInt?
    private var pending: [ExecOutput] = []
    private var exitCode: Int?
    private var failure: RuntimeFailure?
    private var hasReportedExit = false
    private var waiting: Task<Void, Never>?

    package init(_ running: any RunningExec, hasInput: Bool, hasTerminal: Bool, isAttached: Bool = false) {
        self.running = running
        self.hasTerminal = hasTerminal
        self.isAttached = isAttached
        var open = [running.stdout: false]
        if !hasTerminal { open[running.stderr] = true }
        open[-1] = nil
        for descriptor in Set([running.stdin, running.stdout, running.stderr]) where descriptor >= 0 {
            _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
        }
        self.open = open
        input = running.stdin >= 0 ? running.stdin : nil
        if !hasInput, !hasTerminal, running.stdin >= 0 {
            close(running.stdin)
            input = nil
        }
    }

    nonisolated package var output: AsyncThrowingStream<ExecOutput, any Error> {
        AsyncThrowingStream(unfolding: { try await self.next() })
    }

    /// - Returns: `nil` after the exit code.
    package func next() async throws -> ExecOutput? {
        if waiting == nil { waiting = Task { await self.waitForExit() } }
        while true {
            if !pending.isEmpty { return pending.removeFirst() }
            if open.isEmpty {
                if hasReportedExit { return nil }
                await waiting?.value
                hasReportedExit = true
                closeDescriptors()
                if let failure { throw failure }
                return exitCode.map { .exited(isAttached ? 0 : $0) }
            }
            // A process the command left behind may keep the streams open for ever: once it has exited, silence is the end.
            let patience: Duration = exitCode == nil && failure == nil ? .seconds(1) : .milliseconds(200)
            let ready = await DescriptorWatch.shared.ready(Array(open.keys), .read, within: patience)
            if Task.isCancelled {
                await cancel()
                throw CancellationError()
            }
            if ready.isEmpty {
                if patience < .seconds(1) { closeStreams() }
                continue
            }
            for descriptor in ready { read(descriptor) }
        }
    }

    private func read(_ descriptor: CInt) {
        guard let isError = open[descriptor] else { return }
        var space = [UInt8](repeating: 0, count: 32768)
        let count = space.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
        let code = errno
        if count > 0 {
            let bytes = Array(space[..<count])
            pending.append(isError ? .stderr(bytes) : .stdout(bytes))
        } else if count == 0 || (code != EAGAIN && code != EINTR) {
            // A terminal whose last process has gone answers EIO.
            open[descriptor] = nil
            if !hasTerminal { close(descriptor) }
        }
    }

    private func waitForExit() async {
        do throws(RuntimeFailure) { exitCode = try await running.wait() } catch { failure = error }
    }

    package func write(_ bytes: [UInt8]) async throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            // A container that has no input ignores what is typed.
            if isAttached, input == nil { return }
            guard let input else { throw SystemCallFailed("write", code: EPIPE, on: "a command's closed input") }
            let count = rest.withUnsafeBytes { Glibc.write(input, $0.baseAddress, $0.count) }
            let code = errno
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if code == EAGAIN {
                if hasTerminal {
                    // The one descriptor of a terminal may be waited for by the reader already.
                    try await Task.sleep(for: .milliseconds(5))
                } else {
                    _ = await DescriptorWatch.shared.ready([input], .write, within: .seconds(1))
                }
                try Task.checkCancellation()
            } else if code == EPIPE, isAttached {
                return  // Nobody in there reads any more; what it still writes is shown.
            } else if code != EINTR {
                throw SystemCallFailed("write", code: code, on: "a command's input")
            }
        }
    }

    package func closeInput() async {
        guard let input else { return }
        running.endInput()
        if hasTerminal {
            var endOfTransmission: UInt8 = 4
            _ = Glibc.write(input, &endOfTransmission, 1)
        } else {
            close(input)
            self.input = nil
        }
    }

    package func resize(width: Int, height: Int) async { running.resize(width: width, height: height) }

    package func cancel() async {
        if exitCode == nil { await running.kill() }
        closeStreams()
        if !hasTerminal, let input {
            close(input)
            self.input = nil
        }
    }

    private func closeStreams() {
        if !hasTerminal {
            for descriptor in open.keys { close(descriptor) }
        }
        open = [:]
    }

    /// The terminal's only descriptor lives until the end.
    private func closeDescriptors() {
        closeStreams()
        if let input { close(input) }
        input = nil
    }

    deinit {
        if !hasTerminal {
            for descriptor in open.keys { close(descriptor) }
        }
        if let input { close(input) }
    }
}

/// Runs a command in a container to its end, as probes and hooks do.
enum ContainerCommand {
    struct Outcome: Sendable {
        var code: Int
        /// The first kilobytes of what it said.
        var output: String
    }

    /// - Returns: `nil` when the command did not end in time; it is ended then.
    static func run(
        _ command: [String], in id: String, of podUID: String, _ runtime: any PodRuntime, within timeout: Duration
    ) async throws(RuntimeFailure) -> Outcome? {
        let running = try await runtime.exec(podUID: podUID, id: id, ExecSpec(command: command))
        let session = CommandSession(running, hasInput: false, hasTerminal: false)
        let result = await withTaskGroup(of: Result<Outcome, RuntimeFailure>?.self) { group in
            group.addTask { await collect(session) }
            group.addTask {
                try? await Task.sleep(for: timeout)
                return nil
            }
            let first = await group.next() ?? nil
            if first == nil { await session.cancel() }
            group.cancelAll()
            return first
        }
        return try result?.get()
    }

    private static func collect(_ session: CommandSession) async -> Result<Outcome, RuntimeFailure>? {
        var output: [UInt8] = []
        do {
            while let piece = try await session.next() {
                switch piece {
                case .stdout(let bytes), .stderr(let bytes): output += bytes.prefix(max(0, 10_240 - output.count))
                case .exited(let code):
                    return .success(Outcome(code: code, output: String(decoding: output, as: UTF8.self)))
                }
            }
            return nil
        } catch let failure as RuntimeFailure {
            return .failure(failure)
        } catch {
            return nil
        }
    }
}
