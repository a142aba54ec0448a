import ProxyResources

/// What a proxy holds of one key of a global limit. Times in nanoseconds of the loops' clock.
struct Lease {
    /// 0 for an empty place.
    var key: UInt64
    /// Those that may be taken.
    var tokens: Int64
    // Counted from when the key was joined on this stream.
    var granted: Int64 = 0
    var taken: Int64 = 0
    var returned: Int64 = 0
    /// Refused for want of tokens, or waiting for some, since the last report.
    var missed: Int64 = 0
    /// Taken when last reported.
    var reported: Int64 = 0
    var want: Int64 = 0
    /// Requests in a second, as last estimated.
    var demand: Double = 0
    /// Left in the control plane's bucket, as it last said, which may be less than nothing; unknown while `levelAt` is 0.
    var level: Int64 = 0
    var levelAt: UInt64 = 0
    var holders: UInt32 = 0
    var isJoined = false
    /// The control plane has answered to what was last wanted.
    var isAnswered = false
    /// Without the control plane: when this proxy's part of the bucket is full again; 0 with it.
    var fullAt: UInt64 = 0
    var usedAt: UInt64
    var reportedAt: UInt64

    init(key: UInt64, tokens: Int64, now: UInt64) {
        self.key = key
        self.tokens = tokens
        granted = tokens
        usedAt = now
        reportedAt = now
    }

    /// How full the bucket may be by now, as far as this proxy knows; -1 when it knows nothing.
    func level(_ terms: QuotaTerms, now: UInt64) -> Double {
        if fullAt > 0 {
            let part = RateBucket(terms, part: holders)
            let missing = fullAt > now ? Double(fullAt - now) / Double(max(1, part.interval)) : 0
            return max(0, terms.burst - missing * Double(max(1, holders)))
        }
        if levelAt == 0 { return -1 }
        return max(0, min(terms.burst, Double(level) + terms.rate * Double(now - min(now, levelAt))))
    }

    /// The control plane has lately said that nothing is left, and little can have come since.
    func isDry(_ terms: QuotaTerms, now: UInt64) -> Bool {
        if terms.burst < 1 { return true }
        if !isAnswered || level >= 1 { return false }
        let passed = now - min(now, levelAt)
        return passed < Self.fresh || Double(level) + terms.rate * Double(passed) < 1
    }

    /// The key is used again after a rest: a few tokens are taken at once, if there should be some.
    mutating func begin(_ terms: QuotaTerms, now: UInt64) {
        if granted > 0 || fullAt > 0 { return }
        let known = level(terms, now: now)
        tokens = known < 1 ? 0 : min(terms.allowance, Int64(known))
        granted = tokens
    }

    /// The next report on this lease; nil when there is nothing to say.
    mutating func report(_ terms: QuotaTerms, now: UInt64) -> QuotaReport.Line? {
        let used = taken - reported + missed
        let passed = max(Double(now - min(now, reportedAt)), 10_000_000)
        let rate = Double(used) * 1_000_000_000 / passed
        demand = rate > demand ? rate : demand * 0.7 + rate * 0.3
        let rested = now - min(now, usedAt)
        let wanted = rested > (level < 1 ? Self.rest : Self.longRest) ? 0 : Int64(min(demand * Self.horizon, 1e12)) + 1
        // Tokens beyond double of what is wanted go back.
        if isJoined && tokens > wanted * 2 {
            let back = tokens - wanted
            tokens -= back
            returned += back
        }
        let isSettled = settle(terms, now: now)
        let isDone = wanted == 0 && tokens == 0 && used == 0 && !isSettled
        let isSame = used == 0 && wanted == want && now - min(now, reportedAt) < Self.repeats
        if isJoined && isSame && !isDone && !isSettled { return nil }
        var line = QuotaReport.Line(key: key)
        if isSettled { line.level = level }
        if !isJoined {
            line.joins = true
            line.held = granted
            line.level = max(-1, Int64(level(terms, now: now)))
            // Only to say what is known.
            line.leaves = wanted == 0 && tokens == 0 && taken == 0
        } else {
            line.leaves = isDone
        }
        (line.taken, line.returned, line.want) = (taken, returned, wanted)
        isJoined = !line.leaves
        // Waiting requests go on waiting until this is answered.
        if wanted > tokens { isAnswered = false }
        want = wanted
        reported = taken
        missed = 0
        reportedAt = now
        if line.leaves { restart() }
        return line
    }

    /// Nothing is held on a stream. What is known of the bucket stays known.
    mutating func restart() {
        (tokens, granted, taken, returned, reported, want) = (0, 0, 0, 0, 0, 0)
        isJoined = false
        isAnswered = false
    }

    /// What the control plane answers.
    mutating func take(_ line: QuotaGrants.Line, now: UInt64) {
        guard isJoined else { return }
        let told = min(max(granted, line.granted), 1 << 60)
        tokens += told - granted
        granted = told
        (level, levelAt, holders) = (line.level, now, line.holders)
        isAnswered = true
    }

    /// What was admitted of this proxy's own part becomes knowledge of the whole bucket; false when there was nothing.
    mutating func settle(_ terms: QuotaTerms, now: UInt64) -> Bool {
        if fullAt == 0 { return false }
        level = Int64(level(terms, now: now))
        (levelAt, fullAt) = (now, 0)
        return true
    }

    /// Seconds of demand to hold tokens for.
    private static let horizon = 0.3
    /// Tokens of a key not asked for in this time are given back, sooner when no others are left.
    private static let rest: UInt64 = 1_000_000_000
    private static let longRest: UInt64 = 5_000_000_000
    /// For so long what the control plane says is not asked for again.
    private static let fresh: UInt64 = 250_000_000
    /// A key in use is spoken of at least this often.
    private static let repeats: UInt64 = 3_000_000_000
}

extension RateBucket {
    /// One proxy's part of a limit.
    init(_ terms: QuotaTerms, part holders: UInt32) {
        let parts = Double(max(1, holders))
        self.init(requests: 1, perMilliseconds: 1, burst: max(1, Int(terms.burst / parts)))
        interval = terms.rate > 0 ? max(1, UInt64(min(parts / terms.rate, 1e17))) : 0
    }
}
