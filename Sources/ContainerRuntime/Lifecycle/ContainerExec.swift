import CKernel
import Glibc
import Kernel
import Synchronization

/// A process executed in a container, which ends with its connection; or the container's own, which does not.
final class ContainerExec: RunningExec {
    let stdin: CInt
    let stdout: CInt
    let stderr: CInt
    private let hasTerminal: Bool
    private let isAttached: Bool
    private let connection: SupervisorConnection
    private struct Progress {
        var result: Result<Int, RuntimeFailure>?
        var waiting: [CheckedContinuation<Result<Int, RuntimeFailure>, Never>] = []
    }
    private let progress = Mutex(Progress())

    private init(
        stdin: CInt, stdout: CInt, stderr: CInt, hasTerminal: Bool, isAttached: Bool = false,
        connection: SupervisorConnection
    ) {
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.hasTerminal = hasTerminal
        self.isAttached = isAttached
        self.connection = connection
    }

    /// Nobody can wait for it any more.
    deinit { _ = weft_shut_down(connection.descriptor) }

    static func start(
        _ spec: ExecSpec, id: String, container: String, connection: SupervisorConnection, cgroups: [String],
        events: SupervisorEvents
    ) throws(RuntimeFailure) -> ContainerExec {
        var request = ExecuteRequest()
        request.container = Array(id.utf8)
        request.hasTerminal = spec.hasTerminal
        request.user = Int64(spec.user ?? -1)
        request.arguments = spec.command.map { Array($0.utf8) }
        request.environment = spec.environment.map { Array("\($0.name)=\($0.value)".utf8) }
        if spec.hasTerminal, !spec.environment.contains(where: { $0.name == "TERM" }) {
            request.environment.append(Array("TERM=xterm".utf8))
        }
        var theirs = Descriptors()
        var ours = Descriptors()
        for path in cgroups {
            theirs.add(
                try attempting("exec in container \"\(container)\"") { () throws(SystemCallFailed) in
                    try OwnedDescriptor.open(path, flags: O_WRONLY)
                })
        }
        request.cgroups = cgroups.count
        try makeStreams(spec.hasTerminal, container, ours: &ours, theirs: &theirs)
        do throws(SupervisorConnection.Broken) {
            let answer = try connection.call(.execute, request.bytes, descriptors: theirs.numbers)
            for descriptor in answer.descriptors { close(descriptor) }
        } catch {
            throw StartFault.explain(error, container: container, program: request.arguments.first ?? [])
        }
        var numbers = ours.numbers
        if spec.hasTerminal {
            guard let master = receiveTerminal(numbers[0]) else {
                throw RuntimeFailure(.kernel, "exec in container \"\(container)\": no terminal came back")
            }
            numbers = [master, master, master]
        } else {
            ours.giveAway()
        }
        let exec = ContainerExec(
            stdin: numbers[0], stdout: numbers[1], stderr: numbers[2], hasTerminal: spec.hasTerminal,
            connection: connection)
        exec.hearEnd("exec in", container, events)
        return exec
    }

    /// Joins the streams of the container's own process. What it wrote before is not told again.
    static func attach(
        _ spec: AttachSpec, id: String, container: String, hasTerminal: Bool, connection: SupervisorConnection,
        events: SupervisorEvents
    ) throws(RuntimeFailure) -> ContainerExec {
        var request = AttachRequest()
        request.container = Array(id.utf8)
        request.wantsInput = spec.wantsInput
        request.wantsOutput = spec.wantsOutput
        request.wantsErrors = spec.wantsErrors && !hasTerminal
        var theirs = Descriptors()
        var ours = Descriptors()
        for _ in 0..<request.descriptors {
            var ends: [CInt] = [-1, -1]
            let failed = weft_blocking_pipe(&ends)
            let code = errno
            guard failed == 0 else {
                throw RuntimeFailure(
                    SystemCallFailed("pipe", code: code, on: container), doing: "attach to container \"\(container)\"")
            }
            ours.add(OwnedDescriptor(taking: ends[0]))
            theirs.add(OwnedDescriptor(taking: ends[1]))
        }
        let answer: SupervisorConnection.Answer
        do throws(SupervisorConnection.Broken) {
            answer = try connection.call(.attach, request.bytes, descriptors: theirs.numbers)
        } catch {
            throw StartFault.explain(error, container: container, program: [])
        }
        let numbers = ours.numbers
        ours.giveAway()
        let exec = ContainerExec(
            stdin: answer.descriptors.first ?? -1, stdout: request.wantsOutput ? numbers[0] : -1,
            stderr: request.wantsErrors ? numbers[numbers.count - 1] : -1, hasTerminal: hasTerminal, isAttached: true,
            connection: connection)
        exec.hearEnd("attach to", container, events)
        return exec
    }

