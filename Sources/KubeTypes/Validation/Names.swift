/// The forms names, labels and keys may have. Each check gives `nil` or what is wrong.
package enum Names {
    private static func isLowerOrDigit(_ byte: UInt8) -> Bool {
        (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte)
    }
    private static func isAlphanumeric(_ byte: UInt8) -> Bool { isLowerOrDigit(byte) || (0x41...0x5A).contains(byte) }

    /// What one look at a name or key shows: where its slash is, and whether what stands before and after it is all lower case.
    private struct Shape {
        var slash = -1
        var isPrefixLower = true
        var isNameLower = true
    }

    /// `nil` for a text that has to be looked at more closely: nearly all have nothing but letters and digits, and between two of
    /// them a sign.
    private static func shape(_ text: String) -> Shape? {
        var text = text
        return text.withUTF8 { bytes -> Shape? in
            var shape = Shape()
            var isAfterSign = true
            for place in 0..<bytes.count {
                let byte = bytes[place]
                if isLowerOrDigit(byte) {
                    isAfterSign = false
                    continue
                }
                if isAlphanumeric(byte) {
                    isAfterSign = false
                    shape.isNameLower = false
                    continue
                }
                if isAfterSign { return nil }
                isAfterSign = true
                switch byte {
                case UInt8(ascii: "-"), UInt8(ascii: "."): break
                case UInt8(ascii: "_"): shape.isNameLower = false
                case UInt8(ascii: "/"):
                    if shape.slash >= 0 { return nil }
                    shape.slash = place
                    shape.isPrefixLower = shape.isNameLower
                    shape.isNameLower = true
                default: return nil
                }
            }
            return isAfterSign ? nil : shape
        }
    }

    static func hasSpace(_ text: String) -> Bool {
        if text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) { return false }
        return text.contains(where: \.isWhitespace)
    }

    /// RFC 1123 label: at most 63 lower-case letters, digits and `-`.
    package static func label(_ name: String) -> String? {
        if name.utf8.count > 63 { return "must be no more than 63 characters" }
        let isRight = !name.isEmpty && name.utf8.allSatisfy { isLowerOrDigit($0) || $0 == UInt8(ascii: "-") }
        guard isRight, name.utf8.first.map(isLowerOrDigit) == true, name.utf8.last.map(isLowerOrDigit) == true else {
            return
                "must be lower-case letters, digits and '-', starting and ending with a letter or digit, like my-name (RFC 1123 label)"
        }
        return nil
    }

    /// RFC 1035 label: as above, and starting with a letter. Services have such names.
    package static func serviceLabel(_ name: String) -> String? {
        if let fault = label(name) { return fault }
        guard let first = name.utf8.first, (0x61...0x7A).contains(first) else {
            return "must start with a letter (RFC 1035 label)"
        }
        return nil
    }

    /// RFC 1123 subdomain: labels joined by dots, at most 253 characters.
    package static func subdomain(_ name: String) -> String? {
        if name.utf8.count > 253 { return "must be no more than 253 characters" }
        if let shape = shape(name), shape.slash < 0, shape.isNameLower { return nil }
        let parts = name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        for part in parts {
            let isRight = !part.isEmpty && part.allSatisfy { isLowerOrDigit($0) || $0 == UInt8(ascii: "-") }
            guard isRight, part.first.map(isLowerOrDigit) == true, part.last.map(isLowerOrDigit) == true
            else {
                return "must be lower-case letters, digits, '-' and '.', starting and ending with a letter or digit, "
                    + "like my-name or example.com (RFC 1123 subdomain)"
            }
        }
        return nil
    }

    /// Names that only have to fit a URL's path: RBAC objects, `system:node`.
    package static func pathSegment(_ name: String) -> String? {
        if name == "." || name == ".." { return "may not be '\(name)'" }
        if name.utf8.contains(UInt8(ascii: "/")) { return "may not contain '/'" }
        if name.utf8.contains(UInt8(ascii: "%")) { return "may not contain '%'" }
        return nil
    }

    /// The key of a label or annotation: an optional DNS prefix and `/`, then at most 63 characters.
    package static func qualified(_ key: String) -> String? {
        if let shape = shape(key), shape.slash <= 253, shape.isPrefixLower, key.utf8.count - shape.slash <= 64 {
            return nil
        }
        let parts = key.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard parts.count <= 2 else { return "must have at most one '/'" }
        if parts.count == 2 {
            if parts[0].isEmpty { return "prefix part must be non-empty" }
            if let fault = subdomain(String(Substring(parts[0]))) { return "prefix part \(fault)" }
        }
        let name = parts[parts.count - 1]
        if name.isEmpty { return "name part must be non-empty" }
        if name.count > 63 { return "name part must be no more than 63 characters" }
        return wordFault(name).map { "name part \($0)" }
    }

    package static func labelValue(_ value: String) -> String? {
        if value.isEmpty { return nil }
        if value.utf8.count > 63 { return "must be no more than 63 characters" }
        return wordFault(value.utf8)
    }

    private static func wordFault(_ word: some BidirectionalCollection<UInt8>) -> String? {
        let isRight = word.allSatisfy { byte in
            isAlphanumeric(byte) || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_") || byte == UInt8(ascii: ".")
        }
        guard isRight, word.first.map(isAlphanumeric) == true, word.last.map(isAlphanumeric) == true else {
            return
                "must be letters, digits, '-', '_' and '.', starting and ending with a letter or digit, like MyValue or 12345"
        }
        return nil
    }

    /// The key of a ConfigMap's or Secret's data.
    package static func dataKey(_ key: String) -> String? {
        if key.isEmpty || key.utf8.count > 253 { return "must have 1 to 253 characters" }
        if key == "." || key == ".." { return "may not be '\(key)'" }
        let isRight = key.utf8.allSatisfy { byte in
            isAlphanumeric(byte) || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_") || byte == UInt8(ascii: ".")
        }
        return isRight ? nil : "must be letters, digits, '-', '_' and '.', like key.name"
    }

    /// Any printable ASCII but `=`, as current Kubernetes allows.
    package static func environment(_ name: String) -> String? {
        let isRight = !name.isEmpty && name.utf8.allSatisfy { (0x20...0x7E).contains($0) && $0 != UInt8(ascii: "=") }
        return isRight ? nil : "must be printable ASCII characters other than '='"
    }

    /// The name of a port (RFC 6335): at most 15 lower-case letters, digits and `-`, with at least one letter.
    package static func port(_ name: String) -> String? {
        if name.utf8.count > 15 { return "must be no more than 15 characters" }
        if let fault = label(name) { return fault }
        if !name.utf8.contains(where: { (0x61...0x7A).contains($0) }) { return "must contain at least one letter" }
        let isDoubled = zip(name.utf8, name.utf8.dropFirst()).contains { $0 == UInt8(ascii: "-") && $1 == $0 }
        return isDoubled ? "must not contain '--'" : nil
    }

    package static func portNumber(_ number: Int) -> String? {
        (1...65_535).contains(number) ? nil : "must be between 1 and 65535, inclusive"
    }

    /// An IPv4 or IPv6 address in text.
    package static func isAddress(_ text: String) -> Bool { isIPv4(text) || isIPv6(text) }

    package static func isIPv4(_ text: String) -> Bool {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return false }
        return parts.allSatisfy { part in
            guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
                return false
            }
            if part.utf8.count > 1, part.utf8.first == 0x30 { return false }
            return (Int(part) ?? 256) < 256
        }
    }

    package static func isIPv6(_ text: String) -> Bool {
        guard text.contains(":"), !text.contains(":::") else { return false }
        var rest = text[...]
        var groups = 0
        if let colon = rest.lastIndex(of: ":"), rest[colon...].contains(".") {
            guard isIPv4(String(rest[rest.index(after: colon)...])) else { return false }
            groups = 2
            rest = rest[..<rest.index(after: colon)]
            if !rest.hasSuffix("::") { rest = rest.dropLast() }
        }
        let halves = rest.split(separator: "::", maxSplits: 2, omittingEmptySubsequences: false)
        let isShort = rest.contains("::")
        guard halves.count <= 2 else { return false }
        for half in halves where !half.isEmpty {
            for group in half.split(separator: ":", omittingEmptySubsequences: false) {
                guard (1...4).contains(group.utf8.count), group.allSatisfy(\.isHexDigit) else { return false }
                groups += 1
            }
        }
        return isShort ? groups < 8 : groups == 8
    }
}
