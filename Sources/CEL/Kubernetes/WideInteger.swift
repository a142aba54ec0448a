/// A whole number of any size, with what little arithmetic amounts take.
struct WideInteger: Equatable {
    private var isNegative: Bool
    /// The least first; no zero at the end.
    private var words: [UInt32]

    init(_ value: Int64) {
        isNegative = value < 0
        words = [UInt32(truncatingIfNeeded: value.magnitude), UInt32(truncatingIfNeeded: value.magnitude >> 32)]
        trim()
    }

    private mutating func trim() {
        while words.last == 0 { words.removeLast() }
        if words.isEmpty { isNegative = false }
    }

    var negated: WideInteger {
        var other = self
        other.isNegative = !words.isEmpty && !isNegative
        return other
    }

    func times(_ factor: UInt32) -> WideInteger {
        var made = self
        var carry: UInt64 = 0
        for index in made.words.indices {
            let product = UInt64(made.words[index]) * UInt64(factor) + carry
            made.words[index] = UInt32(truncatingIfNeeded: product)
            carry = product >> 32
        }
        if carry > 0 { made.words.append(UInt32(carry)) }
        made.trim()
        return made
    }

    func plus(_ small: Int64) -> WideInteger { plus(WideInteger(small)) }

    func plus(_ other: WideInteger) -> WideInteger {
        if isNegative != other.isNegative {
            let order = Self.compare(words, other.words)
            if order == 0 { return WideInteger(0) }
            let (large, small) = order > 0 ? (self, other) : (other, self)
            var made = large
            var borrow: Int64 = 0
            for index in made.words.indices {
                let less = Int64(index < small.words.count ? small.words[index] : 0) + borrow
                let rest = Int64(made.words[index]) - less
                borrow = rest < 0 ? 1 : 0
                made.words[index] = UInt32(truncatingIfNeeded: rest)
            }
            made.trim()
            return made
        }
        var made = self
        var carry: UInt64 = 0
        for index in 0..<max(words.count, other.words.count) {
            if index == made.words.count { made.words.append(0) }
            let sum = UInt64(made.words[index]) + UInt64(index < other.words.count ? other.words[index] : 0) + carry
            made.words[index] = UInt32(truncatingIfNeeded: sum)
            carry = sum >> 32
        }
        if carry > 0 { made.words.append(UInt32(carry)) }
        return made
    }

    /// Towards zero; the rest without a sign.
    func divided(by divisor: UInt32) -> (quotient: WideInteger, rest: UInt32) {
        var made = self
        var rest: UInt64 = 0
        for index in made.words.indices.reversed() {
            let part = rest << 32 | UInt64(made.words[index])
            made.words[index] = UInt32(truncatingIfNeeded: part / UInt64(divisor))
            rest = part % UInt64(divisor)
        }
        made.trim()
        return (made, UInt32(rest))
    }

    private static func compare(_ one: [UInt32], _ two: [UInt32]) -> Int64 {
        if one.count != two.count { return one.count < two.count ? -1 : 1 }
        for index in one.indices.reversed() where one[index] != two[index] { return one[index] < two[index] ? -1 : 1 }
        return 0
    }

    /// -1, 0 or 1.
    func compare(_ other: WideInteger) -> Int64 {
        if isNegative != other.isNegative { return isNegative ? -1 : 1 }
        let order = Self.compare(words, other.words)
        return isNegative ? -order : order
    }

    /// `nil` when it has more than 64 bits.
    var small: Int64? {
        if words.count > 2 { return nil }
        let low = UInt64(words.isEmpty ? 0 : words[0])
        let magnitude = low | UInt64(words.count > 1 ? words[1] : 0) << 32
        if isNegative { return magnitude <= Int64.min.magnitude ? Int64(truncatingIfNeeded: 0 &- magnitude) : nil }
        return Int64(exactly: magnitude)
    }

    var approximate: Double {
        var sum = 0.0
        for word in words.reversed() { sum = sum * 4_294_967_296 + Double(word) }
        return isNegative ? -sum : sum
    }
}
