import MeshControl
import ProxyResources
import Testing

/// A small generator, so that a failure comes again.
private struct Dice: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (state ^ state >> 29) &* 0xBF58_476D_1CE4_E5B9
    }
}

/// A proxy as the protocol has it: uses what it holds until its lease ends, and says so when it reports.
private struct SimulatedProxy {
    let member: Int
    var tokens: Int64
    var granted: Int64
    var taken: Int64 = 0
    var returned: Int64 = 0
    var isJoined = false
    var number: UInt64 = 0
    var sentAt: [UInt64: UInt64] = [:]
    var until: UInt64 = .max  // before its first report it has its allowance only
    var level: Int64 = -1
    var levelAt: UInt64 = 0
    var demand: Int64 = 0  // requests until the next report

    init(_ member: Int, _ terms: QuotaTerms) {
        self.member = member
        tokens = terms.allowance
        granted = tokens
    }

    /// Requests come; how many pass.
    mutating func use(_ requests: Int64, now: UInt64) -> Int64 {
        if now >= until { return 0 }
        let passed = min(requests, tokens)
        tokens -= passed
        taken += passed
        return passed
    }

    mutating func report(_ terms: QuotaTerms, now: UInt64, want: Int64) -> QuotaReport {
        number += 1
        sentAt[number] = now
        if tokens > want * 2 {
            returned += tokens - want
            tokens = want
        }
        var line = QuotaReport.Line(key: 1)
        if !isJoined {
            (line.joins, line.held) = (true, granted)
            if level >= 0 { line.level = level + Int64(terms.rate * Double(now - levelAt)) }
        }
        isJoined = true
        (line.taken, line.returned, line.want) = (taken, returned, want)
        return QuotaReport(number: number, pages: [QuotaReport.Page(budget: "b", lines: [line])])
    }

    mutating func take(_ grants: QuotaGrants, now: UInt64) {
        for line in grants.pages.flatMap(\.lines) {
            tokens += line.granted - granted
            granted = line.granted
            (level, levelAt) = (max(0, line.level), now)
        }
        if let sent = sentAt[grants.answers] { until = sent + QuotaTerms.lease }
    }

    /// Another control plane: what was held of the last is given up.
    mutating func reconnect(as member: Int) -> SimulatedProxy {
        var again = self
        again = SimulatedProxy(member, copying: again)
        return again
    }

    private init(_ member: Int, copying old: SimulatedProxy) {
        self.member = member
        (tokens, granted) = (0, 0)
        (until, level, levelAt) = (old.until, old.level, old.levelAt)
    }
}

@Suite struct QuotaAllocatorTests {
    private static let millisecond: UInt64 = 1_000_000
    private static let second: UInt64 = 1_000_000_000

    private static func allocator(_ limit: RateLimit, now: UInt64) -> QuotaAllocator {
        // Old enough to have learned.
        var allocator = QuotaAllocator(now: now - QuotaAllocator.learning)
        allocator.adopt(["b": limit])
        return allocator
    }

    /// The most by which anything counted went beyond a rate, over all windows.
    private struct Excess {
        let rate: Double
        var count = 0.0
        var least = 0.0
        var most = 0.0
        var start: UInt64?

        mutating func add(_ passed: Int64, now: UInt64) {
            let begin = start ?? now
            start = begin
            let due = rate * Double(now - begin)
            least = min(least, count - due)
            count += Double(passed)
            most = max(most, count - due - least)
        }
    }

