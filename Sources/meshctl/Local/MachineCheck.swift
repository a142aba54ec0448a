import CKernel
import Glibc
import Kernel

/// One thing a cluster needs of this machine, and what to do when it is missing.
struct Requirement: Sendable {
    let name: String
    let check: @Sendable () -> String?  // the failure in words; `nil` when met
}

/// What `meshctl up` needs, in the order in which a lack is most likely.
enum MachineCheck {
    static let requirements = [
        Requirement(name: "run as root") {
            geteuid() == 0 ? nil : "meshctl needs root to make namespaces, mounts and cgroups: run it with sudo"
        },
        Requirement(name: "network and mount namespaces") {
            weft_try_namespaces() == 0
                ? nil
                : "the kernel refuses new namespaces (a container without CAP_SYS_ADMIN?): run on the machine itself"
        },
        Requirement(name: "overlay filesystem") {
            hasLine(in: "/proc/filesystems", endingWith: "overlay")
                ? nil : "this kernel has no overlayfs: load it with 'modprobe overlay'"
        },
        Requirement(name: "control groups") {
            hasLine(in: "/proc/self/mounts", containing: " cgroup")
                ? nil : "no cgroup file system is mounted: mount cgroup2 on /sys/fs/cgroup"
        },
    ]

    /// The first requirement that is not met, in words.
    static func firstFailure() -> String? {
        for requirement in requirements {
            if let failure = requirement.check() { return failure }
        }
        return nil
    }

    private static func hasLine(in path: String, endingWith end: String = "", containing part: String = "") -> Bool {
        guard let bytes = try? SmallFile.read(path) else { return false }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").contains { line in
            end.isEmpty ? line.contains(part) : line.hasSuffix(end)
        }
    }
}
