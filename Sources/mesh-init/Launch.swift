import CKernel
import CLinux

/// Turns requests into `weft_start` and starts them.
enum Launch {
    struct Started {
        var pid: pid_t
        var pidfd: CInt
    }

    /// Starts a container. The descriptors come as `StartRequest` orders them and stay the caller's.
    ///
    /// `seen`: the pidfd of the container whose processes it sees, or -1. `own`: our own pidfd, the way back from there.
    static func container(
        _ request: StartRequest, descriptors: [CInt], streams: borrowing ContainerStreams, seen: CInt, own: CInt
    ) throws(SupervisionFailure) -> Started {
        let firstMount = 3 + request.cgroups
        var attached = 0
        var owned: [CInt] = []
        defer { for descriptor in owned { close(descriptor) } }

        let targets = CTexts(request.mounts.map { $0.target })
        let types = CTexts(request.mounts.map { $0.type })
        let options = CTexts(request.mounts.map { $0.options })
        var mounts: [weft_mount] = []
        for (place, planned) in request.mounts.enumerated() {
            var mount = weft_mount()
            mount.target = targets[place]
            mount.attributes = planned.attributes
            mount.is_file = planned.isFile ? 1 : 0
            switch planned.source {
            case .descriptor:
                mount.fd = descriptors[firstMount + attached]
                attached += 1
            case .filesystem:
                mount.fd = -1
                mount.type = types[place]
                mount.options = options[place]
            case .sharedMemory:
                mount.fd = weft_clone_mount("/shm")
                let code = weft_errno()
                guard mount.fd >= 0 else { throw SupervisionFailure(step: 5, code: code, subject: planned.target) }
                owned.append(mount.fd)
            }
            mounts.append(mount)
        }

        var inherited = streams.theirs
        inherited += descriptors[(firstMount + attached)...]
        let cgroups = Array(descriptors[3..<firstMount])
        let masked = CTexts(request.masked)
        let readOnly = CTexts(request.readOnly)
        let directory = CTexts([request.directory])

        var start = blankStart()
        start.namespaces = weft_new_mounts | (request.hasOwnProcesses && seen < 0 ? weft_new_processes : 0)
        start.terminal_socket = streams.theirSocket
        start.root = descriptors[0]
        start.masked = masked.constant
        start.read_only = readOnly.constant
        start.makes_devices = 1
        start.has_read_only_root = request.hasReadOnlyRoot ? 1 : 0
        start.sets_oom_score = 1
        start.oom_score = request.oomScore
        start.directory = directory[0]
        try enterProcesses(of: seen)
        defer { leaveProcesses(of: seen, to: own) }
        return try mounts.withUnsafeBufferPointer { mounts throws(SupervisionFailure) in
            start.mounts = mounts.baseAddress
            start.mount_count = mounts.count
            return try run(
                &start, cgroups: cgroups, inherited: inherited, identity: request.identity,
                arguments: request.arguments,
                environment: request.environment)
        }
    }

    /// A further process in a container that runs.
    static func execution(
        _ request: ExecuteRequest, in container: StartRequest, pidfd: CInt, own: CInt, descriptors: [CInt]
    ) throws(SupervisionFailure) -> Started {
        var identity = container.identity
        if request.user >= 0 {
            identity.user = UInt32(truncatingIfNeeded: request.user)
        }
        let directory = CTexts([container.directory])
        var start = blankStart()
        start.joined = pidfd
        start.directory = directory[0]
        var inherited: [CInt] = []
        if request.hasTerminal {
            start.terminal_socket = descriptors[request.cgroups]
        } else {
            inherited = Array(descriptors[request.cgroups...])
        }
        let seen: CInt = container.hasOwnProcesses || !container.seenContainer.isEmpty ? pidfd : -1
        try enterProcesses(of: seen)
        defer { leaveProcesses(of: seen, to: own) }
        return try run(
            &start, cgroups: Array(descriptors[..<request.cgroups]), inherited: inherited, identity: identity,
            arguments: request.arguments, environment: merged(container.environment, with: request.environment))
    }

