import CKernel
import CLinux

/// The pod's first process: parent of its containers, reaper of its orphans, and the one who answers for them.
///
/// It runs one loop and waits nowhere else, but for the moment between a container's clone and its exec.
final class Supervisor {
    private let listener: CInt
    private let directory: CInt
    private let signals: CInt
    private let own: CInt
    private let poll: CInt
    private let space = UnsafeMutableRawBufferPointer.allocate(byteCount: 32 << 10, alignment: 16)
    private var containers: [Container] = []
    private var executions: [Execution] = []
    private var clients: [Client] = []
    /// Of containers that have ended: what they wrote last is still being taken.
    private var leaving: [Attachment] = []

    init(listener: CInt, directory: CInt, signals: CInt, own: CInt) {
        self.listener = listener
        self.directory = directory
        self.signals = signals
        self.own = own
        poll = epoll_create1(CInt(bitPattern: 0o2000000))  // EPOLL_CLOEXEC
        watch(listener)
        watch(signals)
    }

    private func watch(_ descriptor: CInt, for events: UInt32 = 1) {  // EPOLLIN
        var event = epoll_event()
        event.events = events
        event.data.fd = descriptor
        _ = epoll_ctl(poll, 1, descriptor, &event)  // EPOLL_CTL_ADD
    }

    /// Before a descriptor with copies elsewhere is closed: what it stands for would be told about for ever.
    private func unwatch(_ descriptor: CInt) {
        var event = epoll_event()
        _ = epoll_ctl(poll, 2, descriptor, &event)  // EPOLL_CTL_DEL
    }

    func run() -> Never {
        var events = [epoll_event](repeating: epoll_event(), count: 16)
        while true {
            let count = epoll_wait(poll, &events, CInt(events.count), timeout())
            if count > 0 {
                for place in 0..<Int(count) { handle(events[place].data.fd) }
            }
            killOverdue()
        }
    }

    private func handle(_ descriptor: CInt) {
        if descriptor == listener {
            accept()
        } else if descriptor == signals {
            reap()
        } else if let client = clients.first(where: { $0.descriptor == descriptor }) {
            read(client)
        } else if !flush(descriptor) {
            pumpLogs(descriptor)
        }
    }

    // MARK: Clients

    private func accept() {
        while true {
            let descriptor = weft_accept(listener)
            guard descriptor >= 0 else { return }
            clients.append(Client(descriptor: descriptor))
            watch(descriptor)
        }
    }

    private func read(_ client: Client) {
        var lives = client.fill(using: space)
        while lives {
            switch client.next() {
            case .message(let message): lives = perform(message, for: client)
            case .nothing: return
            case .ended: lives = false
            }
        }
        drop(client)
    }

    /// A process executed for a client ends with it: nobody is left to see its output.
    private func drop(_ client: Client) {
        clients.removeAll { $0 === client }
        for execution in executions where execution.client === client {
            _ = weft_pidfd_signal(execution.pidfd, SIGKILL)
            execution.client = nil
        }
        for container in containers { container.stopping.removeAll { $0 === client } }
        detach(client)
        client.end()
    }

    private func answer(_ client: Client, _ kind: SupervisorMessageKind, _ body: [UInt8], _ descriptors: [CInt] = [])
        -> Bool
    {
        client.send(kind, body, descriptors: descriptors)
    }

    // MARK: Requests

    /// Does what a message asks and answers it. False when the client is to be dropped.
    private func perform(_ message: Client.Message, for client: Client) -> Bool {
        defer { for descriptor in message.descriptors { close(descriptor) } }
        do throws(SupervisionFailure) {
            switch message.kind {
            case .start:
                let container = try start(message)
                return answer(client, .started, container.state.bytes, container.pidfd >= 0 ? [container.pidfd] : [])
            case .execute:
                let execution = try execute(message, for: client)
                return answer(client, .started, SupervisedState().bytes, [execution.pidfd])
            case .list:
                return list(for: client)
            case .signal:
                let request = try signalRequest(message)
                let pidfd = try request.id.isEmpty ? execution(of: client) : container(request.id).pidfd
                if pidfd >= 0 { _ = weft_pidfd_signal(pidfd, request.signal) }
                return answer(client, .done, [])
            case .attach:
                let input = try attach(message, for: client)
                return answer(client, .started, SupervisedState().bytes, input >= 0 ? [input] : [])
            case .endInput:
                if let found = attachment(of: client), found.1.hasInput { found.0.endInput() }
                return true
            case .stop:
                return try stop(signalRequest(message), for: client)
            case .forget:
                try forget(signalRequest(message).id)
                return answer(client, .done, [])
            case .watch:
                client.watches = true
                return list(for: client)
            default:
                throw SupervisionFailure(step: 0, code: SupervisionFailure.badRequest, subject: [])
            }
        } catch {
            return answer(client, .failed, error.bytes)
        }
    }

