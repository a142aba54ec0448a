import Glibc
import ProxyResources
import Testing

@testable import Proxy

@Suite struct DeadlineTests {
    @Test("what is left of a deadline goes on across two hops, and grows at none")
    func twoHops() throws {
        let origin = ScriptedOrigin { $0.path == "/silent" ? .silence : .status(200) }
        let inner = try TestGateway.before([origin]) { $0.timeoutMilliseconds = 60_000 }
        let outer = try TestGateway()
        try outer.apply([rule([("inner", 1)])], [backend("inner", [endpoint(inner.port)])])
        let visitor = Visitor(port: outer.port)
        #expect(visitor.get("/", "x-request-deadline: 5000\r\n")?.status == 200)
        let left = origin.requests.last?.header("x-request-deadline").flatMap { Int($0) } ?? 0
        #expect((1...5000).contains(left), "\(left) ms were left, not the route's 60,000")
        let late = visitor.get("/silent", "x-request-deadline: 150\r\n")
        #expect(late?.status == 504)
        #expect(late?.reason == "deadline_exceeded")
        // Nothing left: it is not even sent.
        let before = origin.count
        #expect(visitor.get("/", "x-request-deadline: 0\r\n")?.reason == "deadline_exceeded")
        #expect(origin.count == before)
        #expect(visitor.get("/", "x-request-deadline: soon\r\n")?.status == 200, "what is no number is no deadline")
        visitor.end()
        outer.plane.stop()
        inner.plane.stop()
        origin.stop()
    }

    @Test("a route's time is told to the next hop, which may have a shorter one")
    func routeTime() throws {
        let origin = ScriptedOrigin { _ in .status(200) }
        let gateway = try TestGateway.before([origin]) { $0.timeoutMilliseconds = 2000 }
        let visitor = Visitor(port: gateway.port)
        #expect(visitor.get("/")?.status == 200)
        let own = origin.requests.last?.header("x-request-deadline").flatMap { Int($0) } ?? 0
        #expect((1...2000).contains(own))
        #expect(visitor.get("/", "x-request-deadline: 700\r\n")?.status == 200)
        let given = origin.requests.last?.header("x-request-deadline").flatMap { Int($0) } ?? 0
        #expect((1...700).contains(given))
        #expect(visitor.get("/", "x-request-deadline: 90000\r\n")?.status == 200)
        let longer = origin.requests.last?.header("x-request-deadline").flatMap { Int($0) } ?? 0
        #expect((1...2000).contains(longer), "a caller cannot extend the route's time")
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("gRPC's own header is reduced, and both when both are there")
    func grpc() throws {
        let origin = ScriptedOrigin { _ in .status(200) }
        let gateway = try TestGateway.before([origin])
        let visitor = Visitor(port: gateway.port)
        #expect(visitor.get("/", "content-type: application/grpc\r\ngrpc-timeout: 2S\r\n")?.status == 200)
        var head = origin.requests.last
        let left = Int(head?.header("grpc-timeout")?.dropLast() ?? "") ?? 0
        #expect(head?.header("grpc-timeout")?.hasSuffix("m") == true)
        #expect((1...2000).contains(left))
        #expect(head?.header("x-request-deadline") == nil)
        #expect(visitor.get("/", "grpc-timeout: 900m\r\nx-request-deadline: 5000\r\n")?.status == 200)
        head = origin.requests.last
        for text in [head?.header("grpc-timeout")?.dropLast(), head?.header("x-request-deadline")?[...]] {
            #expect((1...900).contains(Int(text ?? "") ?? 0))
        }
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("a sidecar's inbound side keeps the deadline too, without any configuration")
    func inbound() throws {
        let origin = ScriptedOrigin { $0.path == "/silent" ? .silence : .status(200) }
        let port = freePort()
        let server = try DataPlane(
            loops: 1,
            listeners: [
                ListenerOption(
                    side: .inbound, address: "127.0.0.1", port: port, destination: "127.0.0.1:\(origin.port)")
            ], seed: 5)
        let own = workload("catalog") {
            $0.inboundPorts = [InboundPort(port: Int(origin.port), appProtocol: .http)]
        }
        let generation = try server.apply(ProxyConfiguration(workload: own), identity: nil)
        #expect(eventually { server.collect().allSatisfy { $0.counts.generation == generation } })
        let visitor = Visitor(port: port)
        #expect(visitor.get("/", "x-request-deadline: 4000\r\nx-weft-attempt: 2\r\n")?.status == 200)
        let left = origin.requests.last?.header("x-request-deadline").flatMap { Int($0) } ?? 0
        #expect((1...4000).contains(left))
        #expect(origin.requests.last?.header("x-weft-attempt") == "2", "the app may know which try this is")
        let late = visitor.get("/silent", "x-request-deadline: 100\r\n")
        #expect(late?.status == 504)
        #expect(late?.reason == "deadline_exceeded")
        visitor.end()
        server.stop()
        origin.stop()
    }

    @Test("tries share the time of the exchange; one that would come too late is not made")
    func tries() throws {
        let origin = ScriptedOrigin { _ in .status(503, "retry-after: 3\r\n") }
        let policy = RetryPolicy(attempts: 5, conditions: [.serverError], backoffBaseMilliseconds: 0)
        let gateway = try TestGateway.before([origin], RouteResilience(retry: policy)) {
            $0.timeoutMilliseconds = 1000
        }
        let visitor = Visitor(port: gateway.port)
        let answer = visitor.get("/")
        #expect(answer?.status == 503)
        #expect(header("x-weft-retry-refused", answer?.head ?? "") == "deadline")
        #expect(origin.count == 1)
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("a silent exchange ends after the route's idle time")
    func idle() throws {
        let origin = ScriptedOrigin { _ in .silence }
        let gateway = try TestGateway.before([origin], RouteResilience(idleTimeoutMilliseconds: 100))
        let visitor = Visitor(port: gateway.port)
        let late = visitor.get("/")
        #expect(late?.status == 504)
        #expect(late?.reason == "idle_timeout")
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }
}
