import Glibc

/// One hierarchy a controller, mounted below `/sys/fs/cgroup`.
struct CgroupV1: CgroupHierarchy {
    private let root: String
    private let controllers: [String]

    init(root: String) {
        self.root = root
        controllers = ["cpu", "cpuacct", "memory", "pids", "devices"].filter {
            access(root + "/" + $0 + "/cgroup.procs", W_OK) == 0
        }
    }

    var version: Int { 1 }
    var restrictsDevices: Bool { controllers.contains("devices") }

    private func folder(_ controller: String, _ path: String) -> String { root + "/" + controller + "/" + path }

    func folders(_ path: String) -> [String] { controllers.map { folder($0, path) } }

    func create(_ path: String) throws(SystemCallFailed) {
        for folder in folders(path) { try SmallFile.makeDirectories(folder) }
    }

    func limit(_ path: String, _ limits: CgroupLimits) throws(SystemCallFailed) {
        if let shares = limits.cpuShares { try set("cpu", "cpu.shares", shares, path) }
        if let quota = limits.cpuQuotaMicroseconds {
            try set("cpu", "cpu.cfs_period_us", 100_000, path)
            try set("cpu", "cpu.cfs_quota_us", max(1000, quota), path)
        }
        if let bytes = limits.memoryBytes {
            // Memory and swap together: no swap beyond the limit. Kernels without swap accounting lack the file. It may never
            // be less than the limit of memory alone, so it grows first.
            let both = folder("memory", path) + "/memory.memsw.limit_in_bytes"
            let countsSwap = access(both, F_OK) == 0
            if countsSwap { try? SmallFile.write(String(bytes), to: both) }
            try set("memory", "memory.limit_in_bytes", bytes, path)
            if countsSwap { try SmallFile.write(String(bytes), to: both) }
        }
        if let processes = limits.processes { try set("pids", "pids.max", processes, path) }
    }

    private func set(_ controller: String, _ file: String, _ value: Int, _ path: String) throws(SystemCallFailed) {
        guard controllers.contains(controller) else {
            throw SystemCallFailed(
                "write", code: ENOENT, on: "\(file) (the machine has no cgroup controller \(controller))")
        }
        try SmallFile.write(String(value), to: folder(controller, path) + "/" + file)
    }

    func restrictDevices(_ path: String) throws(SystemCallFailed) {
        guard restrictsDevices else { return }
        let devices = folder("devices", path)
        try SmallFile.write("a", to: devices + "/devices.deny")
        // Any node may be made, since making one opens nothing.
        for rule in ["c *:* m", "b *:* m"] { try SmallFile.write(rule, to: devices + "/devices.allow") }
        for node in ["1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:1", "5:2", "136:*"] {
            try SmallFile.write("c \(node) rwm", to: devices + "/devices.allow")
        }
    }

    func memoryEvents(_ path: String) -> String { folder("memory", path) + "/memory.oom_control" }

    func usage(_ path: String) -> CgroupUsage {
        var usage = CgroupUsage()
        usage.cpuNanoseconds = CgroupFiles.number(folder("cpuacct", path) + "/cpuacct.usage") ?? 0
        usage.memoryBytes = CgroupFiles.number(folder("memory", path) + "/memory.usage_in_bytes") ?? 0
        let idleCache = CgroupFiles.field("total_inactive_file", in: folder("memory", path) + "/memory.stat") ?? 0
        usage.workingSetBytes = usage.memoryBytes > idleCache ? usage.memoryBytes - idleCache : 0
        usage.processes = CgroupFiles.number(folder("pids", path) + "/pids.current") ?? 0
        usage.memoryKills = CgroupFiles.field("oom_kill", in: memoryEvents(path)) ?? 0
        return usage
    }
}
