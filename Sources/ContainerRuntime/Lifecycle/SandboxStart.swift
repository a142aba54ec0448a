import CKernel
import Glibc
import Kernel

/// Starts the supervisor of a pod in its namespaces.
struct SandboxStart: Sendable {
    let spec: SandboxSpec
    let directory: PodDirectory
    let configuration: RuntimeConfiguration
    let cgroups: CgroupDriver

    private var what: String { "sandbox of pod \(spec.namespace)/\(spec.name)" }
    private var pod: String { "\(configuration.cgroupRoot)/\(spec.cgroup)" }

    /// Adds what is missing; a sandbox whose supervisor died gets a new one, and its ended containers stay known.
    func run() throws(RuntimeFailure) {
        guard !spec.cgroup.isEmpty, !spec.cgroup.split(separator: "/").contains("..") else {
            throw RuntimeFailure(.kernel, "\(what): its cgroup '\(spec.cgroup)' is no path below the runtime's")
        }
        try directory.make()
        let record = SandboxRecord(spec, cgroup: pod)
        // Before the start: from here on a restarted runtime knows what to remove.
        try attempting(what) { () throws(SystemCallFailed) in
            try PodDirectory.write(record.json, to: directory.sandboxFile)
            try SmallFile.write(spec.hosts, to: directory.etc + "/hosts")
            try SmallFile.write(spec.resolvConf, to: directory.etc + "/resolv.conf")
            try SmallFile.write(spec.hostname + "\n", to: directory.etc + "/hostname")
            // Read by any user of the containers, whatever our umask.
            for name in ["hosts", "resolv.conf", "hostname"] { chmod("\(directory.etc)/\(name)", 0o644) }
        }
        do throws(RuntimeFailure) { try startSupervisor() } catch {
            try? cgroups.remove(pod)
            throw error
        }
    }

    private func startSupervisor() throws(RuntimeFailure) {
        var joined = Descriptors()
        let group = pod + "/supervisor"
        let limits = CgroupLimits(spec.limits)
        try attempting("\(what): cgroup") { () throws(SystemCallFailed) in
            try cgroups.create(group)
            try cgroups.limit(pod, limits)
            for entrance in cgroups.entrances(group) { joined.add(try OwnedDescriptor.open(entrance, flags: O_WRONLY)) }
        }
        let network = try attempting("\(what): network namespace") { () throws(SystemCallFailed) in
            try OwnedDescriptor.open(spec.networkNamespace, flags: O_RDONLY)
        }
        var descriptors = Descriptors()
        try attempting(what) { () throws(SystemCallFailed) in
            let run = try OwnedDescriptor.open(directory.run, flags: O_RDONLY | O_DIRECTORY)
            try? FileTree.remove(directory.run + "/init.sock")
            descriptors.add(try OwnedDescriptor.open("/dev/null", flags: O_RDWR))
            descriptors.add(try OwnedDescriptor.open(logFile, flags: O_WRONLY | O_CREAT | O_TRUNC))
            descriptors.add(try OwnedDescriptor.open(logFile, flags: O_WRONLY | O_APPEND))
            let listener = weft_listen_at(run.number, "init.sock", 64)
            let code = errno
            guard listener >= 0 else { throw SystemCallFailed("listen", code: code, on: directory.run + "/init.sock") }
            descriptors.add(OwnedDescriptor(taking: listener))
            chmod(directory.run + "/init.sock", 0o600)
            descriptors.add(run)
        }
        var start = SupervisorStart(
            program: configuration.supervisorPath, arguments: ["mesh-init", "\(spec.namespace)/\(spec.name)"],
            hostname: spec.hostname,
            network: network.number)
        start.usesMachineProcesses = spec.usesMachineProcesses
        start.usesMachineIPC = spec.usesMachineIPC
        start.cgroups = joined.numbers
        start.descriptors = descriptors.numbers
        do throws(StartFailed) {
            // The runtime reaps it by the pidfd the supervisor itself gives it, as after a restart.
            close(try start.run().pidfd)
        } catch {
            throw StartFault.explain(
                error, sandbox: "\(spec.namespace)/\(spec.name)", supervisor: configuration.supervisorPath)
        }
    }

    private var logFile: String { directory.run + "/init.log" }

    /// What the supervisor said before it ended.
    var supervisorWords: String {
        let bytes = (try? SmallFile.read(logFile, limit: 4096)) ?? []
        return bytes.isEmpty ? "it said nothing" : String(decoding: bytes, as: UTF8.self).filter { $0 != "\n" }
    }
}

extension PodDirectory {
    /// When the supervisor last wrote a container's state, in nanoseconds since 1970.
    func lastChange(_ id: String) -> Int64 {
        var facts = stat()
        guard stat(stateFile(id), &facts) == 0 else { return 0 }
        return Int64(facts.st_mtim.tv_sec) * 1_000_000_000 + Int64(facts.st_mtim.tv_nsec)
    }
}
