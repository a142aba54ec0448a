import ContainerRuntime
import KubeTypes
import Wire

/// The conditions of a pod's status. A condition keeps its transition time while its status stays.
struct PodConditions {
    private(set) var all: [JSON]
    private let old: [JSON]
    private let now: String
    private let generation: Int

    init(_ progress: PodProgress, phase: String) {
        old = progress.pod.object.status["conditions"]?.array ?? []
        all = old
        now = progress.seen.now.description
        generation = progress.pod.object.generation
        let isSandboxed = progress.seen.sandbox?.isRunning ?? false
        let hasEnded = phase == "Succeeded" || phase == "Failed"

        set("PodReadyToStartContainers", isSandboxed && progress.seen.address != nil && !hasEnded)
        let openInit = progress.initContainers.filter {
            $0.description.role == .sidecar ? !$0.isStarted : $0.exitCode != 0
        }
        if progress.isInitialized || phase == "Succeeded" {
            set("Initialized", true, reason: phase == "Succeeded" ? "PodCompleted" : nil)
        } else {
            let message = "containers with incomplete status: \(PodConditions.names(openInit))"
            set("Initialized", false, reason: "ContainersNotInitialized", message: message)
        }
        let counted = progress.initContainers.filter { $0.description.role == .sidecar } + progress.containers
        let unready = counted.filter { !$0.isReady }
        var reason: String?
        var message: String?
        if hasEnded {
            reason = phase == "Succeeded" ? "PodCompleted" : "PodFailed"
        } else if !unready.isEmpty {
            reason = "ContainersNotReady"
            message = "containers with unready status: \(PodConditions.names(unready))"
        }
        set("ContainersReady", reason == nil, reason: reason, message: message)
        if reason == nil, let gate = PodConditions.closedGate(progress) {
            reason = "ReadinessGatesNotReady"
            message = "the condition \(gate), a readiness gate of this pod, is not True"
        }
        set("Ready", reason == nil, reason: reason, message: message)
        if !all.contains(where: { $0["type"]?.string == "PodScheduled" }) { set("PodScheduled", true) }
        tellResize(progress)
    }

    /// There only while the pod has not what it asks for (KEP-1287).
    private mutating func tellResize(_ progress: PodProgress) {
        let resizing = progress.resizing
        let types = ["PodResizePending", "PodResizeInProgress"]
        guard !resizing.isEmpty else { return all.removeAll { types.contains($0["type"]?.string ?? "") } }
        let refusal = progress.seen.refusedResize
        all.removeAll { $0["type"]?.string == types[refusal == nil ? 0 : 1] }
        if let refusal {
            set("PodResizePending", true, reason: refusal.reason, message: refusal.message)
        } else {
            let failed = resizing.lazy.compactMap { $0.latest }.compactMap {
                progress.seen.setbacks[.resize(id: $0.id)]
            }
            set("PodResizeInProgress", true, reason: failed.first?.reason, message: failed.first?.message)
        }
    }

    private static func names(_ containers: [ContainerProgress]) -> String {
        "[" + containers.map(\.description.name).joined(separator: " ") + "]"
    }

    private static func closedGate(_ progress: PodProgress) -> String? {
        let conditions = progress.pod.object.status["conditions"]?.array ?? []
        let gates = (progress.pod.spec["readinessGates"]?.array ?? []).compactMap { $0["conditionType"]?.string }
        return gates.first { gate in
            !conditions.contains { $0["type"]?.string == gate && $0["status"]?.string == "True" }
        }
    }

    private mutating func set(_ type: String, _ isTrue: Bool, reason: String? = nil, message: String? = nil) {
        let status = isTrue ? "True" : "False"
        let before = old.first { $0["type"]?.string == type }
        var condition: JSON = ["type": .string(type), "status": .string(status), "lastProbeTime": .null]
        let isSame = before?["status"]?.string == status
        condition["lastTransitionTime"] = isSame ? before?["lastTransitionTime"] ?? .string(now) : .string(now)
        condition["reason"] = reason.map(JSON.string)
        condition["message"] = message.map(JSON.string)
        if generation > 0 { condition["observedGeneration"] = .int(Int64(generation)) }
        if let place = all.firstIndex(where: { $0["type"]?.string == type }) {
            all[place] = condition
        } else {
            all.append(condition)
        }
    }
}
