import Wire

/// A format that a text may have: `format.dns1123Label().validate(name)`.
final class TextRule: OpaqueValue {
    static let type = ValueType.named("kubernetes.NamedFormat")

    let name: String
    /// What is wrong with a text.
    let faults: @Sendable (String) -> [String]

    private init(_ name: String, _ faults: @escaping @Sendable (String) -> [String]) {
        self.name = name
        self.faults = faults
    }

    var type: ValueType { Self.type }
    func equals(_ other: any OpaqueValue) -> Bool { (other as? TextRule)?.name == name }

    static let all: [TextRule] = [
        labels("dns1123Label", { isLabel($0, isPrefix: false) }, 63, "a lower case RFC 1123 label"),
        labels("dns1123LabelPrefix", { isLabel($0, isPrefix: true) }, 63, "the start of an RFC 1123 label"),
        labels("dns1123Subdomain", { isSubdomain($0, isPrefix: false) }, 253, "a lower case RFC 1123 subdomain"),
        labels(
            "dns1123SubdomainPrefix", { isSubdomain($0, isPrefix: true) }, 253,
            "the start of a lower case RFC 1123 subdomain"),
        labels("dns1035Label", { isOldLabel($0, isPrefix: false) }, 63, "an RFC 1035 label"),
        labels("dns1035LabelPrefix", { isOldLabel($0, isPrefix: true) }, 63, "the start of an RFC 1035 label"),
        TextRule("qualifiedName", qualifiedFaults),
        labels("labelValue", isLabelValue, 63, "a label value, with letters or digits at its ends"),
        simple("uri", "invalid URI") { WebAddress($0) != nil },
        simple("uuid", "does not match the UUID format", isUUID),
        simple("byte", "invalid base64") { Base64.decode($0) != nil },
        simple("date", "invalid date") { $0.utf8.count == 10 && Timestamp($0 + "T00:00:00Z") != nil },
        simple("datetime", "invalid datetime") { Timestamp($0) != nil },
    ]

    private static func simple(
        _ name: String, _ fault: String, _ holds: @escaping @Sendable (String) -> Bool
    ) -> TextRule {
        TextRule(name) { holds($0) ? [] : [fault] }
    }

    private static func labels(
        _ name: String, _ holds: @escaping @Sendable (Substring) -> Bool, _ longest: Int, _ noun: String
    ) -> TextRule {
        TextRule(name) { text in
            (text.utf8.count > longest ? ["must be no more than \(longest) bytes"] : [])
                + (holds(Substring(text)) ? [] : ["must be \(noun)"])
        }
    }

    private static func isLower(_ byte: UInt8) -> Bool { byte >= 97 && byte <= 122 }
    private static func isDigit(_ byte: UInt8) -> Bool { byte >= 48 && byte <= 57 }
    private static func isAlphanumeric(_ byte: UInt8) -> Bool { isDigit(byte) || isLower(byte | 32) }

    private static func isLabel(_ text: Substring, isPrefix: Bool) -> Bool {
        guard let first = text.utf8.first, var last = text.utf8.last else { return false }
        if isPrefix && last == 45 && text.utf8.count > 1 { last = 97 }
        func ends(_ byte: UInt8) -> Bool { isLower(byte) || isDigit(byte) }
        return ends(first) && ends(last) && text.utf8.allSatisfy { ends($0) || $0 == 45 }
    }

    private static func isOldLabel(_ text: Substring, isPrefix: Bool) -> Bool {
        isLabel(text, isPrefix: isPrefix) && text.utf8.first.map(isLower) ?? false
    }

    private static func isSubdomain(_ text: Substring, isPrefix: Bool) -> Bool {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        return parts.enumerated().allSatisfy { place, part in
            let isLast = place == parts.count - 1
            return isLabel(part, isPrefix: isPrefix && isLast) || (isPrefix && isLast && place > 0 && part.isEmpty)
        }
    }

    private static func isLabelValue(_ text: Substring) -> Bool {
        guard let first = text.utf8.first, let last = text.utf8.last else { return true }
        let isPlain = text.utf8.allSatisfy { isAlphanumeric($0) || $0 == 45 || $0 == 46 || $0 == 95 }
        return isAlphanumeric(first) && isAlphanumeric(last) && isPlain
    }

    private static func qualifiedFaults(_ text: String) -> [String] {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        var faults: [String] = []
        if parts.count > 2 { return ["a qualified name must be a name with an optional DNS prefix and '/' before it"] }
        if parts.count == 2 {
            if parts[0].isEmpty {
                faults.append("prefix part must not be empty")
            } else if parts[0].utf8.count > 253 || !isSubdomain(parts[0], isPrefix: false) {
                faults.append("prefix part must be a lower case RFC 1123 subdomain")
            }
        }
        let name = parts[parts.count - 1]
        if name.isEmpty {
            faults.append("name part must not be empty")
        } else if name.utf8.count > 63 {
            faults.append("name part must be no more than 63 bytes")
        }
        if !isLabelValue(name) {
            faults.append("name part must be letters, digits, '-', '_' and '.' between letters or digits")
        }
        return faults
    }

    @Sendable private static func isUUID(_ text: String) -> Bool {
        let digits = text.utf8.filter { $0 != 45 }
        let places = text.utf8.enumerated().filter { $0.element == 45 }.map(\.offset)
        return digits.count == 32 && (places.isEmpty || places == [8, 13, 18, 23])
            && digits.allSatisfy { isDigit($0) || ($0 | 32 >= 97 && $0 | 32 <= 102) }
    }
}

extension Library {
    /// Formats by their names.
    package static let formats = Library(
        TextRule.all.map { rule in
            Function(
                "format." + rule.name,
                .global("format." + rule.name, [], TextRule.type) { (_) throws(EvaluationFault) -> Value in
                    .opaque(rule)
                })
        } + [
            Function(
                "format.named",
                .global("format-named", [.string], .optional(TextRule.type)) {
                    (values) throws(EvaluationFault) -> Value in
                    let name = try values[0].text()
                    return .optional(of: TextRule.all.first { $0.name == name }.map { .opaque($0) })
                }),
            Function(
                "validate",
                .member(
                    "format-validate", [TextRule.type, .string], .optional(.list(.string)),
                    cost: .check(text: 1, pattern: 60)
                ) { (values) throws(EvaluationFault) -> Value in
                    let faults = try values[0].own(TextRule.self).faults(values[1].text())
                    return .optional(of: faults.isEmpty ? nil : .strings(faults))
                }),
        ], types: [TextRule.type])
}
