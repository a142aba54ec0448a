import Glibc
package import Wire

/// A moment, as the API writes it: `2026-03-01T12:00:00Z`.
package struct Timestamp: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// Since 1970-01-01T00:00:00Z.
    package var seconds: Int64
    /// 0 to 999,999,999, always towards the future.
    package var nanoseconds: Int32

    package init(seconds: Int64, nanoseconds: Int32 = 0) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    package static func now() -> Timestamp {
        // A timespec is these two numbers; its own names belong to a module of the toolchain that may not be imported.
        var time: (seconds: Int64, nanoseconds: Int64) = (0, 0)
        withUnsafeMutablePointer(to: &time) { pair in
            pair.withMemoryRebound(to: timespec.self, capacity: 1) { _ = clock_gettime(CLOCK_REALTIME, $0) }
        }
        return Timestamp(seconds: time.seconds, nanoseconds: Int32(time.nanoseconds))
    }

    package static func < (one: Timestamp, other: Timestamp) -> Bool {
        (one.seconds, one.nanoseconds) < (other.seconds, other.nanoseconds)
    }

    /// What lies beyond the years the API can write is the end, or the start, of these.
    package static func + (moment: Timestamp, distance: Duration) -> Timestamp {
        let (seconds, attoseconds) = distance.components
        let nanoseconds = Int64(moment.nanoseconds) + attoseconds / 1_000_000_000
        let carry = nanoseconds >= 0 ? nanoseconds / 1_000_000_000 : -((999_999_999 - nanoseconds) / 1_000_000_000)
        let (whole, isOver) = moment.seconds.addingReportingOverflow(seconds)
        if isOver { return Timestamp(seconds: seconds < 0 ? years.lowerBound : years.upperBound) }
        return Timestamp(
            seconds: min(max(whole, years.lowerBound), years.upperBound) + carry,
            nanoseconds: Int32(nanoseconds - carry * 1_000_000_000))
    }

    /// Seconds of the years 0 to 9999.
    private static let years: ClosedRange<Int64> = -62_167_219_200...253_402_300_799

    package static func - (later: Timestamp, earlier: Timestamp) -> Duration {
        .seconds(later.seconds) - .seconds(earlier.seconds)
            + .nanoseconds(Int64(later.nanoseconds) - Int64(earlier.nanoseconds))
    }

    /// Whole seconds, as `metav1.Time`: `2026-03-01T12:00:00Z`.
    package var description: String { text(fractionDigits: 0) }
    /// Microseconds, as `metav1.MicroTime` in leases and events: `2026-03-01T12:00:00.000000Z`.
    package var microText: String { text(fractionDigits: 6) }
    /// Nanoseconds, as container logs have it.
    package var nanoText: String { text(fractionDigits: 9) }

    private func text(fractionDigits: Int) -> String {
        let days = seconds >= 0 ? seconds / 86_400 : -((86_399 - seconds) / 86_400)
        let second = seconds - days * 86_400
        let (year, month, day) = Self.civil(days: days)
        var out: [UInt8] = []
        out.reserveCapacity(30)
        func put(_ value: Int64, _ width: Int) {
            if value < 0 {
                out += String(value).utf8
                return
            }
            var scale: Int64 = 10
            for _ in 1..<width { scale *= 10 }
            while value >= scale { scale *= 10 }
            while scale > 1 {
                out.append(UInt8(truncatingIfNeeded: 0x30 + value % scale / (scale / 10)))
                scale /= 10
            }
        }
        put(year, 4)
        out.append(UInt8(ascii: "-"))
        put(month, 2)
        out.append(UInt8(ascii: "-"))
        put(day, 2)
        out.append(UInt8(ascii: "T"))
        put(second / 3600, 2)
        out.append(UInt8(ascii: ":"))
        put(second / 60 % 60, 2)
        out.append(UInt8(ascii: ":"))
        put(second % 60, 2)
        if fractionDigits > 0 {
            out.append(UInt8(ascii: "."))
            put(fractionDigits == 6 ? Int64(nanoseconds) / 1000 : Int64(nanoseconds), fractionDigits)
        }
        out.append(UInt8(ascii: "Z"))
        return String(decoding: out, as: UTF8.self)
    }

    /// Year, month and day in the proleptic Gregorian calendar, counting years from March so that leap days come last.
    private static func civil(days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
    }

    private static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = (shiftedYear >= 0 ? shiftedYear : shiftedYear - 399) / 400
        let yearOfEra = shiftedYear - era * 400
        let shiftedMonth = month > 2 ? month - 3 : month + 9
        let dayOfYear = (153 * shiftedMonth + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    /// Parses RFC 3339: any offset, any number of fraction digits (beyond nine they are cut off).
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        var place = 0
        func digits(_ count: Int) -> Int64? {
            guard place + count <= bytes.count else { return nil }
            var value: Int64 = 0
            for byte in bytes[place..<place + count] {
                guard byte >= 0x30, byte <= 0x39 else { return nil }
                value = value * 10 + Int64(byte - 0x30)
            }
            place += count
            return value
        }
        func mark(_ allowed: String) -> Bool {
            guard place < bytes.count, allowed.utf8.contains(bytes[place]) else { return false }
            place += 1
            return true
        }
        guard let year = digits(4), mark("-"), let month = digits(2), mark("-"), let day = digits(2) else { return nil }
        guard mark("Tt "), let hour = digits(2), mark(":"), let minute = digits(2), mark(":"), let second = digits(2)
        else { return nil }
        let lengths: [Int64] = [
            31, year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31,
        ]
        guard (1...12).contains(month), day >= 1, day <= lengths[Int(month) - 1] else { return nil }
        guard hour < 24, minute < 60, second <= 60 else { return nil }
        var nanoseconds: Int32 = 0
        if mark(".") {
            let start = place
            var scale: Int32 = 100_000_000
            while place < bytes.count, bytes[place] >= 0x30, bytes[place] <= 0x39 {
                nanoseconds += Int32(bytes[place] - 0x30) * scale
                scale /= 10
                place += 1
            }
            if place == start { return nil }
        }
        var offset: Int64 = 0
        if !mark("Zz") {
            let isWest = place < bytes.count && bytes[place] == UInt8(ascii: "-")
            guard mark("+-"), let hours = digits(2), mark(":"), let minutes = digits(2), hours < 24, minutes < 60 else {
                return nil
            }
            offset = (hours * 3600 + minutes * 60) * (isWest ? -1 : 1)
        }
        guard place == bytes.count else { return nil }
        let days = Self.days(year: year, month: month, day: day)
        self.seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset
        self.nanoseconds = nanoseconds
    }
}

extension Timestamp: JSONValue {
    package init?(json: JSON) {
        guard let text = json.string else { return nil }
        self.init(text)
    }
    package var json: JSON { .string(description) }
}
