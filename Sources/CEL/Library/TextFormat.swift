import Glibc

/// What `"…".format([…])` writes for each `%` clause.
enum TextFormat {
    private static let mostPrecision = 1000

    static func text(_ format: String, _ arguments: [Value]) throws(EvaluationFault) -> String {
        var made = ""
        var rest = format.unicodeScalars[...]
        var place = 0
        while let scalar = rest.popFirst() {
            if scalar != "%" {
                made.unicodeScalars.append(scalar)
                continue
            }
            if rest.first == "%" {
                rest.removeFirst()
                made += "%"
                continue
            }
            var precision: Int?
            if rest.first == "." {
                rest.removeFirst()
                let digits = rest.prefix { $0.value >= 48 && $0.value <= 57 }
                rest.removeFirst(digits.count)
                guard let count = Int(String(digits)), count <= mostPrecision else {
                    throw .failed("precision is no number up to \(mostPrecision)")
                }
                precision = count
            }
            guard let clause = rest.popFirst() else { throw .failed("unexpected end of format string") }
            guard place < arguments.count else { throw .failed("index \(place) out of range") }
            made += try self.clause(clause, precision, arguments[place])
            place += 1
        }
        return made
    }

    private static func clause(
        _ clause: Unicode.Scalar, _ precision: Int?, _ value: Value
    ) throws(EvaluationFault) -> String {
        func refused(_ kinds: String) -> EvaluationFault {
            let name = value.type.name
            return .failed("error during formatting: only \(kinds) can be formatted with %\(clause), was given \(name)")
        }
        switch clause {
        case "s": return try shown(value)
        case "d":
            switch value {
            case .int, .uint: return value.plainText
            case .double(let number) where !number.isFinite: return special(number)
            default: throw refused("integers")
            }
        case "b":
            switch value {
            case .bool(let truth): return truth ? "1" : "0"
            case .int(let number): return String(number, radix: 2)
            case .uint(let number): return String(number, radix: 2)
            default: throw refused("integers and bools")
            }
        case "o":
            switch value {
            case .int(let number): return String(number, radix: 8)
            case .uint(let number): return String(number, radix: 8)
            default: throw refused("integers")
            }
        case "x", "X":
            let isUpper = clause == "X"
            switch value {
            case .int(let number): return String(number, radix: 16, uppercase: isUpper)
            case .uint(let number): return String(number, radix: 16, uppercase: isUpper)
            case .string(let text): return hex(Array(text.utf8), isUpper)
            case .bytes(let bytes): return hex(bytes, isUpper)
            default: throw refused("integers, byte buffers, and strings")
            }
        case "f", "e":
            let number: Double
            switch value {
            case .double(let value): number = value
            case .int(let value): number = Double(value)
            case .uint(let value): number = Double(value)
            default: throw refused("doubles")
            }
            if !number.isFinite { return special(number) }
            return fixed(number, precision ?? 6, isScientific: clause == "e")
        default: throw .failed("error during formatting: unrecognized formatting clause \"\(clause)\"")
        }
    }

    private static func special(_ number: Double) -> String {
        number.isNaN ? "NaN" : number < 0 ? "-Infinity" : "Infinity"
    }

    /// With so many digits behind the point.
    static func fixed(_ number: Double, _ precision: Int, isScientific: Bool = false) -> String {
        var buffer = [CChar](repeating: 0, count: precision + 400)
        let count = withVaList([Int32(precision), number]) {
            vsnprintf(&buffer, buffer.count, isScientific ? "%.*e" : "%.*f", $0)
        }
        return String(decoding: buffer[..<Int(max(0, count))].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func hex(_ bytes: [UInt8], _ isUpper: Bool) -> String {
        bytes.map { (byte: UInt8) -> String in
            let digits = String(byte, radix: 16, uppercase: isUpper)
            return byte < 16 ? "0" + digits : digits
        }.joined()
    }

    private static func shown(_ value: Value) throws(EvaluationFault) -> String {
        switch value {
        case .double(let number): return number.isFinite ? NumberText.text(number) : special(number)
        case .bytes(let bytes): return String(decoding: bytes, as: UTF8.self)
        case .list(let list):
            var parts: [String] = []
            for value in list.values { parts.append(try shown(value)) }
            return "[" + parts.joined(separator: ", ") + "]"
        case .map(let map):
            var parts: [String] = []
            for key in map.keys { parts.append(try shown(key) + ": " + shown(try map.value(at: key) ?? .null)) }
            return "{" + parts.sorted().joined(separator: ", ") + "}"
        case .optional, .opaque:
            throw .failed("error during formatting: a value of type \(value.type.name) cannot be formatted with %s")
        default: return value.plainText
        }
    }

    /// Between quotes, with escapes for what cannot be seen.
    static func quoted(_ text: String) -> String {
        var made = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\u{07}": made += "\\a"
            case "\u{08}": made += "\\b"
            case "\u{0C}": made += "\\f"
            case "\n": made += "\\n"
            case "\r": made += "\\r"
            case "\t": made += "\\t"
            case "\u{0B}": made += "\\v"
            case "\\": made += "\\\\"
            case "\"": made += "\\\""
            default: made.unicodeScalars.append(scalar)
            }
        }
        return made + "\""
    }
}
