import ContainerRuntime
import Glibc
import Kernel
import Synchronization

/// A runtime whose containers are records: it runs nothing, and tells in order what it was asked.
final class MemoryRuntime: PodRuntime {
    private struct State {
        var sandboxes: [String: SandboxStatus] = [:]
        var specs: [String: ContainerSpec] = [:]
        var sandboxSpecs: [String: SandboxSpec] = [:]
        var images: Set<String> = ["demo:v1"]
        var journal: [String] = []
        var looks = 0
        /// What each container and each pod has used so far.
        var usage = CgroupUsage()
        var watchers: [AsyncStream<String>.Continuation] = []
        /// Containers that do not end by themselves when told to.
        var stubborn: Set<String> = []
        var startFailure: RuntimeFailure?
    }
    private let state = Mutex(State())

    // MARK: For tests

    var journal: [String] { state.withLock { $0.journal } }
    func spec(_ container: String) -> ContainerSpec? { state.withLock { $0.specs[container] } }
    func sandboxSpec(_ uid: String) -> SandboxSpec? { state.withLock { $0.sandboxSpecs[uid] } }
    func addImage(_ name: String) { state.withLock { _ = $0.images.insert(name) } }
    /// How often somebody looked at a pod.
    var looks: Int { state.withLock { $0.looks } }
    var sandboxCount: Int { state.withLock { $0.sandboxes.count } }

    /// A container ends by itself.
    func finish(_ uid: String, _ id: String, code: Int) {
        state.withLock { end(uid, id, code: code, signal: 0, &$0) }
        announce(uid)
    }

    func isRunning(_ uid: String, _ id: String) -> Bool {
        state.withLock { $0.sandboxes[uid]?.containers.contains { $0.id == id && $0.state == .running } ?? false }
    }

    private func end(_ uid: String, _ id: String, code: Int, signal: Int, _ state: inout State) {
        guard let place = state.sandboxes[uid]?.containers.firstIndex(where: { $0.id == id && $0.state == .running })
        else { return }
        state.sandboxes[uid]?.containers[place].state = .exited(code: code, signal: signal, outOfMemory: false)
        state.sandboxes[uid]?.containers[place].finishedAt = now()
    }

    private func announce(_ uid: String) {
        for watcher in state.withLock({ $0.watchers }) { watcher.yield(uid) }
    }

    private func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    // MARK: PodRuntime

    func runSandbox(_ spec: SandboxSpec) async throws(RuntimeFailure) -> SandboxStatus {
        state.withLock { state in
            if let known = state.sandboxes[spec.podUID] { return known }
            state.journal.append("sandbox")
            let sandbox = SandboxStatus(
                podUID: spec.podUID, namespace: spec.namespace, name: spec.name, isRunning: true, supervisorPID: 1,
                networkNamespace: spec.networkNamespace, containers: [])
            state.sandboxes[spec.podUID] = sandbox
            state.sandboxSpecs[spec.podUID] = spec
            return sandbox
        }
    }

    func removeSandbox(podUID: String) async throws(RuntimeFailure) {
        state.withLock { state in
            if state.sandboxes.removeValue(forKey: podUID) != nil { state.journal.append("remove sandbox") }
        }
    }

    func startContainer(podUID: String, _ spec: ContainerSpec) async throws(RuntimeFailure) -> ContainerStatus {
        let started = now()
        let result = state.withLock { state -> Result<ContainerStatus, RuntimeFailure> in
            if let failure = state.startFailure { return .failure(failure) }
            let id = "\(spec.name)-\(spec.attempt)"
            if let known = state.sandboxes[podUID]?.containers.first(where: { $0.id == id }) { return .success(known) }
            state.journal.append("start \(id)")
            state.specs[spec.name] = spec
            let status = ContainerStatus(
                id: id, name: spec.name, attempt: spec.attempt, image: spec.image, imageDigest: "sha256:1",
                state: .running, pid: 2,
                startedAt: started, annotations: spec.annotations, logPath: spec.logPath)
            state.sandboxes[podUID]?.containers.append(status)
            return .success(status)
        }
        announce(podUID)
        return try result.get()
    }

    func stopContainer(podUID: String, id: String, grace: Duration) async throws(RuntimeFailure) {
        state.withLock { state in
            state.journal.append("stop \(id)")
            end(podUID, id, code: 0, signal: 15, &state)
        }
        announce(podUID)
    }

