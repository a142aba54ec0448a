import CKernel
import Kernel

/// What is mounted in every container, and what of it is hidden.
///
/// Source: OCI runtime specification, default filesystems; the hidden paths are those of containerd's default.
enum ContainerFilesystem {
    private static func make(_ type: String, at target: String, _ options: String, _ attributes: UInt64) -> PlannedMount
    {
        var mount = PlannedMount(.filesystem, target: Array(target.utf8))
        mount.type = Array(type.utf8)
        mount.options = Array(options.utf8)
        mount.attributes = attributes
        return mount
    }

    static func mounts(isPrivileged: Bool) -> [PlannedMount] {
        let closed = weft_mount_no_suid | weft_mount_no_devices | weft_mount_no_exec
        return [
            make("proc", at: "/proc", "", closed),
            make("tmpfs", at: "/dev", "mode=755,size=65536k", weft_mount_no_suid),
            make(
                "devpts", at: "/dev/pts", "newinstance,ptmxmode=0666,mode=0620,gid=5",
                weft_mount_no_suid | weft_mount_no_exec),
            make("mqueue", at: "/dev/mqueue", "", closed),
            make("sysfs", at: "/sys", "", isPrivileged ? closed : closed | weft_mount_read_only),
            PlannedMount(.sharedMemory, target: Array("/dev/shm".utf8)),
        ]
    }

    static let masked = [
        "/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
    ]
    static let readOnly = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
}
