/// When a route's requests are sent again, how often and how fast.
///
/// Without a policy a request is sent again only when it is known that nobody worked on it.
package struct RetryPolicy: Sendable, Hashable {
    /// Tries after the first.
    package var attempts: Int
    package var conditions: [RetryCondition]
    package var statusCodes: [Int]  // of responses, besides those the conditions name
    package var responseHeaders: [HeaderMatch]  // any of them in a response
    package var perTryTimeoutMilliseconds: Int?  // until the response's head
    /// Before try n a time is drawn between 0 and base x 2^(n-1), at most `backoffMaxMilliseconds`.
    package var backoffBaseMilliseconds: Int
    package var backoffMaxMilliseconds: Int
    /// A `retry-after` up to this is waited for; one beyond it ends the tries.
    package var retryAfterMaxMilliseconds: Int
    /// Requests whose body is longer are not kept, so not sent again.
    package var bodyBytes: Int
    /// Only methods that may be repeated without harm (RFC 9110 §9.2.2).
    package var idempotentOnly: Bool
    /// Other endpoints are preferred to those tried before.
    package var avoidsTried: Bool

    package static let mostAttempts = 20
    package static let defaultBodyBytes = 65536
    package static let mostBodyBytes = 196_608

    package init(
        attempts: Int = 2, conditions: [RetryCondition] = [], statusCodes: [Int] = [],
        responseHeaders: [HeaderMatch] = [], perTryTimeoutMilliseconds: Int? = nil, backoffBaseMilliseconds: Int = 25,
        backoffMaxMilliseconds: Int? = nil, retryAfterMaxMilliseconds: Int = 5000,
        bodyBytes: Int = defaultBodyBytes, idempotentOnly: Bool = false, avoidsTried: Bool = true
    ) {
        self.attempts = attempts
        self.conditions = conditions
        self.statusCodes = statusCodes
        self.responseHeaders = responseHeaders
        self.perTryTimeoutMilliseconds = perTryTimeoutMilliseconds
        self.backoffBaseMilliseconds = backoffBaseMilliseconds
        self.backoffMaxMilliseconds = backoffMaxMilliseconds ?? backoffBaseMilliseconds * 10
        self.retryAfterMaxMilliseconds = retryAfterMaxMilliseconds
        self.bodyBytes = bodyBytes
        self.idempotentOnly = idempotentOnly
        self.avoidsTried = avoidsTried
    }
}

/// What may have happened to a try, by the words of Envoy and Istio.
package enum RetryCondition: String, Sendable, CaseIterable {
    /// Any 5xx, or no response at all: reset, per-try timeout, failed connection.
    case serverError = "5xx"
    /// 502, 503, 504, or no response at all.
    case gatewayError = "gateway-error"
    case connectFailure = "connect-failure"
    case refusedStream = "refused-stream"
    /// The connection ended or the try's time passed before a response.
    case reset
    /// Ended before the whole request was sent.
    case resetBeforeRequest = "reset-before-request"
    case retriable4xx = "retriable-4xx"  // 409
    case retriableStatusCodes = "retriable-status-codes"
    case retriableHeaders = "retriable-headers"
    case grpcCancelled = "cancelled"  // 1
    case grpcDeadlineExceeded = "deadline-exceeded"  // 4
    case grpcInternal = "internal"  // 13
    case grpcResourceExhausted = "resource-exhausted"  // 8
    case grpcUnavailable = "unavailable"  // 14
}

/// How many of a backend's requests may be repetitions: a share of those of the last window, and besides a few a second.
/// Each loop of a proxy counts its own.
package struct RetryBudget: Sendable, Hashable {
    package var percent: Int
    package var minPerSecond: Int
    package var windowMilliseconds: Int

    package static let `default` = RetryBudget()

    package init(percent: Int = 20, minPerSecond: Int = 3, windowMilliseconds: Int = 10_000) {
        self.percent = percent
        self.minPerSecond = minPerSecond
        self.windowMilliseconds = windowMilliseconds
    }
}