    @Test(
        "in no window do proxies admit more than burst + advance + rate, whoever joins, is lost, or how often the control plane begins anew",
        arguments: 0..<24)
    func bound(_ seed: Int) {
        var dice = Dice(state: UInt64(seed) &+ 77)
        let limits = [
            RateLimit(requests: 100), RateLimit(requests: 1000, burst: 50),
            RateLimit(requests: 30, perMilliseconds: 60_000),
            RateLimit(requests: 5, perMilliseconds: 1000, burst: 20),
        ]
        let limit = limits[seed % limits.count]
        let terms = QuotaTerms(limit)
        var now = 100 * Self.second
        var allocator = Self.allocator(limit, now: now)
        var proxies: [SimulatedProxy] = []
        var ghosts: [SimulatedProxy] = []
        var lastMember = 0
        var joined = 0
        var passed = Excess(rate: terms.rate)
        func admit(_ requests: Int64, _ proxy: inout SimulatedProxy) {
            passed.add(proxy.use(requests, now: now), now: now)
        }
        for step in 0..<6000 {
            now += UInt64.random(in: 1...10, using: &dice) * Self.millisecond
            if proxies.count < 2 || (proxies.count < 12 && Int.random(in: 0..<100, using: &dice) == 0) {
                lastMember += 1
                joined += 1
                allocator.join(lastMember, now: now)
                proxies.append(SimulatedProxy(lastMember, terms))
            }
            if proxies.count > 2 && Int.random(in: 0..<150, using: &dice) == 0 {
                // Lost with all it holds; it goes on for as long as its lease.
                let gone = proxies.remove(at: Int.random(in: 0..<proxies.count, using: &dice))
                allocator.leave(gone.member)
                ghosts.append(gone)
            }
            if step % 1700 == 1699 {
                // The control plane is another one.
                allocator = QuotaAllocator(now: now)
                allocator.adopt(["b": limit])
                for place in proxies.indices {
                    lastMember += 1
                    allocator.join(lastMember, now: now)
                    proxies[place] = proxies[place].reconnect(as: lastMember)
                    let report = proxies[place].report(terms, now: now, want: 0)
                    allocator.take(report, from: lastMember, now: now) { _ in true }
                }
            }
            for place in proxies.indices {
                if Int.random(in: 0..<4, using: &dice) == 0 {
                    proxies[place].demand = Int64.random(in: 0...60, using: &dice)
                }
                admit(Int64.random(in: 0...proxies[place].demand, using: &dice), &proxies[place])
                if Int.random(in: 0..<5, using: &dice) == 0 {
                    let want = proxies[place].demand * Int64.random(in: 0...4, using: &dice)
                    let report = proxies[place].report(terms, now: now, want: want)
                    allocator.take(report, from: proxies[place].member, now: now) { _ in true }
                }
            }
            for place in ghosts.indices { admit(3, &ghosts[place]) }
            ghosts.removeAll { $0.until <= now && $0.until != .max }
            let grants = allocator.round(now: now)
            for place in proxies.indices {
                if let own = grants[proxies[place].member] { proxies[place].take(own, now: now) }
            }
            if step % 100 == 0 { _ = allocator.sweep(now: now) }
        }
        let bound = terms.burst + terms.advance + Double(terms.allowance) * Double(joined)
        #expect(passed.most <= bound + 1, "more than \(bound) beyond the rate: \(passed.most)")
        #expect(passed.count > 0)
    }

    @Test(
        "whoever loses the control plane and all that knew it gives no burst twice: a new one begins with what comes back"
    )
    func restart() {
        let limit = RateLimit(requests: 100, perMilliseconds: 100_000)
        let terms = QuotaTerms(limit)
        var now = 100 * Self.second
        var allocator = Self.allocator(limit, now: now)
        var proxy = SimulatedProxy(1, terms)
        allocator.join(1, now: now)
        var passed: Int64 = 0
        for _ in 0..<20 {
            let report = proxy.report(terms, now: now, want: 200)
            allocator.take(report, from: 1, now: now) { _ in true }
            if let grants = allocator.round(now: now)[1] { proxy.take(grants, now: now) }
            passed += proxy.use(200, now: now)
            now += 10 * Self.millisecond
        }
        #expect(passed == 100, "all of the burst")
        allocator = QuotaAllocator(now: now)
        allocator.adopt(["b": limit])
        // Another proxy comes first, and knows nothing of the key; then the one that does.
        allocator.join(1, now: now)
        allocator.join(2, now: now)
        var stranger = SimulatedProxy(2, terms)
        allocator.take(stranger.report(terms, now: now, want: 200), from: 2, now: now) { _ in true }
        proxy = proxy.reconnect(as: 1)
        allocator.take(proxy.report(terms, now: now, want: 0), from: 1, now: now) { _ in true }
        var again: Int64 = 0
        for _ in 0..<500 {
            if let grants = allocator.round(now: now)[2] { stranger.take(grants, now: now) }
            again += stranger.use(1000, now: now)
            allocator.take(stranger.report(terms, now: now, want: 200), from: 2, now: now) { _ in true }
            now += 10 * Self.millisecond
        }
        // Five seconds at one a second, and the allowance.
        #expect(again <= 5 + terms.allowance)
    }

