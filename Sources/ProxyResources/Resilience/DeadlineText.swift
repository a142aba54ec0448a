/// Deadlines as they stand in headers: how much time is left at the moment of sending, so that clocks need not agree.
///
/// `x-request-deadline` holds whole milliseconds. `grpc-timeout` holds at most 8 digits and a unit (gRPC over HTTP/2).
package enum DeadlineText {
    /// The longest that is believed: a day. Whoever says more has no deadline worth a timer.
    private static let longest: UInt64 = 86_400_000_000_000

    /// Nanoseconds; nil for what is no number.
    package static func milliseconds(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> UInt64? {
        guard let number = digits(bytes, count), count <= 10 else { return nil }
        return min(longest, number &* 1_000_000)
    }

    package static func grpc(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> UInt64? {
        guard count >= 2, count <= 9, let number = digits(bytes, count - 1) else { return nil }
        let unit: UInt64
        switch bytes[count - 1] {
        case UInt8(ascii: "H"): unit = 3_600_000_000_000
        case UInt8(ascii: "M"): unit = 60_000_000_000
        case UInt8(ascii: "S"): unit = 1_000_000_000
        case UInt8(ascii: "m"): unit = 1_000_000
        case UInt8(ascii: "u"): unit = 1000
        case UInt8(ascii: "n"): unit = 1
        default: return nil
        }
        return min(longest, number &* unit)
    }

    /// At most ten digits are read, so that nothing overflows.
    private static func digits(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> UInt64? {
        if count < 1 || count > 10 { return nil }
        var number: UInt64 = 0
        for place in 0..<count {
            let digit = bytes[place] &- 48
            if digit > 9 { return nil }
            number = number * 10 + UInt64(digit)
        }
        return number
    }

    /// Writes a number right-aligned into `width` places, with spaces before it; one too large becomes nines.
    package static func write(_ number: UInt64, _ width: Int, _ out: UnsafeMutablePointer<UInt8>) {
        var rest = number
        var place = width
        while place > 0 {
            place -= 1
            out[place] = rest > 0 || place == width - 1 ? UInt8(rest % 10) + 48 : 32
            rest /= 10
        }
        if rest > 0 { for place in 0..<width { out[place] = 57 } }
    }

    /// `retry-after`: seconds, or the date in its fixed form (RFC 9110 §5.6.7, §10.2.3). In nanoseconds from `wall`, which is in
    /// milliseconds since 1970; nil for what is neither.
    package static func retryAfter(_ bytes: UnsafePointer<UInt8>, _ count: Int, wall: Int64) -> UInt64? {
        if let seconds = digits(bytes, count) { return min(longest, seconds &* 1_000_000_000) }
        guard count == 29, let date = fixedDate(bytes) else { return nil }
        let left = date * 1000 - wall
        return left <= 0 ? 0 : min(longest, UInt64(left) &* 1_000_000)
    }

    /// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`.
    private static func fixedDate(_ bytes: UnsafePointer<UInt8>) -> Int64? {
        func number(_ start: Int, _ count: Int) -> Int64? { digits(bytes + start, count).map(Int64.init) }
        let names = "JanFebMarAprMayJunJulAugSepOctNovDec".utf8
        var month = 0
        var name = names.startIndex
        for candidate in 1...12 {
            let next = names.index(name, offsetBy: 3)
            if names[name..<next].elementsEqual([bytes[8], bytes[9], bytes[10]]) { month = candidate }
            name = next
        }
        guard month > 0, let day = number(5, 2), let year = number(12, 4), let hour = number(17, 2),
            let minute = number(20, 2), let second = number(23, 2), year >= 1970
        else { return nil }
        // Days from the civil date, with years that begin in March.
        let shifted = month > 2 ? year : year - 1
        let era = shifted / 400
        let yearOfEra = shifted - era * 400
        let monthFromMarch = Int64(month > 2 ? month - 3 : month + 9)
        let dayOfYear = (153 * monthFromMarch + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        let days = era * 146_097 + dayOfEra - 719_468
        return days * 86_400 + hour * 3600 + minute * 60 + second
    }
}
