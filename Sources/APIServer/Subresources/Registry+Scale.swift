import KubeClient
import KubeTypes
import Wire

extension Registry {
    func scale(_ definition: ResourceDefinition, _ key: ObjectKey) async throws(APIFailure) -> KubeObject {
        guard definition.subresource("scale") != nil else { throw RequestHandler.noSuchPath }
        return try Scale.of(try await read(definition, key), definition)
    }

    /// Changes the number of copies of a workload; starts over when the workload was changed meanwhile, unless the Scale names a
    /// version.
    ///
    /// - Parameter body: from the Scale as it is to the one wanted; called again at each start.
    /// - Returns: the Scale as it is then.
    func changeScale(
        _ definition: ResourceDefinition, _ key: ObjectKey, _ context: WriteContext,
        _ body: (KubeObject) throws(APIFailure) -> KubeObject
    ) async throws(APIFailure) -> KubeObject {
        guard definition.subresource("scale") != nil else { throw RequestHandler.noSuchPath }
        let changed = try await change(definition, key, subresource: "scale", context) { old throws(APIFailure) in
            try Scale.apply(try body(try Scale.of(old, definition)), to: old, definition)
        }
        return try Scale.of(changed, definition)
    }

    func patchScale(
        _ definition: ResourceDefinition, _ key: ObjectKey, _ kind: PatchKind, _ patch: JSON, _ context: WriteContext
    ) async throws(APIFailure) -> KubeObject {
        try await changeScale(definition, key, context) { scale throws(APIFailure) in
            // A Scale holds no list: a strategic patch of it is a merge.
            guard kind == .json else { return KubeObject(MergePatch.applied(patch, to: scale.json)) }
            do throws(PatchFault) {
                return KubeObject(try JSONPatch(patch).applied(to: scale.json))
            } catch {
                throw .badRequest("\(scale.label): \(error)")
            }
        }
    }
}
