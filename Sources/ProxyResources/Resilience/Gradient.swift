/// One loop's search for how many requests at once a backend takes well.
///
/// Now and then the line is kept calm (few requests at once) and the fastest half of the responses gives the calm time. From then
/// on each window's time is compared with it: the limit is multiplied by calm / window, at most 1, and a little headroom is
/// added, the square root of the limit. Times in nanoseconds.
package struct Gradient: Sendable {
    private static let mostSamples = 64
    private let rules: AdaptiveConcurrency
    package private(set) var limit: Int
    package private(set) var calm: UInt64 = 0  // 0 until measured
    package private(set) var isCalming = true
    private var before = 0
    private var samples: InlineArray<64, UInt64> = .init(repeating: 0)
    private var sampled = 0  // of this window, also those beyond the 64 kept
    private var windowEnds: UInt64 = 0
    private var calmAt: UInt64 = 0

    package init(_ rules: AdaptiveConcurrency, now: UInt64) {
        self.rules = rules
        limit = rules.minLimit
        before = min(rules.maxLimit, max(rules.minLimit, 20))
        windowEnds = now &+ UInt64(rules.windowMilliseconds) * 1_000_000
    }

    /// Whether one more beside `active` requests is admitted.
    package func admits(active: Int) -> Bool { active < limit }

    /// A response took `time`; `chance` is any number, to keep a fair sample.
    package mutating func sample(_ time: UInt64, now: UInt64, chance: UInt64) {
        if sampled < Self.mostSamples {
            samples[sampled] = time
        } else {
            let place = Int(chance % UInt64(sampled + 1))
            if place < Self.mostSamples { samples[place] = time }
        }
        sampled += 1
        if isCalming {
            if sampled >= rules.calmRequests { endCalm(now) }
        } else if now >= windowEnds {
            endWindow(now)
        }
    }

    private mutating func endCalm(_ now: UInt64) {
        calm = max(1, quantile(50))
        isCalming = false
        limit = before
        calmAt = now &+ UInt64(rules.calmIntervalMilliseconds) * 1_000_000
        startWindow(now)
    }

    private mutating func endWindow(_ now: UInt64) {
        let time = max(1, quantile(rules.percentile))
        let patience = Double(calm) * (1 + Double(rules.bufferPercent) / 100)
        let gradient = max(0.5, min(1, patience / Double(time)))
        let wanted = Double(limit) * gradient + Double(limit).squareRoot()
        limit = min(rules.maxLimit, max(rules.minLimit, Int(wanted)))
        if now >= calmAt {
            before = limit
            limit = rules.minLimit
            isCalming = true
        }
        startWindow(now)
    }

    private mutating func startWindow(_ now: UInt64) {
        sampled = 0
        windowEnds = now &+ UInt64(rules.windowMilliseconds) * 1_000_000
    }

    private func quantile(_ percent: Int) -> UInt64 {
        let count = min(sampled, Self.mostSamples)
        if count == 0 { return 0 }
        var sorted = samples
        // Few and seldom: once a window.
        for place in 1..<max(2, count) where place < count {
            let value = sorted[place]
            var hole = place
            while hole > 0, sorted[hole - 1] > value {
                sorted[hole] = sorted[hole - 1]
                hole -= 1
            }
            sorted[hole] = value
        }
        return sorted[min(count - 1, count * percent / 100)]
    }
}
