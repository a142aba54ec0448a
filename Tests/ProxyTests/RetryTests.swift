import Glibc
import ProxyResources
import Testing

@testable import Proxy

/// At once, so that the tests take no time.
private func policy(_ conditions: [RetryCondition], attempts: Int = 2, _ change: (inout RetryPolicy) -> Void = { _ in })
    -> RouteResilience
{
    var policy = RetryPolicy(attempts: attempts, conditions: conditions, backoffBaseMilliseconds: 0)
    change(&policy)
    return RouteResilience(retry: policy)
}

private let generous = BackendResilience(retryBudget: RetryBudget(percent: 100, minPerSecond: 1000))

@Suite struct RetryTests {
    @Test("a failed answer is held back and the request sent again; the client sees the one that counts")
    func failedAnswer() throws {
        let origin = ScriptedOrigin { $0.number % 3 == 0 ? .status(200) : .status(503) }
        let gateway = try TestGateway.before([origin], policy([.gatewayError]), generous)
        let visitor = Visitor(port: gateway.port)
        for _ in 0..<10 { #expect(visitor.get("/")?.status == 200) }
        #expect(origin.count == 30)
        #expect(origin.requests.prefix(3).map { $0.header("x-weft-attempt") } == ["1", "2", "3"])
        #expect(origin.connections == 1, "answers that are whole leave the connection usable")
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("nothing is repeated without a policy, and only what the conditions name with one")
    func named() throws {
        let origin = ScriptedOrigin { _ in .status(500) }
        let plain = try TestGateway.before([origin])
        var visitor = Visitor(port: plain.port)
        #expect(visitor.get("/")?.status == 500)
        #expect(origin.count == 1)
        #expect(origin.requests.last?.header("x-weft-attempt") == nil)
        visitor.end()
        let gateway = try TestGateway.before([origin], policy([.gatewayError]), generous)
        visitor = Visitor(port: gateway.port)
        #expect(visitor.get("/")?.status == 500)
        #expect(origin.count == 2)
        visitor.end()
        plain.plane.stop()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("the last failure is passed on, with the reason why there was no other try")
    func exhausted() throws {
        let origin = ScriptedOrigin { _ in .status(502) }
        let gateway = try TestGateway.before([origin], policy([.serverError], attempts: 3), generous)
        let visitor = Visitor(port: gateway.port)
        let last = visitor.get("/")
        #expect(last?.status == 502)
        #expect(last?.text == "answer\n")
        #expect(header("x-weft-retry-refused", last?.head ?? "") == "attempts")
        #expect(origin.count == 4)
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("a connection that ends without an answer is a reset; a request with a body is sent again whole")
    func resetWithBody() throws {
        let origin = ScriptedOrigin { $0.number % 2 == 1 ? .end : .status(200) }
        let gateway = try TestGateway.before([origin], policy([.reset]), generous)
        let visitor = Visitor(port: gateway.port)
        for size in [1, 10_000, 60_000, 65_536] {
            let body = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            let before = origin.count
            #expect(visitor.post("/", body)?.status == 200, "\(size) bytes")
            let seen = origin.requests.suffix(from: before)
            #expect(seen.count == 2)
            #expect(seen.allSatisfy { $0.body == body }, "\(size) bytes")
        }
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("a body over the bound is not kept: no second try, and the answer says why")
    func bodyBound() throws {
        let origin = ScriptedOrigin { _ in .status(503) }
        let gateway = try TestGateway.before([origin], policy([.serverError]) { $0.bodyBytes = 1000 }, generous)
        let visitor = Visitor(port: gateway.port)
        let kept = visitor.post("/", [UInt8](repeating: 1, count: 1000))
        #expect(header("x-weft-retry-refused", kept?.head ?? "") == "attempts")
        #expect(origin.count == 3)
        let over = visitor.post("/", [UInt8](repeating: 1, count: 1001))
        #expect(over?.status == 503)
        #expect(header("x-weft-retry-refused", over?.head ?? "") == "body_too_large")
        #expect(origin.count == 4)
        #expect(origin.requests.last?.header("x-weft-retry-depth") == nil, "inner hops may try in our place")
        // In chunks, where the length is not known before.
        let chunk = "3e8\r\n" + String(repeating: "c", count: 1000) + "\r\n"
        #expect(visitor.send("POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n"))
        for _ in 0..<200 { #expect(visitor.send(chunk)) }
        #expect(visitor.send("0\r\n\r\n"))
        let chunked = visitor.response()
        #expect(header("x-weft-retry-refused", chunked?.head ?? "") == "body_too_large")
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("a try that takes too long is left for another")
    func perTryTimeout() throws {
        let origin = ScriptedOrigin { $0.number < 3 ? .silence : .status(200) }
        let gateway = try TestGateway.before(
            [origin], policy([.reset]) { $0.perTryTimeoutMilliseconds = 100 }, generous)
        let visitor = Visitor(port: gateway.port)
        #expect(visitor.get("/")?.status == 200)
        #expect(origin.count == 3)
        visitor.end()
        let silent = ScriptedOrigin { _ in .silence }
        let other = try TestGateway.before(
            [silent], policy([.gatewayError], attempts: 1) { $0.perTryTimeoutMilliseconds = 50 }, generous)
        let second = Visitor(port: other.port)
        let late = second.get("/")
        #expect(late?.status == 504)
        #expect(late?.reason == "per_try_timeout")
        #expect(silent.count == 2)
        second.end()
        gateway.plane.stop()
        other.plane.stop()
        origin.stop()
        silent.stop()
    }

    @Test("tries go to endpoints not tried before")
    func otherEndpoints() throws {
        let bad = (0..<3).map { _ in ScriptedOrigin { _ in .status(503) } }
        let good = ScriptedOrigin { _ in .status(200) }
        let gateway = try TestGateway.before(bad + [good], policy([.serverError], attempts: 3), generous)
        let visitor = Visitor(port: gateway.port)
        for _ in 0..<40 { #expect(visitor.get("/")?.status == 200) }
        visitor.end()
        gateway.plane.stop()
        for origin in bad + [good] { origin.stop() }
    }

    @Test("retry-after is waited for up to the policy's bound")
    func retryAfter() throws {
        let origin = ScriptedOrigin { $0.number == 1 ? .status(503, "retry-after: 1\r\n") : .status(200) }
        let gateway = try TestGateway.before([origin], policy([.serverError]), generous)
        let visitor = Visitor(port: gateway.port)
        let start = time(nil)
        #expect(visitor.get("/")?.status == 200)
        #expect(time(nil) - start >= 0)
        #expect(origin.count == 2)
        visitor.end()
        let far = ScriptedOrigin { _ in .status(503, "retry-after: 60\r\n") }
        let other = try TestGateway.before([far], policy([.serverError]), generous)
        let second = Visitor(port: other.port)
        let refused = second.get("/")
        #expect(header("x-weft-retry-refused", refused?.head ?? "") == "retry_after")
        #expect(far.count == 1)
        second.end()
        gateway.plane.stop()
        other.plane.stop()
        origin.stop()
        far.stop()
    }

    @Test("the budget bounds what a failing backend is sent besides its requests")
    func budget() throws {
        let origin = ScriptedOrigin { _ in .status(503) }
        let tight = BackendResilience(retryBudget: RetryBudget(percent: 20, minPerSecond: 0))
        let gateway = try TestGateway.before([origin], policy([.serverError], attempts: 5), tight)
        let visitor = Visitor(port: gateway.port)
        var refused = 0
        for _ in 0..<100 {
            if header("x-weft-retry-refused", visitor.get("/")?.head ?? "") == "budget" { refused += 1 }
        }
        #expect((115...120).contains(origin.count), "100 requests came as \(origin.count)")
        #expect(refused > 90)
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("where two hops could both repeat a request, only the outer one does")
    func amplification() throws {
        let origin = ScriptedOrigin { _ in .status(503) }
        let inner = try TestGateway()
        let outer = try TestGateway()
        // The inner hop is a sidecar's outbound side, which believes what comes to it.
        let port = freePort()
        let sidecar = try DataPlane(
            loops: 1,
            listeners: [
                ListenerOption(side: .outbound, address: "127.0.0.1", port: port, destination: "10.0.0.1:80")
            ], seed: 3)
        var route = rule([("o", 1)])
        route.resilience = policy([.serverError], attempts: 4)
        var behind = backend("o", [endpoint(Int(origin.port))])
        behind.resilience = generous
        let service = ServicePort(
            namespace: "demo", service: "o", port: 80, addresses: ["10.0.0.1"], appProtocol: .http, routes: [route],
            defaultBackend: "o")
        let generation = try sidecar.apply(
            ProxyConfiguration(
                workload: workload("frontend"), servicePorts: [service.resourceName: service], backends: ["o": behind]),
            identity: nil)
        #expect(eventually { sidecar.collect().allSatisfy { $0.counts.generation == generation } })
        let direct = Visitor(port: port)
        #expect(direct.get("/")?.status == 503)
        #expect(origin.count == 5, "alone the inner hop tries five times")

        var outerRoute = rule([("inner", 1)])
        outerRoute.resilience = policy([.serverError], attempts: 2)
        var innerBackend = backend("inner", [endpoint(port)])
        innerBackend.resilience = generous
        try outer.apply([outerRoute], [innerBackend])
        let visitor = Visitor(port: outer.port)
        let answer = visitor.get("/")
        #expect(answer?.status == 503)
        #expect(origin.count == 8, "with the outer hop's three tries there are three, not fifteen")
        #expect(origin.requests.suffix(3).allSatisfy { $0.header("x-weft-retry-depth") == "1" })
        // Nobody outside can switch off a gateway's tries.
        _ = visitor.get("/", "x-weft-retry-depth: 1\r\nx-weft-attempt: 7\r\n")
        #expect(origin.count == 11)
        #expect(origin.requests.last?.header("x-weft-attempt") == nil, "an attempt is of one hop")
        visitor.end()
        direct.end()
        inner.plane.stop()
        outer.plane.stop()
        sidecar.stop()
        origin.stop()
    }
}
