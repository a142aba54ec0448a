package import Wire

/// What is wrong with one field of an object.
package struct FieldFault: Sendable, Hashable, CustomStringConvertible {
    package enum Kind: String, Sendable {
        case required = "FieldValueRequired"
        case invalid = "FieldValueInvalid"
        case wrongType = "FieldValueTypeInvalid"
        case unsupported = "FieldValueNotSupported"
        case duplicate = "FieldValueDuplicate"
        case forbidden = "FieldValueForbidden"
        case notFound = "FieldValueNotFound"
        case tooLong = "FieldValueTooLong"
        case tooMany = "FieldValueTooMany"
    }

    /// `spec.template.spec.containers[0].image`; empty for the object itself.
    package let path: String
    package let kind: Kind
    package let value: JSON?
    package let detail: String

    package init(_ kind: Kind, _ path: String, value: JSON? = nil, _ detail: String = "") {
        self.kind = kind
        self.path = path
        self.value = value
        self.detail = detail
    }

    /// Without the path, as in a status cause.
    package var message: String {
        var text: String
        switch kind {
        case .required: text = "Required value"
        case .invalid, .wrongType: text = "Invalid value: " + shownValue
        case .unsupported: text = "Unsupported value: " + shownValue
        case .duplicate: text = "Duplicate value: " + shownValue
        case .forbidden: text = "Forbidden"
        case .notFound: text = "Not found: " + shownValue
        case .tooLong: text = "Too long"
        case .tooMany: text = "Too many"
        }
        if !detail.isEmpty { text += ": " + detail }
        return text
    }

    package var description: String { path.isEmpty ? message : "\(path): \(message)" }

    private var shownValue: String {
        let text = (value ?? .null).text
        return text.utf8.count <= 512 ? text : String(text.prefix(512)) + "…"
    }
}

extension APIFailure {
    /// 422: the object is well formed, and cannot be accepted as it is.
    package static func invalid(_ type: ResourceType, _ name: String, _ faults: [FieldFault]) -> APIFailure {
        let kind = type.group.isEmpty ? type.kind : "\(type.kind).\(type.group)"
        let list = faults.map(\.description)
        let text = list.count == 1 ? list[0] : "[" + list.joined(separator: ", ") + "]"
        let causes = faults.map { fault -> JSON in
            ["reason": .string(fault.kind.rawValue), "message": .string(fault.message), "field": .string(fault.path)]
        }
        return APIFailure(
            code: 422, reason: "Invalid", message: "\(kind) \"\(name)\" is invalid: \(text)",
            details: [
                "name": .string(name), "group": .string(type.group), "kind": .string(type.kind),
                "causes": .array(causes),
            ])
    }

    package static func unsupportedMediaType(_ given: String, _ accepted: [String]) -> APIFailure {
        APIFailure(
            code: 415, reason: "UnsupportedMediaType",
            message: "the body of the request was in an unknown format (\(given)) - accepted media types include: "
                + accepted.joined(separator: ", "))
    }
}