    func removeContainer(podUID: String, id: String) async throws(RuntimeFailure) {
        state.withLock { $0.sandboxes[podUID]?.containers.removeAll { $0.id == id } }
    }

    func sandboxes() async throws(RuntimeFailure) -> [SandboxStatus] { state.withLock { Array($0.sandboxes.values) } }
    func sandbox(podUID: String) async throws(RuntimeFailure) -> SandboxStatus? {
        state.withLock { state in
            state.looks += 1
            return state.sandboxes[podUID]
        }
    }

    func stats(podUID: String) async throws(RuntimeFailure) -> [String: CgroupUsage] {
        state.withLock { state in
            state.usage.cpuNanoseconds += 100_000_000
            state.usage.workingSetBytes = 8 << 20
            let containers = state.sandboxes[podUID]?.containers ?? []
            let usage = state.usage
            return containers.reduce(into: ["": usage]) { $0[$1.id] = usage }
        }
    }

    func changes() async -> AsyncStream<String> {
        let (stream, continuation) = AsyncStream.makeStream(of: String.self)
        state.withLock { $0.watchers.append(continuation) }
        return stream
    }

    /// Runs the command on this machine: streams and exit codes are real.
    func exec(podUID: String, id: String, _ spec: ExecSpec) async throws(RuntimeFailure) -> any RunningExec {
        state.withLock { $0.journal.append("exec \(spec.command.joined(separator: " "))") }
        return try HostCommand(spec.command)
    }

    func attach(podUID: String, id: String, _ spec: AttachSpec) async throws(RuntimeFailure) -> any RunningExec {
        state.withLock { $0.journal.append("attach \(id)") }
        return try HostCommand(["cat"])
    }

    func updateContainer(
        podUID: String, id: String, _ limits: ResourceLimits, pod: ResourceLimits, annotations: [String: String]
    ) async throws(RuntimeFailure) {
        state.withLock { state in
            state.journal.append("resize \(id)")
            guard let place = state.sandboxes[podUID]?.containers.firstIndex(where: { $0.id == id }) else { return }
            state.sandboxes[podUID]?.containers[place].annotations.merge(annotations) { _, new in new }
        }
        announce(podUID)
    }

    func image(named name: String) async throws(RuntimeFailure) -> ImageStatus? {
        guard state.withLock({ $0.images.contains(name) }) else { return nil }
        return ImageStatus(name: name, digest: "sha256:1", bytes: 1, entrypoint: [], command: [])
    }
}

/// A command of this machine with three pipes.
final class HostCommand: RunningExec {
    let stdin: CInt
    let stdout: CInt
    let stderr: CInt
    private let pid: pid_t

    init(_ command: [String]) throws(RuntimeFailure) {
        var pipes: [[CInt]] = []
        for _ in 0..<3 {
            var ends: [CInt] = [-1, -1]
            // Close-on-exec: a command started by another test at the same time must not hold our ends open.
            pipe(&ends)
            for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
            pipes.append(ends)
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, pipes[0][0], 0)
        posix_spawn_file_actions_adddup2(&actions, pipes[1][1], 1)
        posix_spawn_file_actions_adddup2(&actions, pipes[2][1], 2)
        var arguments = command.map { strdup($0) } + [nil]
        var pid: pid_t = 0
        let code = posix_spawnp(&pid, command[0], &actions, nil, &arguments, environ)
        posix_spawn_file_actions_destroy(&actions)
        for argument in arguments { free(argument) }
        for (place, end) in [(0, 0), (1, 1), (2, 1)] { close(pipes[place][end]) }
        (stdin, stdout, stderr) = (pipes[0][1], pipes[1][0], pipes[2][0])
        self.pid = pid
        if code != 0 { throw RuntimeFailure(.badCommand, "\(command[0]): \(String(cString: strerror(code)))") }
    }

    func wait() async throws(RuntimeFailure) -> Int {
        var status: CInt = 0
        while waitpid(pid, &status, WNOHANG) == 0 { try? await Task.sleep(for: .milliseconds(2)) }
        return status & 0x7f == 0 ? Int(status >> 8 & 0xff) : 128 + Int(status & 0x7f)
    }

    func kill() async { _ = Glibc.kill(pid, SIGKILL) }
    func resize(width: Int, height: Int) {}
}