    @Test(
        "tokens follow the demand: all of it to who alone asks, even shares to equals, and the small are served whole")
    func demand() {
        let limit = RateLimit(requests: 1000)
        let terms = QuotaTerms(limit)
        var now = 100 * Self.second
        var allocator = Self.allocator(limit, now: now)
        var proxies = (1...4).map { SimulatedProxy($0, terms) }
        for proxy in proxies { allocator.join(proxy.member, now: now) }
        /// Requests a second of each, for so many seconds; what passed in the second half.
        func run(_ demands: [Int64], seconds: Int) -> [Int64] {
            var passed = [Int64](repeating: 0, count: 4)
            for step in 0..<seconds * 100 {
                now += 10 * Self.millisecond
                for place in proxies.indices {
                    let admitted = proxies[place].use(demands[place] / 100, now: now)
                    if step >= seconds * 50 { passed[place] += admitted }
                    if (step + place * 3) % 10 == 0 {
                        let want = demands[place] * 3 / 10
                        let report = proxies[place].report(terms, now: now, want: want)
                        allocator.take(report, from: proxies[place].member, now: now) { _ in true }
                    }
                }
                for (member, grants) in allocator.round(now: now) { proxies[member - 1].take(grants, now: now) }
            }
            return passed
        }
        let alone = run([5000, 0, 0, 0], seconds: 8)
        #expect(alone[0] >= 3800 && alone[0] <= 4600, "nearly all of 4 seconds: \(alone)")
        let even = run([5000, 5000, 5000, 5000], seconds: 8)
        for share in even { #expect(share >= 850 && share <= 1150, "a quarter of 4 seconds: \(even)") }
        let mixed = run([100, 5000, 200, 5000], seconds: 8)
        #expect(mixed[0] >= 380 && mixed[2] >= 760, "what they ask for: \(mixed)")
        #expect(mixed[1] >= 1200 && mixed[3] >= 1200, "the rest, evenly: \(mixed)")
        let moved = run([0, 0, 0, 5000], seconds: 8)
        #expect(moved[3] >= 3800, "the others have given theirs back: \(moved)")
    }

    @Test("keys are bounded, and those of full buckets are forgotten")
    func keys() {
        let limit = RateLimit(requests: 100, key: .header("x-user"), maxKeys: 64)
        var now = 100 * Self.second
        var allocator = Self.allocator(limit, now: now)
        allocator.join(1, now: now)
        for batch in 0..<50 {
            let lines = (0..<100).map { number -> QuotaReport.Line in
                var line = QuotaReport.Line(key: UInt64(batch * 100 + number + 1))
                (line.joins, line.want) = (true, 2)
                return line
            }
            let report = QuotaReport(
                number: UInt64(batch + 1), pages: [QuotaReport.Page(budget: "b", lines: lines)])
            allocator.take(report, from: 1, now: now) { _ in true }
            _ = allocator.round(now: now)
            now += Self.millisecond
        }
        #expect(allocator.summary.first?.keys == 64)
        #expect(allocator.counters.evicted == 4936)
        allocator.leave(1)
        now += 20 * Self.second
        _ = allocator.sweep(now: now)
        now += 20 * Self.second
        _ = allocator.sweep(now: now)
        #expect(allocator.summary.first?.keys == 0)
    }

    @Test("budgets a proxy's configuration has not are refused; one that is silent for longer than its lease is to go")
    func permission() {
        var now = 100 * Self.second
        var allocator = Self.allocator(RateLimit(requests: 100), now: now)
        allocator.join(1, now: now)
        let line = QuotaReport.Line(key: 1)
        let report = QuotaReport(number: 1, pages: [QuotaReport.Page(budget: "b", lines: [line])])
        allocator.take(report, from: 1, now: now) { _ in false }
        let grants = allocator.round(now: now)[1]
        #expect(grants?.refused == ["b"])
        #expect(grants?.pages == [])
        #expect(allocator.sweep(now: now + Self.second) == [])
        now += QuotaTerms.lease + Self.second
        #expect(allocator.sweep(now: now) == [1])
    }

    @Test("a proxy that says what cannot be is believed as far as it holds tokens")
    func liar() {
        let limit = RateLimit(requests: 100, perMilliseconds: 3_600_000)
        let now = 100 * Self.second
        var allocator = Self.allocator(limit, now: now)
        allocator.join(1, now: now)
        var line = QuotaReport.Line(key: 1)
        (line.joins, line.held, line.want, line.returned) = (true, .max, .max, .max)
        var granted: Int64 = 0
        for number in 1...50 {
            let report = QuotaReport(
                number: UInt64(number), pages: [QuotaReport.Page(budget: "b", lines: [line])])
            allocator.take(report, from: 1, now: now) { _ in true }
            granted = max(granted, allocator.round(now: now)[1]?.pages.first?.lines.first?.granted ?? 0)
            (line.joins, line.taken, line.returned) = (false, -5, .min)
        }
        // Those of its allowance, which it gave back, came again.
        #expect(granted <= 110)
    }

    @Test("messages come back as they were; bytes that are none are refused")
    func messages() throws {
        var line = QuotaReport.Line(key: .max)
        (line.joins, line.held, line.taken, line.want, line.level, line.leaves) = (true, 3, 4, 5, 0, true)
        let report = QuotaReport(number: 9, pages: [QuotaReport.Page(budget: "demo/api", lines: [line])])
        #expect(try QuotaReport(report.bytes) == report)
        let grants = QuotaGrants(
            answers: 9,
            pages: [
                QuotaGrants.Page(
                    budget: "demo/api", lines: [QuotaGrants.Line(key: 7, granted: 12, level: -3, holders: 2)])
            ], refused: ["demo/other"])
        #expect(try QuotaGrants(grants.bytes) == grants)
        #expect(throws: (any Error).self) { try QuotaReport([0xFF, 0xFF]) }
    }
}
