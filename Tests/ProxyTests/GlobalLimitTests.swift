import Glibc
import Loop
import ProxyResources
import Synchronization
import Testing

@testable import Proxy

@Suite struct GlobalLimitTests {
    /// So seldom that nothing comes back during a test.
    private func limit(_ requests: Int, _ key: RateLimit.Key = .none, whenLost: GlobalQuota.Loss = .share) -> RateLimit
    {
        var limit = RateLimit(name: "api", requests: requests, perMilliseconds: 3_600_000, key: key, maxKeys: 64)
        limit.global = GlobalQuota(budget: "demo/api", whenLost: whenLost)
        return limit
    }

    private func table(_ limit: RateLimit, _ clock: LeaseClock) -> LeaseTable {
        LeaseTable(
            budget: "demo/api", QuotaTerms(limit), whenLost: limit.global?.whenLost ?? .share, clock: clock)
    }

    private static let second: UInt64 = 1_000_000_000

    /// As the control plane answers a report.
    private func answer(
        _ table: LeaseTable, granting more: Int64, level: Int64 = 0, holders: UInt32 = 1, now: UInt64
    ) -> [QuotaReport.Line] {
        let lines = table.report(now: now, most: 1000)
        table.take(
            lines.map { line in
                QuotaGrants.Line(key: line.key, granted: line.held + more, level: level, holders: holders)
            }, now: now)
        return lines
    }

