/// A moment between the years 1 and 9999.
package struct Timestamp: Sendable, Hashable, Comparable {
    static let first: Int64 = -62_135_596_800
    static let last: Int64 = 253_402_300_799

    /// Since 1970-01-01T00:00:00Z.
    package let seconds: Int64
    /// 0 to 999,999,999.
    package let nanoseconds: Int32

    package init?(seconds: Int64, nanoseconds: Int64 = 0) {
        var seconds = seconds
        var rest = nanoseconds % 1_000_000_000
        let (sum, isOver) = seconds.addingReportingOverflow(nanoseconds / 1_000_000_000)
        if isOver { return nil }
        seconds = sum
        if rest < 0 {
            rest += 1_000_000_000
            seconds -= 1
        }
        if seconds < Self.first || seconds > Self.last { return nil }
        self.seconds = seconds
        self.nanoseconds = Int32(rest)
    }

    package static func < (one: Self, other: Self) -> Bool {
        (one.seconds, one.nanoseconds) < (other.seconds, other.nanoseconds)
    }

    package func adding(_ span: TimeSpan) -> Timestamp? {
        Timestamp(
            seconds: seconds + span.nanoseconds / 1_000_000_000,
            nanoseconds: Int64(nanoseconds) + span.nanoseconds % 1_000_000_000)
    }

    package func subtracting(_ span: TimeSpan) -> Timestamp? {
        Timestamp(
            seconds: seconds - span.nanoseconds / 1_000_000_000,
            nanoseconds: Int64(nanoseconds) - span.nanoseconds % 1_000_000_000)
    }

    /// `nil` when it is longer than a span can be.
    package func since(_ other: Timestamp) -> TimeSpan? {
        let (whole, isOver) = (seconds - other.seconds).multipliedReportingOverflow(by: 1_000_000_000)
        if isOver { return nil }
        let (sum, isMore) = whole.addingReportingOverflow(Int64(nanoseconds) - Int64(other.nanoseconds))
        return isMore ? nil : TimeSpan(nanoseconds: sum)
    }

    /// Reads RFC 3339.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        func number(_ from: Int, _ count: Int) -> Int64? {
            if from + count > bytes.count { return nil }
            var sum: Int64 = 0
            for byte in bytes[from..<from + count] {
                guard byte >= 48 && byte <= 57 else { return nil }
                sum = sum * 10 + Int64(byte - 48)
            }
            return sum
        }
        guard bytes.count >= 20, bytes[4] == 45, bytes[7] == 45, bytes[10] == 84 || bytes[10] == 116, bytes[13] == 58,
            bytes[16] == 58
        else { return nil }
        guard let year = number(0, 4), let month = number(5, 2), let day = number(8, 2), let hour = number(11, 2),
            let minute = number(14, 2), let second = number(17, 2)
        else { return nil }
        guard month >= 1, month <= 12, day >= 1, day <= CalendarDate.days(in: Int(month), of: year), hour < 24,
            minute < 60, second < 60
        else { return nil }
        var place = 19
        var nanoseconds: Int64 = 0
        if bytes[place] == 46 {
            place += 1
            var scale: Int64 = 100_000_000
            let start = place
            while place < bytes.count, bytes[place] >= 48, bytes[place] <= 57 {
                nanoseconds += Int64(bytes[place] - 48) * scale
                scale /= 10
                place += 1
            }
            if place == start { return nil }
        }
        if place >= bytes.count { return nil }
        var offset: Int64 = 0
        if bytes[place] == 90 || bytes[place] == 122 {
            place += 1
        } else if bytes[place] == 43 || bytes[place] == 45 {
            guard let hours = number(place + 1, 2), let minutes = number(place + 4, 2), bytes[place + 3] == 58,
                hours < 24, minutes < 60
            else { return nil }
            offset = (hours * 60 + minutes) * 60 * (bytes[place] == 45 ? -1 : 1)
            place += 6
        }
        if place != bytes.count { return nil }
        let date = CalendarDate.day(year, month, day)
        let ofDay = hour * 3600 + minute * 60 + second
        self.init(seconds: date * 86400 + ofDay - offset, nanoseconds: nanoseconds)
    }

    /// RFC 3339 in UTC, with as many digits behind the point as it takes.
    package var text: String {
        let date = CalendarDate(seconds: seconds)
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : String(number) }
        let year = String(date.year)
        let wide = String(repeating: "0", count: max(0, 4 - year.utf8.count)) + year
        let day = "\(wide)-\(two(date.month))-\(two(date.day))"
        let time = "\(two(date.hour)):\(two(date.minute)):\(two(date.second))"
        return day + "T" + time + Self.fraction(Int(nanoseconds)) + "Z"
    }

    /// `.5` for half a second; nothing for none.
    static func fraction(_ nanoseconds: Int) -> String {
        if nanoseconds == 0 { return "" }
        let digits = String(nanoseconds)
        var text = String(repeating: "0", count: 9 - digits.utf8.count) + digits
        while text.last == "0" { text.removeLast() }
        return "." + text
    }
}
