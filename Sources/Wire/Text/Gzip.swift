/// Packs bytes in the gzip format (RFC 1952), with deflate's fixed codes (RFC 1951 §3.2.6): made for text that repeats itself,
/// such as metrics, which becomes a tenth of its size or less.
package enum Gzip {
    private static let window = 32768
    private static let longest = 258
    private static let shortest = 4
    private static let hashBits = 15

    package static func packed(_ bytes: [UInt8]) -> [UInt8] {
        var out: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255]
        out.reserveCapacity(bytes.count / 8 + 64)
        var writer = BitWriter(out: out)
        writer.write(1, 1)  // the last block
        writer.write(1, 2)  // fixed codes
        bytes.withUnsafeBufferPointer { deflate($0, &writer) }
        writer.code(0, 7)  // end of block: 256
        writer.finish()
        out = writer.out
        let sum = checksum(bytes)
        for shift in stride(from: UInt32(0), to: 32, by: 8) { out.append(UInt8(truncatingIfNeeded: sum >> shift)) }
        let count = UInt32(truncatingIfNeeded: bytes.count)
        for shift in stride(from: UInt32(0), to: 32, by: 8) { out.append(UInt8(truncatingIfNeeded: count >> shift)) }
        return out
    }

    /// One candidate a hash: the newest place with the same four bytes.
    private static func deflate(_ bytes: UnsafeBufferPointer<UInt8>, _ writer: inout BitWriter) {
        var newest = [Int32](repeating: -1, count: 1 << hashBits)
        var place = 0
        while place < bytes.count {
            var length = 0
            var distance = 0
            if place + shortest <= bytes.count {
                let slot = hash(bytes, place)
                let candidate = Int(newest[slot])
                newest[slot] = Int32(place)
                if candidate >= 0 && place - candidate <= window {
                    let limit = min(longest, bytes.count - place)
                    while length < limit && bytes[candidate + length] == bytes[place + length] { length += 1 }
                    distance = place - candidate
                }
            }
            if length < shortest {
                writer.literal(bytes[place])
                place += 1
                continue
            }
            writer.length(length)
            writer.distance(distance)
            // Some places inside a match are findable too; all of them would cost more than they bring.
            var inner = place + 1
            let end = place + length
            while inner < end && inner + shortest <= bytes.count {
                newest[hash(bytes, inner)] = Int32(inner)
                inner += 1
            }
            place = end
        }
    }

    @inline(__always)
    private static func hash(_ bytes: UnsafeBufferPointer<UInt8>, _ place: Int) -> Int {
        let low = UInt32(bytes[place]) | UInt32(bytes[place + 1]) << 8
        let word = low | UInt32(bytes[place + 2]) << 16 | UInt32(bytes[place + 3]) << 24
        return Int((word &* 0x9E37_79B1) >> UInt32(32 - hashBits))
    }

    /// CRC-32 (RFC 1952 §8).
    package static func checksum(_ bytes: [UInt8]) -> UInt32 {
        var table = [UInt32](repeating: 0, count: 256)
        for number in 0..<256 {
            var value = UInt32(number)
            for _ in 0..<8 { value = value & 1 == 1 ? 0xEDB8_8320 ^ value >> 1 : value >> 1 }
            table[number] = value
        }
        var sum = UInt32.max
        for byte in bytes { sum = table[Int((sum ^ UInt32(byte)) & 255)] ^ sum >> 8 }
        return ~sum
    }
}

/// Bits from the lowest up, as deflate packs them.
private struct BitWriter {
    var out: [UInt8]
    private var bits: UInt64 = 0
    private var count = 0

    private static let lengthBases = [
        3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227,
        258,
    ]
    private static let distanceBases = [
        1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097,
        6145, 8193, 12289, 16385, 24577,
    ]

    init(out: [UInt8]) { self.out = out }

    mutating func write(_ value: UInt64, _ length: Int) {
        bits |= value << UInt64(count)
        count += length
        while count >= 8 {
            out.append(UInt8(truncatingIfNeeded: bits))
            bits >>= 8
            count -= 8
        }
    }

    /// A Huffman code, whose highest bit comes first.
    mutating func code(_ value: UInt64, _ length: Int) {
        var turned: UInt64 = 0
        for place in 0..<length where value >> UInt64(place) & 1 == 1 { turned |= 1 << UInt64(length - 1 - place) }
        write(turned, length)
    }

    mutating func literal(_ byte: UInt8) {
        if byte < 144 { code(0x30 + UInt64(byte), 8) } else { code(0x190 + UInt64(byte) - 144, 9) }
    }

    mutating func length(_ length: Int) {
        let place = Self.lengthBases.lastIndex { $0 <= length } ?? 0
        if place < 23 { code(UInt64(place + 1), 7) } else { code(0xC0 + UInt64(place - 23), 8) }
        let extra = place < 8 || place == 28 ? 0 : (place - 4) / 4
        write(UInt64(length - Self.lengthBases[place]), extra)
    }

    mutating func distance(_ distance: Int) {
        let place = Self.distanceBases.lastIndex { $0 <= distance } ?? 0
        code(UInt64(place), 5)
        write(UInt64(distance - Self.distanceBases[place]), place < 4 ? 0 : place / 2 - 1)
    }

    mutating func finish() { if count > 0 { write(0, 8 - count) } }
}
