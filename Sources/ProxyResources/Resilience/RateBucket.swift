/// A token bucket as one number, the generic cell rate algorithm: the moment at which the bucket will be full again.
///
/// A bucket whose moment has passed is full, and the same as one never used: forgetting it loses nothing. Times in nanoseconds.
package struct RateBucket: Sendable {
    package var interval: UInt64  // from one token to the next
    package var burst: UInt64  // tokens of a full bucket

    package init(requests: Int, perMilliseconds: Int, burst: Int) {
        let window = UInt64(max(1, perMilliseconds)) * 1_000_000
        interval = requests > 0 ? max(1, window / UInt64(requests)) : 0
        self.burst = UInt64(burst > 0 ? burst : max(0, requests))
    }

    package init(_ limit: RateLimit) {
        self.init(requests: limit.requests, perMilliseconds: limit.perMilliseconds, burst: limit.burst)
    }

    package struct Verdict: Sendable, Equatable {
        package var isAdmitted: Bool
        /// The moment to remember.
        package var fullAt: UInt64
        package var remaining: UInt64
        /// How long until a token is there; 0 when admitted.
        package var wait: UInt64
    }

    /// Takes a token at `now` from the bucket that is full at `fullAt` (0 for a new one).
    package func take(fullAt: UInt64, now: UInt64) -> Verdict {
        // No rate at all: nothing passes.
        if interval == 0 || burst == 0 {
            return Verdict(isAdmitted: false, fullAt: fullAt, remaining: 0, wait: 1_000_000_000)
        }
        let start = max(fullAt, now)
        let next = start &+ interval
        let depth = interval &* burst
        if next &- now > depth {
            return Verdict(isAdmitted: false, fullAt: fullAt, remaining: 0, wait: next &- now &- depth)
        }
        return Verdict(isAdmitted: true, fullAt: next, remaining: (depth &- (next &- now)) / interval, wait: 0)
    }
}
