import Glibc

/// The one hierarchy. Processes live in leaves only, and each level hands its controllers down.
struct CgroupV2: CgroupHierarchy {
    private static let controllers = ["cpu", "memory", "pids"]
    private let root: String

    init(root: String) { self.root = root }

    var version: Int { 2 }
    /// v2 restricts devices by a BPF program, which we do not load; such containers get no CAP_MKNOD instead.
    var restrictsDevices: Bool { false }

    func folders(_ path: String) -> [String] { [root + "/" + path] }

    func create(_ path: String) throws(SystemCallFailed) {
        var folder = root
        for part in path.split(separator: "/") {
            for controller in Self.controllers {
                try SmallFile.write("+" + controller, to: folder + "/cgroup.subtree_control")
            }
            folder += "/" + part
            try SmallFile.makeDirectories(folder)
        }
    }

    func limit(_ path: String, _ limits: CgroupLimits) throws(SystemCallFailed) {
        let folder = root + "/" + path
        if let shares = limits.cpuShares {
            try SmallFile.write(String(Self.weight(ofShares: shares)), to: folder + "/cpu.weight")
        }
        if let quota = limits.cpuQuotaMicroseconds {
            try SmallFile.write("\(max(1000, quota)) 100000", to: folder + "/cpu.max")
        }
        if let bytes = limits.memoryBytes {
            try SmallFile.write(String(bytes), to: folder + "/memory.max")
            if access(folder + "/memory.swap.max", F_OK) == 0 {
                try SmallFile.write("0", to: folder + "/memory.swap.max")
            }
        }
        if let processes = limits.processes { try SmallFile.write(String(processes), to: folder + "/pids.max") }
    }

    /// Maps 2…262144 to 1…10000 in a straight line, as every Kubernetes runtime does.
    static func weight(ofShares shares: Int) -> Int {
        1 + (max(2, min(262_144, shares)) - 2) * 9999 / 262_142
    }

    func restrictDevices(_ path: String) {}

    func memoryEvents(_ path: String) -> String { root + "/" + path + "/memory.events" }

    func usage(_ path: String) -> CgroupUsage {
        let folder = root + "/" + path
        var usage = CgroupUsage()
        usage.cpuNanoseconds = (CgroupFiles.field("usage_usec", in: folder + "/cpu.stat") ?? 0) * 1000
        usage.memoryBytes = CgroupFiles.number(folder + "/memory.current") ?? 0
        let idleCache = CgroupFiles.field("inactive_file", in: folder + "/memory.stat") ?? 0
        usage.workingSetBytes = usage.memoryBytes > idleCache ? usage.memoryBytes - idleCache : 0
        usage.processes = CgroupFiles.number(folder + "/pids.current") ?? 0
        usage.memoryKills = CgroupFiles.field("oom_kill", in: memoryEvents(path)) ?? 0
        return usage
    }
}
