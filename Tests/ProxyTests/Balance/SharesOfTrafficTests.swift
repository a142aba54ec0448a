import ProxyResources
import Testing

@testable import Proxy

@Suite struct SharesOfTrafficTests {
    private static let milli: UInt64 = 1_000_000

    @Test("the latency estimate follows a rise at once and a fall slowly")
    func estimate() {
        var estimate = LatencyEstimate()
        let decay = 1e9
        estimate.add(1e6, at: 100 * Self.milli, decay: decay)
        #expect(estimate.value == 1e6)
        estimate.add(50e6, at: 110 * Self.milli, decay: decay)
        #expect(estimate.value == 50e6)
        estimate.add(1e6, at: 120 * Self.milli, decay: decay)
        #expect(estimate.value > 45e6 && estimate.value < 50e6)
        // A decay time later about a third of the old value is left.
        estimate.add(1e6, at: 1120 * Self.milli, decay: decay)
        #expect(estimate.value > 10e6 && estimate.value < 25e6, "\(estimate.value)")
        #expect(estimate.current(at: 20_000 * Self.milli, decay: decay) < 1e6)
    }

    @Test("an unknown endpoint gets one request, then waits for its answer")
    func unknown() {
        let new = LatencyEstimate()
        var known = LatencyEstimate()
        known.add(5e6, at: 1, decay: 1e9)
        #expect(new.cost(active: 0, at: 1, decay: 1e9) < known.cost(active: 0, at: 1, decay: 1e9))
        #expect(new.cost(active: 1, at: 1, decay: 1e9) > known.cost(active: 50, at: 1, decay: 1e9))
        #expect(known.cost(active: 3, at: 1, decay: 1e9) == 4 * known.cost(active: 0, at: 1, decay: 1e9))
    }

    @Test("slow start goes from the minimum to all, sooner with aggression")
    func ramp() {
        let line = SlowStartRamp(window: 1000, exponent: 1, minimum: 0.1)
        #expect(line.share(since: 500, at: 500) == 0.1)
        #expect(line.share(since: 500, at: 550) == 0.1)
        #expect(abs(line.share(since: 500, at: 1000) - 0.5) < 1e-9)
        #expect(line.share(since: 500, at: 1500) == 1)
        #expect(line.share(since: 2000, at: 1500) == 0.1, "its ejection is not over yet")
        let eager = SlowStartRamp(window: 1000, exponent: 0.5, minimum: 0.1)
        #expect(eager.share(since: 500, at: 750) > 0.49)
        #expect(SlowStartRamp().share(since: 0, at: 0) == 1)
    }

    private static func endpoints(_ list: [(String, String)]) -> [Endpoint] {
        list.enumerated().map { place, where_ in
            Endpoint(address: "10.0.0.\(place + 1)", port: 80, locality: where_.0, node: where_.1)
        }
    }

    private static let here = PriorityLevels.Origin(locality: Locality("eu/a/r1"), node: "n1")

    private static func levels(_ list: [(String, String)], _ policy: LocalityPolicy) -> [Int?] {
        PriorityLevels.places(of: endpoints(list), for: here, policy).places.map { $0?.level }
    }

    @Test("endpoints that agree in more keys come first, and levels have no gaps")
    func preference() {
        let list = [("eu/a/r1", "n1"), ("eu/a/r2", "n2"), ("eu/b/r1", "n3"), ("us/a/r1", "n4"), ("", "")]
        let byPlace = LocalityPolicy(prefer: [.region, .zone, .subzone])
        #expect(Self.levels(list, byPlace) == [0, 1, 2, 3, 3])
        #expect(Self.levels([list[2], list[3]], byPlace) == [0, 1])
        #expect(Self.levels(list, LocalityPolicy(prefer: [.zone])) == [0, 0, 1, 0, 1])
        #expect(Self.levels(list, LocalityPolicy(prefer: [.zone, .node])) == [0, 1, 2, 1, 2])
        #expect(Self.levels(list, LocalityPolicy(prefer: [.node], others: .never)) == [0, nil, nil, nil, nil])
        #expect(Self.levels(list, LocalityPolicy()) == [0, 0, 0, 0, 0])
    }

    @Test("a region that fails is followed by the one that is named")
    func failover() {
        let list = [("eu/a", ""), ("us/a", ""), ("asia/a", "")]
        let policy = LocalityPolicy(prefer: [.region], failover: [.init(from: "eu", to: "asia")])
        #expect(Self.levels(list, policy) == [0, 2, 1])
    }

    @Test("fixed shares group endpoints by locality and leave the others out")
    func shares() {
        let policy = LocalityPolicy(
            shares: [
                .init(from: "eu/*", to: [.init(locality: "eu/a/*", weight: 80), .init(locality: "us/*", weight: 20)])
            ])
        let found = PriorityLevels.places(
            of: Self.endpoints([("eu/a/r1", ""), ("us/x", ""), ("eu/b", "")]), for: Self.here, policy)
        #expect(found.places == [.init(level: 0, group: 0), .init(level: 0, group: 1), nil])
        #expect(found.shares == [80, 20])
    }

    @Test("a level passes on what it cannot take, and panics when nearly all is gone")
    func loads() {
        func shares(_ levels: [(usable: Int, total: Int)], panic: Int = 50) -> [Int]? {
            PriorityLevels.loads(levels, panicPercent: panic)?.map { ($0.share * 100 + 32768) / 65536 }
        }
        #expect(shares([(10, 10), (10, 10)]) == [100, 0])
        #expect(shares([(8, 10), (10, 10)]) == [100, 0], "a fifth may be away")
        #expect(shares([(5, 10), (10, 10)]) == [70, 30])
        #expect(shares([(0, 10), (10, 10)]) == [0, 100])
        #expect(shares([(1, 10), (1, 10)], panic: 0) == [50, 50])
        #expect(shares([(1, 1000), (0, 10)], panic: 0) == [100, 0])
        #expect(shares([(0, 10)], panic: 0) == nil)
        #expect(PriorityLevels.loads([(0, 10), (0, 3)], panicPercent: 50)?.map(\.isPanicking) == [true, true])
        #expect(PriorityLevels.loads([(4, 10)], panicPercent: 50)?.map(\.isPanicking) == [true])
        #expect(PriorityLevels.loads([(4, 10)], panicPercent: 30)?.map(\.isPanicking) == [false])
        #expect(
            PriorityLevels.loads([(4, 10), (9, 10)], panicPercent: 50)?.map(\.isPanicking) == [false, false],
            "the next level takes the rest")
    }
}
