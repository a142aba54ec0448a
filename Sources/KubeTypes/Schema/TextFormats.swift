import Wire

/// The formats of strings that schemas name and Kubernetes checks. A format that is not one of them says nothing.
enum TextFormats {
    static func matches(_ format: String, _ text: String) -> Bool {
        switch format {
        case "date-time", "datetime": Timestamp(text) != nil
        case "date": text.utf8.count == 10 && Timestamp(text + "T00:00:00Z") != nil
        case "duration": isDuration(text)
        case "byte": Base64.decode(text) != nil
        case "ipv4": Names.isIPv4(text)
        case "ipv6": Names.isAddress(text) && !Names.isIPv4(text)
        case "cidr": isNetwork(text)
        case "mac": isHardwareAddress(text)
        case "hostname": isHostname(text)
        case "email": isMailAddress(text)
        case "uri": isAddress(text)
        case "uuid": isUUID(text, version: nil)
        case "uuid3": isUUID(text, version: "3")
        case "uuid4": isUUID(text, version: "4")
        case "uuid5": isUUID(text, version: "5")
        case "hexcolor": isHexColor(text)
        case "rgbcolor": isRGBColor(text)
        case "bsonobjectid": text.utf8.count == 24 && text.utf8.allSatisfy(isHexDigit)
        case "isbn": isBookNumber(text, 10) || isBookNumber(text, 13)
        case "isbn10": isBookNumber(text, 10)
        case "isbn13": isBookNumber(text, 13)
        case "creditcard": isCardNumber(text)
        case "ssn": Patterns.matches("^\\d{3}[- ]?\\d{2}[- ]?\\d{4}$", text)
        case "k8s-short-name": Names.label(text) == nil
        case "k8s-long-name": Names.subdomain(text) == nil
        default: true
        }
    }

    /// What a built-in kind's fault says.
    static func expectation(_ format: String) -> String {
        switch format {
        case "date-time": "must be a time in RFC 3339 form, such as 2026-01-02T15:04:05Z"
        case "byte": "must be base64"
        default: "must be of the format \(format)"
        }
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (97...102).contains(byte | 32)
    }
    private static func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }

    /// Go's form, or a number with a unit in words: `3 days`.
    private static func isDuration(_ text: String) -> Bool {
        if Duration(text: text) != nil { return true }
        return Patterns.matches("^\\d+\\s*(ns|nano|us|µs|micro|ms|milli|s|sec|m|min|h|hr|hour|d|day|w|week)s?$", text)
    }

    private static func isNetwork(_ text: String) -> Bool {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, Names.isAddress(String(parts[0])), let length = Int(parts[1]) else { return false }
        guard parts[1].utf8.allSatisfy(isDigit), parts[1] == "0" || parts[1].first != "0" else { return false }
        return length <= (Names.isIPv4(String(parts[0])) ? 32 : 128)
    }

    private static func isHardwareAddress(_ text: String) -> Bool {
        for separator in [":", "-"] as [Character] {
            let parts = text.split(separator: separator, omittingEmptySubsequences: false)
            guard [6, 8, 20].contains(parts.count) else { continue }
            return parts.allSatisfy { $0.utf8.count == 2 && $0.utf8.allSatisfy(isHexDigit) }
        }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        return [3, 4, 10].contains(parts.count)
            && parts.allSatisfy { $0.utf8.count == 4 && $0.utf8.allSatisfy(isHexDigit) }
    }

    /// RFC 1034 with digits allowed first, as RFC 1123 §2.1 has it.
    private static func isHostname(_ text: String) -> Bool {
        guard !text.isEmpty, text.utf8.count <= 255 else { return false }
        let name = text.hasSuffix(".") ? String(text.dropLast()) : text
        return name.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
            let bytes = Array(label.utf8)
            guard let first = bytes.first, let last = bytes.last, bytes.count <= 63 else { return false }
            func isEnd(_ byte: UInt8) -> Bool { isDigit(byte) || (97...122).contains(byte | 32) }
            return isEnd(first) && isEnd(last) && bytes.allSatisfy { isEnd($0) || $0 == 45 }
        }
    }

    private static func isMailAddress(_ text: String) -> Bool {
        guard let at = text.lastIndex(of: "@"), at != text.startIndex else { return false }
        let local = text[..<at]
        let domain = String(text[text.index(after: at)...])
        let isPlain = local.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && !"()<>[]:;,@\\\"".utf8.contains($0) }
        let isDotted = !local.hasPrefix(".") && !local.hasSuffix(".") && !local.contains("..")
        let isQuoted = local.count > 2 && local.hasPrefix("\"") && local.hasSuffix("\"")
        return (isPlain && isDotted || isQuoted) && isHostname(domain)
    }

    /// A URI as a request line has it: absolute, or a path from the root (RFC 3986).
    private static func isAddress(_ text: String) -> Bool {
        guard !text.isEmpty, text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else { return false }
        if text.hasPrefix("/") { return true }
        guard let colon = text.firstIndex(of: ":") else { return false }
        let scheme = text[..<colon].utf8
        guard let first = scheme.first, (97...122).contains(first | 32) else { return false }
        return scheme.allSatisfy {
            isDigit($0) || (97...122).contains($0 | 32) || $0 == 43 || $0 == 45 || $0 == 46
        }
    }

    private static func isUUID(_ text: String, version: Character?) -> Bool {
        let digits = text.filter { $0 != "-" }
        guard digits.utf8.count == 32, digits.utf8.allSatisfy(isHexDigit) else { return false }
        guard let version else { return true }
        let places = Array(digits)
        return places[12] == version && (version == "3" || "89abAB".contains(places[16]))
    }

    private static func isHexColor(_ text: String) -> Bool {
        let digits = text.hasPrefix("#") ? text.dropFirst() : text[...]
        return (digits.utf8.count == 3 || digits.utf8.count == 6) && digits.utf8.allSatisfy(isHexDigit)
    }

    private static func isRGBColor(_ text: String) -> Bool {
        guard text.hasPrefix("rgb("), text.hasSuffix(")") else { return false }
        let parts = text.dropFirst(4).dropLast().split(separator: ",", omittingEmptySubsequences: false)
        return parts.count == 3
            && parts.allSatisfy { part in
                guard let number = Int(part.trimmed) else { return false }
                return (0...255).contains(number)
            }
    }

    private static func isBookNumber(_ text: String, _ count: Int) -> Bool {
        let digits = text.filter { $0 != "-" && $0 != " " }
        guard digits.utf8.count == count else { return false }
        var sum = 0
        for (place, digit) in digits.enumerated() {
            let isCheck = count == 10 && place == 9 && (digit == "X" || digit == "x")
            guard let value = isCheck ? 10 : digit.wholeNumberValue else { return false }
            sum += count == 10 ? value * (10 - place) : value * (place % 2 == 0 ? 1 : 3)
        }
        return sum % (count == 10 ? 11 : 10) == 0
    }

    /// By Luhn's sum.
    private static func isCardNumber(_ text: String) -> Bool {
        let digits = text.filter { $0 != "-" && $0 != " " }.compactMap(\.wholeNumberValue)
        guard (12...19).contains(digits.count) else { return false }
        var sum = 0
        for (place, digit) in digits.reversed().enumerated() {
            let doubled = digit * 2
            sum += place % 2 == 0 ? digit : doubled > 9 ? doubled - 9 : doubled
        }
        return sum % 10 == 0
    }
}
