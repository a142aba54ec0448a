/// When an endpoint is taken out of use for a while because of how it answers. A count of 0 turns its rule off.
package struct OutlierPolicy: Sendable, Hashable {
    package enum LocalFailures: String, Sendable, Hashable {
        /// Failed connections, resets and time-outs count as 502, 503 and 504 do.
        case asErrors = ""
        /// They count for `consecutiveLocalFailures` only.
        case apart = "APART"
    }
    package var consecutiveErrors: Int  // 5xx
    package var consecutiveGatewayErrors: Int  // 502, 503, 504
    package var consecutiveLocalFailures: Int
    package var localFailures: LocalFailures
    /// How often rates are looked at, and an ejection is forgiven.
    package var intervalMilliseconds: Int
    /// The first ejection's length; the n-th lasts n times as long.
    package var ejectionMilliseconds: Int
    package var longestEjectionMilliseconds: Int
    package var mostEjectedPercent: Int
    /// Endpoints whose success rate is below the mean by so many hundredths of the standard deviation.
    package var successRateDeviationPercent: Int
    package var failurePercent: Int
    /// Endpoints, and requests to each in an interval, without which rates are not looked at.
    package var rateMinimumHosts: Int
    package var rateMinimumRequests: Int

    package init(
        consecutiveErrors: Int = 5, consecutiveGatewayErrors: Int = 0, consecutiveLocalFailures: Int = 5,
        localFailures: LocalFailures = .asErrors, intervalMilliseconds: Int = 10_000,
        ejectionMilliseconds: Int = 30_000, longestEjectionMilliseconds: Int = 300_000, mostEjectedPercent: Int = 10,
        successRateDeviationPercent: Int = 0, failurePercent: Int = 0, rateMinimumHosts: Int = 5,
        rateMinimumRequests: Int = 100
    ) {
        self.consecutiveErrors = consecutiveErrors
        self.consecutiveGatewayErrors = consecutiveGatewayErrors
        self.consecutiveLocalFailures = consecutiveLocalFailures
        self.localFailures = localFailures
        self.intervalMilliseconds = intervalMilliseconds
        self.ejectionMilliseconds = ejectionMilliseconds
        self.longestEjectionMilliseconds = longestEjectionMilliseconds
        self.mostEjectedPercent = mostEjectedPercent
        self.successRateDeviationPercent = successRateDeviationPercent
        self.failurePercent = failurePercent
        self.rateMinimumHosts = rateMinimumHosts
        self.rateMinimumRequests = rateMinimumRequests
    }
}

/// How the proxy asks endpoints whether they are well, beside what it sees of their answers.
package struct HealthCheck: Sendable, Hashable {
    package enum Kind: String, Sendable, Hashable {
        case http = "HTTP"
        case tcp = "TCP"
        case grpc = "GRPC"
    }
    package var kind: Kind
    package var path: String  // HTTP
    package var host: String  // HTTP and gRPC; empty for the backend's service
    package var grpcService: String
    package var port: Int?  // nil for the endpoint's own
    package var statuses: [Int]  // HTTP; empty for 200...299
    package var intervalMilliseconds: Int
    package var timeoutMilliseconds: Int
    package var healthyThreshold: Int
    package var unhealthyThreshold: Int

    package init(
        _ kind: Kind, path: String = "/", host: String = "", grpcService: String = "", port: Int? = nil,
        statuses: [Int] = [], intervalMilliseconds: Int = 5_000, timeoutMilliseconds: Int = 1_000,
        healthyThreshold: Int = 2, unhealthyThreshold: Int = 3
    ) {
        self.kind = kind
        self.path = path
        self.host = host
        self.grpcService = grpcService
        self.port = port
        self.statuses = statuses
        self.intervalMilliseconds = intervalMilliseconds
        self.timeoutMilliseconds = timeoutMilliseconds
        self.healthyThreshold = healthyThreshold
        self.unhealthyThreshold = unhealthyThreshold
    }
}
