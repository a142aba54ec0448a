import APIServer
import KubeTypes

/// Tells who stores an object of a kind that nothing in this cluster acts on yet: it is kept, and has no effect.
struct IdleKinds: ValidatingAdmission {
    /// By qualified name: what the object would have caused.
    private static let effects = [
        "daemonsets.apps": "no pods are made for it",
        "statefulsets.apps": "no pods are made for it",
        "jobs.batch": "no pods are made for it",
        "cronjobs.batch": "no jobs are made for it",
        "ingresses.networking.k8s.io":
            "no traffic is let in by it; use an HTTPRoute with the Gateway weft-system/ingress",
        "networkpolicies.networking.k8s.io": "no traffic is refused by it",
        "persistentvolumeclaims": "no volume is made for it",
    ]

    func check(_ request: AdmissionRequest) async throws(APIFailure) -> [String] {
        guard request.operation == .create, request.subresource == nil,
            let effect = Self.effects[request.type.qualifiedName]
        else { return [] }
        return ["\(request.type.kind) \"\(request.name)\" is stored, but Weft does not act on this kind yet: \(effect)"]
    }
}
