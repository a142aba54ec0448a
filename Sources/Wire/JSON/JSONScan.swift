import Glibc

/// Finds values in JSON text without making a tree of it.
///
/// For text we wrote ourselves: compact, and known to be JSON. Anything else gives `nil`, never a wrong place.
package struct JSONScan {
    private let base: UnsafePointer<UInt8>
    private let end: Int

    /// The value at the end of a path of object members, as a tree.
    package static func value(at path: [String], in bytes: [UInt8], from start: Int = 0) -> JSON? {
        guard let range = range(at: path, in: bytes, from: start) else { return nil }
        return try? JSON(parsing: Array(bytes[range]))
    }

    /// Where that value stands. `start`: where an object begins.
    package static func range(at path: [String], in bytes: [UInt8], from start: Int = 0) -> Range<Int>? {
        bytes.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress, start < buffer.count else { return nil }
            return JSONScan(base: base, end: buffer.count).find(path[...], from: start)
        }
    }

    private func find(_ path: ArraySlice<String>, from start: Int) -> Range<Int>? {
        guard var name = path.first, base[start] == UInt8(ascii: "{") else { return nil }
        let rest = path.dropFirst()
        return name.withUTF8 { wanted -> Range<Int>? in
            guard let first = wanted.baseAddress else { return nil }
            var place = start + 1
            while place < end, base[place] == UInt8(ascii: "\"") {
                guard let close = closingQuote(place) else { return nil }
                let length = close - place - 1
                let isWanted = length == wanted.count && memcmp(base + place + 1, first, length) == 0
                guard close + 2 < end, base[close + 1] == UInt8(ascii: ":") else { return nil }
                let value = close + 2
                if isWanted, !rest.isEmpty { return find(rest, from: value) }
                guard let after = skip(value) else { return nil }
                if isWanted { return value..<after }
                guard after < end, base[after] == UInt8(ascii: ",") else { return nil }
                place = after + 1
            }
            return nil
        }
    }

    /// The quote that ends the string beginning at `open`.
    private func closingQuote(_ open: Int) -> Int? {
        var place = open + 1
        while place < end, let found = memchr(base + place, 0x22, end - place) {
            let quote = UnsafeRawPointer(found) - UnsafeRawPointer(base)
            var slashes = 0
            while base[quote - 1 - slashes] == UInt8(ascii: "\\") { slashes += 1 }
            if slashes & 1 == 0 { return quote }
            place = quote + 1
        }
        return nil
    }

    /// The place behind the value that begins here.
    private func skip(_ start: Int) -> Int? {
        switch base[start] {
        case UInt8(ascii: "\""): return closingQuote(start).map { $0 + 1 }
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            var depth = 0
            var place = start
            while place < end {
                switch base[place] {
                case UInt8(ascii: "\""):
                    guard let close = closingQuote(place) else { return nil }
                    place = close
                case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
                case UInt8(ascii: "}"), UInt8(ascii: "]"):
                    depth -= 1
                    if depth == 0 { return place + 1 }
                default: break
                }
                place += 1
            }
            return nil
        default:
            var place = start
            while place < end {
                switch base[place] {
                case UInt8(ascii: ","), UInt8(ascii: "}"), UInt8(ascii: "]"): return place
                default: place += 1
                }
            }
            return nil
        }
    }
}