    /// Hears the end: of the process, or of the supervisor.
    private func hearEnd(_ doing: String, _ container: String, _ events: SupervisorEvents) {
        events.add(connection) { [weak self] event in
            switch event {
            case .message(let answer):
                for descriptor in answer.descriptors { close(descriptor) }
                guard answer.kind == .exited, let state = try? SupervisedState(answer.body) else { return true }
                self?.finish(.success(Int(state.code)))
                return false
            case .ended:
                self?.finish(
                    .failure(
                        RuntimeFailure(
                            .kernel, "\(doing) container \"\(container)\": the pod's supervisor is gone")))
                return false
            }
        }
    }

    /// Without a terminal: three pipes. With one: a socket on which the terminal's master comes back.
    private static func makeStreams(
        _ hasTerminal: Bool, _ container: String, ours: inout Descriptors, theirs: inout Descriptors
    ) throws(RuntimeFailure) {
        var ends: [CInt] = [-1, -1]
        for stream in 0..<(hasTerminal ? 1 : 3) {
            let failed = hasTerminal ? weft_socket_pair(&ends) : weft_blocking_pipe(&ends)
            let code = errno
            guard failed == 0 else {
                throw RuntimeFailure(
                    SystemCallFailed("pipe", code: code, on: container), doing: "exec in container \"\(container)\"")
            }
            let isInput = stream == 0
            ours.add(OwnedDescriptor(taking: ends[isInput ? 1 : 0]))
            theirs.add(OwnedDescriptor(taking: ends[isInput ? 0 : 1]))
        }
    }

    private static func receiveTerminal(_ socket: CInt) -> CInt? {
        var byte: UInt8 = 0
        var master: CInt = -1
        var count = 1
        _ = weft_set_receive_timeout(socket, 10)
        guard weft_receive(socket, &byte, 1, &master, &count, 0) == 1, count == 1 else { return nil }
        return master
    }

    private func finish(_ result: Result<Int, RuntimeFailure>) {
        let waiting = progress.withLock { progress in
            if progress.result == nil { progress.result = result }
            defer { progress.waiting = [] }
            return progress.waiting
        }
        for continuation in waiting { continuation.resume(returning: result) }
    }

    func wait() async throws(RuntimeFailure) -> Int {
        let result = await withCheckedContinuation {
            (continuation: CheckedContinuation<Result<Int, RuntimeFailure>, Never>) in
            let known = progress.withLock { progress -> Result<Int, RuntimeFailure>? in
                if progress.result == nil { progress.waiting.append(continuation) }
                return progress.result
            }
            if let known { continuation.resume(returning: known) }
        }
        return try result.get()
    }

    func kill() async {
        if isAttached {
            _ = weft_shut_down(connection.descriptor)
            return
        }
        try? connection.send(.signal, SignalRequest(id: [], signal: SIGKILL).bytes)
    }

    func endInput() {
        if isAttached { try? connection.send(.endInput, []) }
    }

    func resize(width: Int, height: Int) {
        guard hasTerminal, stdin >= 0 else { return }
        _ = weft_set_window(stdin, CInt(clamping: width), CInt(clamping: height))
    }
}