    private func list(for client: Client) -> Bool {
        var body = MessageWriter()
        body.put(UInt32(containers.count))
        // Our own pidfd first, so that a client knows our pid in its own namespace.
        var pidfds: [CInt] = [own]
        for container in containers {
            container.state.write(to: &body)
            if container.pidfd >= 0 { pidfds.append(container.pidfd) }
        }
        return answer(client, .states, body.bytes, pidfds)
    }

    private func signalRequest(_ message: Client.Message) throws(SupervisionFailure) -> SignalRequest {
        do throws(MessageFault) { return try SignalRequest(message.body) } catch {
            throw SupervisionFailure(step: 0, code: SupervisionFailure.badRequest, subject: [])
        }
    }

    private func container(_ id: [UInt8]) throws(SupervisionFailure) -> Container {
        for container in containers where container.state.id == id { return container }
        throw SupervisionFailure(step: 0, code: SupervisionFailure.noSuchContainer, subject: id)
    }

    private func execution(of client: Client) -> CInt {
        for execution in executions where execution.client === client { return execution.pidfd }
        return -1
    }

    /// Starts a container, or finds the one with this id.
    private func start(_ message: Client.Message) throws(SupervisionFailure) -> Container {
        let request: StartRequest
        do throws(MessageFault) { request = try StartRequest(message.body) } catch {
            throw SupervisionFailure(step: 0, code: SupervisionFailure.badRequest, subject: [])
        }
        for container in containers where container.state.id == request.id { return container }
        guard message.descriptors.count == request.descriptors, Self.isFileName(request.id),
            Self.isFileName(request.logName)
        else { throw SupervisionFailure(step: 0, code: SupervisionFailure.badRequest, subject: request.id) }

        var streams = try ContainerStreams(request.streams)
        var seen: CInt = -1
        if !request.seenContainer.isEmpty {
            seen = try self.container(request.seenContainer).pidfd
            guard seen >= 0 else {
                throw SupervisionFailure(
                    step: 0, code: SupervisionFailure.noSuchContainer, subject: request.seenContainer)
            }
        }
        let started = try Launch.container(
            request, descriptors: message.descriptors, streams: streams, seen: seen, own: own)
        let ours = streams.hand(keepsInput: request.streams.keepsInput)
        let log = ContainerLog(
            directory: weft_duplicate(message.descriptors[1]), name: request.logName, stdout: ours.output,
            stderr: ours.errors, poll: poll)
        let container = Container(
            request: request, pid: started.pid, pidfd: started.pidfd,
            outOfMemoryCounter: weft_duplicate(message.descriptors[2]),
            log: log)
        container.input = ours.input
        container.state.id = request.id
        container.state.startedAt = weft_wall_nanoseconds()
        containers.append(container)
        save(container.state)
        watch(ours.output)
        if ours.errors >= 0 { watch(ours.errors) }
        announce(container)
        return container
    }

    private func execute(_ message: Client.Message, for client: Client) throws(SupervisionFailure) -> Execution {
        let request: ExecuteRequest
        do throws(MessageFault) { request = try ExecuteRequest(message.body) } catch {
            throw SupervisionFailure(step: 0, code: SupervisionFailure.badRequest, subject: [])
        }
        let container = try container(request.container)
        guard message.descriptors.count == request.descriptors, container.pidfd >= 0, execution(of: client) < 0 else {
            throw SupervisionFailure(step: 0, code: SupervisionFailure.badRequest, subject: request.container)
        }
        let started = try Launch.execution(
            request, in: container.request, pidfd: container.pidfd, own: own, descriptors: message.descriptors)
        let execution = Execution(pid: started.pid, pidfd: started.pidfd, client: client)
        executions.append(execution)
        return execution
    }

    private func stop(_ request: SignalRequest, for client: Client) throws(SupervisionFailure) -> Bool {
        let container = try container(request.id)
        guard container.pidfd >= 0 else { return answer(client, .exited, container.state.bytes) }
        container.stopping.append(client)
        let deadline = weft_steady_milliseconds() + max(0, min(request.grace, 1 << 40))
        // A second, shorter grace counts; a longer one does not lengthen the first.
        container.deadline = min(container.deadline ?? deadline, deadline)
        if request.grace > 0 { _ = weft_pidfd_signal(container.pidfd, request.signal) }
        return true
    }

