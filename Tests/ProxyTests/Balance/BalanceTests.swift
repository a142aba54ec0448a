import Loop
import ProxyResources
import TestSupport
import Testing

@testable import Proxy

/// Several origins behind one gateway, whose backend a test changes as it goes.
private struct Crowd {
    let origins: [Origin]
    let gateway: TestGateway
    var backend: Backend
    var workloadLocality = ""
    var route = rule([("crowd", 1)])

    init(_ count: Int, loops: Int = 1, _ change: (inout Backend) -> Void = { _ in }) throws {
        origins = (0..<count).map { Origin(name: "o\($0)") }
        gateway = try TestGateway(loops: loops)
        backend = crowdBackend(origins)
        change(&backend)
        try apply()
    }

    func apply() throws {
        var configuration = gateway.configuration([route], [backend])
        configuration.workload.locality = workloadLocality
        let generation = try gateway.plane.apply(configuration, identity: nil)
        guard eventually({ gateway.plane.collect().allSatisfy { $0.counts.generation == generation } }) else {
            throw ConfigurationFault("the loops did not take generation \(generation)")
        }
    }

    /// Names of those who answered, each request on the same connection; failures by their status.
    func ask(_ times: Int, _ headers: String = "", path: String = "/name") -> [String] {
        let visitor = Visitor(port: gateway.port)
        defer { visitor.end() }
        return (0..<times).map { _ in
            guard let response = visitor.get(path, headers) else { return "nothing" }
            return response.status == 200 ? response.text : String(response.status)
        }
    }

    func member(_ place: Int) -> BackendSurvey.Member? {
        let port = origins[place].port
        return BackendSurvey.merge(gateway.plane.survey()).first?.members.first { $0.port == port }
    }

    func end() {
        gateway.plane.stop()
        for origin in origins { origin.stop() }
    }
}

private func crowdBackend(_ origins: [Origin]) -> Backend {
    backend("crowd", origins.map { endpoint(Int($0.port)) })
}

extension Sequence<String> {
    fileprivate func counted() -> [String: Int] { reduce(into: [:]) { $0[$1, default: 0] += 1 } }
}

@Suite struct BalanceTests {
    // MARK: shares

    @Test("round robin gives each endpoint its turn")
    func roundRobin() throws {
        let crowd = try Crowd(3) { $0.balance.algorithm = .roundRobin }
        defer { crowd.end() }
        #expect(crowd.ask(30).counted() == ["o0": 10, "o1": 10, "o2": 10])
    }

    @Test("weights are kept", arguments: [BalancePolicy.Algorithm.roundRobin, .random, .leastRequest])
    func weights(algorithm: BalancePolicy.Algorithm) throws {
        let crowd = try Crowd(2) {
            $0.balance.algorithm = algorithm
            $0.endpoints[0].weight = 4
        }
        defer { crowd.end() }
        let heavy = crowd.ask(400).counted()["o0"] ?? 0
        // Least request looks at two of them, so that one request at a time finds both free and goes by the weight of the first drawn.
        #expect(heavy > 280 && heavy < 370, "\(heavy)")
    }

    @Test("random spreads over all")
    func random() throws {
        let crowd = try Crowd(4) { $0.balance.algorithm = .random }
        defer { crowd.end() }
        let counts = crowd.ask(200).counted()
        #expect(counts.count == 4 && counts.values.allSatisfy { $0 > 20 && $0 < 90 }, "\(counts)")
    }

    @Test("peak EWMA leaves the slow endpoint, and the failing one that asks to be left")
    func ewma() throws {
        let crowd = try Crowd(3) { $0.balance.algorithm = .peakEWMA }
        defer { crowd.end() }
        crowd.origins[1].set(.init(delay: 30_000))
        _ = crowd.ask(10)
        let slow = crowd.origins[1].requests
        #expect(crowd.ask(60).counted()["o1"] ?? 0 < 10, "after \(slow)")
        crowd.origins[1].recover()
        crowd.origins[2].fail(503, "retry-after: 100\r\n")
        let answers = crowd.ask(80).counted()
        #expect(answers["503"] ?? 0 <= 2, "\(answers)")
    }

    // MARK: hashes

