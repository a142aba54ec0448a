import Glibc

/// How long an endpoint takes to answer, by what it did lately. It follows a rise at once and a fall slowly, so that an endpoint that
/// gets slow loses its requests before they pile up (peak EWMA).
struct LatencyEstimate {
    /// Nanoseconds; 0 while nothing is known.
    private(set) var value: Double = 0
    private(set) var at: UInt64 = 0

    mutating func add(_ nanoseconds: Double, at now: UInt64, decay: Double) {
        let present = current(at: now, decay: decay)
        if nanoseconds >= present {
            value = nanoseconds
        } else {
            let weight = now > at ? exp(-Double(now - at) / decay) : 1
            value = max(1, value * weight + nanoseconds * (1 - weight))
        }
        at = now
    }

    /// Without news the estimate fades, so that an endpoint that was bad is tried again.
    func current(at now: UInt64, decay: Double) -> Double {
        if value == 0 || now <= at { return value }
        return max(1, value * exp(-Double(now - at) / decay))
    }

    /// What one more request would wait: smaller is better. An endpoint nothing is known of gets one request first, then waits for it.
    func cost(active: Int32, at now: UInt64, decay: Double) -> Double {
        if value == 0 { return active <= 0 ? 0 : Double(active) * 1e12 }
        return current(at: now, decay: decay) * Double(max(0, active) + 1)
    }
}

/// The share of its weight an endpoint gets while it is new.
struct SlowStartRamp {
    /// Nanoseconds; 0 is off.
    var window: UInt64 = 0
    var exponent = 1.0
    var minimum = 0.1

    func share(since: UInt64, at now: UInt64) -> Double {
        if window == 0 { return 1 }
        if now <= since { return minimum }
        let elapsed = now - since
        if elapsed >= window { return 1 }
        return max(minimum, pow(Double(elapsed) / Double(window), exponent))
    }
}
