/// Why an expression cannot be used, and where.
package struct PatternFault: Error, Sendable, Hashable, CustomStringConvertible {
    /// In bytes from the start of the expression.
    package var position: Int
    package var message: String

    package var description: String { "at position \(position): \(message)" }
}

/// A set of bytes.
struct ByteSet: Hashable {
    private var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

    init() {}
    init(_ byte: UInt8) { insert(byte) }
    init(_ range: ClosedRange<UInt8>) { insert(range) }

    static func == (one: ByteSet, other: ByteSet) -> Bool { one.words == other.words }
    func hash(into hasher: inout Hasher) {
        hasher.combine(words.0)
        hasher.combine(words.1)
        hasher.combine(words.2)
        hasher.combine(words.3)
    }

    func contains(_ byte: UInt8) -> Bool {
        let bit = UInt64(1) << UInt64(byte & 63)
        switch byte >> 6 {
        case 0: return words.0 & bit != 0
        case 1: return words.1 & bit != 0
        case 2: return words.2 & bit != 0
        default: return words.3 & bit != 0
        }
    }

    mutating func insert(_ byte: UInt8) {
        let bit = UInt64(1) << UInt64(byte & 63)
        switch byte >> 6 {
        case 0: words.0 |= bit
        case 1: words.1 |= bit
        case 2: words.2 |= bit
        default: words.3 |= bit
        }
    }

    mutating func insert(_ range: ClosedRange<UInt8>) { for byte in range { insert(byte) } }

    mutating func formUnion(_ other: ByteSet) {
        words.0 |= other.words.0
        words.1 |= other.words.1
        words.2 |= other.words.2
        words.3 |= other.words.3
    }

    var inverted: ByteSet {
        var other = ByteSet()
        other.words = (~words.0, ~words.1, ~words.2, ~words.3)
        return other
    }

    /// With both cases of each letter.
    var folded: ByteSet {
        var made = self
        for byte in UInt8(ascii: "a")...UInt8(ascii: "z") where contains(byte) || contains(byte &- 32) {
            made.insert(byte)
            made.insert(byte &- 32)
        }
        return made
    }

    var isEmpty: Bool { words == (0, 0, 0, 0) }
}
