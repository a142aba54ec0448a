/// A retry policy in plain memory, and what it decides. Times in nanoseconds.
package struct RetryPlan: Sendable {
    package struct Conditions: OptionSet, Sendable {
        package let rawValue: UInt32
        package init(rawValue: UInt32) { self.rawValue = rawValue }

        init(_ condition: RetryCondition) {
            let place = RetryCondition.allCases.firstIndex(of: condition) ?? 0
            self.init(rawValue: 1 << UInt32(place))
        }

        package static let serverError = Self(.serverError)
        package static let gatewayError = Self(.gatewayError)
        package static let connectFailure = Self(.connectFailure)
        package static let refusedStream = Self(.refusedStream)
        package static let reset = Self(.reset)
        package static let resetBeforeRequest = Self(.resetBeforeRequest)
        package static let retriable4xx = Self(.retriable4xx)
        package static let retriableStatusCodes = Self(.retriableStatusCodes)
        package static let retriableHeaders = Self(.retriableHeaders)
        package static let grpcCancelled = Self(.grpcCancelled)
        package static let grpcDeadlineExceeded = Self(.grpcDeadlineExceeded)
        package static let grpcInternal = Self(.grpcInternal)
        package static let grpcResourceExhausted = Self(.grpcResourceExhausted)
        package static let grpcUnavailable = Self(.grpcUnavailable)
    }

    package var conditions: Conditions = []
    /// Statuses 0 to 639, a bit each.
    private var codes: InlineArray<10, UInt64> = .init(repeating: 0)
    package var attempts = 0
    package var tryTime: UInt64 = 0  // 0 for none
    package var backoffBase: UInt64 = 0
    package var backoffMax: UInt64 = 0
    package var retryAfterMax: UInt64 = 0
    package var bodyBytes = 0
    package var idempotentOnly = false
    package var avoidsTried = true

    /// No policy: only what is safe.
    package init() {}

    package init(_ policy: RetryPolicy) {
        for condition in policy.conditions { conditions.insert(Conditions(condition)) }
        for code in policy.statusCodes where (0..<640).contains(code) { codes[code / 64] |= 1 << UInt64(code % 64) }
        attempts = policy.attempts
        tryTime = UInt64(policy.perTryTimeoutMilliseconds ?? 0) * 1_000_000
        backoffBase = UInt64(max(0, policy.backoffBaseMilliseconds)) * 1_000_000
        backoffMax = UInt64(max(0, policy.backoffMaxMilliseconds)) * 1_000_000
        retryAfterMax = UInt64(max(0, policy.retryAfterMaxMilliseconds)) * 1_000_000
        bodyBytes = policy.bodyBytes
        idempotentOnly = policy.idempotentOnly
        avoidsTried = policy.avoidsTried
    }

    func names(_ status: Int) -> Bool {
        (0..<640).contains(status) && codes[status / 64] & (1 << UInt64(status % 64)) != 0
    }
}

/// How a try ended.
package enum TryOutcome: Sendable, Equatable {
    /// A response's head; `grpcStatus` is -1 when it has none, `namedHeader` says one of the policy's headers is there.
    case response(status: Int, grpcStatus: Int, namedHeader: Bool)
    case connectFailure
    /// HTTP/2: the peer took back the stream, or went away without looking at it (RFC 9113 §8.7).
    case refusedStream
    /// The connection ended without a response; `isSent` says whether the whole request had left.
    case reset(isSent: Bool)
    /// The time of one try passed.
    case tryTimedOut
}

/// Where a request stands when a try has ended.
package struct RetryStanding: Sendable {
    package var repetitions = 0  // made so far
    package var isIdempotent = true
    /// Nobody can have worked on the request.
    package var isUnprocessed = false
    /// The bytes sent so far are still here.
    package var isKept = true
    /// A hop before this one will repeat the request itself.
    package var outerRepeats = false

    package init(
        repetitions: Int = 0, isIdempotent: Bool = true, isUnprocessed: Bool = false, isKept: Bool = true,
        outerRepeats: Bool = false
    ) {
        self.repetitions = repetitions
        self.isIdempotent = isIdempotent
        self.isUnprocessed = isUnprocessed
        self.isKept = isKept
        self.outerRepeats = outerRepeats
    }
}

