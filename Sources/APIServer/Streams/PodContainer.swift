import KubeTypes
import Wire

/// Which container of a pod a request for a stream means.
enum PodContainer {
    /// - Throws: 400 when the name is needed or unknown, or the pod has no node yet.
    static func choose(_ pod: KubeObject, asked: String) throws(APIFailure) -> String {
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

    static func requireNode(_ pod: KubeObject) throws(APIFailure) {
        if (pod.spec["nodeName"]?.string ?? "").isEmpty {
            throw .badRequest("pod \(pod.name) does not have a host assigned")
        }
    }

    private static func names(_ pod: KubeObject, _ list: String) -> [String] {
        (pod.spec[list]?.array ?? []).compactMap { $0["name"]?.string }
    }
}
