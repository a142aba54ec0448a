/// The Huffman code of RFC 7541, appendix B. It is canonical: the lengths alone determine the codes.
struct Huffman {
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

    /// A symbol's code, in its lowest bits, and its length.
    private struct Code {
        var bits: UInt32
        var length: UInt32
    }

    /// Of the codes of one length: the first, how many there are, and the place of its symbol in `symbols`.
    private struct Rank {
        var first: UInt32 = 0
        var count: UInt32 = 0
        var start = 0
    }

    private let codes: UnsafeMutablePointer<Code>
    /// By the next 8 bits: the symbol (low byte) and its length (high byte); 0 when its code is longer.
    private let short: UnsafeMutablePointer<UInt16>
    private let symbols: UnsafeMutablePointer<UInt16>
    private let ranks: UnsafeMutablePointer<Rank>

    // `nonisolated(unsafe)`: written before anyone else sees it, never after.
    nonisolated(unsafe) static let shared = Huffman()

    private init() {
        codes = .allocate(capacity: 257)
        short = .allocate(capacity: 256)
        symbols = .allocate(capacity: 257)
        ranks = .allocate(capacity: 32)
        short.initialize(repeating: 0, count: 256)
        ranks.initialize(repeating: Rank(), count: 32)
        let order = (0..<257).sorted { (Self.lengths[$0], $0) < (Self.lengths[$1], $1) }
        var code: UInt32 = 0
        var place = 0
        for length in 1...30 {
            code <<= 1
            ranks[length].first = code
            ranks[length].start = place
            while place < 257, Int(Self.lengths[order[place]]) == length {
                let symbol = order[place]
                (symbols + place).initialize(to: UInt16(symbol))
                (codes + symbol).initialize(to: Code(bits: code, length: UInt32(length)))
                if length <= 8 {
                    let first = Int(code) << (8 - length)
                    for entry in first..<first + 1 << (8 - length) {
                        short[entry] = UInt16(length) << 8 | UInt16(symbol)
                    }
                }
                ranks[length].count += 1
                code += 1
                place += 1
            }
        }
    }

    enum Decoded: Equatable {
        /// Bytes written.
        case bytes(Int)
        case noRoom
        /// A code that is none, the end-of-string symbol, or padding that is not up to 7 ones (RFC 7541 §5.2).
        case bad
    }

    func decode(_ bytes: UnsafePointer<UInt8>, _ count: Int, into out: Bytes, _ room: Int) -> Decoded {
        /// The next bits, from the highest down; zeros below them.
        var window: UInt64 = 0
        var held = 0
        var place = 0
        var written = 0
        while true {
            while held <= 56 && place < count {
                window |= UInt64(bytes[place]) << UInt64(56 &- held)
                held &+= 8
                place &+= 1
            }
            if held == 0 { return .bytes(written) }
            let entry = short[Int(window >> 56)]
            var length = Int(entry >> 8)
            var symbol = entry & 0xFF
            if length == 0 {
                length = 9
                while true {
                    length &+= 1
                    if length > 30 { return .bad }
                    let offset = UInt32(truncatingIfNeeded: window >> UInt64(64 &- length)) &- ranks[length].first
                    if offset < ranks[length].count {
                        symbol = symbols[ranks[length].start &+ Int(offset)]
                        break
                    }
                }
            }
            if length > held {
                let isPadding = held < 8 && window == ~UInt64(0) << UInt64(64 &- held)
                return isPadding ? .bytes(written) : .bad
            }
            if symbol == 256 { return .bad }
            if written == room { return .noRoom }
            out[written] = UInt8(truncatingIfNeeded: symbol)
            written &+= 1
            window <<= UInt64(length)
            held &-= length
        }
    }

    /// How long the code for these bytes is.
    @inline(__always)
    func length(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int {
        var bits = 0
        var place = 0
        while place < count {
            bits &+= Int(codes[Int(bytes[place])].length)
            place &+= 1
        }
        return (bits &+ 7) >> 3
    }

    /// Writes `length(bytes, count)` bytes at `out`.
    func encode(_ bytes: UnsafePointer<UInt8>, _ count: Int, into out: Bytes) {
        var pending: UInt64 = 0
        var held: UInt64 = 0
        var at = 0
        var place = 0
        while place < count {
            let code = codes[Int(bytes[place])]
            pending = pending << UInt64(code.length) | UInt64(code.bits)
            held &+= UInt64(code.length)
            while held >= 8 {
                held &-= 8
                out[at] = UInt8(truncatingIfNeeded: pending >> held)
                at &+= 1
            }
            place &+= 1
        }
        if held > 0 { out[at] = UInt8(truncatingIfNeeded: pending << (8 &- held)) | UInt8(0xFF) >> UInt8(held) }
    }
}
