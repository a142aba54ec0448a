/// Linux capabilities by the names pods use, with or without `CAP_`.
///
/// Source: capabilities(7); the numbers are those of linux/capability.h.
enum Capability {
    private static let names = [
        "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG",
        "MKNOD", "LEASE",
        "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON", "BPF", "CHECKPOINT_RESTORE",
    ]
    static let all: UInt64 = (1 << UInt64(names.count)) - 1
    /// What Docker and every CRI runtime give a container that asks for nothing.
    private static let common = [
        "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT", "KILL", "AUDIT_WRITE",
    ]

    private static func bits(_ name: String) throws(RuntimeFailure) -> UInt64 {
        let upper = name.uppercased()
        let short = upper.hasPrefix("CAP_") ? String(upper.dropFirst(4)) : upper
        if short == "ALL" { return all }
        guard let number = names.firstIndex(of: short) else {
            throw RuntimeFailure(.badCommand, "unknown capability '\(name)' in securityContext.capabilities")
        }
        return 1 << UInt64(number)
    }

    /// The set of a container: first what is dropped goes, then what is added comes, as `drop: [ALL], add: [X]` means it.
    static func set(adding: [String], dropping: [String], isPrivileged: Bool, hasDeviceLimits: Bool)
        throws(RuntimeFailure) -> UInt64
    {
        if isPrivileged { return all }
        var set: UInt64 = 0
        // Where devices cannot be limited, a node made by the container could open the machine's disks.
        for name in common where hasDeviceLimits || name != "MKNOD" { set |= try bits(name) }
        for name in dropping { set &= ~(try bits(name)) }
        for name in adding { set |= try bits(name) }
        return set
    }
}
