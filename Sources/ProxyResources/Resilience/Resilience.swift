/// What a route does about failure and load.
package struct RouteResilience: Sendable, Usual {
    package var retry: RetryPolicy?
    package var limits: CircuitLimits?
    package var rateLimits: [RateLimit]
    /// The longest time in which no byte moves.
    package var idleTimeoutMilliseconds: Int?
    /// The longest life of an exchange that has become a stream of bytes (an upgrade), which the route's timeout does not end.
    package var streamTimeoutMilliseconds: Int?

    package init(
        retry: RetryPolicy? = nil, limits: CircuitLimits? = nil, rateLimits: [RateLimit] = [],
        idleTimeoutMilliseconds: Int? = nil, streamTimeoutMilliseconds: Int? = nil
    ) {
        self.retry = retry
        self.limits = limits
        self.rateLimits = rateLimits
        self.idleTimeoutMilliseconds = idleTimeoutMilliseconds
        self.streamTimeoutMilliseconds = streamTimeoutMilliseconds
    }

    package static let none = RouteResilience()
    package static var usual: Self { none }
}

/// How a backend is kept from too much.
package struct BackendResilience: Sendable, Usual {
    package var limits: CircuitLimits?
    /// Absent, the default budget holds where a route retries.
    package var retryBudget: RetryBudget?
    package var adaptiveConcurrency: AdaptiveConcurrency?

    package init(
        limits: CircuitLimits? = nil, retryBudget: RetryBudget? = nil, adaptiveConcurrency: AdaptiveConcurrency? = nil
    ) {
        self.limits = limits
        self.retryBudget = retryBudget
        self.adaptiveConcurrency = adaptiveConcurrency
    }

    package static let none = BackendResilience()
    package static var usual: Self { none }
}
