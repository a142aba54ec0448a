import KubeClient
import KubeTypes
import Wire

extension Registry {
    func patch(
        _ definition: ResourceDefinition, _ key: ObjectKey, _ kind: PatchKind, _ body: JSON, subresource: String?,
        _ context: WriteContext
    ) async throws(APIFailure) -> KubeObject {
        throw APIFailure(code: 501, reason: "NotImplemented", message: "patches come with the next step")
    }

    func recordManager(
        _ object: inout KubeObject, old: KubeObject?, _ definition: ResourceDefinition, subresource: String?,
        _ context: WriteContext
    ) {}
}
