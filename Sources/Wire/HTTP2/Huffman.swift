/// The Huffman code of RFC 7541, appendix B. It is canonical: the lengths alone determine the codes.
package enum Huffman {
    /// Bits of each symbol; the last is the end of string.
    private static let lengths: [UInt8] = [
        13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
        28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
        5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
        7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
        15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
        7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
        24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
        23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
        26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
        21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
        26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
    ]

    /// Of one length: the first code, the place of its symbol in `symbols`, and how many there are.
    private struct Rank {
        var first: UInt32 = 0
        var start = 0
        var count = 0
    }

    private static let symbols: [Int] = (0..<257).sorted { (lengths[$0], $0) < (lengths[$1], $1) }

    private static let ranks: [Rank] = {
        var ranks = [Rank](repeating: Rank(), count: 31)
        for length in lengths { ranks[Int(length)].count += 1 }
        var code: UInt32 = 0
        var start = 0
        for length in 1...30 {
            code <<= 1
            ranks[length].first = code
            ranks[length].start = start
            code += UInt32(ranks[length].count)
            start += ranks[length].count
        }
        return ranks
    }()

    private static let codes: [UInt32] = {
        var codes = [UInt32](repeating: 0, count: 257)
        for length in 1...30 {
            let rank = ranks[length]
            for place in 0..<rank.count { codes[symbols[rank.start + place]] = rank.first + UInt32(place) }
        }
        return codes
    }()

    /// - Returns: nil for a code that is none, for the end-of-string symbol, and for padding that is not up to 7 ones (RFC 7541 §5.2).
    package static func decode(_ bytes: ArraySlice<UInt8>) -> [UInt8]? {
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count * 8 / 5)
        var code: UInt32 = 0
        var length = 0
        for byte in bytes {
            for shift in stride(from: 7, through: 0, by: -1) {
                code = code << 1 | UInt32(byte >> UInt8(shift) & 1)
                length += 1
                if length > 30 { return nil }
                let rank = ranks[length]
                guard code >= rank.first, code - rank.first < UInt32(rank.count) else { continue }
                let symbol = symbols[rank.start + Int(code - rank.first)]
                if symbol == 256 { return nil }
                out.append(UInt8(symbol))
                code = 0
                length = 0
            }
        }
        if length > 7 || code != (1 << UInt32(length)) - 1 { return nil }
        return out
    }

    package static func encode(_ bytes: [UInt8]) -> [UInt8] {
        var out: [UInt8] = []
        var pending: UInt64 = 0
        var count = 0
        for byte in bytes {
            let length = Int(lengths[Int(byte)])
            pending = pending << UInt64(length) | UInt64(codes[Int(byte)])
            count += length
            while count >= 8 {
                count -= 8
                out.append(UInt8(truncatingIfNeeded: pending >> UInt64(count)))
            }
        }
        if count > 0 {
            out.append(UInt8(truncatingIfNeeded: pending << UInt64(8 - count)) | UInt8(0xFF) >> UInt8(count))
        }
        return out
    }
}
