/// What a piece of text must be like: a method, an authority, an origin.
package struct TextMatch: Sendable, Hashable {
    package enum Kind: String, Sendable, CaseIterable {
        case exact, prefix, suffix
        /// The whole text must match (see `Pattern`).
        case regex
        /// Anything, even nothing.
        case present
    }
    package var kind: Kind
    package var value: String
    package var ignoresCase: Bool

    package init(_ kind: Kind, _ value: String = "", ignoresCase: Bool = false) {
        self.kind = kind
        self.value = value
        self.ignoresCase = ignoresCase
    }
}

/// A parameter of the query. Names and values are compared after `%41` has become `A`; a `+` stays one (RFC 3986 §2.1 knows no other
/// meaning of it), a `%` without two digits stays as it is, and of several parameters with one name the first counts.
package struct QueryMatch: Sendable, Hashable {
    package var name: String
    package var text: TextMatch

    package init(name: String, _ text: TextMatch) {
        self.name = name
        self.text = text
    }
}

/// Who asks. Namespace and labels are those of a sidecar's own pod; addresses are those of a gateway's clients.
package struct SourceMatch: Sendable, Usual {
    package var namespace: String?
    package var labels: [String: String]
    package var addresses: [String]  // `10.0.0.0/8` or one address; empty for any

    package init(namespace: String? = nil, labels: [String: String] = [:], addresses: [String] = []) {
        self.namespace = namespace
        self.labels = labels
        self.addresses = addresses
    }

    package static let usual = SourceMatch()
    package var isAnyone: Bool { namespace == nil && labels.isEmpty && addresses.isEmpty }
}

extension TextMatch {
    /// An origin as policies write it: `*` is any, and a `*` for a host's name or its first labels stands for at least one character of
    /// it. Scheme and host are compared in any case.
    package var asOrigin: TextMatch {
        guard kind == .exact else { return self }
        if value == "*" { return TextMatch(.present) }
        if !value.utf8.contains(UInt8(ascii: "*")) { return TextMatch(.exact, value, ignoresCase: true) }
        var pattern = ""
        for character in value {
            if character == "*" {
                pattern += "[-a-z0-9._]+"
            } else if character.isLetter || character.isNumber {
                pattern.append(character)
            } else {
                pattern += "\\\(character)"
            }
        }
        return TextMatch(.regex, pattern, ignoresCase: true)
    }
}
