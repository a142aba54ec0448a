import APIServer
import KubeClient
import KubeTypes
import MeshControl
import MeshModel
import Synchronization
import Wire

/// Mesh control's part in admission: sidecars for pods, a close look at policies.
///
/// The API server starts first, since mesh control reads through it; until mesh control is there, pods and policies are
/// asked to come again rather than stored without a sidecar or unchecked.
final class MeshAdmission: MutatingAdmission, ValidatingAdmission {
    private struct Parts {
        var mesh: MeshControl?
        var api: (any KubeAPI)?
    }
    private let parts = Mutex(Parts())

    func attach(_ mesh: MeshControl, api: any KubeAPI) {
        parts.withLock { $0 = Parts(mesh: mesh, api: api) }
    }

    private func ready() throws(APIFailure) -> (mesh: MeshControl, api: any KubeAPI) {
        let parts = parts.withLock { $0 }
        guard let mesh = parts.mesh, let api = parts.api else {
            throw APIFailure(
                code: 503, reason: "ServiceUnavailable", message: "mesh control is starting; try again in a moment",
                details: ["retryAfterSeconds": 1])
        }
        return (mesh, api)
    }

    func admit(_ request: inout AdmissionRequest) async throws(APIFailure) -> Bool {
        guard request.operation == .create, request.type == .pods, request.subresource == nil else {
            return false
        }
        let (mesh, api) = try ready()
        let namespace = try await api.get(.namespaces, ObjectKey(name: request.namespace))
        switch mesh.inject(request.object, namespaceLabels: namespace.labels) {
        case .injected(let pod):
            request.object = pod
            return true
        case .skipped: return false
        case .refused(let message):
            throw APIFailure(code: 422, reason: "Invalid", message: "Pod \"\(request.name)\" is invalid: \(message)")
        }
    }

    func check(_ request: AdmissionRequest) async throws(APIFailure) -> [String] {
        let isWrite = request.operation == .create || request.operation == .update
        guard isWrite, request.subresource == nil, Self.policyGroups.contains(request.type.group) else { return [] }
        let (mesh, _) = try ready()
        let findings = await mesh.findings(request.type, request.object)
        let errors = findings.filter { $0.severity == .error }
        if !errors.isEmpty {
            throw APIFailure(
                code: 422, reason: "Invalid",
                message: "\(request.type.kind).\(request.type.group) \"\(request.name)\" is invalid: "
                    + errors.map { "\($0.field): \($0.message)" }.joined(separator: "; "),
                details: [
                    "name": .string(request.name), "group": .string(request.type.group),
                    "kind": .string(request.type.kind),
                    "causes": .array(
                        errors.map {
                            ["reason": "FieldValueInvalid", "field": .string($0.field), "message": .string($0.message)]
                        }),
                ])
        }
        return findings.map { "\($0.field): \($0.message)" }
    }

    private static let policyGroups: Set<String> = [
        "gateway.networking.k8s.io", "networking.istio.io", "security.istio.io", "telemetry.istio.io", "weft.dev",
    ]
}
