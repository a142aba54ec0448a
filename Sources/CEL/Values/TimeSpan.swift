/// A length of time, in nanoseconds; at most about 292 years.
package struct TimeSpan: Sendable, Hashable, Comparable {
    package var nanoseconds: Int64

    package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    package static func < (one: Self, other: Self) -> Bool { one.nanoseconds < other.nanoseconds }

    private static let units: [(name: String, scale: Int64)] = [
        ("ns", 1), ("us", 1000), ("µs", 1000), ("μs", 1000), ("ms", 1_000_000), ("s", 1_000_000_000),
        ("m", 60_000_000_000), ("h", 3_600_000_000_000),
    ]

    /// Reads `1h30m`, `-1.5s`, `0`: numbers with units, largest to smallest in whatever order.
    package init?(_ text: String) {
        var rest = Substring(text)
        let isNegative = rest.first == "-"
        if let sign = rest.first, sign == "-" || sign == "+" { rest.removeFirst() }
        if rest == "0" {
            nanoseconds = 0
            return
        }
        if rest.isEmpty { return nil }
        // Counted below zero, which reaches one further.
        var sum: Int64 = 0
        while !rest.isEmpty {
            let whole = rest.prefix { $0.isASCII && $0.isNumber }
            rest.removeFirst(whole.count)
            var fraction: Substring = ""
            if rest.first == "." {
                rest.removeFirst()
                fraction = rest.prefix { $0.isASCII && $0.isNumber }
                rest.removeFirst(fraction.count)
            }
            if whole.isEmpty && fraction.isEmpty { return nil }
            let name = rest.prefix { $0 != "." && !($0.isASCII && $0.isNumber) }
            rest.removeFirst(name.count)
            guard let unit = Self.units.first(where: { $0.name == name }) else { return nil }
            guard let count = whole.isEmpty ? 0 : Int64(whole) else { return nil }
            var part = count.multipliedReportingOverflow(by: unit.scale)
            if part.overflow { return nil }
            var scale = unit.scale
            for digit in fraction {
                scale /= 10
                let (more, isOver) = part.partialValue.addingReportingOverflow(
                    Int64(digit.wholeNumberValue ?? 0) * scale)
                part = (more, isOver)
                if isOver { return nil }
            }
            let (more, isOver) = sum.subtractingReportingOverflow(part.partialValue)
            if isOver { return nil }
            sum = more
        }
        if !isNegative && sum == .min { return nil }
        nanoseconds = isNegative ? sum : -sum
    }

    /// In seconds, as `string(x)` writes it: `90s`, `-1.5s`.
    package var text: String {
        let whole = nanoseconds.magnitude / 1_000_000_000
        let sign = nanoseconds < 0 ? "-" : ""
        return sign + String(whole) + Timestamp.fraction(Int(nanoseconds.magnitude % 1_000_000_000)) + "s"
    }
}
