import Loop
import ProxyResources
import Testing

@testable import Proxy

@Suite struct FaultTests {
    private func scene(_ fault: Fault) throws -> RouteActionTests.Scene {
        try RouteActionTests.Scene([rule([("o", 1)]) { $0.actions.fault = fault }])
    }

    @Test("requests are delayed, bodies that come meanwhile are not lost")
    func delay() throws {
        let scene = try scene(Fault(delay: Fault.Delay(milliseconds: 200)))
        let before = Clock.monotonic
        #expect(scene.visitor.get("/name")?.text == "origin")
        #expect(Clock.monotonic - before >= 200_000_000)
        let body = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 >> 3) }
        expectBody(scene.visitor.post("/echo", body)?.body, body)
        #expect(scene.visitor.get("/name")?.text == "origin", "and again")
        scene.end()
    }

    @Test("requests are answered with a failure made here, with or without a delay")
    func abort() throws {
        let scene = try scene(
            Fault(delay: Fault.Delay(milliseconds: 50), abort: Fault.Abort(.http(555))))
        for _ in 0..<2 {
            let answer = scene.visitor.get("/name")
            #expect(answer?.status == 555)
            #expect(answer?.reason == "fault_abort")
        }
        #expect(scene.origin.requests == 0)
        scene.end()
    }

    @Test("a gRPC call is ended by its trailers")
    func grpc() throws {
        let scene = try scene(Fault(abort: Fault.Abort(.grpc(14))))
        let answer = scene.visitor.get("/pkg.Service/Method")
        #expect(answer?.status == 200)
        #expect(header("grpc-status", answer?.head ?? "") == "14")
        #expect(header("content-type", answer?.head ?? "") == "application/grpc")
        scene.end()
    }

    @Test("of a thousand requests as many fail as the share says")
    func share() throws {
        let scene = try scene(Fault(abort: Fault.Abort(.http(503), millionths: 300_000)))
        var failed = 0
        for _ in 0..<1000 { if scene.visitor.get("/name")?.status == 503 { failed += 1 } }
        #expect((240...360).contains(failed))
        scene.end()
    }

    @Test("requests ask for faults only where the route lets them")
    func headers() throws {
        let open = try scene(
            Fault(
                delay: Fault.Delay(milliseconds: 0), abort: Fault.Abort(.http(500), millionths: 0),
                isHeaderControlled: true))
        #expect(open.visitor.get("/name", "x-envoy-fault-abort-request: 429\r\n")?.status == 200, "no share is given")
        open.end()
        let asked = try scene(
            Fault(delay: Fault.Delay(milliseconds: 0), abort: Fault.Abort(.http(500)), isHeaderControlled: true))
        #expect(asked.visitor.get("/name", "x-envoy-fault-abort-request: 429\r\n")?.status == 429)
        asked.end()
        let closed = try scene(Fault(delay: Fault.Delay(milliseconds: 0)))
        #expect(closed.visitor.get("/name", "x-envoy-fault-abort-request: 429\r\n")?.status == 200)
        closed.end()
    }

    @Test("a client that leaves while its request waits is forgotten")
    func leaves() throws {
        let scene = try scene(Fault(delay: Fault.Delay(milliseconds: 60_000)))
        let visitor = Visitor(port: scene.gateway.port)
        #expect(visitor.send("GET / HTTP/1.1\r\nhost: t\r\n\r\n"))
        #expect(eventually { scene.gateway.plane.collect()[0].counts.exchanges == 1 })
        visitor.end()
        #expect(eventually { scene.gateway.plane.collect()[0].counts.exchanges == 0 })
        #expect(scene.origin.requests == 0)
        scene.end()
    }
}
