import Glibc

/// Limits of one group; `nil` means none.
package struct CgroupLimits: Sendable, Hashable {
    package var cpuShares: Int?  // 2…262144, the words of cgroup v1
    package var cpuQuotaMicroseconds: Int?  // in each period of 100,000
    package var memoryBytes: Int?
    package var processes: Int?
    package init() {}
}

/// What a group and those below it used and use.
package struct CgroupUsage: Sendable, Hashable {
    package var cpuNanoseconds: UInt64 = 0
    package var memoryBytes: UInt64 = 0
    /// Without the file cache the kernel would give back at once.
    package var workingSetBytes: UInt64 = 0
    package var processes: UInt64 = 0
    package var memoryKills: UInt64 = 0

    package init() {}
}

/// Control groups by path below the hierarchy's root, `weft/<cluster>/node-1/pod<uid>/app-0`, whichever version is mounted.
package struct CgroupDriver: Sendable {
    private let hierarchy: any CgroupHierarchy

    /// Uses v2 when `/sys/fs/cgroup` itself is v2 with controllers, otherwise the v1 controllers mounted below it.
    package static func detect(root: String = "/sys/fs/cgroup") throws(SystemCallFailed) -> CgroupDriver {
        if let controllers = try? SmallFile.read(root + "/cgroup.controllers"),
            String(decoding: controllers, as: UTF8.self).contains("memory")
        {
            return CgroupDriver(hierarchy: CgroupV2(root: root))
        }
        guard access(root + "/memory/cgroup.procs", W_OK) == 0 else {
            throw SystemCallFailed(
                "access", code: errno, on: "\(root)/memory (neither cgroup v2 nor the v1 memory controller is mounted)")
        }
        return CgroupDriver(hierarchy: CgroupV1(root: root))
    }

    package var version: Int { hierarchy.version }
    /// Whether containers can be kept from device nodes they made themselves.
    package var restrictsDevices: Bool { hierarchy.restrictsDevices }

    package func create(_ path: String) throws(SystemCallFailed) {
        // The last pod of a node takes the node's group with it, maybe between two steps of ours.
        for _ in 0..<20 {
            do throws(SystemCallFailed) { return try hierarchy.create(path) } catch  where error.code == ENOENT {}
        }
        try hierarchy.create(path)
    }

    package func limit(_ path: String, _ limits: CgroupLimits) throws(SystemCallFailed) {
        try hierarchy.limit(path, limits)
    }

    /// New limits of a group and of the one it lies in. No group may have more processor time than the one around it, so the
    /// outer one grows first and shrinks last.
    package func change(
        _ outer: String, to outerLimits: CgroupLimits, _ inner: String, to innerLimits: CgroupLimits
    ) throws(SystemCallFailed) {
        do throws(SystemCallFailed) { try hierarchy.limit(inner, innerLimits) } catch {
            guard error.code == EINVAL else { throw error }
            try hierarchy.limit(outer, outerLimits)
            try hierarchy.limit(inner, innerLimits)
        }
        try hierarchy.limit(outer, outerLimits)
    }

    /// Only the devices every container has: null, zero, full, random, urandom, tty, ptmx and terminals.
    package func restrictDevices(_ path: String) throws(SystemCallFailed) { try hierarchy.restrictDevices(path) }

    /// The `cgroup.procs` files: a process that writes "0" to each is in the group.
    package func entrances(_ path: String) -> [String] { hierarchy.folders(path).map { $0 + "/cgroup.procs" } }

    /// The file with the line `oom_kill N`.
    package func memoryEvents(_ path: String) -> String { hierarchy.memoryEvents(path) }

    package func usage(_ path: String) -> CgroupUsage { hierarchy.usage(path) }

    package func exists(_ path: String) -> Bool {
        hierarchy.folders(path).contains { access($0, F_OK) == 0 }
    }

    package func processes(_ path: String) -> Set<Int32> {
        var found: Set<Int32> = []
        for folder in hierarchy.folders(path) { found.formUnion(CgroupFiles.processes(folder)) }
        return found
    }

    /// Kills what is left in the group and below it, then removes both. A group that is not there is removed already.
    package func remove(_ path: String) throws(SystemCallFailed) {
        for folder in hierarchy.folders(path) { try CgroupFiles.remove(folder) }
    }

    /// Removes a group only when nothing is in it or below it.
    package func removeIfEmpty(_ path: String) {
        for folder in hierarchy.folders(path) { _ = rmdir(folder) }
    }
}

/// What differs between the versions.
protocol CgroupHierarchy: Sendable {
    var version: Int { get }
    var restrictsDevices: Bool { get }
    func folders(_ path: String) -> [String]
    func create(_ path: String) throws(SystemCallFailed)
    func limit(_ path: String, _ limits: CgroupLimits) throws(SystemCallFailed)
    func restrictDevices(_ path: String) throws(SystemCallFailed)
    func memoryEvents(_ path: String) -> String
    func usage(_ path: String) -> CgroupUsage
}

/// Files of the cgroup file system, the same in both versions.
enum CgroupFiles {
    static func number(_ path: String) -> UInt64? {
        guard let bytes = try? SmallFile.read(path) else { return nil }
        return UInt64(String(decoding: bytes, as: UTF8.self).prefix { $0.isNumber })
    }

    /// The value of a line `key value`.
    static func field(_ key: String, in path: String) -> UInt64? {
        guard let bytes = try? SmallFile.read(path) else { return nil }
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2, words[0] == key { return UInt64(words[1]) }
        }
        return nil
    }

    static func processes(_ folder: String) -> [Int32] {
        guard let bytes = try? SmallFile.read(folder + "/cgroup.procs") else { return [] }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").compactMap { Int32($0) }
    }

    static func subgroups(_ folder: String) -> [String] {
        guard let directory = opendir(folder) else { return [] }
        defer { closedir(directory) }
        var found: [String] = []
        while let entry = readdir(directory) {
            guard entry.pointee.d_type == UInt8(DT_DIR) else { continue }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { found.append(folder + "/" + name) }
        }
        return found
    }

    static func remove(_ folder: String) throws(SystemCallFailed) {
        for subgroup in subgroups(folder) { try remove(subgroup) }
        // Killed processes leave the group only when they are reaped, a little later; two seconds are plenty.
        for attempt in 0..<400 {
            if rmdir(folder) == 0 { return }
            let code = errno
            if code == ENOENT { return }
            guard code == EBUSY, attempt < 399 else { throw SystemCallFailed("rmdir", code: code, on: folder) }
            for process in processes(folder) where process > 1 { kill(process, SIGKILL) }
            usleep(5_000)
        }
    }
}
