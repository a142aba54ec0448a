package import Kernel

/// The runtime as the node agent uses it: the words are CRI's. Every call may be repeated: a repeat joins or finds the first.
///
/// Containers live under a per-pod supervisor (`mesh-init`), so all of this survives the process that called it; `sandboxes()`
/// after a restart says what is there.
package protocol PodRuntime: Sendable {
    func runSandbox(_ spec: SandboxSpec) async throws(RuntimeFailure) -> SandboxStatus
    /// Stops what still runs (SIGKILL) and the supervisor, unmounts, removes cgroups. Unknown uid: nothing to do.
    func removeSandbox(podUID: String) async throws(RuntimeFailure)
    func startContainer(podUID: String, _ spec: ContainerSpec) async throws(RuntimeFailure) -> ContainerStatus
    /// The stop signal now, SIGKILL after `grace`. Returns when the container has exited.
    func stopContainer(podUID: String, id: String, grace: Duration) async throws(RuntimeFailure)
    /// Forgets an exited container and its writable layer.
    func removeContainer(podUID: String, id: String) async throws(RuntimeFailure)
    func sandboxes() async throws(RuntimeFailure) -> [SandboxStatus]
    func sandbox(podUID: String) async throws(RuntimeFailure) -> SandboxStatus?
    /// One element for each change of any container's state, pod uid in it; a lost element is never harmful, since
    /// `sandbox(podUID:)` tells the whole state.
    func changes() async -> AsyncStream<String>
    func exec(podUID: String, id: String, _ spec: ExecSpec) async throws(RuntimeFailure) -> any RunningExec
    /// Joins the streams of a running container's own process: `wait` is answered when that has ended, `kill` leaves it alone
    /// and only lets go.
    func attach(podUID: String, id: String, _ spec: AttachSpec) async throws(RuntimeFailure) -> any RunningExec
    /// Changes what a running container, and its pod with it, may use. The annotations are added to the container's record.
    func updateContainer(
        podUID: String, id: String, _ limits: ResourceLimits, pod: ResourceLimits, annotations: [String: String]
    ) async throws(RuntimeFailure)
    /// Looks for an image in the local store by name (`weft.dev/demo:v1`); `nil` when it is not there.
    func image(named name: String) async throws(RuntimeFailure) -> ImageStatus?
    /// What the containers of a pod use, by container id; the pod as a whole, its supervisor with it, under the empty id.
    func stats(podUID: String) async throws(RuntimeFailure) -> [String: CgroupUsage]
}

package struct RuntimeFailure: Error, Sendable, CustomStringConvertible {
    package enum Kind: String, Sendable {
        case noSuchImage = "ErrImageNeverPull", badImage = "ErrImageInspect", badCommand = "StartError"
        case notFound = "NotFound", kernel = "RunContainerError", noSpace = "NoSpace"
    }
    package let kind: Kind
    /// What was attempted, on what, and the likely cause: it is shown by `kubectl describe`.
    package let message: String
    package init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }
    package var description: String { message }
}

package struct SandboxSpec: Sendable, Hashable {
    package var podUID: String
    package var namespace: String
    package var name: String
    package var hostname: String
    /// A network namespace that is ready (addresses, routes, interception), as a path that can be opened for `setns`.
    package var networkNamespace: String
    /// Below the runtime's own cgroup, for example `node-1/pod<uid>`.
    package var cgroup: String
    package var resolvConf: String
    package var hosts: String
    package var sharesProcessNamespace = false
    /// `hostPID` and `hostIPC`: no namespace of its own for them.
    package var usesMachineProcesses = false
    package var usesMachineIPC = false
    package var limits = ResourceLimits()
    package init(
        podUID: String, namespace: String, name: String, hostname: String, networkNamespace: String, cgroup: String
    ) {
        self.podUID = podUID
        self.namespace = namespace
        self.name = name
        self.hostname = hostname
        self.networkNamespace = networkNamespace
        self.cgroup = cgroup
        resolvConf = ""
        hosts = ""
    }
}

package struct ResourceLimits: Sendable, Hashable {
    package var cpuShares: Int?  // cgroup v1 words; the v2 driver converts
    package var cpuQuotaMicroseconds: Int?  // in each period of 100,000
    package var memoryBytes: Int?
    package var processes: Int?
    package init() {}
}

