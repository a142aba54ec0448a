import Glibc
import ProxyResources
import Testing

@testable import Proxy

@Suite struct ChangesUnderLoadTests {
    private static let denies = #"{"name":"demo/deny","action":"DENY","rules":[{"to":[{"paths":["/secret/*"]}]}]}"#
    private static let allows =
        #"{"name":"demo/allow","rules":[{"from":[{"principals":["cluster.local/ns/demo/sa/frontend"]}]}]}"#

    /// The n-th of many configurations, each different from the one before, all of which answer the load.
    private func change(_ round: Int, _ fleet: TestFleet, extraPort: Int) throws -> UInt64 {
        let all = fleet.servers.map(\.endpoint)
        // One of the three is always away, sometimes two.
        var present = all.enumerated().filter { $0.offset != round % 3 }.map(\.element)
        if round % 7 == 0 { present.removeLast() }
        var first = backend("a", present)
        var second = backend("b", [all[(round + 1) % 3]])
        first.balance.algorithm = BalancePolicy.Algorithm.allCases[round % BalancePolicy.Algorithm.allCases.count]
        first.balance.hashOn = [HashInput(.path)]
        if round % 4 == 0 {
            first.outlier = OutlierPolicy(consecutiveErrors: 5)
            second.resilience = BackendResilience(limits: CircuitLimits(maxConnections: 500, maxRequests: 500))
        }
        var rules: [RouteRule] = []
        for number in 0..<round % 5 {
            rules.append(
                RouteRule(
                    name: "unused \(number)", matches: [RouteMatch(path: .prefix("/unused/\(number)"))],
                    directStatus: 410))
        }
        let named = rule([("a", 50 + round % 50), ("b", 1 + round % 3)]) {
            $0.name = "HTTPRoute demo/name \(round % 10)"
            $0.matches = [RouteMatch(path: .exact("/name"))]
            $0.timeoutMilliseconds = round % 2 == 0 ? 50_000 : nil
            $0.setRequestHeaders = [HeaderValue(name: "x-round", value: "\(round)")]
            if round % 3 == 0 {
                $0.resilience = RouteResilience(retry: RetryPolicy(attempts: 2, conditions: [.connectFailure]))
            }
        }
        rules.append(named)
        rules.append(
            rule([("b", 1), ("a", round % 4)]) {
                $0.actions.response.set = [HeaderValue(name: "x-seen", value: "yes")]
            })
        if round % 5 == 0 {
            let policies = round % 10 == 0 ? [try policy(Self.denies), try policy(Self.allows)] : []
            for place in fleet.servers.indices {
                try fleet.tell(place) {
                    $0.security.policies = policies
                    $0.limits.bodyBytes = round % 15 == 0 ? 10 << 20 : 0
                }
            }
        }
        return try fleet.direct(rules, [first, second]) {
            guard round % 6 < 3 else { return }
            var other = $0.workload.gatewayListeners[0]
            other.name = "other"
            other.port = extraPort
            $0.workload.gatewayListeners.append(other)
        }
    }

    @Test(
        "1,000 changes of endpoints, routes, weights, policies and listeners fail no request of any client",
        arguments: [Multiplexing.off, .on])
    func thousandChanges(multiplexing: Multiplexing) throws {
        let fleet = try TestFleet(3)
        fleet.multiplexing = multiplexing
        let extraPort = freePort()
        #expect(fleet.gateway.follows(try change(0, fleet, extraPort: extraPort)))
        let load = AllKindsOfLoad(fleet.gateway.port)
        var generation: UInt64 = 0
        for round in 1...1000 {
            generation = try change(round, fleet, extraPort: extraPort)
            // Not all at once before the loops have looked: most are lived with for a moment.
            if round % 4 == 0 { #expect(fleet.gateway.follows(generation), "round \(round)") }
            if round % 250 == 0 { #expect(load.waitUntilServed(), "round \(round)") }
        }
        let result = load.finish()
        #expect(result.failed == 0, "\(result)")
        #expect(result.served > 1000)
        #expect(fleet.gateway.follows(generation))
        #expect(eventually { fleet.gateway.plane.counts().allSatisfy { $0.exchanges == 0 } })
        fleet.end()
    }

    @Test(
        "endpoints that are removed and then end at once have answered all they were given, and nobody races with them",
        arguments: [Multiplexing.off, .on])
    func endpointsEnd(multiplexing: Multiplexing) throws {
        let fleet = try TestFleet(3)
        fleet.multiplexing = multiplexing
        try fleet.direct(to: [0, 1, 2])
        let load = AllKindsOfLoad(fleet.gateway.port)
        #expect(load.waitUntilServed())
        for round in 0..<12 {
            let gone = round % 3
            try fleet.direct(to: [0, 1, 2].filter { $0 != gone })
            // What it had was in flight when it was removed, and is no more before it ends.
            let plane = fleet.servers[gone].plane
            #expect(eventually { plane.isQuiet { $0.exchanges == 0 && $0.clients == 0 } }, "\(round)")
            plane.stop()
            try fleet.restart(gone)
            try fleet.direct(to: [0, 1, 2])
        }
        #expect(load.waitUntilServed())
        let result = load.finish()
        #expect(result.failed == 0, "\(result)")
        fleet.end()
    }

    @Test("a request that is slow goes on at an endpoint that is removed meanwhile")
    func slowRequest() throws {
        let fleet = try TestFleet(2)
        try fleet.direct(to: [0])
        fleet.servers[0].origin.set(.init(delay: 400_000))
        let visitor = Visitor(port: fleet.gateway.port)
        #expect(visitor.send("GET /name HTTP/1.1\r\nhost: t\r\n\r\n"))
        #expect(eventually { fleet.servers[0].origin.requests == 1 })
        try fleet.direct(to: [1])
        #expect(visitor.response()?.text == "o0")
        #expect(visitor.get("/name")?.text == "o1")
        // The connection to the removed endpoint ends with its last answer.
        #expect(eventually { fleet.servers[0].plane.counts()[0].clients == 0 })
        visitor.end()
        fleet.end()
    }
}
