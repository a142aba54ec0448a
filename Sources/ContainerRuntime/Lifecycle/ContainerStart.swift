import CKernel
import Glibc
import Kernel

/// Prepares all a container needs and asks the pod's supervisor to start it.
struct ContainerStart {
    let spec: ContainerSpec
    let directory: PodDirectory
    let sandbox: SandboxRecord
    let images: ImageStore
    let cgroups: CgroupDriver
    let record: ContainerRecord
    private let image: ImageRecord

    private var what: String { "start container \"\(spec.name)\"" }

    init(
        _ spec: ContainerSpec, directory: PodDirectory, sandbox: SandboxRecord, images: ImageStore,
        cgroups: CgroupDriver
    ) throws(RuntimeFailure) {
        guard PodDirectory.isName(spec.id) else {
            throw RuntimeFailure(.badCommand, "the container name '\(spec.name)' cannot be a file name")
        }
        guard let image = try images.image(named: spec.image) else {
            throw RuntimeFailure(
                .noSuchImage,
                "container \"\(spec.name)\": no image \(spec.image) in \(images.directory); it is not pulled, it must be packed or imported first"
            )
        }
        self.spec = spec
        self.directory = directory
        self.sandbox = sandbox
        self.images = images
        self.cgroups = cgroups
        self.image = image
        let stopSignal = spec.stopSignal ?? image.stopSignal.flatMap(SignalName.number) ?? Int(SIGTERM)
        record = ContainerRecord(spec, image: image, layers: try images.layers(of: image), stopSignal: stopSignal)
    }

    static func cgroup(_ id: String, of sandbox: SandboxRecord) -> String { "\(sandbox.cgroup)/\(id)" }
    private var cgroup: String { Self.cgroup(spec.id, of: sandbox) }

    func run(_ supervisor: SupervisorConnection) throws(RuntimeFailure) -> ContainerStatus {
        do throws(RuntimeFailure) {
            return try start(supervisor)
        } catch {
            try? cgroups.remove(cgroup)
            try? FileTree.remove(directory.layer(spec.id))
            try? FileTree.remove(directory.recordFile(spec.id))
            throw error
        }
    }

    private func start(_ supervisor: SupervisorConnection) throws(RuntimeFailure) -> ContainerStatus {
        var request = StartRequest()
        var descriptors = Descriptors()
        request.id = Array(spec.id.utf8)
        request.hasOwnProcesses = !sandbox.sharesProcessNamespace
        request.streams.keepsInput = spec.keepsInput
        request.streams.endsInputOnce = spec.keepsInput && spec.endsInputOnce
        request.streams.hasTerminal = spec.hasTerminal
        if request.hasOwnProcesses, let seen = spec.seenContainer { request.seenContainer = Array(seen.utf8) }

        descriptors.add(try root())
        request.logName = try openLog(&descriptors)
        try makeCgroup(&request, &descriptors)
        try mounts(&request, &descriptors)
        let listeners = try listeners(&descriptors)
        request.listeners = listeners.count

        let user = try identity(&request)
        request.directory = Array((spec.workingDirectory ?? image.workingDirectory).utf8)
        if request.directory.isEmpty { request.directory = [UInt8(ascii: "/")] }
        request.hasReadOnlyRoot = spec.hasReadOnlyRoot
        request.oomScore = Int32(truncatingIfNeeded: max(-1000, min(1000, spec.oomScoreAdjustment)))
        request.arguments = try arguments().map { Array($0.utf8) }
        request.environment = environment(home: user.home, listeners: listeners).map { Array($0.utf8) }

        let bytes = request.bytes
        guard bytes.count <= MessageHeader.longestBody else {
            throw RuntimeFailure(
                .badCommand,
                "container \"\(spec.name)\": its arguments and environment take \(bytes.count) bytes, more than a process can have"
            )
        }
        guard descriptors.numbers.count <= MessageHeader.mostDescriptors else {
            throw RuntimeFailure(
                .kernel,
                "container \"\(spec.name)\": \(spec.mounts.count) mounts and \(spec.machineListeners.count) listeners are too many"
            )
        }
        try attempting(what) { () throws(SystemCallFailed) in
            try PodDirectory.write(record.json, to: directory.recordFile(spec.id))
        }
        let answer: SupervisorConnection.Answer
        do throws(SupervisorConnection.Broken) {
            answer = try supervisor.call(.start, bytes, descriptors: descriptors.numbers)
        } catch {
            throw StartFault.explain(error, container: spec.name, program: request.arguments.first ?? [])
        }
        let pid = answer.descriptors.first.map { OwnedPidfd(taking: $0).pid } ?? 0
        guard let state = try? SupervisedState(answer.body) else {
            throw RuntimeFailure(.kernel, "\(what): the pod's supervisor gave an answer of another version")
        }
        return ContainerStatus(record, state: state, pid: pid)
    }

    // MARK: Parts

