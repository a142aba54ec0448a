/// Doubles as text, the way the language writes and reads them.
enum NumberText {
    /// The shortest text that reads as the same double, with an exponent for large and for small ones: `1.5`, `1e+06`, `1e-05`.
    static func text(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        let (digits, exponent) = parts(value.magnitude)
        let sign = value.sign == .minus ? "-" : ""
        if digits == "0" { return sign + "0" }
        if exponent < -4 || exponent >= 6 {
            let rest = digits.dropFirst()
            let head = String(digits.prefix(1)) + (rest.isEmpty ? "" : "." + rest)
            let size = exponent.magnitude < 10 ? "0\(exponent.magnitude)" : String(exponent.magnitude)
            return sign + head + "e" + (exponent < 0 ? "-" : "+") + size
        }
        if exponent < 0 { return sign + "0." + String(repeating: "0", count: -exponent - 1) + digits }
        if digits.utf8.count <= exponent + 1 {
            return sign + digits + String(repeating: "0", count: exponent + 1 - digits.utf8.count)
        }
        return sign + String(digits.prefix(exponent + 1)) + "." + String(digits.dropFirst(exponent + 1))
    }

    /// The digits that count, and the power of ten of the first.
    private static func parts(_ value: Double) -> (digits: String, exponent: Int) {
        var text = Substring(value.description)
        var exponent = 0
        if let mark = text.firstIndex(of: "e") {
            exponent = Int(text[text.index(after: mark)...]) ?? 0
            text = text[..<mark]
        }
        let point = text.firstIndex(of: ".") ?? text.endIndex
        let whole = text[..<point]
        let fraction = point < text.endIndex ? text[text.index(after: point)...] : ""
        var digits = String(whole + fraction)
        exponent += whole.utf8.count - 1
        while digits.hasPrefix("0"), digits.utf8.count > 1 {
            digits.removeFirst()
            exponent -= 1
        }
        while digits.hasSuffix("0"), digits.utf8.count > 1 { digits.removeLast() }
        return (digits, exponent)
    }

    static func double(_ text: String) -> Double? {
        switch text.lowercased() {
        case "nan": return .nan
        case "inf", "+inf", "infinity", "+infinity": return .infinity
        case "-inf", "-infinity": return -.infinity
        default: break
        }
        let isPlain = text.utf8.allSatisfy { byte in
            (byte >= 48 && byte <= 57) || byte == 43 || byte == 45 || byte == 46 || byte | 32 == 101
        }
        return isPlain ? Double(text) : nil
    }
}

extension Value {
    /// As `string(x)` writes what it takes; the type's name for all else.
    package var plainText: String {
        switch self {
        case .null: "null"
        case .bool(let value): String(value)
        case .int(let value): String(value)
        case .uint(let value): String(value)
        case .double(let value): NumberText.text(value)
        case .string(let text): text
        case .timestamp(let moment): moment.text
        case .duration(let span): span.text
        case .type(let type): type.name
        default: type.name
        }
    }
}
