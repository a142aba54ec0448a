import KubeTypes
import Wire

extension PatchKind {
    /// The object's JSON with the patch applied. Applying merges like a strategic patch; there are no managed fields here.
    func applied(_ body: JSON, to target: JSON, of type: ResourceType) throws(APIFailure) -> JSON {
        do throws(PatchFault) {
            switch self {
            case .json: return try JSONPatch(body).applied(to: target)
            case .merge: return MergePatch.applied(body, to: target)
            case .strategicMerge, .apply:
                guard let definition = SchemaCatalog.builtIn.definition(of: type), !definition.isCustom else {
                    return MergePatch.applied(body, to: target)
                }
                return try StrategicMergePatch.applied(body, to: target, definition.schema)
            }
        } catch {
            throw error.isMalformed
                ? .badRequest(error.message) : APIFailure(code: 422, reason: "Invalid", message: error.message)
        }
    }
}
