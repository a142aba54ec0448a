import Glibc
import Kernel
import KubeTypes
import Wire

/// A node's status object.
enum NodeStatus {
    #if arch(arm64)
        static let architecture = "arm64"
    #else
        static let architecture = "amd64"
    #endif

    static func status(_ node: NodeConfiguration, _ machine: MachineSize, old: JSON, now: Timestamp) -> JSON {
        var status = old
        let offered: JSON = [
            "cpu": .string(String(machine.processors)), "memory": .string("\(machine.memoryBytes / 1024)Ki"),
            "pods": .string(String(node.mostPods)),
            "ephemeral-storage": .string("\(diskKibibytes(node.stateDirectory))Ki"),
        ]
        status["capacity"] = offered
        status["allocatable"] = offered
        status["addresses"] = [
            ["type": "InternalIP", "address": .string(node.nodeAddress)],
            ["type": "Hostname", "address": .string(node.name)],
        ]
        status["daemonEndpoints"] = ["kubeletEndpoint": ["Port": 10250]]
        status["nodeInfo"] = info(node)
        status["conditions"] = .array(conditions(old: old["conditions"]?.array ?? [], now: now.description))
        return status
    }

    private static func conditions(old: [JSON], now: String) -> [JSON] {
        let ours: [(type: String, status: String, reason: String, message: String)] = [
            ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            ("Ready", "True", "KubeletReady", "the node agent is running"),
        ]
        var all = old.filter { condition in !ours.contains { $0.type == condition["type"]?.string } }
        for condition in ours {
            let before = old.first { $0["type"]?.string == condition.type }
            let isSame = before?["status"]?.string == condition.status
            all.append([
                "type": .string(condition.type), "status": .string(condition.status), "lastHeartbeatTime": .string(now),
                "lastTransitionTime": isSame ? before?["lastTransitionTime"] ?? .string(now) : .string(now),
                "reason": .string(condition.reason), "message": .string(condition.message),
            ])
        }
        return all
    }

    private static func info(_ node: NodeConfiguration) -> JSON {
        [
            "machineID": .string(text("/etc/machine-id")), "systemUUID": .string(text("/etc/machine-id")),
            "bootID": .string(text("/proc/sys/kernel/random/boot_id")),
            "kernelVersion": .string(text("/proc/sys/kernel/osrelease")), "osImage": .string(systemName),
            "containerRuntimeVersion": "weft://0.1.0", "kubeletVersion": .string(node.version),
            "kubeProxyVersion": .string(node.version), "operatingSystem": "linux",
            "architecture": .string(architecture),
        ]
    }

    private static var systemName: String {
        for line in text("/etc/os-release").split(separator: "\n") where line.hasPrefix("PRETTY_NAME=") {
            return String(line.dropFirst(12).filter { $0 != "\"" })
        }
        return "Linux"
    }

    private static func text(_ path: String) -> String {
        let bytes = (try? SmallFile.read(path, limit: 65536)) ?? []
        let text = String(decoding: bytes, as: UTF8.self)
        return text.hasSuffix("\n") ? String(text.dropLast()) : text
    }

    private static func diskKibibytes(_ path: String) -> Int {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else { return 0 }
        return Int(status.f_blocks) * Int(status.f_frsize) / 1024
    }
}
