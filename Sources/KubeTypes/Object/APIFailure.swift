package import Wire

/// A request the API refused, as the `Status` object says it.
package struct APIFailure: Error, Sendable, Hashable, CustomStringConvertible {
    package var code: Int
    package var reason: String
    package var message: String
    /// `name`, `group`, `kind`, `causes`, `retryAfterSeconds`, as in `Status.details`.
    package var details: JSON?
    /// Where a list that cannot go on as it began may go on: `metadata.continue` of the Status.
    package var continuation: String?

    package init(code: Int, reason: String, message: String, details: JSON? = nil) {
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
    }

    package var description: String { message }

    package var isNotFound: Bool { reason == "NotFound" }
    package var isConflict: Bool { reason == "Conflict" }
    package var alreadyExists: Bool { reason == "AlreadyExists" }
    /// The resource version asked for is compacted: list again.
    package var isExpired: Bool { code == 410 }

    package static func notFound(_ type: ResourceType, _ name: String) -> APIFailure {
        APIFailure(
            code: 404, reason: "NotFound", message: "\(type.qualifiedName) \"\(name)\" not found",
            details: ["name": .string(name), "group": .string(type.group), "kind": .string(type.resource)])
    }
    package static func alreadyExists(_ type: ResourceType, _ name: String) -> APIFailure {
        APIFailure(
            code: 409, reason: "AlreadyExists", message: "\(type.qualifiedName) \"\(name)\" already exists",
            details: ["name": .string(name), "group": .string(type.group), "kind": .string(type.resource)])
    }
    package static func conflict(_ type: ResourceType, _ name: String, _ why: String) -> APIFailure {
        APIFailure(
            code: 409, reason: "Conflict",
            message: "Operation cannot be fulfilled on \(type.qualifiedName) \"\(name)\": \(why)",
            details: ["name": .string(name), "group": .string(type.group), "kind": .string(type.resource)])
    }
    package static func badRequest(_ message: String) -> APIFailure {
        APIFailure(code: 400, reason: "BadRequest", message: message)
    }
    package static func expired(_ message: String) -> APIFailure {
        APIFailure(code: 410, reason: "Expired", message: message)
    }
    package static func internalError(_ message: String) -> APIFailure {
        APIFailure(code: 500, reason: "InternalError", message: message)
    }

    package var status: JSON {
        var status: JSON = [
            "kind": "Status", "apiVersion": "v1", "metadata": [:], "status": "Failure", "message": .string(message),
            "reason": .string(reason),
        ]
        if let continuation { status["metadata"] = ["continue": .string(continuation)] }
        status["details"] = details
        status["code"] = .int(Int64(code))
        return status
    }

    package init(status: JSON) {
        code = status["code"]?.int ?? 500
        reason = status["reason"]?.string ?? "Unknown"
        message = status["message"]?.string ?? status.text
        details = status["details"]
        continuation = status["metadata"]?["continue"]?.string
    }
}