    private func forget(_ id: [UInt8]) throws(SupervisionFailure) {
        guard let place = containers.firstIndex(where: { $0.state.id == id }) else { return }
        guard containers[place].pidfd < 0 else {
            throw SupervisionFailure(step: 0, code: SupervisionFailure.alreadyThere, subject: id)
        }
        containers.remove(at: place)
        _ = weft_unlink_at(directory, Self.stateFile(id, suffix: []).endedByNUL)
    }

    // MARK: Time and children

    private func timeout() -> CInt {
        var nearest: Int64?
        for container in containers {
            if let deadline = container.deadline { nearest = min(nearest ?? deadline, deadline) }
        }
        for attachment in attachments {
            if let deadline = attachment.deadline { nearest = min(nearest ?? deadline, deadline) }
        }
        guard let nearest else { return -1 }
        return CInt(max(0, min(nearest - weft_steady_milliseconds(), 60_000)))
    }

    private func killOverdue() {
        for container in containers {
            guard let deadline = container.deadline, deadline <= weft_steady_milliseconds() else { continue }
            container.deadline = nil
            if container.pidfd >= 0 { _ = weft_pidfd_signal(container.pidfd, SIGKILL) }
        }
        let now = weft_steady_milliseconds()
        for attachment in attachments {
            if let deadline = attachment.deadline, deadline <= now { drop(attachment.client) }
        }
    }

    private func reap() {
        // A signalfd record is 128 bytes, the signal's number its first four.
        while CLinux.read(signals, space.baseAddress, 128) == 128 {
            if space.load(as: UInt32.self) == UInt32(SIGTERM) { exit(0) }
        }
        while true {
            var code: CInt = 0
            var signal: CInt = 0
            let pid = weft_reap(&code, &signal)
            guard pid > 0 else { return }
            if let container = containers.first(where: { $0.pid == pid && $0.pidfd >= 0 }) {
                ended(container, code: code, signal: signal)
            } else if let place = executions.firstIndex(where: { $0.pid == pid }) {
                let execution = executions.remove(at: place)
                close(execution.pidfd)
                var state = SupervisedState()
                state.isRunning = false
                state.code = code
                state.signal = signal
                if let client = execution.client, !answer(client, .exited, state.bytes) { drop(client) }
            }
        }
    }

    private func ended(_ container: Container, code: CInt, signal: CInt) {
        close(container.pidfd)
        container.pidfd = -1
        container.deadline = nil
        container.closeInput()
        container.log?.close(draining: space)
        let attached = container.log?.attachments ?? []
        container.log = nil
        container.state.isRunning = false
        container.state.code = code
        container.state.signal = signal
        container.state.finishedAt = weft_wall_nanoseconds()
        container.state.isOutOfMemory = (code != 0) && killsForMemory(container.outOfMemoryCounter) > 0
        close(container.outOfMemoryCounter)
        save(container.state)
        announce(container)
        let waiting = container.stopping
        container.stopping = []
        for client in waiting where !answer(client, .exited, container.state.bytes) { drop(client) }
        for attachment in attached {
            attachment.ending = container.state.bytes
            leaving.append(attachment)
            settle(attachment)
        }
    }

    private func announce(_ container: Container) {
        for client in clients where client.watches {
            if !answer(client, .changed, container.state.bytes) { drop(client) }
        }
    }

    private func pumpLogs(_ descriptor: CInt) {
        for container in containers {
            guard let log = container.log else { continue }
            if log.stdout.descriptor == descriptor { _ = log.pumpStdout(using: space) }
            if log.stderr.descriptor == descriptor { _ = log.pumpStderr(using: space) }
            if !log.attachments.isEmpty { settle(log) }
        }
    }

    // MARK: Attached clients

    private var attachments: [Attachment] {
        var all = leaving
        for container in containers { all += container.log?.attachments ?? [] }
        return all
    }

    private func attachment(of client: Client) -> (Container, Attachment)? {
        for container in containers {
            for attachment in container.log?.attachments ?? [] where attachment.client === client {
                return (container, attachment)
            }
        }
        return nil
    }

    /// - Returns: the container's input, which stays ours; -1 when there is none, or none is wanted.
    private func attach(_ message: Client.Message, for client: Client) throws(SupervisionFailure) -> CInt {
        let request: AttachRequest
        do throws(MessageFault) { request = try AttachRequest(message.body) } catch {
            throw SupervisionFailure(step: 0, code: SupervisionFailure.badRequest, subject: [])
        }
        let container = try container(request.container)
        guard message.descriptors.count == request.descriptors, attachment(of: client) == nil, let log = container.log
        else { throw SupervisionFailure(step: 0, code: SupervisionFailure.badRequest, subject: request.container) }
        let input = request.wantsInput ? container.input : -1
        let errors = request.wantsErrors ? message.descriptors.last.map { weft_duplicate($0) } : nil
        let output = request.wantsOutput ? message.descriptors.first.map { weft_duplicate($0) } : nil
        log.attachments.append(
            Attachment(client: client, hasInput: input >= 0, output: output ?? -1, errors: errors ?? -1))
        return input
    }

