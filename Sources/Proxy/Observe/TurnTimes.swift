/// How long a loop's turns take: steps from 16 µs, each twice the one before.
struct TurnTimes: Sendable {
    static let steps = 16
    private static let lowest = 14

    var counts: InlineArray<16, UInt64> = .init(repeating: 0)
    /// Nanoseconds.
    var sum: UInt64 = 0

    /// The upper bound of a step, in nanoseconds; the last has none.
    static func bound(_ step: Int) -> UInt64 { 1 << UInt64(lowest + step) }

    @inline(__always)
    mutating func add(_ nanoseconds: UInt64) {
        let octave = 64 &- max(1, nanoseconds &- 1).leadingZeroBitCount
        counts[min(max(0, octave &- Self.lowest), Self.steps &- 1)] &+= 1
        sum &+= nanoseconds
    }
}
