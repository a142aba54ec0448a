import KubeTypes
import Wire

/// What a node's silence, or its own word, means for the node and its pods.
struct NodeHealthPlan {
    static let silence = Duration.seconds(40)
    /// For pods that name no toleration for a node that is away.
    static let defaultToleration = 300

    /// The node with its conditions as they must be written; `nil` when they stand.
    var status: JSON?
    /// The node's taints; `nil` when they stand.
    var taints: [JSON]?
    var marksPodsNotReady = false
    var lookAgain: Duration

    /// - Parameter quiet: how long nothing was heard of the node.
    init(node: KubeObject, quiet: Duration, now: Timestamp) {
        var conditions = Conditions(node[Node.conditions] ?? [])
        let isSilent = quiet >= Self.silence
        lookAgain = isSilent ? .seconds(10) : Self.silence - quiet + .milliseconds(100)
        if isSilent {
            let types = Set(["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"])
            let known = conditions.list.compactMap { $0["type"]?.string }.filter(types.contains)
            for type in known.contains("Ready") ? known : known + ["Ready"] {
                guard conditions[type]?["status"] != "Unknown" else { continue }
                let wasNeverSaid = conditions[type] == nil
                conditions.set(
                    type, "Unknown", reason: wasNeverSaid ? "NodeStatusNeverUpdated" : "NodeStatusUnknown",
                    message: wasNeverSaid
                        ? "Kubelet never posted node status." : "Kubelet stopped posting node status.",
                    now: now)
            }
            if conditions.list != node[Node.conditions] ?? [] {
                var status = node.status
                status["conditions"] = .array(conditions.list)
                self.status = status
            }
        }
        let ready = conditions["Ready"]?["status"]?.string
        marksPodsNotReady = ready == "Unknown"
        let wanted: String? =
            switch ready {
            case "True": nil
            case "Unknown": "node.kubernetes.io/unreachable"
            default: "node.kubernetes.io/not-ready"
            }
        let old = node[Node.taints] ?? []
        let new = Self.taints(old, wanted: wanted, now: now)
        if new != old { taints = new }
    }

    private static func taints(_ old: [JSON], wanted: String?, now: Timestamp) -> [JSON] {
        let ours = ["node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"]
        var taints = old.filter { taint in
            let key = taint["key"]?.string ?? ""
            return !ours.contains(key) || key == wanted
        }
        guard let wanted else { return taints }
        for effect in ["NoSchedule", "NoExecute"] {
            let isThere = taints.contains { $0["key"]?.string == wanted && $0["effect"]?.string == effect }
            if !isThere { taints.append(["key": .string(wanted), "effect": .string(effect), "timeAdded": now.json]) }
        }
        return taints
    }
}

/// When a pod must leave a node because of the node's taints; `nil` when it may stay.
func evictionTime(of pod: KubeObject, taints: [JSON], now: Timestamp) -> Timestamp? {
    var earliest: Timestamp?
    for taint in taints where taint["effect"]?.string == "NoExecute" {
        let added = taint["timeAdded"]?.string.flatMap(Timestamp.init) ?? now
        let fitting = (pod[Pod.tolerations] ?? []).filter { tolerates($0, taint) }
        let isOurs = taint["key"]?.string?.hasPrefix("node.kubernetes.io/") == true
        let seconds: Int
        if fitting.isEmpty {
            seconds = isOurs ? NodeHealthPlan.defaultToleration : 0
        } else {
            guard let least = fitting.compactMap({ $0["tolerationSeconds"]?.int }).min() else { continue }
            seconds = max(0, least)
        }
        let time = added + .seconds(seconds)
        earliest = min(earliest ?? time, time)
    }
    return earliest
}

private func tolerates(_ toleration: JSON, _ taint: JSON) -> Bool {
    let effect = toleration["effect"]?.string ?? ""
    guard effect.isEmpty || effect == taint["effect"]?.string else { return false }
    let key = toleration["key"]?.string ?? ""
    if toleration["operator"]?.string == "Exists" { return key.isEmpty || key == taint["key"]?.string }
    return key == taint["key"]?.string && (toleration["value"]?.string ?? "") == (taint["value"]?.string ?? "")
}
