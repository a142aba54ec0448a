package import Wire

/// An amount of a resource: `100m` CPU, `1.5Gi` of memory, `1e3`.
///
/// Exact to a billionth; finer amounts are rounded up, as the API does.
package struct Quantity: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// Which family of suffixes it was written with, kept when it is printed.
    package enum Form: Sendable, Hashable { case decimal, binary, exponent }

    /// In billionths.
    private var nano: Int128
    package var form: Form

    private static let unit: Int128 = 1_000_000_000
    /// The API caps amounts at 2^63 - 1.
    private static let limit: Int128 = Int128(Int64.max) * unit

    package init(_ whole: Int64, _ form: Form = .decimal) {
        nano = Int128(whole) * Self.unit
        self.form = form
    }

    package init(milli: Int64) {
        nano = Int128(milli) * 1_000_000
        form = .decimal
    }

    private init(nano: Int128, form: Form) {
        self.nano = nano
        self.form = form
    }

    package static let zero = Quantity(0)

    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard !bytes.isEmpty, bytes.count <= 64 else { return nil }
        var place = 0
        var isNegative = false
        if bytes[0] == UInt8(ascii: "-") || bytes[0] == UInt8(ascii: "+") {
            isNegative = bytes[0] == UInt8(ascii: "-")
            place = 1
        }
        var mantissa: Int128 = 0  // at most 30 digits are kept exactly; more cannot matter below the limit
        var digits = 0
        var fractionDigits = 0
        var droppedNonZero = false
        var sawDot = false
        while place < bytes.count {
            let byte = bytes[place]
            if byte == UInt8(ascii: "."), !sawDot {
                sawDot = true
            } else if byte >= 0x30, byte <= 0x39 {
                if sawDot, fractionDigits >= 15 {
                    if byte != 0x30 { droppedNonZero = true }
                } else {
                    mantissa = mantissa * 10 + Int128(byte - 0x30)
                    if mantissa > Int128(10).power(33) { return nil }
                    if sawDot { fractionDigits += 1 }
                }
                digits += 1
            } else {
                break
            }
            place += 1
        }
        guard digits > 0 else { return nil }
        guard let suffix = Self.suffix(String(decoding: bytes[place...], as: UTF8.self)) else { return nil }
        form = suffix.form
        // mantissa / 10^fractionDigits * scale, in billionths, rounded away from zero.
        let scaled: Int128
        if suffix.form == .binary {
            let divisor = Int128(10).power(fractionDigits)
            let (product, overflow) = mantissa.multipliedReportingOverflow(by: suffix.factor)
            if overflow || product / divisor >= Int128(Int64.max) {
                scaled = Self.limit
            } else {
                let (large, overflow) = product.multipliedReportingOverflow(by: Self.unit)
                scaled =
                    overflow ? Self.ceilingDivide(product, divisor) * Self.unit : Self.ceilingDivide(large, divisor)
            }
        } else {
            let power = suffix.exponent + 9 - fractionDigits
            if mantissa == 0 {
                scaled = 0
            } else if power < 0 {
                scaled = power < -36 ? 1 : Self.ceilingDivide(mantissa, Int128(10).power(-power))
            } else {
                let (product, overflow) =
                    power > 37 ? (0, true) : mantissa.multipliedReportingOverflow(by: Int128(10).power(power))
                scaled = overflow ? Self.limit : product
            }
        }
        let capped = min(scaled + (droppedNonZero && scaled < Self.limit ? 1 : 0), Self.limit)
        nano = isNegative ? -capped : capped
    }

    private static func ceilingDivide(_ value: Int128, _ divisor: Int128) -> Int128 {
        value / divisor + (value % divisor == 0 ? 0 : 1)
    }

    private static func suffix(_ text: String) -> (form: Form, factor: Int128, exponent: Int)? {
        switch text {
        case "n": return (.decimal, 1, -9)
        case "u": return (.decimal, 1, -6)
        case "m": return (.decimal, 1, -3)
        case "": return (.decimal, 1, 0)
        case "k": return (.decimal, 1, 3)
        case "M": return (.decimal, 1, 6)
        case "G": return (.decimal, 1, 9)
        case "T": return (.decimal, 1, 12)
        case "P": return (.decimal, 1, 15)
        case "E": return (.decimal, 1, 18)
        case "Ki": return (.binary, 1 << 10, 0)
        case "Mi": return (.binary, 1 << 20, 0)
        case "Gi": return (.binary, 1 << 30, 0)
        case "Ti": return (.binary, 1 << 40, 0)
        case "Pi": return (.binary, 1 << 50, 0)
        case "Ei": return (.binary, 1 << 60, 0)
        default:
            guard let first = text.first, first == "e" || first == "E" else { return nil }
            guard let exponent = Int(text.dropFirst()), (-100...100).contains(exponent) else { return nil }
            return (.exponent, 1, exponent)
        }
    }

    /// In thousandths, rounded up: `100m` is 100. The largest value stands for all beyond it.
    package var milli: Int64 { Self.clamp(Self.roundUp(nano, to: 1_000_000)) }
    /// Rounded up to a whole number: bytes of memory.
    package var whole: Int64 { Self.clamp(Self.roundUp(nano, to: Self.unit)) }
    /// More than any machine has, and so little that a thousand of it, times a thousand, are still a number: what is added up and
    /// multiplied is bounded by it, since manifests may ask for anything.
    package static let most: Int64 = 1 << 50
    /// `milli`, within `most`.
    package var boundedMilli: Int64 { min(max(milli, -Self.most), Self.most) }
    /// `whole`, within `most`.
    package var boundedWhole: Int64 { min(max(whole, -Self.most), Self.most) }
    package var isNegative: Bool { nano < 0 }
    package var isZero: Bool { nano == 0 }
    package var isWhole: Bool { nano % Self.unit == 0 }

    private static func roundUp(_ value: Int128, to unit: Int128) -> Int128 {
        value >= 0 ? ceilingDivide(value, unit) : value / unit
    }
    private static func clamp(_ value: Int128) -> Int64 {
        value > Int128(Int64.max) ? .max : value < Int128(Int64.min) ? .min : Int64(value)
    }

    package static func < (one: Quantity, other: Quantity) -> Bool { one.nano < other.nano }
    /// Amounts are equal whatever suffix they were written with.
    package static func == (one: Quantity, other: Quantity) -> Bool { one.nano == other.nano }
    package func hash(into hasher: inout Hasher) { hasher.combine(nano) }

    package static func + (one: Quantity, other: Quantity) -> Quantity {
        let sum = min(max(one.nano + other.nano, -limit), limit)
        return Quantity(nano: sum, form: one.isZero ? other.form : one.form)
    }
    package static func - (one: Quantity, other: Quantity) -> Quantity {
        let difference = min(max(one.nano - other.nano, -limit), limit)
        return Quantity(nano: difference, form: one.isZero ? other.form : one.form)
    }

    /// The canonical form: no fraction, the largest suffix that loses nothing, in the family it was written with.
    package var description: String {
        if nano == 0 { return "0" }
        let sign = nano < 0 ? "-" : ""
        let size = Int128(nano.magnitude)
        // Below 1024, and where a fraction would be lost, the decimal suffixes are used.
        if form == .binary, size >= 1024 * Self.unit, size % Self.unit == 0 {
            var value = size / Self.unit
            var step = 0
            while step < 6, value % 1024 == 0 {
                value /= 1024
                step += 1
            }
            return sign + String(value) + ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][step]
        }
        var value = size
        var step = 0
        while step < 9, value % 1000 == 0 {
            value /= 1000
            step += 1
        }
        if form == .exponent {
            let exponent = step * 3 - 9
            return sign + String(value) + (exponent == 0 ? "" : "e\(exponent)")
        }
        return sign + String(value) + ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][step]
    }
}

extension Int128 {
    fileprivate func power(_ exponent: Int) -> Int128 {
        var result: Int128 = 1
        for _ in 0..<exponent { result *= self }
        return result
    }
}

extension Quantity: JSONValue {
    /// Accepts numbers too, as the API does: `cpu: 1`.
    package init?(json: JSON) {
        switch json {
        case .string(let text): self.init(text)
        case .int(let value): self.init(value)
        case .double(let value): self.init("\(value)")
        default: return nil
        }
    }
    package var json: JSON { .string(description) }
}
