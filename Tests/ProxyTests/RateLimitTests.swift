import ProxyResources
import Testing

@testable import Proxy

@Suite struct RateLimitTests {
    private func gateway(_ limits: [RateLimit], _ origin: ScriptedOrigin, loops: Int = 1) throws -> TestGateway {
        try TestGateway.before([origin], loops: loops, RouteResilience(rateLimits: limits))
    }
    /// So seldom that nothing comes back during a test.
    private func limit(_ requests: Int, _ key: RateLimit.Key = .none, keys: Int = 4096) -> RateLimit {
        RateLimit(requests: requests, perMilliseconds: 3_600_000, key: key, maxKeys: keys)
    }

    @Test("beyond the rate the answer is 429, with when to come back")
    func refused() throws {
        let origin = ScriptedOrigin { _ in .status(200) }
        let gateway = try gateway([limit(3)], origin)
        let visitor = Visitor(port: gateway.port)
        for _ in 0..<3 { #expect(visitor.get("/")?.status == 200) }
        let refused = visitor.get("/")
        #expect(refused?.status == 429)
        #expect(refused?.reason == "rate_limited")
        let head = refused?.head ?? ""
        #expect((1...1200).contains(Int(header("retry-after", head) ?? "") ?? 0))
        #expect(header("x-ratelimit-limit", head) == "3")
        #expect(header("x-ratelimit-remaining", head) == "0")
        #expect(header("x-ratelimit-reset", head) == header("retry-after", head))
        #expect(origin.count == 3)
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("answers within a limit say what is left of it when it asks for that: of the limit of which least is")
    func told() throws {
        let origin = ScriptedOrigin { _ in .status(200, "access-control-allow-origin: of the app\r\n") }
        var wide = limit(100)
        var narrow = limit(3)
        (wide.headersAlways, narrow.headersAlways) = (true, true)
        narrow.headers = .draft
        let gateway = try gateway([wide, narrow], origin)
        let visitor = Visitor(port: gateway.port)
        for left in ["2", "1", "0"] {
            let head = visitor.get("/")?.head ?? ""
            #expect(header("ratelimit-limit", head) == "3")
            #expect(header("ratelimit-remaining", head) == left)
            #expect((1...3600).contains(Int(header("ratelimit-reset", head) ?? "") ?? 0))
            #expect(header("x-ratelimit-limit", head) == nil, "one limit only")
            #expect(header("access-control-allow-origin", head) == "of the app", "which stays as it is")
        }
        #expect(visitor.get("/")?.status == 429)
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("two loops share one bucket exactly")
    func shared() throws {
        let origin = ScriptedOrigin { _ in .status(200) }
        let gateway = try gateway([limit(50)], origin, loops: 2)
        let visitors = (0..<20).map { _ in Visitor(port: gateway.port) }
        for round in 0..<10 {
            for visitor in visitors { #expect(visitor.send("GET /\(round) HTTP/1.1\r\nhost: t\r\n\r\n")) }
            for visitor in visitors { _ = visitor.response() }
        }
        #expect(origin.count == 50)
        for visitor in visitors { visitor.end() }
        gateway.plane.stop()
        origin.stop()
    }

    @Test("each key has a bucket of its own: a header's value, a path, an address")
    func keyed() throws {
        let origin = ScriptedOrigin { _ in .status(200) }
        let byHeader = try gateway([limit(2, .header("x-user"))], origin)
        let visitor = Visitor(port: byHeader.port)
        for user in ["ada", "bob", "cid"] {
            #expect((0..<4).map { _ in visitor.get("/", "x-user: \(user)\r\n")?.status } == [200, 200, 429, 429])
        }
        #expect((0..<3).map { _ in visitor.get("/")?.status } == [200, 200, 429], "those without it share one")
        visitor.end()
        byHeader.plane.stop()

        let byPath = try gateway([limit(1, .path)], origin)
        let second = Visitor(port: byPath.port)
        #expect(["/a", "/b", "/a?x", "/b", "/c"].map { second.get($0)?.status } == [200, 200, 429, 429, 200])
        second.end()
        byPath.plane.stop()

        let byAddress = try gateway([limit(1, .address)], origin)
        let third = Visitor(port: byAddress.port)
        #expect((0..<2).map { _ in third.get("/")?.status } == [200, 429])
        third.end()
        byAddress.plane.stop()
        origin.stop()
    }

    @Test("the table of keys is bounded, and forgets the one whose bucket fills first")
    func bounded() {
        let table = RateTable(name: "t", keys: 8)
        let bucket = RateBucket(requests: 2, perMilliseconds: 1000, burst: 2)
        let second: UInt64 = 1_000_000_000
        for key in UInt64(1)...8 { #expect(table.take(key, bucket, now: second + key).isAdmitted) }
        // Key 1 is used again, so it is full again last; a ninth key takes the place of key 2.
        #expect(table.take(1, bucket, now: second + 9).isAdmitted)
        #expect(table.take(9, bucket, now: second + 10).isAdmitted)
        #expect(!table.take(1, bucket, now: second + 11).isAdmitted, "still remembered")
        #expect(table.take(3, bucket, now: second + 12).isAdmitted)
        #expect(!table.take(3, bucket, now: second + 13).isAdmitted, "still remembered")
        #expect(table.take(2, bucket, now: second + 14).remaining == 1, "forgotten, so full")
    }

    @Test("limits of a workload and of a port hold at a sidecar's inbound side; each caller counts for itself")
    func inbound() throws {
        let pair = try TestPair()
        var configuration = pair.serverConfiguration(.strict)
        configuration.workload.inboundPorts[0].rateLimits = [limit(4, .principal)]
        configuration.workload.rateLimits = [limit(6)]
        let generation = try pair.server.apply(configuration, identity: try pair.authority.identity("catalog"))
        #expect(eventually { pair.server.collect().allSatisfy { $0.counts.generation == generation } })
        let visitor = Visitor(port: pair.gateway.port)
        #expect((0..<5).map { _ in visitor.get("/name")?.status } == [200, 200, 200, 200, 429])
        visitor.end()
        pair.end()
    }

    @Test("a limit goes on with its count when the configuration changes")
    func live() throws {
        let origin = ScriptedOrigin { _ in .status(200) }
        let gateway = try gateway([limit(2)], origin)
        let visitor = Visitor(port: gateway.port)
        #expect(visitor.get("/")?.status == 200)
        var same = rule([("o", 1)])
        same.resilience.rateLimits = [limit(2)]
        try gateway.apply([same], [backend("o", [endpoint(Int(origin.port))]), backend("other", [])])
        #expect(visitor.get("/")?.status == 200)
        #expect(visitor.get("/")?.status == 429)
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("all of resilience comes back from JSON as it was; what is wrong is refused by name")
    func resources() throws {
        var policy = RetryPolicy(
            attempts: 3, conditions: RetryCondition.allCases, statusCodes: [429],
            responseHeaders: [HeaderMatch(name: "x-again", kind: .present)], perTryTimeoutMilliseconds: 250)
        policy.idempotentOnly = true
        var told = limit(6)
        (told.headers, told.headersAlways) = (.draft, true)
        told.global = GlobalQuota(budget: "demo/six", whenLost: .open)
        told.name = "six"
        var made = rule([("o", 1)])
        made.resilience = RouteResilience(
            retry: policy, limits: CircuitLimits(maxPending: 3, maxRequests: 4, maxRetries: 2),
            rateLimits: [
                limit(1), limit(2, .header("x-a")), limit(3, .principal), limit(4, .address), limit(5, .path), told,
            ],
            idleTimeoutMilliseconds: 5, streamTimeoutMilliseconds: 6)
        let port = ServicePort(
            namespace: "demo", service: "o", port: 80, routes: [made], defaultBackend: "demo/o:80")
        #expect(try ServicePort(json: port.json) == port)
        var guarded = backend("o", [endpoint(80)])
        guarded.resilience = BackendResilience(
            limits: CircuitLimits(maxConnections: 1, maxRequestsPerConnection: 9, connectTimeoutMilliseconds: 8),
            retryBudget: RetryBudget(percent: 5), adaptiveConcurrency: AdaptiveConcurrency(maxLimit: 7))
        #expect(try Backend(json: guarded.json) == guarded)
        var wrong = made
        wrong.resilience.rateLimits[1].perMilliseconds = 0
        var bad = port
        bad.routes = [wrong]
        let fault = #expect(throws: ResourceFault.self) { try ServicePort(json: bad.json) }
        #expect(fault?.field == "routes[0].resilience.rateLimits[1].perMilliseconds")
    }

    @Test("a file written by people says the same with times and words")
    func file() throws {
        let text = """
            listeners:
              - port: 8080
                routes:
                  - to: o
                    timeout: 2s
                    resilience:
                      retry: {attempts: 3, conditions: [5xx, connect-failure], perTryTimeout: 250ms, backoffBase: 10ms}
                      limits: {maxRequests: 10, pendingTimeout: 1s}
                      rateLimits: [{requests: 100, per: 1m, key: "header:x-user"}]
                      idleTimeout: 30s
            clusters:
              - name: o
                endpoints: ["127.0.0.1:80"]
                resilience:
                  limits: {maxConnections: 5, connectTimeout: 300ms}
                  retryBudget: {percent: 10, window: 5s}
                  adaptiveConcurrency: {maxLimit: 50}
            """
        let file = try ConfigurationFile(parsing: Array(text.utf8), name: "proxy.yaml")
        let rule = try #require(file.configuration.workload.gatewayListeners.first?.routes.first?.rules.first)
        #expect(rule.resilience.retry?.conditions == [.serverError, .connectFailure])
        #expect(rule.resilience.retry?.perTryTimeoutMilliseconds == 250)
        #expect(rule.resilience.retry?.backoffMaxMilliseconds == 100)
        #expect(rule.resilience.limits == CircuitLimits(pendingTimeoutMilliseconds: 1000, maxRequests: 10))
        #expect(
            rule.resilience.rateLimits == [RateLimit(requests: 100, perMilliseconds: 60_000, key: .header("x-user"))])
        #expect(rule.resilience.idleTimeoutMilliseconds == 30_000)
        let guarded = file.configuration.backends["o"]?.resilience
        #expect(guarded?.limits == CircuitLimits(maxConnections: 5, connectTimeoutMilliseconds: 300))
        #expect(guarded?.retryBudget == RetryBudget(percent: 10, windowMilliseconds: 5000))
        #expect(guarded?.adaptiveConcurrency?.maxLimit == 50)
        let global = text.replacingFirst("requests: 100,", "name: a, requests: 100, global: true,")
        let fault = #expect(throws: (any Error).self) {
            try ConfigurationFile(parsing: Array(global.utf8), name: "proxy.yaml")
        }
        #expect("\(fault.map { "\($0)" } ?? "")".contains("rateLimits[0].global: is for proxies of a mesh"))
    }
}

extension String {
    fileprivate func replacingFirst(_ word: String, _ other: String) -> String {
        let parts = split(separator: word, maxSplits: 1, omittingEmptySubsequences: false)
        return parts.joined(separator: other)
    }
}
