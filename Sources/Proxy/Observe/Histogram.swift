/// Counts by size, twice: under Istio's bounds, exactly, and in fine steps whose sums over loops and proxies give quantiles.
struct Histogram: Sendable, Equatable {
    /// Upper bounds as Istio has them: milliseconds of duration, or bytes.
    static let bounds: [Double] = [
        0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300_000, 600_000, 1_800_000,
        3_600_000,
    ]
    /// The last count is everything above.
    var counts: InlineArray<20, UInt64> = .init(repeating: 0)
    /// In the finest unit: nanoseconds or bytes.
    var sum: UInt64 = 0

    @inline(__always) mutating func add(_ place: Int, _ value: UInt64) {
        counts[place] &+= 1
        sum &+= value
    }

    mutating func add(_ other: Histogram) {
        for place in 0..<20 { counts[place] &+= other.counts[place] }
        sum &+= other.sum
    }

    var total: UInt64 {
        var total: UInt64 = 0
        for place in 0..<20 { total &+= counts[place] }
        return total
    }

    static func == (one: Histogram, other: Histogram) -> Bool {
        if one.sum != other.sum { return false }
        for place in 0..<20 where one.counts[place] != other.counts[place] { return false }
        return true
    }
}

/// Durations in steps of an eighth of their size at most: four steps an octave, from 16 µs to an hour. Two of them add up
/// without loss, so quantiles can be taken over loops, proxies and times.
struct FineHistogram: Sendable {
    static let steps = 112
    private static let lowest = 14

    var counts: InlineArray<112, UInt32> = .init(repeating: 0)

    /// The step a duration in nanoseconds falls into.
    @inline(__always)
    static func step(of value: UInt64) -> Int {
        if value < 1 << UInt64(lowest) { return 0 }
        let octave = 63 &- value.leadingZeroBitCount
        let quarter = Int(truncatingIfNeeded: value >> UInt64(octave &- 2)) & 3
        return min((octave &- lowest) &* 4 &+ quarter, steps &- 1)
    }

    /// The least duration of a step, in nanoseconds.
    static func floor(of step: Int) -> UInt64 {
        if step == 0 { return 0 }
        let octave = UInt64(step / 4 + lowest)
        return 1 << octave + UInt64(step % 4) << (octave - 2)
    }

    /// Stays at its limit rather than beginning again.
    @inline(__always)
    mutating func add(_ value: UInt64) {
        let step = Self.step(of: value)
        if counts[step] != .max { counts[step] &+= 1 }
    }

    mutating func add(_ other: FineHistogram) {
        for step in 0..<Self.steps {
            let (sum, overflow) = counts[step].addingReportingOverflow(other.counts[step])
            counts[step] = overflow ? .max : sum
        }
    }

    /// The duration in nanoseconds below which this share of all lies: the middle of its step. nil when there are none.
    func quantile(_ share: Double) -> Double? {
        var total: UInt64 = 0
        for step in 0..<Self.steps { total += UInt64(counts[step]) }
        if total == 0 { return nil }
        let wanted = max(1, (share * Double(total)).rounded(.up))
        var seen = 0.0
        for step in 0..<Self.steps {
            seen += Double(counts[step])
            if seen >= wanted {
                let next = step + 1 < Self.steps ? Self.floor(of: step + 1) : Self.floor(of: step)
                return Double(Self.floor(of: step) + next) / 2
            }
        }
        return nil
    }
}

/// A request that stands for a bucket, by its trace (OpenMetrics).
struct Exemplar: Sendable {
    var traceHigh: UInt64 = 0
    var traceLow: UInt64 = 0
    /// Nanoseconds it took, and when it ended by the loop's clock.
    var value: UInt64 = 0
    var moment: UInt64 = 0

    var isThere: Bool { traceHigh | traceLow != 0 }
}
