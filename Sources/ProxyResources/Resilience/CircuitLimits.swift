/// How much a backend or a route takes at once, counted over all loops of a proxy. What is not given has no limit.
///
/// A request beyond a limit waits its turn; one beyond `maxPending`, or that has waited too long, gets 503.
package struct CircuitLimits: Sendable, Hashable {
    /// Backends only; connections made for this backend, idle ones too.
    package var maxConnections: Int?
    /// Requests waiting for any of the limits.
    package var maxPending: Int
    package var pendingTimeoutMilliseconds: Int
    /// Requests being worked on.
    package var maxRequests: Int?
    /// Requests being worked on that are repetitions. Those beyond it are not waited for.
    package var maxRetries: Int?
    /// Backends only; after so many a connection is closed.
    package var maxRequestsPerConnection: Int?
    /// Backends only.
    package var connectTimeoutMilliseconds: Int?
    /// Backends only; how long an unused connection is kept.
    package var idleTimeoutMilliseconds: Int?
    /// Backends only; how long nothing may move in a tunnel.
    package var tunnelIdleTimeoutMilliseconds: Int?
    /// Backends only.
    package var keepAlive: TCPKeepAlive?

    package static let defaultPending = 1024
    package static let defaultPendingTimeout = 5000

    package init(
        maxConnections: Int? = nil, maxPending: Int = defaultPending,
        pendingTimeoutMilliseconds: Int = defaultPendingTimeout, maxRequests: Int? = nil, maxRetries: Int? = nil,
        maxRequestsPerConnection: Int? = nil, connectTimeoutMilliseconds: Int? = nil,
        idleTimeoutMilliseconds: Int? = nil
    ) {
        self.maxConnections = maxConnections
        self.maxPending = maxPending
        self.pendingTimeoutMilliseconds = pendingTimeoutMilliseconds
        self.maxRequests = maxRequests
        self.maxRetries = maxRetries
        self.maxRequestsPerConnection = maxRequestsPerConnection
        self.connectTimeoutMilliseconds = connectTimeoutMilliseconds
        self.idleTimeoutMilliseconds = idleTimeoutMilliseconds
    }
}

/// Asks a peer that is silent whether it is still there (SO_KEEPALIVE). 0: as the machine has it.
package struct TCPKeepAlive: Sendable, Hashable {
    package var probes: Int  // unanswered, until it is given up
    package var timeSeconds: Int  // of silence, before the first
    package var intervalSeconds: Int

    package init(probes: Int = 0, timeSeconds: Int = 0, intervalSeconds: Int = 0) {
        self.probes = probes
        self.timeSeconds = timeSeconds
        self.intervalSeconds = intervalSeconds
    }
}

/// A limit on requests at once that finds itself: it falls when responses take longer than they did on a calm line.
/// Each loop of a proxy finds its own.
package struct AdaptiveConcurrency: Sendable, Hashable {
    package var minLimit: Int
    package var maxLimit: Int
    package var windowMilliseconds: Int  // of samples, between two looks
    package var calmIntervalMilliseconds: Int  // between two measurements of the calm line
    package var calmRequests: Int  // samples of one measurement
    package var percentile: Int  // of a window's samples
    package var bufferPercent: Int  // slower than calm by this is still calm

    package init(
        minLimit: Int = 3, maxLimit: Int = 1000, windowMilliseconds: Int = 100,
        calmIntervalMilliseconds: Int = 60_000, calmRequests: Int = 50, percentile: Int = 50, bufferPercent: Int = 25
    ) {
        self.minLimit = minLimit
        self.maxLimit = maxLimit
        self.windowMilliseconds = windowMilliseconds
        self.calmIntervalMilliseconds = calmIntervalMilliseconds
        self.calmRequests = calmRequests
        self.percentile = percentile
        self.bufferPercent = bufferPercent
    }
}
