import Wire

/// The versions of a kind share one stored object. Where their schemas are the same, only `apiVersion` differs.
///
/// An object must say its version before it is stored: what `stored` makes of it depends on it.
extension ResourceDefinition {
    /// Whether an object is shown as it is stored, but for its `apiVersion`: its bytes need not be read then.
    package var showsStoredBytes: Bool {
        if isCustom { return type.version == storageVersion && !schemaLink.isGiven }
        return aliases == nil && !isOldAutoscaler
    }

    /// The object as this version shows it.
    ///
    /// Where a webhook converts, an object of another version is given back as it is stored.
    package func presented(_ stored: KubeObject) -> KubeObject {
        if needsConversion(stored) { return stored }
        var object = stored
        if isOldAutoscaler, stored.apiVersion == "autoscaling/v2" { Autoscaler.toOld(&object) }
        if let aliases, stored.apiVersion == storageType.apiVersion { aliases.show(&object) }
        if object.apiVersion != type.apiVersion { object.json["apiVersion"] = .string(type.apiVersion) }
        if object.kind != type.kind { object.json["kind"] = .string(type.kind) }
        if schemaLink.isGiven { settle(&object) }
        return object
    }

    /// Whether only a webhook can say how the object looks in this version.
    package func needsConversion(_ object: KubeObject) -> Bool {
        custom?.conversion != nil && object.apiVersion != type.apiVersion
    }

    /// What was stored under an older schema gets the defaults of this one, and loses what it does not know.
    private func settle(_ object: inout KubeObject) {
        var structure = Structure()
        structure.fit(&object, schema)
        self.default(&object)
    }

    /// The object as it is kept: in its storage version.
    package func stored(_ object: KubeObject) -> KubeObject {
        if custom?.conversion != nil { return object }
        var object = object
        let wanted = storageType.apiVersion
        if object.apiVersion == wanted { return object }
        if isOldAutoscaler, object.apiVersion == "autoscaling/v1" { Autoscaler.toNew(&object) }
        if let aliases { aliases.store(&object) }
        object.json["apiVersion"] = .string(wanted)
        return object
    }

    private var isOldAutoscaler: Bool {
        type.group == "autoscaling" && type.version == "v1" && type.kind == "HorizontalPodAutoscaler"
    }
}

/// HorizontalPodAutoscaler is the one kind whose stable versions differ: v1 has a number for CPU where v2 has a list of metrics.
private enum Autoscaler {
    /// Metrics v1 has no word for.
    private static let annotation = "autoscaling.alpha.kubernetes.io/metrics"

    private static func isCPU(_ metric: JSON) -> Bool {
        metric["type"] == "Resource" && metric["resource"]?["name"] == "cpu"
            && metric["resource"]?["target"]?["type"] == "Utilization"
    }

    static func toOld(_ object: inout KubeObject) {
        let metrics = object.spec.list("metrics")
        let cpu = metrics.first(where: isCPU)
        object.json[path: ["spec", "targetCPUUtilizationPercentage"]] =
            cpu?["resource"]?["target"]?["averageUtilization"]
        let others = metrics.filter { !isCPU($0) }
        if !others.isEmpty { object.annotations[annotation] = JSON.array(others).text }
        object.json[path: ["spec", "metrics"]] = nil
        let current = object.status.list("currentMetrics").first {
            $0["type"] == "Resource" && $0["resource"]?["name"] == "cpu"
        }
        object.json[path: ["status", "currentCPUUtilizationPercentage"]] =
            current?["resource"]?["current"]?["averageUtilization"]
        object.json[path: ["status", "currentMetrics"]] = nil
        object.json[path: ["status", "conditions"]] = nil
    }

    static func toNew(_ object: inout KubeObject) {
        var metrics: [JSON] = []
        if let percent = object.spec["targetCPUUtilizationPercentage"] {
            metrics.append([
                "type": "Resource",
                "resource": ["name": "cpu", "target": ["type": "Utilization", "averageUtilization": percent]],
            ])
        }
        if let text = object.annotations[annotation], let others = (try? JSON(parsing: text))?.array {
            metrics += others
            object.annotations[annotation] = nil
        }
        object.json[path: ["spec", "targetCPUUtilizationPercentage"]] = nil
        if !metrics.isEmpty { object.json[path: ["spec", "metrics"]] = .array(metrics) }
        if let percent = object.status["currentCPUUtilizationPercentage"] {
            object.json[path: ["status", "currentMetrics"]] = [
                ["type": "Resource", "resource": ["name": "cpu", "current": ["averageUtilization": percent]]]
            ]
            object.json[path: ["status", "currentCPUUtilizationPercentage"]] = nil
        }
    }
}
