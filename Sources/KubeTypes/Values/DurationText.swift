/// Durations as Go and the Gateway API write them: `300ms`, `1h5m`, `1.5h`.
extension Duration {
    /// Parses a Go duration: an optional sign, then numbers with units `ns us µs ms s m h`. A bare `0` is allowed.
    package init?(text: String) {
        var rest = Substring(text)
        var isNegative = false
        if let sign = rest.first, sign == "-" || sign == "+" {
            isNegative = sign == "-"
            rest.removeFirst()
        }
        if rest == "0" {
            self = .zero
            return
        }
        guard !rest.isEmpty else { return nil }
        var nanoseconds: Int128 = 0
        while !rest.isEmpty {
            let whole = rest.prefix { $0.isASCII && $0.isNumber }
            rest.removeFirst(whole.count)
            var fraction = Substring()
            if rest.first == "." {
                rest.removeFirst()
                fraction = rest.prefix { $0.isASCII && $0.isNumber }
                rest.removeFirst(fraction.count)
            }
            guard !(whole.isEmpty && fraction.isEmpty), whole.count <= 18 else { return nil }
            let unit = rest.prefix { $0 != "." && !($0.isASCII && $0.isNumber) }
            rest.removeFirst(unit.count)
            guard let scale = Self.nanoseconds(ofUnit: unit) else { return nil }
            nanoseconds += Int128(whole.isEmpty ? 0 : Int64(whole) ?? 0) * scale
            var part = scale
            for digit in fraction.prefix(18) {
                part /= 10
                nanoseconds += Int128(digit.wholeNumberValue ?? 0) * part
            }
            guard nanoseconds <= Int128(Int64.max) else { return nil }
        }
        self = .nanoseconds(Int64(isNegative ? -nanoseconds : nanoseconds))
    }

    private static func nanoseconds(ofUnit unit: Substring) -> Int128? {
        switch unit {
        case "ns": 1
        case "us", "µs", "μs": 1000
        case "ms": 1_000_000
        case "s": 1_000_000_000
        case "m": 60_000_000_000
        case "h": 3_600_000_000_000
        default: nil
        }
    }

    package var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return seconds > 0 ? .max : .min }
        return product &+ attoseconds / 1_000_000_000
    }

    /// As Go prints it: `1h5m0s`, `1.5s`, `300ms`, `0s`.
    package var text: String {
        let total = wholeNanoseconds
        if total == 0 { return "0s" }
        let sign = total < 0 ? "-" : ""
        let size = total.magnitude
        func decimal(_ value: UInt64, per unit: UInt64) -> String {
            let rest = value % unit
            if rest == 0 { return String(value / unit) }
            let digits = String(String(unit + rest).dropFirst())
            let trimmed = digits.reversed().drop { $0 == "0" }.reversed()
            return "\(value / unit).\(String(trimmed))"
        }
        if size < 1000 { return "\(sign)\(size)ns" }
        if size < 1_000_000 { return "\(sign)\(decimal(size, per: 1000))µs" }
        if size < 1_000_000_000 { return "\(sign)\(decimal(size, per: 1_000_000))ms" }
        let minutes = size / 60_000_000_000
        let seconds = decimal(size % 60_000_000_000, per: 1_000_000_000) + "s"
        if minutes == 0 { return sign + seconds }
        if minutes < 60 { return "\(sign)\(minutes)m\(seconds)" }
        return "\(sign)\(minutes / 60)h\(minutes % 60)m\(seconds)"
    }

    /// How long ago something was, as kubectl's AGE column shows it: at most two units, fewer the longer it is.
    package var ageText: String {
        let seconds = components.seconds
        if seconds < -1 { return "<invalid>" }
        if seconds < 0 { return "0s" }
        func pair(_ large: Int64, _ largeUnit: String, _ small: Int64, _ smallUnit: String) -> String {
            small == 0 ? "\(large)\(largeUnit)" : "\(large)\(largeUnit)\(small)\(smallUnit)"
        }
        let minutes = seconds / 60
        let hours = seconds / 3600
        let days = hours / 24
        if seconds < 120 { return "\(seconds)s" }
        if minutes < 10 { return pair(minutes, "m", seconds % 60, "s") }
        if minutes < 180 { return "\(minutes)m" }
        if hours < 8 { return pair(hours, "h", minutes % 60, "m") }
        if hours < 48 { return "\(hours)h" }
        if days < 8 { return pair(days, "d", hours % 24, "h") }
        if days < 730 { return "\(days)d" }
        if days < 2920 { return pair(days / 365, "y", days % 365, "d") }
        return "\(days / 365)y"
    }
}