    private func root() throws(RuntimeFailure) -> OwnedDescriptor {
        let layer = directory.layer(spec.id)
        let layers = record.layers
        return try attempting("\(what): root file system of image \(image.name)") { () throws(SystemCallFailed) in
            for name in ["upper", "work", "scratch"] { try SmallFile.makeDirectories("\(layer)/\(name)") }
            // The upper directory's mode is that of the container's root, whatever our umask.
            chmod(layer + "/upper", 0o755)
            return try DetachedMount.overlay(
                layers: layers, upper: layer + "/upper", work: layer + "/work", scratch: layer + "/scratch")
        }
    }

    /// Opens the directory of the log; returns the log's name in it.
    private func openLog(_ descriptors: inout Descriptors) throws(RuntimeFailure) -> [UInt8] {
        let parts = spec.logPath.split(separator: "/")
        guard spec.logPath.hasPrefix("/"), let name = parts.last else {
            throw RuntimeFailure(.kernel, "\(what): the log path '\(spec.logPath)' is no absolute path")
        }
        let folder = "/" + parts.dropLast().joined(separator: "/")
        descriptors.add(
            try attempting("\(what): log directory") { () throws(SystemCallFailed) in
                try SmallFile.makeDirectories(folder)
                return try OwnedDescriptor.open(folder, flags: O_RDONLY | O_DIRECTORY)
            })
        return Array(name.utf8)
    }

    private func makeCgroup(_ request: inout StartRequest, _ descriptors: inout Descriptors) throws(RuntimeFailure) {
        let group = cgroup
        let isPrivileged = spec.isPrivileged
        let limits = CgroupLimits(spec.limits)
        // Best effort: it cannot be smaller than the groups of runs that have ended and are kept.
        if let pod = spec.podLimits { try? cgroups.limit(sandbox.cgroup, CgroupLimits(pod)) }
        let opened = try attempting("\(what): cgroup") { () throws(SystemCallFailed) -> Descriptors in
            // A start that failed half-way may have left one.
            try cgroups.remove(group)
            try cgroups.create(group)
            try cgroups.limit(group, limits)
            if !isPrivileged { try cgroups.restrictDevices(group) }
            var opened = Descriptors()
            opened.add(try OwnedDescriptor.open(cgroups.memoryEvents(group), flags: O_RDONLY))
            for entrance in cgroups.entrances(group) { opened.add(try OwnedDescriptor.open(entrance, flags: O_WRONLY)) }
            return opened
        }
        request.cgroups = opened.numbers.count - 1
        descriptors.take(opened)
    }

    private func mounts(_ request: inout StartRequest, _ descriptors: inout Descriptors) throws(RuntimeFailure) {
        request.mounts = ContainerFilesystem.mounts(isPrivileged: spec.isPrivileged)
        if !spec.isPrivileged {
            request.masked = ContainerFilesystem.masked.map { Array($0.utf8) }
            request.readOnly = ContainerFilesystem.readOnly.map { Array($0.utf8) }
        }
        var wanted = spec.mounts
        func lacks(_ target: String) -> Bool { !wanted.contains { $0.target == target } }
        for name in ["hosts", "resolv.conf", "hostname"] where lacks("/etc/" + name) {
            wanted.append(
                BindMount(source: "\(directory.etc)/\(name)", target: "/etc/" + name, isReadOnly: spec.hasReadOnlyRoot))
        }
        // What lies deeper comes later, so that no mount hides another.
        for mount in wanted.sorted(by: { $0.target.split(separator: "/").count < $1.target.split(separator: "/").count }
        ) {
            guard mount.target.hasPrefix("/"), mount.target != "/" else {
                throw RuntimeFailure(.kernel, "\(what): the mount path '\(mount.target)' is no absolute path below /")
            }
            var facts = stat()
            guard stat(mount.source, &facts) == 0 else {
                let code = errno
                throw RuntimeFailure(
                    SystemCallFailed("stat", code: code, on: mount.source),
                    doing: "\(what): source of the mount at \(mount.target)")
            }
            descriptors.add(
                try attempting("\(what): mount at \(mount.target)") { () throws(SystemCallFailed) in
                    try DetachedMount.bind(mount.source, isReadOnly: mount.isReadOnly)
                })
            var planned = PlannedMount(.descriptor, target: Array(mount.target.utf8))
            planned.isFile = facts.st_mode & S_IFMT != S_IFDIR
            request.mounts.append(planned)
        }
    }

    private func listeners(_ descriptors: inout Descriptors) throws(RuntimeFailure) -> [String] {
        var names: [String] = []
        for listener in spec.machineListeners {
            guard listener.address == "::1" || listener.address.hasPrefix("127."), (1...65535).contains(listener.port)
            else {
                throw RuntimeFailure(
                    .kernel,
                    "\(what): machine listener \(listener.name)=\(listener.address):\(listener.port): only ports of loopback addresses may be used"
                )
            }
            let number = weft_listen_tcp(listener.address, CInt(listener.port))
            let code = errno
            guard number >= 0 else {
                throw RuntimeFailure(
                    SystemCallFailed("listen", code: code, on: "\(listener.address):\(listener.port)"),
                    doing: "\(what): machine listener \(listener.name)")
            }
            descriptors.add(OwnedDescriptor(taking: number))
            names.append(listener.name)
        }
        return names
    }

