import ProxyResources
import Testing

@Suite struct RetryDecisionTests {
    private func plan(_ conditions: [RetryCondition], codes: [Int] = [], attempts: Int = 2) -> RetryPlan {
        RetryPlan(RetryPolicy(attempts: attempts, conditions: conditions, statusCodes: codes))
    }
    private func response(_ status: Int, grpc: Int = -1, named: Bool = false) -> TryOutcome {
        .response(status: status, grpcStatus: grpc, namedHeader: named)
    }

    @Test("each condition names the outcomes it should and no others")
    func conditions() {
        let outcomes: [(TryOutcome, Set<RetryCondition>)] = [
            (response(500), [.serverError]), (response(502), [.serverError, .gatewayError]),
            (response(503), [.serverError, .gatewayError]), (response(504), [.serverError, .gatewayError]),
            (response(409), [.retriable4xx]), (response(404), []), (response(200), []), (response(429), []),
            (response(200, named: true), [.retriableHeaders]), (response(200, grpc: 0), []),
            (response(200, grpc: 1), [.grpcCancelled]), (response(200, grpc: 4), [.grpcDeadlineExceeded]),
            (response(200, grpc: 8), [.grpcResourceExhausted]), (response(200, grpc: 13), [.grpcInternal]),
            (response(200, grpc: 14), [.grpcUnavailable]),
            (.connectFailure, [.serverError, .gatewayError, .connectFailure]),
            (.refusedStream, [.serverError, .gatewayError, .refusedStream]),
            (.reset(isSent: true), [.serverError, .gatewayError, .reset]),
            (.reset(isSent: false), [.serverError, .gatewayError, .reset, .resetBeforeRequest]),
            (.tryTimedOut, [.serverError, .gatewayError, .reset]),
        ]
        for (outcome, naming) in outcomes {
            for condition in RetryCondition.allCases {
                #expect(plan([condition]).wants(outcome) == naming.contains(condition), "\(condition) \(outcome)")
            }
        }
        #expect(plan([], codes: [429, 503]).wants(response(429)))
        #expect(!plan([], codes: [429, 503]).wants(response(500)))
    }

    @Test("a try is repeated only while the policy, the bytes, the method and the outer hops allow it")
    func standing() {
        let plan = plan([.serverError])
        #expect(plan.decide(response(200), RetryStanding()) == .accept)
        #expect(plan.decide(response(500), RetryStanding(repetitions: 1)) == .again)
        #expect(plan.decide(response(500), RetryStanding(repetitions: 2)) == .refuse(.attempts))
        #expect(plan.decide(response(500), RetryStanding(isKept: false)) == .refuse(.bodyTooLarge))
        #expect(plan.decide(response(500), RetryStanding(outerRepeats: true)) == .refuse(.outerHop))
        let careful = RetryPlan(RetryPolicy(conditions: [.serverError], idempotentOnly: true))
        #expect(careful.decide(response(500), RetryStanding(isIdempotent: false)) == .refuse(.method))
        #expect(careful.decide(.connectFailure, RetryStanding(isIdempotent: false, isUnprocessed: true)) == .again)
        #expect(RetryPlan().decide(response(500), RetryStanding()) == .accept, "without a policy nothing is")
    }

