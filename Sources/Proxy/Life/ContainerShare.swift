import Glibc
import Kernel

/// What this machine, or this container's share of it, gives.
enum ContainerShare {
    static func raiseDescriptorLimit() {
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max
            _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        }
    }

    /// Loops worth running: one or two.
    static func usableLoops() -> Int {
        var count = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        let quota = number("/sys/fs/cgroup/cpu.max", 0) ?? number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", 0)
        let period = number("/sys/fs/cgroup/cpu.max", 1) ?? number("/sys/fs/cgroup/cpu/cpu.cfs_period_us", 0)
        if let quota, let period, quota > 0, period > 0 { count = min(count, (quota + period - 1) / period) }
        return max(1, min(2, count))
    }

    /// Half of the container's memory limit: refusing a request is better than to be killed by the system.
    static func bufferBytes() -> Int {
        let limit =
            number("/sys/fs/cgroup/memory.max", 0) ?? number("/sys/fs/cgroup/memory/memory.limit_in_bytes", 0)
        // Version 1 writes no limit as a number near 2^63.
        guard let limit, limit > 0, limit < 1 << 50 else { return .max }
        return max(4 << 20, limit / 2)
    }

    private static func number(_ path: String, _ place: Int) -> Int? {
        guard let bytes = try? SmallFile.read(path) else { return nil }
        let words = String(decoding: bytes, as: UTF8.self).split { $0 == " " || $0 == "\n" }
        return words.count > place ? Int(words[place]) : nil
    }
}
