import Wire

/// The ways a PATCH body can be meant.
package enum PatchType: String, Sendable, CaseIterable {
    case json = "application/json-patch+json"
    case merge = "application/merge-patch+json"
    case strategic = "application/strategic-merge-patch+json"
    case apply = "application/apply-patch+yaml"

    /// From a `Content-Type` header; parameters after `;` do not count.
    package init?(contentType: String) {
        self.init(rawValue: contentType.split(separator: ";").first.map { $0.trimmed.lowercased() } ?? "")
    }
}

extension ResourceDefinition {
    /// Applies a patch to an object in place and fits the result to the schema.
    ///
    /// Server-side apply is not a patch in this sense: see `apply(_:to:manager:force:)`.
    /// - Returns: a text for each `Warning` header.
    /// - Throws: 415 for a type this kind does not take, 400 for a body that is no patch, 422 for one that does not fit the object.
    @discardableResult
    package func patch(
        _ object: inout KubeObject, contentType: String, body: [UInt8], fieldValidation: FieldValidation = .warn
    ) throws(APIFailure) -> [String] {
        let accepted = isCustom ? [PatchType.json, .merge, .apply] : PatchType.allCases
        guard let kind = PatchType(contentType: contentType), accepted.contains(kind), kind != .apply else {
            throw .unsupportedMediaType(contentType, accepted.map(\.rawValue))
        }
        var duplicates: [String] = []
        let patch: JSON
        do throws(JSONFault) {
            patch = try JSON(parsing: body, duplicates: &duplicates, deepest: ObjectLimits.depth)
        } catch {
            throw .badRequest("the patch is not JSON: \(error)")
        }
        var changed = object
        do throws(PatchFault) {
            switch kind {
            case .json: changed.json = try JSONPatch(patch).applied(to: object.json)
            case .strategic: changed.json = try StrategicMergePatch.applied(patch, to: object.json, schema)
            case .merge, .apply:
                guard patch.object != nil else {
                    throw PatchFault("a merge patch must be an object", isMalformed: true)
                }
                changed.json = MergePatch.applied(patch, to: object.json)
            }
        } catch {
            if error.isMalformed { throw .badRequest("\(object.label): \(error.message)") }
            throw APIFailure(
                code: 422, reason: "Invalid",
                message: "the patch does not fit \(type.kind) \"\(object.name)\": \(error.message)",
                details: [
                    "name": .string(object.name), "group": .string(type.group), "kind": .string(type.kind),
                    "causes": [["reason": "FieldValueInvalid", "field": "patch", "message": .string(error.message)]],
                ])
        }
        guard changed.json.object != nil, changed.apiVersion == object.apiVersion, changed.kind == object.kind else {
            throw .badRequest("\(object.label): a patch may not change apiVersion or kind")
        }
        let warnings = try fit(&changed, duplicates: duplicates, fieldValidation: fieldValidation)
        object = changed
        return warnings
    }
}
