/// An amount as Kubernetes writes it: `100m`, `1.5Gi`, `2e3`. It is exact: a whole number and a power of ten.
final class Quantity: OpaqueValue {
    static let type = ValueType.named("kubernetes.Quantity")

    /// In steps of 10^-9: what is smaller is rounded up, as Kubernetes does.
    private let billionths: WideInteger

    /// Beyond this many digits before the point no amount goes.
    private static let mostDigits = 18

    private init(_ billionths: WideInteger) { self.billionths = billionths }

    private static let suffixes: [(String, base: Int64, power: Int)] = [
        ("Ki", 2, 10), ("Mi", 2, 20), ("Gi", 2, 30), ("Ti", 2, 40), ("Pi", 2, 50), ("Ei", 2, 60), ("n", 10, -9),
        ("u", 10, -6), ("m", 10, -3), ("", 10, 0), ("k", 10, 3), ("M", 10, 6), ("G", 10, 9), ("T", 10, 12),
        ("P", 10, 15), ("E", 10, 18),
    ]

    init?(_ text: String) {
        var rest = Substring(text)
        let isNegative = rest.first == "-"
        if rest.first == "-" || rest.first == "+" { rest.removeFirst() }
        let whole = rest.prefix { $0.isASCII && $0.isNumber }
        rest.removeFirst(whole.count)
        var fraction: Substring = ""
        if rest.first == "." {
            rest.removeFirst()
            fraction = rest.prefix { $0.isASCII && $0.isNumber }
            rest.removeFirst(fraction.count)
        }
        if whole.isEmpty && fraction.isEmpty { return nil }
        var base: Int64 = 10
        var power = 0
        if let known = Self.suffixes.first(where: { $0.0 == rest }) {
            (base, power) = (known.base, known.power)
        } else if let mark = rest.first, mark == "e" || mark == "E", let exponent = Int(rest.dropFirst()),
            exponent.magnitude <= 100
        {
            power = exponent
        } else {
            return nil
        }
        let significant = whole.drop { $0 == "0" }
        if significant.utf8.count > Self.mostDigits || fraction.utf8.count > 100 { return nil }
        var sum = WideInteger(0)
        for digit in significant + fraction { sum = sum.times(10).plus(Int64(digit.wholeNumberValue ?? 0)) }
        var shift = 9 - fraction.utf8.count
        if base == 10 { shift += power }
        if base == 2 { for _ in 0..<power { sum = sum.times(2) } }
        if shift > 100 { return nil }
        if shift >= 0 {
            for _ in 0..<shift { sum = sum.times(10) }
        } else {
            var hasRest = false
            for _ in 0..<(-shift) {
                let (quotient, rest) = sum.divided(by: 10)
                hasRest = hasRest || rest != 0
                sum = quotient
            }
            if hasRest { sum = sum.plus(1) }
        }
        billionths = isNegative ? sum.negated : sum
    }

    var type: ValueType { Self.type }
    func equals(_ other: any OpaqueValue) -> Bool { (other as? Quantity)?.billionths == billionths }

    /// -1, 0 or 1.
    func compare(_ other: Quantity) -> Int64 { billionths.compare(other.billionths) }
    var sign: Int64 { billionths.compare(WideInteger(0)) }

    /// `nil` when it has a fraction, or more than 64 bits.
    var whole: Int64? {
        let (quotient, rest) = billionths.divided(by: 1_000_000_000)
        return rest == 0 ? quotient.small : nil
    }

    var approximate: Double { billionths.approximate / 1e9 }

    func adding(_ other: Quantity) -> Quantity { Quantity(billionths.plus(other.billionths)) }
    func subtracting(_ other: Quantity) -> Quantity { Quantity(billionths.plus(other.billionths.negated)) }

    static func of(_ whole: Int64) -> Quantity {
        let sum = WideInteger(Int64(clamping: whole.magnitude)).times(1_000_000_000)
        return Quantity(whole < 0 ? sum.negated : sum)
    }
}
