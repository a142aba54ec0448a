/// A rate limit whose budget all proxies share: the control plane owns it, and leases tokens of it out.
package struct GlobalQuota: Sendable, Hashable {
    /// What holds for a proxy whose lease has ended, since it cannot reach the control plane.
    package enum Loss: String, Sendable, Hashable, CaseIterable {
        /// Its part of the limit: as many proxies as used the key last share it evenly.
        case share
        /// Everything passes.
        case open
        /// Nothing passes.
        case closed
    }

    /// `namespace/name`: limits of one name in a namespace share one budget. Given by the mesh.
    package var budget: String
    package var whenLost: Loss

    package init(budget: String, whenLost: Loss = .share) {
        self.budget = budget
        self.whenLost = whenLost
    }
}

/// The arithmetic of a global limit, on which proxies and the control plane agree.
package struct QuotaTerms: Sendable, Hashable {
    /// Tokens that come back in a nanosecond.
    package let rate: Double
    /// Tokens of a full bucket.
    package let burst: Double
    /// What a proxy may admit of a key it meets for the first time, before it has a lease. The control plane deducts it.
    package let allowance: Int64
    /// Keys remembered, by each proxy and by the control plane.
    package let keys: Int

    /// For how long a proxy may use its tokens after it last heard from the control plane, in nanoseconds.
    package static let lease: UInt64 = 2_000_000_000
    /// How much of the rate may be in the hands of proxies on top of a burst: so many nanoseconds of it.
    package static let ahead: UInt64 = 500_000_000

    package init(_ limit: RateLimit) {
        let bucket = RateBucket(limit)
        rate = bucket.interval == 0 ? 0 : 1 / Double(bucket.interval)
        burst = bucket.interval == 0 ? 0 : Double(bucket.burst)
        allowance = burst < 1 ? 0 : Int64(min(10, max(1, burst / 10)))
        keys = limit.key == .none ? 1 : limit.maxKeys
    }

    /// Tokens that come back while some are used ahead.
    package var advance: Double { rate * Double(Self.ahead) }

    /// How full a bucket may be while proxies hold tokens of it. What is in the bucket and what is held are never more than
    /// `burst + advance` together, and never more than `burst` when nobody holds any.
    package func capacity(held: Int64) -> Double {
        let held = Double(held)
        return min(max(burst - held, advance), burst + advance - held)
    }
}