    @Test(
        "the same header, cookie, parameter or path has the same endpoint, on any connection",
        arguments: [BalancePolicy.Algorithm.ringHash, .maglev])
    func hashes(algorithm: BalancePolicy.Algorithm) throws {
        var crowd = try Crowd(5) { $0.balance.algorithm = algorithm }
        defer { crowd.end() }
        let kinds: [(HashInput, (Int) -> (headers: String, path: String))] = [
            (HashInput(.header, name: "x-user"), { ("X-User: u\($0)\r\n", "/name") }),
            (HashInput(.cookie, name: "user"), { ("cookie: a=b; user=u\($0); c=d\r\n", "/name") }),
            (HashInput(.query, name: "user"), { ("", "/name?a=b&user=u\($0)&c=\($0)") }),
            (HashInput(.path), { ("", "/name/\($0)") }),
        ]
        for (input, request) in kinds {
            crowd.backend.balance.hashOn = [input]
            try crowd.apply()
            var owners: Set<String> = []
            for user in 0..<24 {
                let (headers, path) = request(user)
                let answers = Set(crowd.ask(3, headers, path: path) + crowd.ask(1, headers, path: path))
                #expect(answers.count == 1, "\(input.kind) \(user): \(answers)")
                owners.formUnion(answers)
            }
            #expect(owners.count >= 4, "\(input.kind): \(owners)")
        }
        crowd.backend.balance.hashOn = [HashInput(.source)]
        try crowd.apply()
        #expect(Set(crowd.ask(5) + crowd.ask(5)).count == 1)
        // Without what is hashed, requests are spread.
        crowd.backend.balance.hashOn = [HashInput(.header, name: "x-user")]
        try crowd.apply()
        #expect(Set(crowd.ask(60)).count >= 4)
    }

    @Test("when an endpoint leaves, only its users move; when it is back, they are back", arguments: [false, true])
    func churn(isRing: Bool) throws {
        var crowd = try Crowd(5) {
            $0.balance.algorithm = isRing ? .ringHash : .maglev
            $0.balance.hashOn = [HashInput(.header, name: "x-user")]
        }
        defer { crowd.end() }
        func owners() -> [String] { (0..<60).map { crowd.ask(1, "x-user: \($0)\r\n")[0] } }
        let all = crowd.backend.endpoints
        let before = owners()
        crowd.backend.endpoints.remove(at: 2)
        try crowd.apply()
        let after = owners()
        #expect(!after.contains("o2"))
        let moved = zip(before, after).count { $0 != $1 && $0 != "o2" }
        #expect(moved <= (isRing ? 0 : 6), "\(moved)")
        crowd.backend.endpoints = all
        try crowd.apply()
        #expect(owners() == before)
    }

    @Test("a client without the hashed cookie is given one, and stays with its first endpoint")
    func hashCookie() throws {
        let crowd = try Crowd(5) {
            $0.balance.algorithm = .maglev
            $0.balance.hashOn = [HashInput(.cookie, name: "user", cookieSeconds: 60, cookiePath: "/shop")]
        }
        defer { crowd.end() }
        for _ in 0..<8 {
            let visitor = Visitor(port: crowd.gateway.port)
            defer { visitor.end() }
            let first = try #require(visitor.get("/name"))
            let cookie = try #require(header("set-cookie", first.head))
            #expect(cookie.hasSuffix("; Path=/shop; Max-Age=60; HttpOnly"))
            let pair = cookie.prefix { $0 != ";" }
            let second = try #require(visitor.get("/name", "cookie: \(pair)\r\n"))
            #expect(second.text == first.text)
            #expect(header("set-cookie", second.head) == nil)
        }
    }

    // MARK: sessions

