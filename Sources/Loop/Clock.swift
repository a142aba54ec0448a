import CKernel

/// Readings of the machine's clocks; a loop takes one a turn.
package enum Clock {
    /// Nanoseconds since some fixed moment; never goes back.
    package static var monotonic: UInt64 { weft_monotonic_nanoseconds() }
    /// Milliseconds since 1970.
    package static var wall: Int64 { weft_wall_milliseconds() }
}

/// The xorshift generator: fast, repeatable from its seed, not for secrets.
package struct Chance: Sendable {
    private var state: UInt64
    package init(seed: UInt64) { state = seed == 0 ? 0x9E37_79B9_7F4A_7C15 : seed }

    package mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }

    /// A number below `bound`, which is above 0.
    package mutating func below(_ bound: UInt32) -> UInt32 {
        UInt32(truncatingIfNeeded: ((next() >> 32) &* UInt64(bound)) >> 32)
    }
}

/// Numbers that fill a range evenly at every length, where chance would do so only in the long run: of a hundred requests ten
/// go to a backend with a tenth of the weight, give or take one.
///
/// Multiples of the golden ratio, modulo one (Weyl's sequence): any regular part of it, such as every second number, is even too.
package struct Shares: Sendable {
    private var place: UInt32
    package init(start: UInt32) { place = start }

    /// A number below `bound`, which is above 0.
    package mutating func below(_ bound: UInt32) -> UInt32 {
        place &+= 0x9E37_79B9
        return UInt32(truncatingIfNeeded: (UInt64(place) &* UInt64(bound)) >> 32)
    }
}
