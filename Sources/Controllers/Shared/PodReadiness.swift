import KubeTypes
import Wire

extension KubeObject {
    /// The condition of a type in `status.conditions`.
    func condition(_ type: String) -> JSON? {
        status["conditions"]?.array?.first { $0["type"]?.string == type }
    }

    var isPodReady: Bool { condition("Ready")?["status"] == "True" }

    /// Since when the pod is ready; `nil` when it is not.
    var podReadySince: Timestamp? {
        guard isPodReady else { return nil }
        return condition("Ready")?[Condition.lastTransitionTime] ?? Timestamp(seconds: 0)
    }

    /// Ready for at least `minReadySeconds`.
    func isPodAvailable(minReadySeconds: Int, at now: Timestamp) -> Bool {
        guard let since = podReadySince else { return false }
        return minReadySeconds == 0 || since + .seconds(minReadySeconds) <= now
    }

    var isPodFinished: Bool {
        let phase = self[Pod.phase]
        return phase == "Succeeded" || phase == "Failed"
    }

    /// Counts towards its owner's replicas: neither ended nor being deleted.
    var isPodActive: Bool { !isPodFinished && deletionTimestamp == nil }
}

/// The conditions of an object, changed one at a time.
struct Conditions {
    private(set) var list: [JSON]

    init(_ list: [JSON]) { self.list = list }

    subscript(type: String) -> JSON? { list.first { $0["type"]?.string == type } }

    /// Sets a condition; its transition time moves only when the status changes. Without a change of status and reason nothing changes.
    /// - Parameter updates: whether `lastUpdateTime` is kept, as Deployments do.
    mutating func set(
        _ type: String, _ status: String, reason: String, message: String, now: Timestamp, updates: Bool = false,
        refresh: Bool = false
    ) {
        let old = self[type]
        if !refresh, let old, old["status"]?.string == status, old["reason"]?.string == reason { return }
        var condition: JSON = ["type": .string(type), "status": .string(status)]
        if updates { condition["lastUpdateTime"] = now.json }
        let sameStatus = old?["status"]?.string == status
        condition["lastTransitionTime"] = sameStatus ? old?["lastTransitionTime"] ?? now.json : now.json
        condition["reason"] = .string(reason)
        condition["message"] = .string(message)
        if let place = list.firstIndex(where: { $0["type"]?.string == type }) {
            list[place] = condition
        } else {
            list.append(condition)
        }
    }

    mutating func remove(_ type: String) { list.removeAll { $0["type"]?.string == type } }
}