    @Test("a session stays with its endpoint over reconnects and changes, and moves when the endpoint is gone")
    func session() throws {
        var crowd = try Crowd(4) {
            $0.balance.algorithm = .roundRobin
            $0.balance.session = SessionPolicy(
                name: "at", seconds: 600, attributes: [CookieAttribute(name: "SameSite", value: "Lax")])
        }
        defer { crowd.end() }
        let visitor = Visitor(port: crowd.gateway.port)
        let first = try #require(visitor.get("/name"))
        visitor.end()
        let cookie = try #require(header("set-cookie", first.head))
        #expect(cookie.hasPrefix("at=") && cookie.hasSuffix("; Path=/; Max-Age=600; SameSite=Lax; HttpOnly"))
        let pair = String(cookie.prefix { $0 != ";" })
        #expect(!pair.contains("127.0.0.1"))
        #expect(Set(crowd.ask(8, "cookie: \(pair)\r\n")) == [first.text])
        // New endpoints, other weights, another order: it is the same endpoint still.
        let extra = Origin(name: "extra")
        defer { extra.stop() }
        crowd.backend.endpoints.reverse()
        crowd.backend.endpoints.append(endpoint(Int(extra.port)))
        for place in crowd.backend.endpoints.indices { crowd.backend.endpoints[place].weight = place + 1 }
        try crowd.apply()
        #expect(Set(crowd.ask(8, "cookie: x=y; \(pair)\r\n")) == [first.text])
        let port = try #require(crowd.origins.first { $0.name == first.text }?.port)
        crowd.backend.endpoints.removeAll { $0.port == Int(port) }
        try crowd.apply()
        let later = Visitor(port: crowd.gateway.port)
        defer { later.end() }
        let moved = try #require(later.get("/name", "cookie: \(pair)\r\n"))
        #expect(moved.status == 200 && moved.text != first.text)
        let renewed = try #require(header("set-cookie", moved.head))
        #expect(!renewed.hasPrefix(pair))
        #expect(Set(crowd.ask(8, "cookie: \(renewed.prefix { $0 != ";" })\r\n")) == [moved.text])
        // Nonsense is no session.
        #expect(Set(crowd.ask(20, "cookie: at=zzzz\r\n")).count > 1)
    }

    @Test("a route's session may be carried by a header, and keeps to the backend it began with")
    func routeSession() throws {
        var crowd = try Crowd(4)
        defer { crowd.end() }
        crowd.route = rule([("a", 1), ("b", 1)]) { $0.session = SessionPolicy(.header, name: "X-Session") }
        let halves = [
            backend("a", crowd.origins[..<2].map { endpoint(Int($0.port)) }),
            backend("b", crowd.origins[2...].map { endpoint(Int($0.port)) }),
        ]
        try crowd.gateway.apply([crowd.route], halves)
        for _ in 0..<6 {
            let visitor = Visitor(port: crowd.gateway.port)
            defer { visitor.end() }
            let first = try #require(visitor.get("/name"))
            let session = try #require(header("x-session", first.head))
            #expect(Set(crowd.ask(6, "x-session: \(session)\r\n")) == [first.text])
        }
    }

    // MARK: ejection