    /// Only children go to the other namespace; the way back leads through our own pidfd. Nothing to do for -1.
    private static func enterProcesses(of pidfd: CInt) throws(SupervisionFailure) {
        if pidfd >= 0, weft_setns(pidfd, CInt(weft_new_processes)) != 0 {
            throw SupervisionFailure(step: 3, code: weft_errno(), subject: [UInt8](ascii: "pid"))
        }
    }

    private static func leaveProcesses(of pidfd: CInt, to own: CInt) {
        if pidfd >= 0 { _ = weft_setns(own, CInt(weft_new_processes)) }
    }

    /// The later settings replace those of the same name, since programs take the first they find.
    private static func merged(_ environment: [[UInt8]], with later: [[UInt8]]) -> [[UInt8]] {
        var merged = later
        for variable in environment {
            var name: [UInt8] = []
            for byte in variable {
                name.append(byte)
                if byte == 61 { break }
            }
            var isReplaced = false
            for setting in later where setting.starts(withBytes: name) { isReplaced = true }
            if !isReplaced { merged.append(variable) }
        }
        return merged
    }

    private static func blankStart() -> weft_start {
        var start = weft_start()
        start.network = -1
        start.joined = -1
        start.root = -1
        start.terminal_socket = -1
        return start
    }

    private static func run(
        _ start: inout weft_start, cgroups: [CInt], inherited: [CInt], identity: ProcessIdentity, arguments: [[UInt8]],
        environment: [[UInt8]]
    ) throws(SupervisionFailure) -> Started {
        guard let program = arguments.first, !program.isEmpty else {
            throw SupervisionFailure(step: 15, code: 2, subject: [])
        }
        let paths = CTexts(candidates(for: program, in: environment))
        let argumentTexts = CTexts(arguments)
        let environmentTexts = CTexts(environment)
        start.sets_identity = 1
        start.user = identity.user
        start.group = identity.group
        start.capabilities = identity.capabilities
        start.no_new_privileges = identity.hasNoNewPrivileges ? 1 : 0
        start.paths = paths.constant
        start.arguments = argumentTexts.mutable
        start.environment = environmentTexts.mutable
        var fault = weft_fault()
        var pidfd: CInt = -1
        let pid = cgroups.withUnsafeBufferPointer { cgroups in
            inherited.withUnsafeBufferPointer { inherited in
                identity.groups.withUnsafeBufferPointer { groups in
                    start.cgroups = cgroups.baseAddress
                    start.cgroup_count = cgroups.count
                    start.descriptors = inherited.baseAddress
                    start.descriptor_count = inherited.count
                    start.groups = groups.baseAddress
                    start.group_count = groups.count
                    return weft_start(&start, &pidfd, &fault)
                }
            }
        }
        guard pid > 0 else { throw failure(&fault) }
        return Started(pid: pid, pidfd: pidfd)
    }

    private static func failure(_ fault: inout weft_fault) -> SupervisionFailure {
        var subject: [UInt8] = []
        withUnsafeBytes(of: &fault.subject) { bytes in
            for byte in bytes {
                if byte == 0 { break }
                subject.append(byte)
            }
        }
        return SupervisionFailure(step: fault.step, code: fault.error, subject: subject)
    }

    /// Where `execve` looks, as a shell does: a name with a slash is a path, any other is sought along `PATH`.
    static func candidates(for program: [UInt8], in environment: [[UInt8]]) -> [[UInt8]] {
        for byte in program where byte == 47 { return [program] }
        var path = [UInt8](ascii: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        let name = [UInt8](ascii: "PATH=")
        for variable in environment where variable.starts(withBytes: name) { path = Array(variable[5...]) }
        var found: [[UInt8]] = []
        for folder in path.split(separator: 58, omittingEmptySubsequences: true) {
            found.append(Array(folder) + [47] + program)
        }
        return found
    }
}