/// Why a try that the policy would repeat is not repeated.
package enum RetryRefusal: UInt8, Sendable, CaseIterable {
    case none, attempts, bodyTooLarge, method, outerHop, budget, limit, retryAfter, deadline

    /// As `x-weft-retry-refused` says it.
    package var word: StaticString {
        switch self {
        case .none: ""
        case .attempts: "attempts"
        case .bodyTooLarge: "body_too_large"
        case .method: "method"
        case .outerHop: "outer_hop"
        case .budget: "budget"
        case .limit: "limit"
        case .retryAfter: "retry_after"
        case .deadline: "deadline"
        }
    }
}

package enum RetryDecision: Sendable, Equatable {
    /// What came is the answer.
    case accept
    /// Budget, limits and time may still forbid it.
    case again
    case refuse(RetryRefusal)
}

extension RetryPlan {
    /// Whether the conditions name this outcome.
    package func wants(_ outcome: TryOutcome) -> Bool {
        switch outcome {
        case .response(let status, let grpcStatus, let namedHeader):
            if conditions.contains(.serverError) && status >= 500 && status < 600 { return true }
            if conditions.contains(.gatewayError) && status >= 502 && status <= 504 { return true }
            if conditions.contains(.retriable4xx) && status == 409 { return true }
            if names(status) { return true }
            if conditions.contains(.retriableHeaders) && namedHeader { return true }
            switch grpcStatus {
            case 1: return conditions.contains(.grpcCancelled)
            case 4: return conditions.contains(.grpcDeadlineExceeded)
            case 8: return conditions.contains(.grpcResourceExhausted)
            case 13: return conditions.contains(.grpcInternal)
            case 14: return conditions.contains(.grpcUnavailable)
            default: return false
            }
        case .connectFailure:
            return !conditions.isDisjoint(with: [.connectFailure, .serverError, .gatewayError])
        case .refusedStream:
            return !conditions.isDisjoint(with: [.refusedStream, .serverError, .gatewayError])
        case .reset(let isSent):
            if !isSent && conditions.contains(.resetBeforeRequest) { return true }
            return !conditions.isDisjoint(with: [.reset, .serverError, .gatewayError])
        case .tryTimedOut: return !conditions.isDisjoint(with: [.reset, .serverError, .gatewayError])
        }
    }

    /// What the policy says of a try that has ended. What nobody worked on is not asked about here: that is repeated without a policy.
    package func decide(_ outcome: TryOutcome, _ standing: RetryStanding) -> RetryDecision {
        if attempts == 0 || !wants(outcome) { return .accept }
        if standing.outerRepeats { return .refuse(.outerHop) }
        if idempotentOnly && !standing.isIdempotent && !standing.isUnprocessed { return .refuse(.method) }
        if standing.repetitions >= attempts { return .refuse(.attempts) }
        if !standing.isKept { return .refuse(.bodyTooLarge) }
        return .again
    }

    /// The time before repetition `number` (from 1), with full jitter: `chance` is any number.
    package func backoff(before number: Int, chance: UInt64) -> UInt64 {
        if backoffBase == 0 { return 0 }
        let doublings = UInt64(min(max(0, number - 1), 20))
        let ceiling = min(backoffMax, backoffBase << doublings)
        return ceiling == 0 ? 0 : chance % (ceiling + 1)
    }

    /// The time before a repetition when the response asked for `retryAfter` (0: it did not); nil when that is too long.
    package func delay(before number: Int, chance: UInt64, retryAfter: UInt64) -> UInt64? {
        if retryAfter > retryAfterMax { return nil }
        return max(retryAfter, backoff(before: number, chance: chance))
    }
}