    @Test("a failing endpoint is left by all loops, and taken back when its time is over")
    func ejection() throws {
        let crowd = try Crowd(3, loops: 2) {
            $0.balance.algorithm = .roundRobin
            $0.outlier = OutlierPolicy(consecutiveErrors: 3, ejectionMilliseconds: 400, mostEjectedPercent: 50)
        }
        defer { crowd.end() }
        crowd.origins[1].fail(500)
        // Failures seen on a few connections, wherever they landed, count together.
        #expect(
            eventually {
                _ = crowd.ask(3)
                return crowd.member(1)?.away ?? 0 > 0
            })
        crowd.origins[1].recover()
        let before = crowd.origins[1].requests
        var answers: [String] = []
        // Many connections, so that both loops have some.
        for _ in 0..<8 where crowd.member(1)?.away ?? 0 > 0 { answers += crowd.ask(3) }
        if crowd.member(1)?.away ?? 0 > 0 {
            #expect(crowd.origins[1].requests == before, "\(answers.counted())")
            #expect(!answers.contains("o1"))
        }
        #expect(eventually { crowd.ask(6).contains("o1") })
        #expect(crowd.member(1)?.cause == .consecutiveErrors)
        #expect(crowd.member(1)?.ejections == 1)
    }

    @Test("an ejection outlives changes of configuration that keep the endpoint")
    func ejectionStays() throws {
        var crowd = try Crowd(3) {
            $0.balance.algorithm = .roundRobin
            $0.outlier = OutlierPolicy(
                consecutiveErrors: 2, ejectionMilliseconds: 600_000, longestEjectionMilliseconds: 600_000,
                mostEjectedPercent: 50)
        }
        defer { crowd.end() }
        crowd.origins[0].fail(503)
        #expect(eventually { crowd.ask(3).count { $0 == "503" } == 0 && crowd.member(0)?.away ?? 0 > 0 })
        crowd.origins[0].recover()
        let attempts = crowd.member(2)?.attempts ?? 0
        for weight in 2..<8 {
            crowd.backend.endpoints[2].weight = weight
            crowd.backend.endpoints[1].locality = "eu/\(weight)"
            try crowd.apply()
        }
        #expect(crowd.member(0)?.away ?? 0 > 0)
        #expect(Set(crowd.ask(20)) == ["o1", "o2"])
        #expect(crowd.member(2)?.attempts ?? 0 > attempts)
        // Gone and back, it is a new endpoint.
        let gone = crowd.backend.endpoints.removeFirst()
        try crowd.apply()
        crowd.backend.endpoints.append(gone)
        try crowd.apply()
        #expect(crowd.member(0)?.away == 0)
        #expect(Set(crowd.ask(30)) == ["o0", "o1", "o2"])
    }

    @Test("with all endpoints ejected the answer says so; in panic they are used all the same")
    func allEjected() throws {
        var crowd = try Crowd(2) {
            $0.balance.panicPercent = 0
            $0.outlier = OutlierPolicy(
                consecutiveErrors: 1, ejectionMilliseconds: 600_000, longestEjectionMilliseconds: 600_000,
                mostEjectedPercent: 100)
        }
        defer { crowd.end() }
        for origin in crowd.origins { origin.fail(500) }
        let visitor = Visitor(port: crowd.gateway.port)
        defer { visitor.end() }
        #expect(eventually { visitor.get("/name")?.reason == "all_ejected" })
        for origin in crowd.origins { origin.recover() }
        crowd.backend.balance.panicPercent = 50
        try crowd.apply()
        #expect(Set(crowd.ask(30)) == ["o0", "o1"])
    }

    @Test("an endpoint that takes no connections is ejected for that, and no request fails")
    func localFailures() throws {
        let crowd = try Crowd(3) {
            $0.balance.algorithm = .roundRobin
            $0.outlier = OutlierPolicy(
                consecutiveLocalFailures: 2, localFailures: .apart, ejectionMilliseconds: 600_000,
                longestEjectionMilliseconds: 600_000, mostEjectedPercent: 50)
        }
        defer { crowd.end() }
        crowd.origins[2].stop()
        var answers: [String] = []
        let isEjected = eventually {
            answers += crowd.ask(6)
            return crowd.member(2)?.away ?? 0 > 0
        }
        #expect(isEjected)
        #expect(answers.allSatisfy { $0 == "o0" || $0 == "o1" }, "\(answers.counted())")
        #expect(crowd.member(2)?.cause == .consecutiveLocalFailures)
    }

    @Test("an endpoint whose failures are many, but not in a row, is ejected by its rate")
    func rates() throws {
        let crowd = try Crowd(3, loops: 2) {
            $0.balance.algorithm = .roundRobin
            $0.outlier = OutlierPolicy(
                consecutiveErrors: 0, intervalMilliseconds: 200, ejectionMilliseconds: 600_000,
                longestEjectionMilliseconds: 600_000, mostEjectedPercent: 50, failurePercent: 30,
                rateMinimumHosts: 2, rateMinimumRequests: 4)
        }
        defer { crowd.end() }
        var round = 0
        #expect(
            eventually {
                round += 1
                if round % 2 == 0 { crowd.origins[0].recover() } else { crowd.origins[0].fail(500) }
                _ = crowd.ask(6)
                return crowd.member(0)?.away ?? 0 > 0
            })
        #expect(crowd.member(0)?.cause == .failurePercentage)
    }

    // MARK: places

    @Test("the own zone comes first; when its endpoints fail the next takes over, and gives back")
    func locality() throws {
        var crowd = try Crowd(4) {
            $0.balance.algorithm = .roundRobin
            $0.balance.panicPercent = 0
            $0.balance.locality = LocalityPolicy(prefer: [.region, .zone])
            $0.outlier = OutlierPolicy(
                consecutiveErrors: 1, ejectionMilliseconds: 300, longestEjectionMilliseconds: 300,
                mostEjectedPercent: 100)
            $0.endpoints[0].locality = "eu/a"
            $0.endpoints[1].locality = "eu/a"
            $0.endpoints[2].locality = "eu/b"
            $0.endpoints[3].locality = "us/a"
        }
        defer { crowd.end() }
        crowd.workloadLocality = "eu/a"
        try crowd.apply()
        #expect(Set(crowd.ask(20)) == ["o0", "o1"])
        crowd.origins[0].fail(500)
        crowd.origins[1].fail(500)
        #expect(eventually { Set(crowd.ask(3)) == ["o2"] })
        crowd.origins[0].recover()
        crowd.origins[1].recover()
        #expect(eventually { Set(crowd.ask(6)) == ["o0", "o1"] })
    }

    @Test("with the node's own endpoints only, others get nothing, and the answer says why")
    func nodeOnly() throws {
        var crowd = try Crowd(2) {
            $0.balance.locality = LocalityPolicy(prefer: [.node], others: .never)
            $0.endpoints[0].node = "n1"
            $0.endpoints[1].node = "n2"
        }
        defer { crowd.end() }
        let visitor = Visitor(port: crowd.gateway.port)
        defer { visitor.end() }
        #expect(visitor.get("/name")?.reason == "no_local_endpoint")
        var configuration = crowd.gateway.configuration([crowd.route], [crowd.backend])
        configuration.workload.node = "n2"
        let generation = try crowd.gateway.plane.apply(configuration, identity: nil)
        #expect(eventually { crowd.gateway.plane.collect().allSatisfy { $0.counts.generation == generation } })
        #expect(Set(crowd.ask(10)) == ["o1"])
        crowd.backend.endpoints = []
        try crowd.apply()
        #expect(visitor.get("/name")?.reason == "no_endpoints")
    }

    @Test("localities have the shares they are given")
    func shares() throws {
        var crowd = try Crowd(3) {
            $0.balance.algorithm = .roundRobin
            $0.balance.locality = LocalityPolicy(
                shares: [
                    .init(from: "eu/*", to: [.init(locality: "eu/a", weight: 80), .init(locality: "eu/b", weight: 20)])
                ])
            $0.endpoints[0].locality = "eu/a"
            $0.endpoints[1].locality = "eu/a"
            $0.endpoints[2].locality = "eu/b"
        }
        defer { crowd.end() }
        crowd.workloadLocality = "eu/a"
        try crowd.apply()
        let counts = crowd.ask(200).counted()
        #expect(abs((counts["o2"] ?? 0) - 40) <= 3, "\(counts)")
        #expect(abs((counts["o0"] ?? 0) - 80) <= 3, "\(counts)")
    }

    // MARK: active checks

    @Test("an endpoint that fails its checks is left, whatever it answers, and taken back when it passes")
    func checks() throws {
        let crowd = try Crowd(2, loops: 2) {
            $0.balance.algorithm = .roundRobin
            $0.balance.panicPercent = 0
            $0.health = HealthCheck(
                .http, path: "/healthz", intervalMilliseconds: 40, timeoutMilliseconds: 2000, healthyThreshold: 2,
                unhealthyThreshold: 2)
        }
        defer { crowd.end() }
        #expect(Set(crowd.ask(10)) == ["o0", "o1"])
        crowd.origins[0].fail(503)
        #expect(eventually { crowd.member(0)?.away == .max })
        #expect(Set(crowd.ask(10) + crowd.ask(10)) == ["o1"])
        crowd.origins[1].fail(503)
        #expect(eventually { crowd.member(1)?.away == .max })
        let visitor = Visitor(port: crowd.gateway.port)
        defer { visitor.end() }
        #expect(visitor.get("/name")?.reason == "all_unhealthy")
        for origin in crowd.origins { origin.recover() }
        #expect(eventually { Set(crowd.ask(10)) == ["o0", "o1"] })
        let head = crowd.origins[0].lastHead
        #expect(
            head.hasPrefix("GET /healthz HTTP/1.1\r\nhost: crowd.demo.svc.cluster.local\r\n") || head.contains("/name"))
    }

    @Test("a TCP check asks whether connections are taken")
    func tcpChecks() throws {
        var crowd = try Crowd(2) {
            $0.health = HealthCheck(.tcp, intervalMilliseconds: 40, timeoutMilliseconds: 2000, unhealthyThreshold: 1)
        }
        defer { crowd.end() }
        #expect(eventually { crowd.origins.allSatisfy { $0.connections >= 2 } })
        #expect(crowd.member(0)?.away == 0)
        crowd.origins[0].stop()
        #expect(eventually { crowd.member(0)?.away == .max })
        #expect(Set(crowd.ask(10)) == ["o1"])
        // Nobody asks any more: nothing speaks against it.
        crowd.backend.health = nil
        crowd.backend.outlier = OutlierPolicy()
        try crowd.apply()
        #expect(eventually { crowd.member(0)?.away == 0 })
    }

    @Test("a gRPC check asks grpcio's server for one service")
    func grpcChecks() throws {
        let server = PeerProgram("health_server.py")
        defer { server.end() }
        let crowd = try Crowd(1)
        defer { crowd.end() }
        var grpc = backend("grpc", [endpoint(server.port())])
        grpc.appProtocol = .grpc
        grpc.health = HealthCheck(
            .grpc, grpcService: "shop", intervalMilliseconds: 40, timeoutMilliseconds: 5000, healthyThreshold: 1,
            unhealthyThreshold: 1)
        func state() -> UInt64? {
            BackendSurvey.merge(crowd.gateway.plane.survey()).first { $0.name == "grpc" }?.members.first?.away
        }
        try crowd.gateway.apply([crowd.route], [crowd.backend, grpc])
        #expect(state() == 0)
        server.say("2")
        #expect(server.line() == "done")
        #expect(eventually { state() == .max })
        server.say("1")
        #expect(server.line() == "done")
        #expect(eventually { state() == 0 })
        grpc.health?.grpcService = "unknown"
        try crowd.gateway.apply([crowd.route], [crowd.backend, grpc])
        #expect(eventually { state() == .max })
    }

    @Test("an endpoint that is new gets its share little by little")
    func slowStart() throws {
        var crowd = try Crowd(2) {
            $0.balance.algorithm = .roundRobin
            $0.balance.slowStart = SlowStart(windowMilliseconds: 3_600_000, minimumPercent: 0)
        }
        defer { crowd.end() }
        let began = Clock.monotonic
        // Equally new, they have equal shares.
        #expect(abs((crowd.ask(40).counted()["o0"] ?? 0) - 20) <= 4)
        #expect(eventually { Clock.monotonic - began > 500_000_000 })
        let newcomer = Origin(name: "new")
        defer { newcomer.stop() }
        crowd.backend.endpoints.append(endpoint(Int(newcomer.port)))
        try crowd.apply()
        let counts = crowd.ask(90).counted()
        #expect(counts["new"] ?? 0 < 15 && counts["o0"] ?? 0 > 30, "\(counts)")
        crowd.backend.balance.slowStart = nil
        try crowd.apply()
        #expect(crowd.ask(90).counted()["new"] == 30)
    }

    // MARK: changes

    @Test("endpoints that come and go, fail and recover, with every policy on, fail no request of a good one")
    func churnUnderLoad() throws {
        var crowd = try Crowd(4, loops: 2) {
            $0.balance.slowStart = SlowStart(windowMilliseconds: 200)
            $0.outlier = OutlierPolicy(ejectionMilliseconds: 100)
            $0.health = HealthCheck(.http, path: "/healthz", intervalMilliseconds: 30, timeoutMilliseconds: 5000)
        }
        defer { crowd.end() }
        let all = crowd.backend.endpoints
        let load = Load(port: crowd.gateway.port, connections: 8)
        let algorithms: [BalancePolicy.Algorithm] = [
            .leastRequest, .roundRobin, .peakEWMA, .maglev, .ringHash, .random,
        ]
        for round in 0..<200 {
            crowd.backend.endpoints = all.enumerated().filter { $0.offset != round % 4 }.map(\.element)
            crowd.backend.balance.algorithm = algorithms[round % algorithms.count]
            crowd.backend.balance.hashOn = [HashInput(.source)]
            crowd.backend.balance.session = round % 3 == 0 ? SessionPolicy(name: "s") : nil
            try crowd.apply()
        }
        let result = load.finish()
        #expect(result.failed == 0, "\(result.reasons)")
        #expect(result.served > 100)
        let counts = crowd.gateway.plane.collect().map(\.counts)
        #expect(counts.allSatisfy { $0.exchanges == 0 })
        #expect(
            eventually { BackendSurvey.merge(crowd.gateway.plane.survey())[0].members.allSatisfy { $0.active == 0 } })
    }

    @Test("more endpoints than there is room for are refused, and the configuration before goes on")
    func tooMany() throws {
        var crowd = try Crowd(1)
        defer { crowd.end() }
        let many = (0..<Limits.tableEndpoints).map { place in
            Endpoint(address: "10.\(place >> 16).\(place >> 8 & 255).\(place & 255)", port: 80)
        }
        let before = crowd.backend
        crowd.backend.endpoints += many
        #expect {
            try crowd.apply()
        } throws: { "\($0)".contains("Backend crowd: endpoints: is one too many") }
        #expect(crowd.ask(2) == ["o0", "o0"])
        crowd.backend = before
        try crowd.apply()
    }
}