    private func identity(_ request: inout StartRequest) throws(RuntimeFailure) -> ImageUser {
        var user = try ImageUser(spec.user.map(String.init) ?? image.user, layers: record.layers, image: image.name)
        // What is no group must not become root's; the kernel refuses the highest number.
        if let group = spec.group { user.group = UInt32(exactly: group) ?? .max }
        user.groups += spec.supplementaryGroups.map { UInt32(exactly: $0) ?? .max }
        request.identity.user = user.user
        request.identity.group = user.group
        request.identity.groups = user.groups
        request.identity.capabilities = try Capability.set(
            adding: spec.addedCapabilities, dropping: spec.droppedCapabilities, isPrivileged: spec.isPrivileged,
            hasDeviceLimits: cgroups.restrictsDevices)
        request.identity.hasNoNewPrivileges = !spec.allowsPrivilegeEscalation && !spec.isPrivileged
        return user
    }

    private func arguments() throws(RuntimeFailure) -> [String] {
        var all = spec.command ?? image.entrypoint
        all += spec.arguments ?? (spec.command == nil ? image.command : [])
        guard !all.isEmpty else {
            throw RuntimeFailure(
                .badCommand,
                "container \"\(spec.name)\" has no command: neither its spec nor image \(image.name) names one")
        }
        for text in all where text.utf8.contains(0) {
            throw RuntimeFailure(.badCommand, "container \"\(spec.name)\": a command or argument holds a zero byte")
        }
        return all
    }

    /// Later settings of a name replace earlier ones: the image's, then ours, then the container's.
    private func environment(home: String, listeners: [String]) -> [String] {
        var settings: [(name: String, value: String)] = [
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", home),
            ("HOSTNAME", sandbox.hostname),
        ]
        if spec.hasTerminal { settings.append(("TERM", "xterm")) }
        for variable in image.environment {
            let parts = variable.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            settings.append((String(parts[0]), parts.count > 1 ? String(parts[1]) : ""))
        }
        settings += spec.environment
        if !listeners.isEmpty {
            settings += [("LISTEN_FDS", String(listeners.count)), ("LISTEN_FDNAMES", listeners.joined(separator: ":"))]
            // The first process of its own namespace; in a shared one the number is not known before the start.
            if !sandbox.sharesProcessNamespace { settings.append(("LISTEN_PID", "1")) }
        }
        var last: [String: Int] = [:]
        for (place, setting) in settings.enumerated() { last[setting.name] = place }
        return settings.enumerated().filter { last[$0.element.name] == $0.offset && !$0.element.name.isEmpty }
            .map { "\($0.element.name)=\($0.element.value)" }
    }
}

/// Descriptors on their way into a message; they close when this ends.
struct Descriptors: ~Copyable {
    private(set) var numbers: [CInt] = []
    mutating func add(_ descriptor: consuming OwnedDescriptor) { numbers.append(descriptor.release()) }
    mutating func take(_ others: consuming Descriptors) {
        numbers += others.numbers
        others.giveAway()
    }
    /// The numbers have another owner now.
    mutating func giveAway() { numbers = [] }
    deinit { for number in numbers { close(number) } }
}

extension CgroupLimits {
    init(_ limits: ResourceLimits) {
        self.init()
        cpuShares = limits.cpuShares
        cpuQuotaMicroseconds = limits.cpuQuotaMicroseconds
        memoryBytes = limits.memoryBytes
        processes = limits.processes
    }
}

extension ContainerStatus {
    init(_ record: ContainerRecord, state: SupervisedState, pid: Int) {
        self.init(
            id: record.id, name: record.name, attempt: record.attempt, image: record.image,
            imageDigest: record.imageDigest,
            state: state.isRunning
                ? .running
                : .exited(code: Int(state.code), signal: Int(state.signal), outOfMemory: state.isOutOfMemory),
            pid: state.isRunning ? pid : 0, startedAt: state.startedAt,
            finishedAt: state.isRunning ? nil : state.finishedAt,
            annotations: record.annotations, logPath: record.logPath)
    }
}

/// Signals as image configurations name them.
enum SignalName {
    private static let numbers: [String: Int32] = [
        "HUP": SIGHUP, "INT": SIGINT, "QUIT": SIGQUIT, "KILL": SIGKILL, "USR1": SIGUSR1, "USR2": SIGUSR2,
        "TERM": SIGTERM, "WINCH": SIGWINCH,
    ]
    static func number(_ name: String) -> Int? {
        if let number = Int(name), (1...64).contains(number) { return number }
        let upper = name.uppercased()
        let short = upper.hasPrefix("SIG") ? String(upper.dropFirst(3)) : upper
        if let number = numbers[short] { return Int(number) }
        // The real-time signals as systemd images ask for them.
        if short.hasPrefix("RTMIN+"), let offset = Int(short.dropFirst(6)), (0...30).contains(offset) {
            return 34 + offset
        }
        return nil
    }
}
