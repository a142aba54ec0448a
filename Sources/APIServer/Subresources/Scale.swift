import KubeTypes
import Wire

/// `autoscaling/v1` Scale: the number of copies of a workload, whatever its kind.
enum Scale {
    static func of(_ object: KubeObject) -> KubeObject {
        var scale = KubeObject(
            apiVersion: "autoscaling/v1", kind: "Scale", namespace: object.namespace, name: object.name)
        for member in ["uid", "resourceVersion", "creationTimestamp"] {
            scale.json[path: ["metadata", member]] = object.metadata[member]
        }
        scale.json["spec"] = ["replicas": .int(Int64(object.spec["replicas"]?.int ?? 0))]
        var status: JSON = ["replicas": .int(Int64(object.status["replicas"]?.int ?? 0))]
        if let selector = object.spec["selector"], let parsed = try? LabelSelector(selector) {
            status["selector"] = .string(parsed.description)
        }
        scale.json["status"] = status
        return scale
    }

    static func apply(_ scale: KubeObject, to old: KubeObject, _ type: ResourceType) throws(APIFailure) -> KubeObject {
        guard let replicas = scale.spec["replicas"]?.int, replicas >= 0 else {
            throw .invalid(
                type, old.name,
                [
                    FieldFault(
                        .invalid, "spec.replicas", value: scale.spec["replicas"], "must be a number not less than 0")
                ])
        }
        var fresh = old
        fresh.json[path: ["spec", "replicas"]] = .int(Int64(replicas))
        fresh.resourceVersion = scale.resourceVersion
        return fresh
    }
}
