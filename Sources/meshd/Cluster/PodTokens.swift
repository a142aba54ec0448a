import APIServer
import KubeTypes
import NodeAgent
import Wire

/// Tokens of service accounts for the pods of a node, as the node's agent may ask for them: bound to the pod.
struct PodTokens: ServiceAccountTokens {
    let api: InProcessAPI

    func token(for pod: KubeObject, audience: String, lifetime: Duration) async throws(APIFailure) -> String {
        let account = ObjectKey(
            namespace: pod.namespace, name: pod.spec["serviceAccountName"]?.string ?? "default")
        var spec: JSON = [
            "expirationSeconds": .int(lifetime.components.seconds),
            "boundObjectRef": [
                "apiVersion": "v1", "kind": "Pod", "name": .string(pod.name), "uid": .string(pod.uid),
            ],
        ]
        if !audience.isEmpty { spec["audiences"] = [.string(audience)] }
        return try await api.token(account, spec)
    }
}
