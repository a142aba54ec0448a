import CKernel
import Glibc
package import Kernel
import Synchronization

/// Pods on this machine, each under a `mesh-init` of its own.
///
/// It keeps nothing in memory that matters: a pod is what its directory and its supervisor say. So a new runtime with the
/// same configuration finds all pods as they are, and each call may be repeated.
package final class LocalRuntime: PodRuntime {
    package let images: ImageStore
    let configuration: RuntimeConfiguration
    let cgroups: CgroupDriver
    let workers = Workers(most: 8)
    let events = SupervisorEvents()
    private let pods = Mutex<[String: PodLock]>([:])
    private let watchers = Mutex<Watchers>(Watchers())

    private struct Watchers {
        var next = 0
        var all: [Int: AsyncStream<String>.Continuation] = [:]
        /// Supervisors whose changes we hear, to be reaped at their end.
        var supervisors: [String: OwnedPidfd] = [:]
    }

    /// Makes the directories and takes over the pods that are there.
    package init(_ configuration: RuntimeConfiguration) throws(RuntimeFailure) {
        self.configuration = configuration
        guard access(configuration.supervisorPath, X_OK) == 0 else {
            throw RuntimeFailure(
                .kernel, "no supervisor program at \(configuration.supervisorPath): build the product mesh-init")
        }
        cgroups = try attempting("look for cgroups") { () throws(SystemCallFailed) in try CgroupDriver.detect() }
        images = try ImageStore(directory: configuration.imageDirectory)
        try attempting("make the runtime's directories") { () throws(SystemCallFailed) in
            try SmallFile.makeDirectories(configuration.runDirectory + "/pods")
            try SmallFile.makeDirectories(configuration.stateDirectory + "/pods")
        }
        for uid in podUIDs() { watch(uid) }
    }

    deinit {
        events.end()
        for continuation in watchers.withLock({ $0.all.values.map { $0 } }) { continuation.finish() }
    }

    // MARK: Sandboxes

    package func runSandbox(_ spec: SandboxSpec) async throws(RuntimeFailure) -> SandboxStatus {
        try await withPod(spec.podUID) { directory throws(RuntimeFailure) in
            let start = SandboxStart(
                spec: spec, directory: directory, configuration: self.configuration, cgroups: self.cgroups)
            if self.connection(directory) == nil {
                try start.run()
                self.watch(spec.podUID)
            }
            guard let status = try self.status(directory), status.isRunning else {
                throw RuntimeFailure(
                    .kernel,
                    "sandbox of pod \(spec.namespace)/\(spec.name): its supervisor ended at once: \(start.supervisorWords)"
                )
            }
            return status
        }
    }

    package func removeSandbox(podUID: String) async throws(RuntimeFailure) {
        try await withPod(podUID) { directory throws(RuntimeFailure) in
            // Killing the first process of the pod's namespace kills all others in it.
            if let listing = try? self.connection(directory)?.list() {
                listing.pidfd.kill()
                guard listing.pidfd.waitEnded(milliseconds: 10_000) else {
                    throw RuntimeFailure(.kernel, "remove pod \(podUID): its supervisor does not end")
                }
            }
            if let sandbox = PodDirectory.read(directory.sandboxFile).flatMap(SandboxRecord.init(json:)) {
                try attempting("remove pod \(podUID): cgroups") { () throws(SystemCallFailed) in
                    try self.cgroups.remove(sandbox.cgroup)
                }
                self.removeEmptyGroups(above: sandbox.cgroup)
            }
            try directory.remove()
            _ = self.watchers.withLock { $0.supervisors.removeValue(forKey: podUID) }
        }
        announce(podUID)
    }

    /// The groups of a node and of the cluster go with their last pod.
    private func removeEmptyGroups(above path: String) {
        var parts = path.split(separator: "/")
        let fixed = configuration.cgroupRoot.split(separator: "/").count
        while parts.count > fixed {
            parts.removeLast()
            cgroups.removeIfEmpty(parts.joined(separator: "/"))
        }
        if parts.count > 1 { cgroups.removeIfEmpty(String(parts[0])) }
    }

    package func sandboxes() async throws(RuntimeFailure) -> [SandboxStatus] {
        try await workers.run { () throws(RuntimeFailure) in
            var found: [SandboxStatus] = []
            for uid in self.podUIDs() {
                if let status = try self.status(PodDirectory(uid: uid, configuration: self.configuration)) {
                    found.append(status)
                }
            }
            return found
        }
    }

    package func sandbox(podUID: String) async throws(RuntimeFailure) -> SandboxStatus? {
        try await workers.run { () throws(RuntimeFailure) in
            try self.status(PodDirectory(uid: podUID, configuration: self.configuration))
        }
    }

    // MARK: Containers

    package func startContainer(podUID: String, _ spec: ContainerSpec) async throws(RuntimeFailure) -> ContainerStatus {
        try await withPod(podUID) { directory throws(RuntimeFailure) in
            let (sandbox, connection) = try self.running(directory)
            if let known = try self.status(directory)?.containers.first(where: { $0.id == spec.id }) { return known }
            let start = try ContainerStart(
                spec, directory: directory, sandbox: sandbox, images: self.images, cgroups: self.cgroups)
            return try start.run(connection)
        }
    }

    package func stopContainer(podUID: String, id: String, grace: Duration) async throws(RuntimeFailure) {
        let connection = try await workers.run { () throws(RuntimeFailure) -> SupervisorConnection? in
            let directory = try PodDirectory(uid: podUID, configuration: self.configuration)
            guard let connection = self.connection(directory) else { return nil }
            let record = PodDirectory.read(directory.recordFile(id)).flatMap(ContainerRecord.init(json:))
            // Longer than a century is for ever; the supervisor's clock has no such numbers.
            let (seconds, attoseconds) = min(max(grace, .zero), .seconds(3_155_760_000)).components
            let milliseconds = seconds * 1000 + attoseconds / 1_000_000_000_000_000
            let request = SignalRequest(
                id: Array(id.utf8), signal: Int32(record?.stopSignal ?? Int(SIGTERM)), grace: milliseconds)
            do throws(SupervisorConnection.Broken) { try connection.send(.stop, request.bytes) } catch { return nil }
            return connection
        }
        // Without a supervisor nothing runs.
        guard let connection else { return }
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            // Answered when it has exited, or at once when there is no such container; both are what was asked for.
            events.add(connection) { event in
                if case .message(let answer) = event { for descriptor in answer.descriptors { close(descriptor) } }
                continuation.resume()
                return false
            }
        }
    }

    package func removeContainer(podUID: String, id: String) async throws(RuntimeFailure) {
        try await withPod(podUID) { directory throws(RuntimeFailure) in
            guard PodDirectory.isName(id) else { throw RuntimeFailure(.notFound, "'\(id)' is no container id") }
            if let connection = self.connection(directory) {
                do throws(SupervisorConnection.Broken) {
                    _ = try connection.call(.stop, SignalRequest(id: Array(id.utf8)).bytes)
                    _ = try connection.call(.forget, SignalRequest(id: Array(id.utf8)).bytes)
                } catch {
                    if case .failed(let failure) = error, failure.code != SupervisionFailure.noSuchContainer {
                        throw StartFault.explain(error, container: id, program: [])
                    }
                }
            }
            if let sandbox = PodDirectory.read(directory.sandboxFile).flatMap(SandboxRecord.init(json:)) {
                try attempting("remove container \(id)") { () throws(SystemCallFailed) in
                    try self.cgroups.remove(ContainerStart.cgroup(id, of: sandbox))
                }
            }
            try? FileTree.remove(directory.layer(id))
            try? FileTree.remove(directory.stateFile(id))
            try? FileTree.remove(directory.recordFile(id))
        }
        announce(podUID)
    }

    package func exec(podUID: String, id: String, _ spec: ExecSpec) async throws(RuntimeFailure) -> any RunningExec {
        try await workers.run { () throws(RuntimeFailure) -> ContainerExec in
            let directory = try PodDirectory(uid: podUID, configuration: self.configuration)
            let (sandbox, connection) = try self.running(directory)
            let status = try self.running(id, directory, sandbox)
            return try ContainerExec.start(
                spec, id: id, container: status.name, connection: connection,
                cgroups: self.cgroups.entrances(ContainerStart.cgroup(id, of: sandbox)), events: self.events)
        }
    }

    package func attach(podUID: String, id: String, _ spec: AttachSpec) async throws(RuntimeFailure) -> any RunningExec
    {
        try await workers.run { () throws(RuntimeFailure) -> ContainerExec in
            let directory = try PodDirectory(uid: podUID, configuration: self.configuration)
            let (sandbox, connection) = try self.running(directory)
            let status = try self.running(id, directory, sandbox)
            let record = PodDirectory.read(directory.recordFile(id)).flatMap(ContainerRecord.init(json:))
            return try ContainerExec.attach(
                spec, id: id, container: status.name, hasTerminal: record?.hasTerminal ?? false,
                connection: connection, events: self.events)
        }
    }

    package func updateContainer(
        podUID: String, id: String, _ limits: ResourceLimits, pod: ResourceLimits, annotations: [String: String]
    ) async throws(RuntimeFailure) {
        try await withPod(podUID) { directory throws(RuntimeFailure) in
            let (sandbox, _) = try self.running(directory)
            _ = try self.running(id, directory, sandbox)
            guard var record = PodDirectory.read(directory.recordFile(id)).flatMap(ContainerRecord.init(json:)) else {
                throw RuntimeFailure(.notFound, "no record of container \(id) of pod \(podUID)")
            }
            let group = ContainerStart.cgroup(id, of: sandbox)
            let used = self.cgroups.usage(group).workingSetBytes
            // The kernel would end the container for it, or refuse.
            if let most = limits.memoryBytes, used > most {
                throw RuntimeFailure(
                    .kernel,
                    "container \"\(record.name)\" uses \(used) bytes of memory, more than the wanted limit of \(most)")
            }
            try attempting("resize container \"\(record.name)\"") { () throws(SystemCallFailed) in
                try self.cgroups.change(
                    sandbox.cgroup, to: CgroupLimits(pod), group, to: CgroupLimits(limits))
                record.annotations.merge(annotations) { _, new in new }
                try PodDirectory.write(record.json, to: directory.recordFile(id))
            }
        }
        announce(podUID)
    }

    private func running(
        _ id: String, _ directory: PodDirectory, _ sandbox: SandboxRecord
    ) throws(RuntimeFailure) -> ContainerStatus {
        guard let status = try status(directory)?.containers.first(where: { $0.id == id }) else {
            throw RuntimeFailure(.notFound, "no container \(id) in pod \(sandbox.namespace)/\(sandbox.name)")
        }
        guard status.state == .running else {
            throw RuntimeFailure(
                .notFound, "container \(id) of pod \(sandbox.namespace)/\(sandbox.name) does not run")
        }
        return status
    }

    package func image(named name: String) async throws(RuntimeFailure) -> ImageStatus? {
        try await workers.run { () throws(RuntimeFailure) in try self.images.image(named: name)?.status }
    }

    /// Forgets an image; layers that containers stand on stay until nothing does.
    package func removeImage(named name: String) async throws(RuntimeFailure) {
        try await workers.run { () throws(RuntimeFailure) in
            var used: Set<String> = []
            for uid in self.podUIDs() {
                let directory = try PodDirectory(uid: uid, configuration: self.configuration)
                for record in directory.recordedContainers() { used.formUnion(record.layers) }
            }
            try self.images.remove(named: name, keeping: used)
        }
    }

    package func stats(podUID: String) async throws(RuntimeFailure) -> [String: CgroupUsage] {
        try await workers.run { () throws(RuntimeFailure) in
            let directory = try PodDirectory(uid: podUID, configuration: self.configuration)
            guard let sandbox = PodDirectory.read(directory.sandboxFile).flatMap(SandboxRecord.init(json:)) else {
                throw RuntimeFailure(.notFound, "no pod \(podUID) on this machine")
            }
            var usage = ["": self.cgroups.usage(sandbox.cgroup)]
            for record in directory.recordedContainers() {
                let group = ContainerStart.cgroup(record.id, of: sandbox)
                if self.cgroups.exists(group) { usage[record.id] = self.cgroups.usage(group) }
            }
            return usage
        }
    }

    // MARK: What is there

    func podUIDs() -> [String] {
        FileTree.names(in: configuration.runDirectory + "/pods").filter {
            PodDirectory.isName($0) && FileTree.exists("\(configuration.runDirectory)/pods/\($0)/sandbox.json")
        }
    }

    func connection(_ directory: PodDirectory) -> SupervisorConnection? {
        try? SupervisorConnection(podDirectory: directory.run)
    }

    private func running(_ directory: PodDirectory) throws(RuntimeFailure) -> (SandboxRecord, SupervisorConnection) {
        guard let sandbox = PodDirectory.read(directory.sandboxFile).flatMap(SandboxRecord.init(json:)) else {
            throw RuntimeFailure(.notFound, "no sandbox of pod \(directory.uid) on this machine")
        }
        guard let connection = connection(directory) else {
            throw RuntimeFailure(
                .kernel, "the sandbox of pod \(sandbox.namespace)/\(sandbox.name) does not run: its supervisor is gone")
        }
        return (sandbox, connection)
    }

    func status(_ directory: PodDirectory) throws(RuntimeFailure) -> SandboxStatus? {
        guard let sandbox = PodDirectory.read(directory.sandboxFile).flatMap(SandboxRecord.init(json:)) else {
            return nil
        }
        let listing = try? connection(directory)?.list()
        var containers: [ContainerStatus] = []
        for record in directory.recordedContainers() {
            if let listed = listing?.containers.first(where: { $0.state.id == Array(record.id.utf8) }) {
                containers.append(ContainerStatus(record, state: listed.state, pid: listed.pid))
            } else if var state = directory.savedState(record.id) {
                // Whatever ran when its supervisor died was killed with it.
                if state.isRunning {
                    state.isRunning = false
                    state.code = 128 + SIGKILL
                    state.signal = SIGKILL
                    state.finishedAt = max(state.startedAt, directory.lastChange(record.id))
                }
                containers.append(ContainerStatus(record, state: state, pid: 0))
            }
        }
        return SandboxStatus(
            podUID: directory.uid, namespace: sandbox.namespace, name: sandbox.name, isRunning: listing != nil,
            supervisorPID: listing?.pidfd.pid ?? 0, networkNamespace: sandbox.networkNamespace, containers: containers)
    }

    // MARK: Changes

    package func changes() async -> AsyncStream<String> {
        let (stream, continuation) = AsyncStream<String>.makeStream(bufferingPolicy: .bufferingNewest(4096))
        let number = watchers.withLock { watchers in
            watchers.next += 1
            watchers.all[watchers.next] = continuation
            return watchers.next
        }
        continuation.onTermination = { [weak self] _ in
            _ = self?.watchers.withLock { $0.all.removeValue(forKey: number) }
        }
        return stream
    }

    private func announce(_ uid: String) {
        for continuation in watchers.withLock({ Array($0.all.values) }) { continuation.yield(uid) }
    }

    /// Hears a supervisor's changes, and its end.
    private func watch(_ uid: String) {
        guard let directory = try? PodDirectory(uid: uid, configuration: configuration),
            let connection = connection(directory),
            let listing = try? connection.list(.watch)
        else { return }
        watchers.withLock { $0.supervisors[uid] = listing.pidfd }
        events.add(connection) { [weak self] event in
            guard let self else { return false }
            switch event {
            case .message(let answer):
                for descriptor in answer.descriptors { close(descriptor) }
                self.announce(uid)
                return true
            case .ended:
                // Its end may be seen a moment before it can be reaped.
                if let pidfd = self.watchers.withLock({ $0.supervisors.removeValue(forKey: uid) }) {
                    self.workers.submit { _ = pidfd.waitEnded(milliseconds: 5000) }
                }
                self.announce(uid)
                return false
            }
        }
    }

    // MARK: One thing at a time in a pod

    private final class PodLock: Sendable {
        let lock = Mutex(())
    }

    private func withPod<Value: Sendable>(
        _ uid: String, _ work: @escaping @Sendable (PodDirectory) throws(RuntimeFailure) -> Value
    ) async throws(RuntimeFailure) -> Value {
        let directory = try PodDirectory(uid: uid, configuration: configuration)
        let pod = pods.withLock { pods in
            if let known = pods[uid] { return known }
            let fresh = PodLock()
            pods[uid] = fresh
            return fresh
        }
        return try await workers.run { () throws(RuntimeFailure) in
            let result = pod.lock.withLock { _ -> Result<Value, RuntimeFailure> in
                do throws(RuntimeFailure) { return .success(try work(directory)) } catch { return .failure(error) }
            }
            return try result.get()
        }
    }
}