    @Test("loops together take each token once: the allowance, then what is granted, then nothing")
    func exact() {
        let clock = LeaseClock()
        let table = table(limit(1000), clock)
        let now = Clock.monotonic
        clock.until.store(now + 100 * Self.second, ordering: .relaxed)
        #expect(table.take(1, now: now, waited: 0).outcome == .admitted, "of the allowance")
        let lines = answer(table, granting: 500, now: now)
        #expect(lines.first?.joins == true && lines.first?.held == 10 && lines.first?.taken == 1)
        let admitted = Atomic<Int>(1)
        let running = Atomic<Int>(4)
        for _ in 0..<4 {
            _ = Thread.start("taker") {
                for _ in 0..<1000 where table.take(1, now: now, waited: 0).outcome == .admitted {
                    admitted.add(1, ordering: .relaxed)
                }
                running.subtract(1, ordering: .releasing)
            }
        }
        #expect(eventually { running.load(ordering: .acquiring) == 0 })
        #expect(admitted.load(ordering: .relaxed) == 510)
        #expect(
            table.take(1, now: now, waited: 0).outcome == .refused, "the control plane has said that nothing is left")
        let next = table.report(now: now + Self.second / 10, most: 1000)
        #expect(next.first?.taken == 510)
        #expect((next.first?.want ?? 0) > 1000, "as many as were asked for")
    }

    @Test("a request waits while tokens may be on their way, and not for ever")
    func waits() {
        let clock = LeaseClock()
        let table = table(limit(10), clock)
        let now = Clock.monotonic
        clock.until.store(now + 100 * Self.second, ordering: .relaxed)
        #expect(table.take(1, now: now, waited: 0).outcome == .admitted)
        #expect(table.take(1, now: now, waited: 0).outcome == .wait, "nothing has been asked yet")
        #expect(table.take(1, now: now, waited: LeaseTable.mostWaits).outcome == .admitted, "its own part decides")
        _ = answer(table, granting: 1, level: 5, now: now)
        #expect(table.take(1, now: now, waited: 0).outcome == .admitted)
        #expect(table.take(1, now: now, waited: 0).outcome == .wait, "there are five more")
        _ = answer(table, granting: 1, level: 0, now: now + Self.second / 10)
        #expect(table.take(1, now: now + Self.second / 10, waited: 0).outcome == .refused)
    }

    @Test("without the control plane a limit is shared as it last was, open, or closed, as it says")
    func lost() {
        let now = Clock.monotonic
        func after(_ whenLost: GlobalQuota.Loss) -> LeaseTable {
            let clock = LeaseClock()
            let table = table(limit(100, whenLost: whenLost), clock)
            clock.until.store(now + Self.second, ordering: .relaxed)
            #expect(table.take(1, now: now, waited: 0).outcome == .admitted)
            _ = answer(table, granting: 0, level: 80, holders: 4, now: now)
            return table
        }
        let later = now + 2 * Self.second
        let shared = after(.share)
        let admitted = (0..<100).count { _ in shared.take(1, now: later, waited: 0).outcome == .admitted }
        #expect(admitted == 20, "a quarter of what was left")
        let open = after(.open)
        #expect((0..<100).allSatisfy { _ in open.take(1, now: later, waited: 0).outcome == .admitted })
        let closed = after(.closed)
        #expect((0..<100).allSatisfy { _ in closed.take(1, now: later, waited: 0).outcome == .lost })
    }

    @Test("after a time on its own a proxy tells the next control plane what must be missing")
    func recovery() {
        let clock = LeaseClock()
        let table = table(limit(100), clock)
        let now = Clock.monotonic
        clock.until.store(now + Self.second, ordering: .relaxed)
        _ = table.take(1, now: now, waited: 0)
        _ = answer(table, granting: 0, level: 80, holders: 2, now: now)
        let later = now + 2 * Self.second
        for _ in 0..<10 { _ = table.take(1, now: later, waited: 0) }
        table.restart(now: later)
        let line = table.report(now: later, most: 1000).first
        #expect(line?.joins == true && line?.held == 0)
        #expect((58...62).contains(line?.level ?? 0), "10 taken from a half: 20 of the whole")
    }

    @Test("the table of keys is bounded; keys at rest are given back")
    func bounded() {
        let clock = LeaseClock()
        let table = table(limit(1000, .path), clock)
        var now = Clock.monotonic
        clock.until.store(.max, ordering: .relaxed)
        for key in UInt64(1)...1000 { #expect(table.take(key, now: now + key, waited: 0).outcome == .admitted) }
        #expect(table.report(now: now, most: 2000).count <= 64)
        now += 10 * Self.second
        let lines = table.report(now: now, most: 2000)
        #expect(!lines.isEmpty && lines.allSatisfy { $0.want == 0 && $0.returned > 0 && $0.leaves })
        #expect(table.report(now: now + Self.second, most: 2000).isEmpty)
    }

    @Test("through a gateway: 429 with the headers asked for; the record names limit and key")
    func gateway() throws {
        let origin = ScriptedOrigin { _ in .status(200) }
        var limit = limit(50, .header("x-user"))
        limit.headers = .draft
        let gateway = try TestGateway.before([origin], loops: 2, RouteResilience(rateLimits: [limit]))
        let book = gateway.plane.limits
        let table = try #require(book.leaseTables.first)
        book.clock.until.store(.max, ordering: .relaxed)
        let visitor = Visitor(port: gateway.port)
        #expect(visitor.get("/", "x-user: ada\r\n")?.status == 200)
        let lines = answer(table, granting: 20, now: Clock.monotonic)
        #expect(lines.map(\.held) == [5])
        let statuses = (0..<40).compactMap { _ in visitor.get("/", "x-user: ada\r\n")?.status }
        #expect(statuses.count { $0 == 200 } == 24, "what was allowed and granted, but the first")
        let refused = try #require(visitor.get("/", "x-user: ada\r\n"))
        #expect(refused.status == 429 && refused.reason == "rate_limited")
        #expect(header("ratelimit-limit", refused.head) == "50")
        #expect(header("ratelimit-remaining", refused.head) == "0")
        #expect(header("ratelimit-reset", refused.head) == header("retry-after", refused.head))
        #expect(header("x-ratelimit-limit", refused.head) == nil)
        let record = try #require(gateway.plane.records(most: 1) { $0.flag == .rateLimited }.first)
        #expect(record.limit == .rateLimited)
        #expect(record.string(record.limitKey) == "ada")
        #expect(gateway.plane.labels.names()[Int(record.limitName)] == "demo/api")
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("a limit that is closed without the control plane says so, after waiting for a first lease")
    func closed() throws {
        let origin = ScriptedOrigin { _ in .status(200) }
        let gateway = try TestGateway.before(
            [origin], RouteResilience(rateLimits: [limit(100, whenLost: .closed)]))
        gateway.plane.limits.clock.until.store(1, ordering: .relaxed)
        let visitor = Visitor(port: gateway.port)
        let refused = visitor.get("/")
        #expect(refused?.status == 429 && refused?.reason == "rate_lease_lost")
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("a route that answers by itself is limited like others")
    func direct() throws {
        let gateway = try TestGateway()
        var answering = rule([]) { $0.directStatus = 204 }
        answering.resilience.rateLimits = [RateLimit(requests: 2, perMilliseconds: 3_600_000)]
        try gateway.apply([answering], [])
        let visitor = Visitor(port: gateway.port)
        #expect((0..<4).map { _ in visitor.get("/")?.status } == [204, 204, 429, 429])
        visitor.end()
        gateway.plane.stop()
    }
}
