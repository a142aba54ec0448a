import KubeTypes
import Wire

/// One look at an autoscaler, on its way to the status.
struct AutoscalerLook {
    let autoscaler: KubeObject
    let now: Timestamp
    var current: Int
    var desired: Int
    /// What stays wanted when this look comes to no end.
    let desiredBefore: Int
    var why = ""
    var hasScaled = false
    private(set) var missing: String?
    private var conditions: Conditions
    private var currentMetrics: [JSON] = []

    init(_ autoscaler: KubeObject, now: Timestamp) {
        self.autoscaler = autoscaler
        self.now = now
        current = autoscaler.status["currentReplicas"]?.int ?? 0
        desired = autoscaler.status["desiredReplicas"]?.int ?? 0
        desiredBefore = desired
        conditions = Conditions(autoscaler.status["conditions"]?.array ?? [])
    }

    var least: Int { autoscaler.spec["minReplicas"]?.int ?? 1 }
    var most: Int { max(1, autoscaler.spec["maxReplicas"]?.int ?? 1) }

    /// Without any, 80 % of the processor time asked for.
    var metrics: [JSON] {
        let asked = autoscaler.spec["metrics"]?.array ?? []
        if !asked.isEmpty { return asked }
        return [
            [
                "type": "Resource",
                "resource": ["name": "cpu", "target": ["type": "Utilization", "averageUtilization": 80]],
            ]
        ]
    }

    mutating func tell(_ type: String, _ status: String, _ reason: String, _ message: String) {
        conditions.set(type, status, reason: reason, message: message, now: now, refresh: true)
    }

    mutating func found(_ metric: JSON, _ value: JSON) {
        let type = metric["type"]?.string ?? ""
        let field = type == "ContainerResource" ? "containerResource" : "resource"
        var source: JSON = ["name": metric[field]?["name"] ?? "", "current": value]
        source["container"] = metric[field]?["container"]
        var entry: JSON = ["type": .string(type)]
        entry[field] = source
        currentMetrics.append(entry)
    }

    mutating func missed(_ why: String) { missing = missing ?? why }

    var status: JSON {
        var status = autoscaler.status
        status["observedGeneration"] = autoscaler.generation > 0 ? .int(Int64(autoscaler.generation)) : nil
        status["currentReplicas"] = .int(Int64(current))
        status["desiredReplicas"] = .int(Int64(desired))
        if !currentMetrics.isEmpty { status["currentMetrics"] = .array(currentMetrics) }
        if hasScaled { status["lastScaleTime"] = now.json }
        status["conditions"] = .array(conditions.list)
        return status
    }
}
