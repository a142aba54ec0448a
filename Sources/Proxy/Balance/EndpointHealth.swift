import ProxyResources

/// How an attempt on an endpoint came out, as ejection sees it.
enum AttemptOutcome: UInt8 {
    case success
    /// 500, 501, 505 and above.
    case error
    /// 502, 503 and 504.
    case gatewayError
    /// No response: the connection failed, broke or was silent for too long.
    case localFailure

    init(status: UInt16) {
        switch status {
        case 502...504: self = .gatewayError
        case 500...: self = .error
        default: self = .success
        }
    }

    /// A call of gRPC answers 200 and says at its end what came of it. Its codes count as the statuses of HTTP they stand for.
    init(grpcStatus: UInt8) {
        switch grpcStatus {
        case 2, 12, 13, 15: self = .error  // unknown, unimplemented, internal, data loss
        case 4, 14: self = .gatewayError  // deadline exceeded, unavailable
        default: self = .success
        }
    }
}

/// The rule an endpoint was ejected by.
enum EjectionCause: UInt8, Sendable, CaseIterable {
    case none, consecutiveErrors, consecutiveGatewayErrors, consecutiveLocalFailures, successRate, failurePercentage

    var word: String {
        switch self {
        case .none: ""
        case .consecutiveErrors: "consecutive_5xx"
        case .consecutiveGatewayErrors: "consecutive_gateway_errors"
        case .consecutiveLocalFailures: "consecutive_local_failures"
        case .successRate: "success_rate"
        case .failurePercentage: "failure_percentage"
        }
    }
}

/// An `OutlierPolicy` in the engine's units. Times in nanoseconds.
struct EjectionRules {
    var errors: UInt32 = 0
    var gatewayErrors: UInt32 = 0
    var localFailures: UInt32 = 0
    var areLocalFailuresApart = false
    var interval: UInt64 = 0
    var ejection: UInt64 = 0
    var longest: UInt64 = 0
    var mostEjectedPercent = 0
    /// Standard deviations below the mean; 0 is off.
    var deviation = 0.0
    /// 0 is off.
    var failurePercent = 0
    var minimumHosts = 1
    var minimumRequests: UInt32 = 1
    /// Nothing is ejected without a policy.
    var isOn = false

    init() {}

    init(_ policy: OutlierPolicy) {
        errors = UInt32(clamping: policy.consecutiveErrors)
        gatewayErrors = UInt32(clamping: policy.consecutiveGatewayErrors)
        localFailures = UInt32(clamping: policy.consecutiveLocalFailures)
        areLocalFailuresApart = policy.localFailures == .apart
        interval = nanoseconds(milliseconds: policy.intervalMilliseconds)
        ejection = nanoseconds(milliseconds: policy.ejectionMilliseconds)
        longest = max(ejection, nanoseconds(milliseconds: policy.longestEjectionMilliseconds))
        mostEjectedPercent = policy.mostEjectedPercent
        deviation = Double(policy.successRateDeviationPercent) / 100
        failurePercent = policy.failurePercent
        minimumHosts = policy.rateMinimumHosts
        minimumRequests = UInt32(clamping: policy.rateMinimumRequests)
        isOn = true
    }

    var looksAtRates: Bool { isOn && (deviation > 0 || failurePercent > 0) }

    /// Whether one more endpoint may go. One always may, of several: a limit that rounds down to none would protect nobody.
    func mayEject(ejected: Int, of total: Int) -> Bool {
        if mostEjectedPercent == 0 || total < 2 { return false }
        return ejected == 0 || (ejected + 1) * 100 <= mostEjectedPercent * total
    }
}

func nanoseconds(milliseconds: Int) -> UInt64 { UInt64(max(0, milliseconds)) * 1_000_000 }

/// What all loops together know of one endpoint's health. A state machine without a clock: times come with each event.
struct EndpointHealth {
    private(set) var errors: UInt32 = 0
    private(set) var gatewayErrors: UInt32 = 0
    private(set) var localFailures: UInt32 = 0
    /// Ejections not yet forgiven: the next lasts so many times longer, and once more.
    private(set) var ejections: UInt32 = 0
    private(set) var ejectedUntil: UInt64 = 0
    private(set) var cause = EjectionCause.none
    /// By active checks.
    private(set) var isUnwell = false
    /// When it was first seen, or last came back: its slow start begins there.
    private(set) var since: UInt64
    // Of the present interval.
    var succeeded: UInt32 = 0
    var failed: UInt32 = 0
    /// Of the last interval with requests; -1 before the first.
    var successPercent: Int8 = -1

