import Wire

/// `autoscaling/v1` Scale: the number of copies of a workload, whatever its kind.
package enum Scale {
    package static func of(_ object: KubeObject, _ definition: ResourceDefinition) throws(APIFailure) -> KubeObject {
        if let paths = definition.custom?.scale { return try of(object, paths, definition.type) }
        var scale = empty(object)
        scale.json["spec"] = ["replicas": .int(Int64(object.spec["replicas"]?.int ?? 0))]
        var status: JSON = ["replicas": .int(Int64(object.status["replicas"]?.int ?? 0))]
        if let selector = object.spec["selector"],
            let parsed = try? LabelSelector(
                object.kind == "ReplicationController" ? ["matchLabels": selector] : selector)
        {
            status["selector"] = .string(parsed.description)
        }
        scale.json["status"] = status
        return scale
    }

    private static func empty(_ object: KubeObject) -> KubeObject {
        var scale = KubeObject(
            apiVersion: "autoscaling/v1", kind: "Scale", namespace: object.namespace, name: object.name)
        for member in ["uid", "resourceVersion", "creationTimestamp"] {
            scale.json[path: ["metadata", member]] = object.metadata[member]
        }
        return scale
    }

    /// Of a custom kind, which says where its numbers are.
    private static func of(
        _ object: KubeObject, _ paths: ScalePaths, _ type: ResourceType
    ) throws(APIFailure) -> KubeObject {
        guard let replicas = object.json[path: paths.specReplicas]?.int else {
            throw .internalError(
                "the spec replicas field \".\(paths.specReplicas.joined(separator: "."))\" of \(type.qualifiedName)"
                    + " \"\(object.name)\" does not exist")
        }
        var scale = empty(object)
        scale.json["spec"] = ["replicas": .int(Int64(replicas))]
        var status: JSON = ["replicas": .int(Int64(object.json[path: paths.statusReplicas]?.int ?? 0))]
        if let path = paths.labelSelector, let text = object.json[path: path]?.string {
            status["selector"] = .string(text)
        }
        scale.json["status"] = status
        return scale
    }

    /// The workload as a Scale asks for it. The Scale's version and uid guard the write.
    package static func apply(
        _ scale: KubeObject, to old: KubeObject, _ definition: ResourceDefinition
    ) throws(APIFailure) -> KubeObject {
        let type = definition.type
        if !scale.name.isEmpty, scale.name != old.name {
            throw .badRequest(
                "the name of the object (\(scale.name)) does not match the name on the URL (\(old.name))")
        }
        guard let replicas = scale.spec["replicas"]?.int, replicas >= 0 else {
            throw .invalid(
                type, old.name,
                [
                    FieldFault(
                        .invalid, "spec.replicas", value: scale.spec["replicas"], "must be a number not less than 0")
                ])
        }
        var fresh = old
        fresh.json[path: definition.custom?.scale?.specReplicas ?? ["spec", "replicas"]] = .int(Int64(replicas))
        fresh.resourceVersion = scale.resourceVersion
        if !scale.uid.isEmpty { fresh.json[path: ["metadata", "uid"]] = .string(scale.uid) }
        return fresh
    }
}
