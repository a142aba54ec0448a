import KubeTypes
import Wire

/// Which container of which pod a request for a stream means.
struct PodContainer {
    let pod: KubeObject
    let name: String

    /// - Throws: 404 without the pod; 400 when the container's name is needed or unknown, or the pod has no node yet.
    init(_ registry: Registry, _ definition: ResourceDefinition, _ key: ObjectKey, asked: String) throws(APIFailure) {
        pod = try registry.get(definition, key)
        name = try Self.choose(pod, asked: asked)
        try Self.requireNode(pod)
    }

    private static func choose(_ pod: KubeObject, asked: String) throws(APIFailure) -> String {
        let all = names(pod, "containers") + names(pod, "initContainers") + names(pod, "ephemeralContainers")
        if !asked.isEmpty {
            guard all.contains(asked) else { throw .badRequest("container \(asked) is not valid for pod \(pod.name)") }
            return asked
        }
        let apps = names(pod, "containers")
        if let named = pod.annotations["kubectl.kubernetes.io/default-container"], all.contains(named) { return named }
        if apps.count == 1 { return apps[0] }
        throw .badRequest(
            "a container name must be specified for pod \(pod.name), choose one of: [\(all.joined(separator: " "))]")
    }

    /// - Throws: 400 when nothing runs the pod yet.
    static func requireNode(_ pod: KubeObject) throws(APIFailure) {
        if (pod.spec["nodeName"]?.string ?? "").isEmpty {
            throw .badRequest("pod \(pod.name) does not have a host assigned")
        }
    }

    private static func names(_ pod: KubeObject, _ list: String) -> [String] {
        (pod.spec[list]?.array ?? []).compactMap { $0["name"]?.string }
    }
}