    init(since: UInt64) { self.since = since }

    /// Not to be used before; `.max` while active checks fail.
    var awayUntil: UInt64 { isUnwell ? .max : ejectedUntil }

    /// Whether a success would change anything.
    var isTroubled: Bool { errors != 0 || gatewayErrors != 0 || localFailures != 0 }

    /// - Returns: the rule that is broken now. Its count starts again, whether or not the endpoint is ejected.
    mutating func note(_ outcome: AttemptOutcome, _ rules: EjectionRules) -> EjectionCause {
        switch outcome {
        case .success: (errors, gatewayErrors, localFailures) = (0, 0, 0)
        case .error:
            errors &+= 1
            (gatewayErrors, localFailures) = (0, 0)
        case .gatewayError:
            errors &+= 1
            gatewayErrors &+= 1
            localFailures = 0
        case .localFailure:
            if rules.areLocalFailuresApart {
                localFailures &+= 1
            } else {
                errors &+= 1
                gatewayErrors &+= 1
            }
        }
        if rules.gatewayErrors > 0 && gatewayErrors >= rules.gatewayErrors {
            gatewayErrors = 0
            return .consecutiveGatewayErrors
        }
        if rules.errors > 0 && errors >= rules.errors {
            errors = 0
            return .consecutiveErrors
        }
        if rules.localFailures > 0 && localFailures >= rules.localFailures {
            localFailures = 0
            return .consecutiveLocalFailures
        }
        return .none
    }

    /// A connection was made.
    mutating func noteConnected() { localFailures = 0 }

    /// Takes the endpoint out of use. Each time it lasts longer; each interval it was well makes up for one time.
    mutating func eject(_ why: EjectionCause, _ rules: EjectionRules, at now: UInt64) {
        if now < ejectedUntil { return }
        if ejections > 0 && rules.interval > 0 {
            let well = (now - ejectedUntil) / rules.interval
            ejections -= UInt32(min(well, UInt64(ejections)))
        }
        ejections += 1
        let times = UInt64(min(ejections, 1_000_000))
        ejectedUntil = now + min(rules.ejection * times, rules.longest)
        since = max(since, ejectedUntil)
        cause = why
        (errors, gatewayErrors, localFailures) = (0, 0, 0)
    }

    /// Active checks have come to another verdict.
    /// - Returns: whether that is a change.
    mutating func checked(isWell: Bool, at now: UInt64) -> Bool {
        if isUnwell != isWell { return false }
        isUnwell = !isWell
        if isWell { since = max(since, now) }
        return true
    }
}

/// Finds endpoints that answer worse than the others, once an interval.
enum RateOutliers {
    struct Count {
        var succeeded: UInt32
        var failed: UInt32
        var total: UInt32 { succeeded &+ failed }
        var successRate: Double { Double(succeeded) / Double(max(1, total)) }
    }

    /// Places of those to eject, worst first.
    static func find(_ counts: [Count], _ rules: EjectionRules) -> [(place: Int, cause: EjectionCause)] {
        let busy = counts.indices.filter { counts[$0].total >= max(1, rules.minimumRequests) }
        if busy.count < rules.minimumHosts { return [] }
        let rates = busy.map { counts[$0].successRate }
        var threshold = -1.0
        if rules.deviation > 0 {
            let mean = rates.reduce(0, +) / Double(rates.count)
            let variance = rates.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(rates.count)
            threshold = mean - rules.deviation * variance.squareRoot()
        }
        var found: [(place: Int, cause: EjectionCause)] = []
        for (place, rate) in zip(busy, rates) {
            if rate < threshold - 1e-9 {
                found.append((place, .successRate))
            } else if rules.failurePercent > 0 && (1 - rate) * 100 >= Double(rules.failurePercent) {
                found.append((place, .failurePercentage))
            }
        }
        return found.sorted { counts[$0.place].successRate < counts[$1.place].successRate }
    }
}