package struct ContainerSpec: Sendable, Hashable {
    package var name: String
    package var attempt: Int  // 0 for the first start, one more for each restart
    package var image: String
    /// Replace the image's entrypoint and command, as in a Pod; `nil` keeps the image's.
    package var command: [String]?
    package var arguments: [String]?
    package var environment: [(name: String, value: String)] = []  // after the image's own
    package var workingDirectory: String?
    package var user: Int?  // `nil`: the image's
    package var group: Int?
    package var supplementaryGroups: [Int] = []
    package var mounts: [BindMount] = []
    package var limits = ResourceLimits()
    package var addedCapabilities: [String] = []  // `NET_ADMIN`, `ALL`
    package var droppedCapabilities: [String] = []
    package var isPrivileged = false
    package var hasReadOnlyRoot = false
    package var allowsPrivilegeEscalation = true
    package var oomScoreAdjustment = 0
    package var stopSignal: Int?
    /// `stdin`, `stdinOnce` and `tty` of the manifest.
    package var keepsInput = false
    package var endsInputOnce = false
    package var hasTerminal = false
    /// The running container, by id, whose processes this one sees.
    package var seenContainer: String?
    /// What the whole pod may use from this start on; `nil` leaves it as it is.
    package var podLimits: ResourceLimits?
    /// CRI log lines: `2026-01-02T03:04:05.000000006Z stdout F text`.
    package var logPath: String
    /// Listening sockets opened in the machine's own network namespace and inherited from descriptor 3 on
    /// (`LISTEN_FDS`, `LISTEN_FDNAMES`, as systemd's socket activation does it).
    package var machineListeners: [MachineListener] = []
    /// Kept with the container and given back in its status, across restarts of the caller.
    package var annotations: [String: String] = [:]

    package init(name: String, attempt: Int, image: String, logPath: String) {
        self.name = name
        self.attempt = attempt
        self.image = image
        self.logPath = logPath
    }

    package static func == (one: ContainerSpec, other: ContainerSpec) -> Bool {
        one.name == other.name && one.attempt == other.attempt && one.image == other.image
    }
    package func hash(into hasher: inout Hasher) {
        hasher.combine(name)
        hasher.combine(attempt)
    }
}

package struct BindMount: Sendable, Hashable {
    package var source: String
    package var target: String
    package var isReadOnly: Bool
    package init(source: String, target: String, isReadOnly: Bool) {
        self.source = source
        self.target = target
        self.isReadOnly = isReadOnly
    }
}

package struct MachineListener: Sendable, Hashable {
    package var name: String
    package var address: String  // loopback only
    package var port: Int
    package init(name: String, address: String, port: Int) {
        self.name = name
        self.address = address
        self.port = port
    }
}

package struct SandboxStatus: Sendable {
    package var podUID: String
    package var namespace: String
    package var name: String
    package var isRunning: Bool  // the supervisor answers
    package var supervisorPID: Int
    package var networkNamespace: String
    package var containers: [ContainerStatus]
    package init(
        podUID: String, namespace: String, name: String, isRunning: Bool, supervisorPID: Int, networkNamespace: String,
        containers: [ContainerStatus]
    ) {
        self.podUID = podUID
        self.namespace = namespace
        self.name = name
        self.isRunning = isRunning
        self.supervisorPID = supervisorPID
        self.networkNamespace = networkNamespace
        self.containers = containers
    }
}

package struct ContainerStatus: Sendable {
    package enum State: Sendable, Hashable {
        case running
        /// `signal` is 0 when the container exited by itself.
        case exited(code: Int, signal: Int, outOfMemory: Bool)
    }
    package var id: String  // `<name>-<attempt>`, unique in the pod
    package var name: String
    package var attempt: Int
    package var image: String
    package var imageDigest: String
    package var state: State
    package var pid: Int  // in the machine's pid namespace
    package var startedAt: Int64  // nanoseconds since 1970
    package var finishedAt: Int64?
    package var annotations: [String: String]
    package var logPath: String
    package init(
        id: String, name: String, attempt: Int, image: String, imageDigest: String, state: State, pid: Int,
        startedAt: Int64,
        finishedAt: Int64? = nil, annotations: [String: String] = [:], logPath: String = ""
    ) {
        self.id = id
        self.name = name
        self.attempt = attempt
        self.image = image
        self.imageDigest = imageDigest
        self.state = state
        self.pid = pid
        self.startedAt = startedAt
        self.finishedAt = finishedAt
        self.annotations = annotations
        self.logPath = logPath
    }
}

package struct ImageStatus: Sendable, Hashable {
    package var name: String
    package var digest: String
    package var bytes: Int
    package var entrypoint: [String]
    package var command: [String]
    package init(name: String, digest: String, bytes: Int, entrypoint: [String], command: [String]) {
        self.name = name
        self.digest = digest
        self.bytes = bytes
        self.entrypoint = entrypoint
        self.command = command
    }
}

package struct ExecSpec: Sendable {
    package var command: [String]
    package var environment: [(name: String, value: String)] = []
    package var hasTerminal = false
    package var user: Int?
    package init(command: [String]) { self.command = command }
}

package struct AttachSpec: Sendable {
    package var wantsInput: Bool
    package var wantsOutput: Bool
    package var wantsErrors: Bool
    package init(wantsInput: Bool, wantsOutput: Bool, wantsErrors: Bool) {
        self.wantsInput = wantsInput
        self.wantsOutput = wantsOutput
        self.wantsErrors = wantsErrors
    }
}

/// A command running in a container. The descriptors belong to the caller, who closes them; one that is not there is -1.
package protocol RunningExec: Sendable {
    var stdin: CInt { get }  // with a terminal of a command, all three are the same descriptor
    var stdout: CInt { get }
    var stderr: CInt { get }
    /// The exit code, 128 + signal if a signal ended it.
    func wait() async throws(RuntimeFailure) -> Int
    func kill() async
    /// Says that no more input comes, beside closing `stdin`.
    func endInput()
    func resize(width: Int, height: Int)
}

extension RunningExec {
    package func endInput() {}
}