    @Test("backoff doubles its ceiling up to the maximum, and draws anything below it")
    func backoff() {
        let plan = RetryPlan(RetryPolicy(backoffBaseMilliseconds: 10, backoffMaxMilliseconds: 60))
        let milli: UInt64 = 1_000_000
        for (number, ceiling) in [(1, 10), (2, 20), (3, 40), (4, 60), (30, 60)] {
            let most = UInt64(ceiling) * milli
            #expect(plan.backoff(before: number, chance: most) == most)
            #expect(plan.backoff(before: number, chance: most + 1) == 0)
            for _ in 0..<50 { #expect(plan.backoff(before: number, chance: .random(in: 0...(.max / 2))) <= most) }
        }
        #expect(plan.delay(before: 1, chance: 0, retryAfter: 3000 * milli) == 3000 * milli)
        #expect(plan.delay(before: 1, chance: 0, retryAfter: 5001 * milli) == nil)
        let none = RetryPlan(RetryPolicy(backoffBaseMilliseconds: 0, backoffMaxMilliseconds: 60))
        #expect(none.backoff(before: 3, chance: 12345) == 0)
    }

    @Test("a budget admits its share of the last window's requests, and besides a few a second")
    func budget() {
        let budget = RetryBudget(percent: 20, minPerSecond: 3, windowMilliseconds: 10_000)
        let second: UInt64 = 1_000_000_000
        var count = RetryBudgetCount()
        var now = second
        for _ in 0..<100 { count.requested(budget, now: now) }
        var admitted = 0
        for _ in 0..<100 where count.take(budget, now: now) { admitted += 1 }
        #expect(admitted == 23, "20 of 100, and 3")
        now += second
        admitted = 0
        for _ in 0..<100 where count.take(budget, now: now) { admitted += 1 }
        #expect(admitted == 3, "nothing but the reserve has come back")
        // A steady stream in which everything fails: a fifth more, and three a second.
        count = RetryBudgetCount()
        admitted = 0
        for _ in 0..<3000 {
            now += second / 100
            count.requested(budget, now: now)
            if count.take(budget, now: now) { admitted += 1 }
        }
        #expect((600...700).contains(admitted), "30 s at 100 a second gave \(admitted)")
    }

    @Test("a bucket holds its burst, fills at its rate, and tells how long to wait")
    func bucket() {
        let bucket = RateBucket(requests: 10, perMilliseconds: 1000, burst: 4)
        let start: UInt64 = 5_000_000_000
        var fullAt: UInt64 = 0
        for left in [3, 2, 1, 0] {
            let verdict = bucket.take(fullAt: fullAt, now: start)
            #expect(verdict.isAdmitted)
            #expect(verdict.remaining == UInt64(left))
            fullAt = verdict.fullAt
        }
        let refused = bucket.take(fullAt: fullAt, now: start)
        #expect(!refused.isAdmitted)
        #expect(refused.fullAt == fullAt)
        #expect(refused.wait == 100_000_000)
        #expect(!bucket.take(fullAt: fullAt, now: start + 99_999_999).isAdmitted)
        #expect(bucket.take(fullAt: fullAt, now: start + 100_000_000).isAdmitted)
        var admitted = 0
        for step in 0..<10_000 {
            let verdict = bucket.take(fullAt: fullAt, now: start + UInt64(step) * 1_000_000)
            if verdict.isAdmitted { admitted += 1 }
            fullAt = verdict.fullAt
        }
        #expect((98...101).contains(admitted), "10 s at 10 a second gave \(admitted)")
        #expect(!RateBucket(requests: 0, perMilliseconds: 1000, burst: 5).take(fullAt: 0, now: 1).isAdmitted)
    }

    @Test("the adaptive limit grows on a calm line, shrinks when responses slow down, and finds its way back")
    func gradient() {
        let rules = AdaptiveConcurrency(
            minLimit: 2, maxLimit: 200, windowMilliseconds: 100, calmIntervalMilliseconds: 1_000_000, calmRequests: 20)
        let milli: UInt64 = 1_000_000
        var now: UInt64 = 0
        var gradient = Gradient(rules, now: now)
        #expect(gradient.isCalming)
        #expect(gradient.limit == 2)
        func run(_ windows: Int, _ time: UInt64) {
            for _ in 0..<windows * 10 {
                now += 10 * milli
                gradient.sample(time, now: now, chance: now)
            }
        }
        run(2, 10 * milli)
        #expect(gradient.calm == 10 * milli)
        run(30, 10 * milli)
        let grown = gradient.limit
        #expect(grown > 100)
        run(20, 100 * milli)
        #expect(gradient.limit < 10, "ten times slower: \(gradient.limit)")
        #expect(!gradient.admits(active: gradient.limit))
        run(40, 10 * milli)
        #expect(gradient.limit > 100, "back: \(gradient.limit)")
    }

    @Test("deadlines and retry-after are read as their forms say, and nothing else is")
    func texts() {
        func read<Found>(_ text: String, _ body: (UnsafePointer<UInt8>, Int) -> Found) -> Found {
            let bytes = Array(text.utf8) + [0]
            return bytes.withUnsafeBufferPointer { pointer in
                guard let start = pointer.baseAddress else { fatalError("no bytes") }
                return body(start, bytes.count - 1)
            }
        }
        #expect(read("1500", DeadlineText.milliseconds) == 1_500_000_000)
        #expect(read("0", DeadlineText.milliseconds) == 0)
        for bad in ["", "-1", "1.5", "10s", "99999999999"] { #expect(read(bad, DeadlineText.milliseconds) == nil) }
        let units: [(String, UInt64?)] = [
            ("1H", 3_600_000_000_000), ("2M", 120_000_000_000), ("3S", 3_000_000_000), ("4m", 4_000_000), ("5u", 5000),
            ("6n", 6), ("99999999m", 86_400_000_000_000), ("1", nil), ("m", nil), ("123456789m", nil), ("1h", nil),
        ]
        for (text, time) in units { #expect(read(text, DeadlineText.grpc) == time, "\(text)") }
        // 784111777 is the date's time since 1970 (RFC 9110's own example).
        let date = "Sun, 06 Nov 1994 08:49:37 GMT"
        #expect(read(date) { DeadlineText.retryAfter($0, $1, wall: 784_111_770_000) } == 7_000_000_000)
        #expect(read(date) { DeadlineText.retryAfter($0, $1, wall: 784_111_780_000) } == 0)
        #expect(read("120") { DeadlineText.retryAfter($0, $1, wall: 0) } == 120_000_000_000)
        #expect(read("soon") { DeadlineText.retryAfter($0, $1, wall: 0) } == nil)
        var space = [UInt8](repeating: 0, count: 5)
        for (number, text) in [(7, "    7"), (12345, "12345"), (123456, "99999"), (0, "    0")] {
            space.withUnsafeMutableBufferPointer { pointer in
                if let start = pointer.baseAddress { DeadlineText.write(UInt64(number), 5, start) }
            }
            #expect(String(decoding: space, as: UTF8.self) == text)
        }
    }
}