    private func detach(_ client: Client) {
        if let (container, attachment) = attachment(of: client), let log = container.log {
            log.attachments.removeAll { $0 === attachment }
            release(attachment)
            if attachment.hasInput { container.endInput() }
            settle(log)
        }
        for attachment in leaving where attachment.client === client { release(attachment) }
        leaving.removeAll { $0.client === client }
    }

    private func release(_ attachment: Attachment) {
        if attachment.stdout.isWatched { unwatch(attachment.stdout.descriptor) }
        if attachment.stderr.isWatched { unwatch(attachment.stderr.descriptor) }
        attachment.close()
    }

    /// A client takes more. False when the descriptor is not one of theirs.
    private func flush(_ descriptor: CInt) -> Bool {
        for attachment in leaving where attachment.isOn(descriptor) {
            attachment.flush(descriptor)
            settle(attachment)
            return true
        }
        for container in containers {
            guard let log = container.log else { continue }
            for attachment in log.attachments where attachment.isOn(descriptor) {
                attachment.flush(descriptor)
                settle(log)
                return true
            }
        }
        return false
    }

    /// Streams rest while a client still has to take what came before.
    private func settle(_ log: ContainerLog) {
        var rests = (stdout: false, stderr: false)
        for attachment in log.attachments {
            watchTaking(&attachment.stdout)
            watchTaking(&attachment.stderr)
            if attachment.stdout.isWaiting { rests.stdout = true }
            if attachment.stderr.isWaiting { rests.stderr = true }
        }
        rest(&log.stdout, rests.stdout)
        rest(&log.stderr, rests.stderr)
    }

    private func rest(_ stream: inout LogStream, _ rests: Bool) {
        guard stream.descriptor >= 0, stream.rests != rests else { return }
        if rests { unwatch(stream.descriptor) } else { watch(stream.descriptor) }
        stream.rests = rests
    }

    private func watchTaking(_ stream: inout AttachedStream) {
        guard stream.descriptor >= 0, stream.isWaiting != stream.isWatched else { return }
        if stream.isWaiting { watch(stream.descriptor, for: 4) } else { unwatch(stream.descriptor) }  // EPOLLOUT
        stream.isWatched = stream.isWaiting
    }

    /// One whose container has ended: it hears so when it has all the container wrote.
    private func settle(_ attachment: Attachment) {
        watchTaking(&attachment.stdout)
        watchTaking(&attachment.stderr)
        guard !attachment.isWaiting, let ending = attachment.ending else { return }
        release(attachment)
        leaving.removeAll { $0 === attachment }
        if !answer(attachment.client, .exited, ending) { drop(attachment.client) }
    }

    /// The line `oom_kill N` of `memory.oom_control` (v1) or `memory.events` (v2).
    private func killsForMemory(_ counter: CInt) -> Int {
        guard lseek(counter, 0, SEEK_SET) == 0 else { return 0 }
        let count = CLinux.read(counter, space.baseAddress, space.count)
        guard count > 0 else { return 0 }
        let word = [UInt8](ascii: "oom_kill ")
        for line in Array(space[..<count]).split(separator: 10) {
            let line = Array(line)
            guard line.starts(withBytes: word) else { continue }
            var number = 0
            for byte in line[word.count...] where byte >= 48 && byte <= 57 { number = number &* 10 &+ Int(byte - 48) }
            return number
        }
        return 0
    }

    // MARK: What is kept on disk

    private static func isFileName(_ name: [UInt8]) -> Bool {
        guard !name.isEmpty, name.count < 200, name[0] != 46 else { return false }
        for byte in name where byte == 47 || byte == 0 { return false }
        return true
    }

    private static func stateFile(_ id: [UInt8], suffix: [UInt8]) -> [UInt8] {
        [UInt8](ascii: "state/") + id + [UInt8](ascii: ".state") + suffix
    }

    /// Kept so that exit codes are known even after our own death.
    private func save(_ state: SupervisedState) {
        let fresh = Self.stateFile(state.id, suffix: [UInt8](ascii: ".new")).endedByNUL
        let file = weft_open_at(directory, fresh, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        guard file >= 0 else { return }
        let bytes = state.bytes
        let wrote = write(file, bytes, bytes.count)
        close(file)
        guard wrote == bytes.count else { return }
        _ = weft_rename_at(directory, fresh, Self.stateFile(state.id, suffix: []).endedByNUL)
    }
}
