import Loop
import MeshControl
import ProxyResources
import Synchronization
import Testing

@testable import Proxy

/// Proxies' tables of leases and the control plane's allocator, with a clock of the test's.
private struct LeasedProxies {
    static let millisecond: UInt64 = 1_000_000
    static let second: UInt64 = 1_000_000_000

    final class Proxy {
        let clock = LeaseClock()
        let table: LeaseTable
        var member: Int
        var number: UInt64 = 0
        var sentAt: [UInt64: UInt64] = [:]
        var reportsAt: UInt64 = 0
        var isShort = false
        var admitted: Int64 = 0

        init(_ member: Int, _ limit: RateLimit) {
            self.member = member
            table = LeaseTable(
                budget: "b", QuotaTerms(limit), whenLost: limit.global?.whenLost ?? .closed, clock: clock)
        }
    }

    let limit: RateLimit
    let terms: QuotaTerms
    var now = Clock.monotonic
    var allocator: QuotaAllocator
    var proxies: [Proxy]
    var members: Int
    var isConnected = true

    init(_ limit: RateLimit, proxies count: Int) {
        self.limit = limit
        terms = QuotaTerms(limit)
        // Old enough to have learned.
        allocator = QuotaAllocator(now: now - QuotaAllocator.learning)
        allocator.adopt(["b": limit])
        proxies = (1...count).map { Proxy($0, limit) }
        members = count
        for proxy in proxies { allocator.join(proxy.member, now: now) }
    }

    /// Another control plane, to which all come back.
    mutating func restart() {
        allocator = QuotaAllocator(now: now)
        allocator.adopt(["b": limit])
        isConnected = true
        for proxy in proxies {
            members += 1
            proxy.member = members
            (proxy.number, proxy.sentAt, proxy.reportsAt) = (0, [:], 0)
            proxy.table.restart(now: now)
            allocator.join(members, now: now)
        }
    }

    /// One step of five milliseconds: so many requests of a key at each proxy, reports as the client sends them, a round.
    mutating func step(_ requests: [Int], key: UInt64 = 1, _ passed: (Int, Int64, UInt64) -> Void) {
        now += 5 * Self.millisecond
        for (place, proxy) in proxies.enumerated() {
            var admitted: Int64 = 0
            for _ in 0..<requests[place] {
                switch proxy.table.take(key, now: now, waited: 0).outcome {
                case .admitted: admitted += 1
                case .wait: proxy.isShort = true
                case .refused, .lost: break
                }
            }
            proxy.admitted += admitted
            passed(place, admitted, now)
            if !isConnected || (now < proxy.reportsAt && !proxy.isShort) { continue }
            proxy.isShort = false
            proxy.reportsAt = now + 100 * Self.millisecond
            proxy.number += 1
            proxy.sentAt[proxy.number] = now
            let lines = proxy.table.report(now: now, most: 1000)
            let pages = lines.isEmpty ? [] : [QuotaReport.Page(budget: "b", lines: lines)]
            allocator.take(QuotaReport(number: proxy.number, pages: pages), from: proxy.member, now: now) { _ in true }
        }
        if !isConnected { return }
        for (member, grants) in allocator.round(now: now) {
            guard let proxy = proxies.first(where: { $0.member == member }) else { continue }
            for page in grants.pages { proxy.table.take(page.lines, now: now) }
            let until = (proxy.sentAt[grants.answers] ?? 0) + QuotaTerms.lease
            proxy.clock.until.store(until, ordering: .relaxed)
        }
    }
}

@Suite struct QuotaPairTests {
    private static func limit(_ requests: Int, per: Int, burst: Int = 0, _ whenLost: GlobalQuota.Loss) -> RateLimit {
        var limit = RateLimit(name: "b", requests: requests, perMilliseconds: per, burst: burst)
        limit.global = GlobalQuota(budget: "b", whenLost: whenLost)
        return limit
    }

    /// The most by which anything counted went beyond a rate, over all windows.
    private struct Excess {
        let rate: Double
        let start: UInt64
        var count = 0.0
        var least = 0.0
        var most = 0.0

