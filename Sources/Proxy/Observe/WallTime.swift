import Glibc

/// Nanoseconds since 1970.
func nanosecondsSince1970() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// A time of day as texts have it.
enum WallTime {
    /// `2026-11-21T13:45:00.123Z`
    static func text(_ nanoseconds: UInt64) -> String {
        let parts = broken(nanoseconds)
        let milliseconds = nanoseconds / 1_000_000 % 1000
        func digits(_ number: Int32, _ count: Int = 2) -> String {
            let text = String(number)
            return String(repeating: "0", count: max(0, count - text.utf8.count)) + text
        }
        let date = "\(parts.tm_year + 1900)-\(digits(parts.tm_mon + 1))-\(digits(parts.tm_mday))"
        let clock = "\(digits(parts.tm_hour)):\(digits(parts.tm_min)):\(digits(parts.tm_sec))"
        return "\(date)T\(clock).\(digits(Int32(milliseconds), 3))Z"
    }

    /// By `strftime`'s letters, and `%s`, `%3f`, `%6f`, `%9f` and `%f` as Envoy has them.
    static func text(_ nanoseconds: UInt64, format: String) -> String {
        var plain = format.replacing("%3f", fraction(nanoseconds, 3)).replacing("%6f", fraction(nanoseconds, 6))
        plain = plain.replacing("%9f", fraction(nanoseconds, 9)).replacing("%f", fraction(nanoseconds, 9))
        plain = plain.replacing("%s", String(nanoseconds / 1_000_000_000))
        var parts = broken(nanoseconds)
        var space = [CChar](repeating: 0, count: 256)
        let count = strftime(&space, space.count, plain, &parts)
        return String(decoding: space[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    private static func fraction(_ nanoseconds: UInt64, _ digits: Int) -> String {
        let text = String(nanoseconds % 1_000_000_000)
        let all = String(repeating: "0", count: 9 - text.utf8.count) + text
        return String(all.prefix(digits))
    }

    private static func broken(_ nanoseconds: UInt64) -> tm {
        var seconds = time_t(nanoseconds / 1_000_000_000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        return parts
    }
}

extension String {
    fileprivate func replacing(_ word: String, _ other: String) -> String {
        var out = ""
        var rest = self[...]
        while let range = rest.firstRange(of: word) {
            out += rest[..<range.lowerBound] + other
            rest = rest[range.upperBound...]
        }
        return out + rest
    }
}
