package import KubeTypes

/// A policy object, as findings and statuses name it.
package struct PolicyReference: Sendable, Hashable, Comparable, CustomStringConvertible {
    package var type: ResourceType
    package var key: ObjectKey

    package init(_ type: ResourceType, _ key: ObjectKey) {
        self.type = type
        self.key = key
    }

    package var description: String { "\(type.kind) \(key)" }

    package static func < (one: PolicyReference, other: PolicyReference) -> Bool {
        (one.type.qualifiedName, one.key) < (other.type.qualifiedName, other.key)
    }
}

/// Something a policy says that cannot be carried out as written.
package struct PolicyFinding: Sendable, Hashable, CustomStringConvertible {
    package enum Severity: String, Sendable {
        /// The object contradicts itself: it is refused when applied.
        case error
        /// It is accepted; the message says what is done instead.
        case warning
    }

    /// Stable words, for scripts.
    package enum Code: String, Sendable {
        case invalid = "invalid"
        case unsupported = "unsupported"
        case notFound = "reference-not-found"
        case notPermitted = "reference-not-permitted"
        case conflict = "conflict"
        case noEffect = "no-effect"
    }

    package var object: PolicyReference
    package var field: String  // `spec.rules[0].backendRefs[1]`
    package var message: String
    package var severity: Severity
    package var code: Code

    package init(_ object: PolicyReference, _ field: String, _ code: Code, _ message: String, severity: Severity? = nil)
    {
        self.object = object
        self.field = field
        self.message = message
        self.code = code
        self.severity = severity ?? (code == .invalid ? .error : .warning)
    }

    package var description: String { "\(object): \(field): \(message)" }
}
