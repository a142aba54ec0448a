import Glibc
import Synchronization

/// How far a place's clocks are from UTC, and when.
struct TimeZone: Sendable {
    private let starts: [Int64]
    private let offsets: [Int64]
    private let first: Int64

    /// Seconds to add to UTC at this moment.
    func offset(at seconds: Int64) -> Int64 {
        var low = 0
        var high = starts.count
        while low < high {
            let middle = (low + high) / 2
            if starts[middle] <= seconds { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? first : offsets[low - 1]
    }

    private static let known = Mutex<[String: TimeZone]>([:])
    private static let mostKnown = 600
    private static let largestFile = 65536

    /// - Parameter name: `UTC`, `+02:00`, `-8:00` or a name of the IANA database, which the machine must have.
    static func named(_ name: String) -> TimeZone? {
        if name == "UTC" || name.isEmpty { return TimeZone(starts: [], offsets: [], first: 0) }
        if let fixed = fixedOffset(name) { return TimeZone(starts: [], offsets: [], first: fixed) }
        if let zone = known.withLock({ $0[name] }) { return zone }
        guard let bytes = file(name), let zone = TimeZone(file: bytes) else { return nil }
        known.withLock { if $0.count < mostKnown { $0[name] = zone } }
        return zone
    }

    private static func fixedOffset(_ name: String) -> Int64? {
        let isNegative = name.hasPrefix("-")
        let digits = isNegative || name.hasPrefix("+") ? name.dropFirst() : Substring(name)
        let parts = digits.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].utf8.count <= 2, parts[1].utf8.count == 2, let hours = UInt8(parts[0]),
            let minutes = UInt8(parts[1]), hours < 24, minutes < 60
        else { return nil }
        let seconds = Int64(hours) * 3600 + Int64(minutes) * 60
        return isNegative ? -seconds : seconds
    }

    private static func file(_ name: String) -> [UInt8]? {
        let isPlain = name.utf8.allSatisfy { byte in
            (byte >= 48 && byte <= 57) || (byte | 32 >= 97 && byte | 32 <= 122) || byte == 47 || byte == 95
                || byte == 45 || byte == 43
        }
        // Without dots no name leads out of the folder.
        guard isPlain, name.utf8.count < 64, let file = fopen("/usr/share/zoneinfo/" + name, "re") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: largestFile)
        let count = fread(&bytes, 1, bytes.count, file)
        return Array(bytes[..<count])
    }

    private init(starts: [Int64], offsets: [Int64], first: Int64) {
        self.starts = starts
        self.offsets = offsets
        self.first = first
    }

    /// Reads a compiled zone, its second part with times of 64 bits (RFC 8536). What the footer says of later years is not read:
    /// the last known offset stays.
    private init?(file bytes: [UInt8]) {
        func number(_ place: Int, _ count: Int) -> Int64 {
            var sum: Int64 = place < bytes.count && bytes[place] >= 128 ? -1 : 0
            for index in place..<place + count { sum = sum << 8 | Int64(index < bytes.count ? bytes[index] : 0) }
            return sum
        }
        func counts(_ start: Int) -> (universal: Int, standard: Int, leaps: Int, times: Int, types: Int, letters: Int) {
            func count(_ index: Int) -> Int { Int(number(start + 20 + index * 4, 4)) }
            return (count(0), count(1), count(2), count(3), count(4), count(5))
        }
        guard bytes.count > 88, bytes.starts(with: [84, 90, 105, 102]), bytes[4] >= 50 else { return nil }
        let old = counts(0)
        let sizes = [old.universal, old.standard, old.leaps, old.times, old.types, old.letters]
        guard sizes.allSatisfy({ $0 >= 0 && $0 < Self.largestFile }) else { return nil }
        let start = 44 + old.times * 5 + old.types * 6 + old.letters + old.leaps * 8 + old.standard + old.universal
        guard start + 44 <= bytes.count else { return nil }
        let new = counts(start)
        guard new.times >= 0, new.types > 0, start + 44 + new.times * 9 + new.types * 6 <= bytes.count,
            new.times < bytes.count, new.types < 256
        else { return nil }
        let times = start + 44
        let kinds = times + new.times * 8
        let types = kinds + new.times
        let shifts = (0..<new.types).map { number(types + $0 * 6, 4) }
        var starts: [Int64] = []
        var offsets: [Int64] = []
        for index in 0..<new.times {
            let kind = Int(bytes[kinds + index])
            guard kind < shifts.count else { return nil }
            starts.append(number(times + index * 8, 8))
            offsets.append(shifts[kind])
        }
        self.init(starts: starts, offsets: offsets, first: shifts[0])
    }
}
