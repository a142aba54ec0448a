import KubeTypes
import Wire

/// Objects are made only in namespaces that are there and not going; some namespaces stay for ever.
struct NamespaceLifecycle: MutatingAdmission {
    let objects: AdmissionObjects
    var keepsForm: Bool { true }

    func admit(_ request: inout AdmissionRequest) async throws(APIFailure) -> Bool {
        if request.operation == .create, request.type.isNamespaced, request.subresource == nil {
            try await requireActive(request)
        } else if request.operation == .delete, request.type == .namespaces,
            Bootstrap.lasting.contains(request.name)
        {
            throw .forbidden(request, "this namespace may not be deleted")
        }
        return false
    }

    private func requireActive(_ request: AdmissionRequest) async throws(APIFailure) {
        // Answered, not kept; and who asks is not told which namespaces there are.
        if request.type.resource == "localsubjectaccessreviews" { return }
        guard let namespace = try await objects.namespace(request.namespace) else {
            throw .notFound(.namespaces, request.namespace)
        }
        guard namespace.deletionTimestamp != nil else { return }
        let name = request.namespace
        var failure = APIFailure.forbidden(
            request, "unable to create new content in namespace \(name) because it is being terminated")
        failure.details?["causes"] = [
            [
                "reason": "NamespaceTerminating", "message": .string("namespace \(name) is being terminated"),
                "field": "metadata.namespace",
            ]
        ]
        throw failure
    }
}
