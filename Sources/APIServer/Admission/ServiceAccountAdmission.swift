import KubeTypes
import Wire

/// Gives pods an account, and refuses those whose account does not exist: without it they would have no identity.
struct ServiceAccountAdmission: MutatingAdmission {
    let registry: Registry

    func admit(_ request: AdmissionRequest) async throws(APIFailure) -> KubeObject? {
        guard request.type == .pods, request.operation == .create, request.subresource == nil else { return nil }
        var pod = request.object
        // A mirror of a pod its node started by itself has no account.
        if pod.annotations["kubernetes.io/config.mirror"] != nil { return nil }
        let named = pod.json[path: ["spec", "serviceAccountName"]]?.string ?? ""
        let name = named.isEmpty ? "default" : named
        guard registry.exists(.serviceAccounts, ObjectKey(namespace: request.namespace, name: name)) else {
            throw APIFailure(
                code: 403, reason: "Forbidden",
                message:
                    "pods \"\(pod.name)\" is forbidden: error looking up service account \(request.namespace)/\(name):"
                    + " serviceaccount \"\(name)\" not found",
                details: ["name": .string(pod.name), "kind": "pods"])
        }
        pod.json[path: ["spec", "serviceAccountName"]] = .string(name)
        pod.json[path: ["spec", "serviceAccount"]] = .string(name)
        return pod
    }
}