        mutating func add(_ passed: Int64, now: UInt64) {
            let due = rate * Double(now - start)
            least = min(least, count - due)
            count += Double(passed)
            most = max(most, count - due - least)
        }
    }

    @Test(
        "what proxies do with their leases keeps the documented bound, also when the control plane is away and comes back",
        arguments: 0..<8)
    func bound(_ seed: Int) {
        var dice = SystemRandomNumberGenerator()
        let limits = [
            Self.limit(200, per: 1000, .closed), Self.limit(60, per: 60_000, .closed),
            Self.limit(1000, per: 1000, burst: 30, .closed), Self.limit(20, per: 1000, burst: 100, .closed),
        ]
        var scene = LeasedProxies(limits[seed % 4], proxies: 4)
        let start = scene.now
        var excess = Excess(rate: scene.terms.rate, start: start)
        var demands = [0, 0, 0, 0]
        var restarts = 0
        for step in 0..<8000 {
            if step % 60 == 0 { demands = demands.map { _ in max(0, Int.random(in: -8...12, using: &dice)) } }
            if step % 2000 == 1200 { scene.isConnected = false }
            if step % 2000 == 1900 {
                scene.restart()
                restarts += 1
            }
            scene.step(demands.map { $0 == 0 ? 0 : Int.random(in: 0...$0, using: &dice) }) { _, passed, now in
                excess.add(passed, now: now)
            }
        }
        let ahead = Double(scene.terms.allowance) * 4 * Double(1 + restarts)
        let bound = scene.terms.burst + scene.terms.advance + ahead
        #expect(excess.most <= bound + 1, "\(excess.most) beyond the rate, \(bound) allowed")
    }

    @Test("under steady demand nearly all of a limit is used, whoever asks, and none refused that fits")
    func use() {
        var scene = LeasedProxies(Self.limit(1000, per: 1000, .closed), proxies: 4)
        func run(_ demands: [Int], steps: Int) -> [Int64] {
            for _ in 0..<steps { scene.step(demands) { _, _, _ in } }
            for proxy in scene.proxies { proxy.admitted = 0 }
            for _ in 0..<steps { scene.step(demands) { _, _, _ in } }
            return scene.proxies.map(\.admitted)
        }
        // Five milliseconds a step: 400 steps are two seconds.
        let alone = run([20, 0, 0, 0], steps: 400)
        #expect((1800...2300).contains(alone[0]), "all to who alone asks: \(alone)")
        let even = run([20, 20, 20, 20], steps: 400)
        #expect(even.allSatisfy { (400...600).contains($0) }, "\(even)")
        let fits = run([1, 1, 1, 0], steps: 400)
        #expect(fits == [400, 400, 400, 0], "600 a second of 1000 fit: \(fits)")
        let moved = run([0, 0, 0, 20], steps: 1200)
        #expect(moved[3] >= 5400, "six seconds: \(moved)")
    }

    @Test("without the control plane proxies together keep to the limit by their parts, and what they used is told")
    func parts() {
        var scene = LeasedProxies(Self.limit(400, per: 1000, .share), proxies: 4)
        for _ in 0..<800 { scene.step([2, 2, 2, 2]) { _, _, _ in } }
        scene.isConnected = false
        for _ in 0..<500 { scene.step([2, 2, 2, 2]) { _, _, _ in } }
        for proxy in scene.proxies { proxy.admitted = 0 }
        for _ in 0..<2000 { scene.step([2, 2, 2, 2]) { _, _, _ in } }
        // Ten seconds at 400 a second.
        let all = scene.proxies.reduce(0) { $0 + $1.admitted }
        #expect((3600...4100).contains(all), "\(scene.proxies.map(\.admitted))")
        scene.restart()
        for proxy in scene.proxies { proxy.admitted = 0 }
        for _ in 0..<200 { scene.step([20, 20, 20, 20]) { _, _, _ in } }
        // A second: no burst beside what comes back, but what is ahead.
        #expect(scene.proxies.reduce(0) { $0 + $1.admitted } <= 400 + 200 + 40)
    }
}
