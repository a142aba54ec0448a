import KubeClient
import KubeTypes
import Wire

extension Registry {
    /// Changes an object by a patch of any kind. A patch that is beaten by another write is applied anew to what that one left.
    func patch(
        _ definition: ResourceDefinition, _ key: ObjectKey, _ kind: PatchKind, _ body: JSON, subresource: String?,
        _ context: WriteContext
    ) async throws(APIFailure) -> KubeObject {
        if kind == .apply {
            throw APIFailure(code: 501, reason: "NotImplemented", message: "server-side apply is not served by this server yet")
        }
        let bytes = body.bytes
        return try await change(definition, key, subresource: subresource, context) { old throws(APIFailure) in
            var fresh = old
            let warnings = try definition.patch(
                &fresh, contentType: kind.rawValue, body: bytes, fieldValidation: context.fieldValidation)
            for text in warnings { context.warn(text) }
            return fresh
        }
    }

    func recordManager(
        _ object: inout KubeObject, old: KubeObject?, _ definition: ResourceDefinition, subresource: String?,
        _ context: WriteContext
    ) {}
}
