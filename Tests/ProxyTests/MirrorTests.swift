import ProxyResources
import Testing

@testable import Proxy

@Suite struct MirrorTests {
    private struct Scene {
        let origin = Origin()
        let mirrors = [Origin(name: "mirror one"), Origin(name: "mirror two")]
        let gateway: TestGateway
        let visitor: Visitor

        init(_ millionths: [Int], _ change: (inout RouteRule) -> Void = { _ in }) throws {
            gateway = try TestGateway()
            let backends =
                [backend("o", [endpoint(Int(origin.port))])]
                + mirrors.enumerated().map { backend("m\($0.offset)", [endpoint(Int($0.element.port))]) }
                + [backend("nobody", [endpoint(freePort())]), backend("empty", [])]
            try gateway.apply(
                [
                    rule([("o", 1)]) {
                        $0.actions.mirrors = millionths.enumerated().map {
                            Mirror(backend: "m\($0.offset)", millionths: $0.element)
                        }
                        change(&$0)
                    }
                ], backends)
            visitor = Visitor(port: gateway.port)
        }

        func end() {
            visitor.end()
            gateway.plane.stop()
            origin.stop()
            for mirror in mirrors { mirror.stop() }
        }
    }

    @Test("each mirror gets a copy with its own host, and its answer goes nowhere")
    func copies() throws {
        let scene = try Scene([1_000_000, 1_000_000]) {
            $0.setRequestHeaders = [HeaderValue(name: "x-set", value: "1")]
        }
        for count in 1...5 {
            #expect(scene.visitor.send("GET /name?n=\(count) HTTP/1.1\r\nhost: shop.test:8080\r\n\r\n"))
            #expect(scene.visitor.response()?.text == "origin")
            #expect(eventually { scene.mirrors.allSatisfy { $0.requests == count } })
            // A copy whose answer is still on its way would have the connection.
            #expect(eventually { scene.gateway.plane.collect()[0].counts.shadows == 0 })
        }
        for mirror in scene.mirrors {
            #expect(mirror.lastHead.hasPrefix("GET /name?n=5 HTTP/1.1\r\n"))
            #expect(header("host", mirror.lastHead) == "shop.test-shadow:8080")
            #expect(header("x-set", mirror.lastHead) == "1")
            #expect(mirror.connections == 1, "connections are used again")
        }
        #expect(header("host", scene.origin.lastHead) == "shop.test:8080")
        #expect(eventually { scene.gateway.plane.collect()[0].counts.shadows == 0 })
        let series = scene.gateway.plane.collect()[0].series
        let flags = Set(series.map(\.key.flag))
        #expect(flags.contains(.mirrored) && flags.contains(.none))
        scene.end()
    }

    @Test("bodies are copied up to their limit, by length and in chunks; longer ones are not mirrored")
    func bodies() throws {
        let scene = try Scene([1_000_000])
        let body = (0..<60_000).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }
        expectBody(scene.visitor.post("/echo", body)?.body, body)
        #expect(eventually { scene.mirrors[0].requests == 1 })
        #expect(header("content-length", scene.mirrors[0].lastHead) == "60000")
        let head = Array("POST /echo HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n".utf8)
        let size = Array("\(String(body.count, radix: 16))\r\n".utf8)
        #expect(scene.visitor.send(head + size + body + Array("\r\n0\r\n\r\n".utf8)))
        expectBody(scene.visitor.response()?.body, body)
        #expect(eventually { scene.mirrors[0].requests == 2 })
        #expect(header("transfer-encoding", scene.mirrors[0].lastHead) == "chunked")
        let long = [UInt8](repeating: 7, count: 300_000)
        expectBody(scene.visitor.post("/echo", long)?.body, long)
        let many = Array("\(String(long.count, radix: 16))\r\n".utf8)
        #expect(scene.visitor.send(head + many + long + Array("\r\n0\r\n\r\n".utf8)))
        expectBody(scene.visitor.response()?.body, long)
        #expect(scene.visitor.get("/name")?.text == "origin")
        #expect(eventually { scene.mirrors[0].requests == 3 })
        #expect(scene.mirrors[0].lastHead.hasPrefix("GET /name"))
        scene.end()
    }

    @Test(
        "a mirror that is slow, dead or without endpoints changes nothing for the client",
        arguments: ["m0", "nobody", "empty"])
    func failures(name: String) throws {
        let scene = try Scene([]) { $0.actions.mirrors = [Mirror(backend: name)] }
        let path = name == "m0" ? "/upgrade" : "/name"
        for _ in 0..<20 {
            #expect(scene.visitor.get(path == "/upgrade" ? "/close?" : path)?.status == 200); if name == "m0" { break }
        }
        #expect(eventually { scene.gateway.plane.collect()[0].counts.shadows == 0 })
        #expect(scene.gateway.plane.collect()[0].counts.exchanges == 0)
        scene.end()
    }

    @Test("of a thousand requests as many are mirrored as the share says")
    func share() throws {
        let scene = try Scene([250_000])
        for _ in 0..<1000 { #expect(scene.visitor.get("/name")?.status == 200) }
        #expect(eventually { scene.gateway.plane.collect()[0].counts.shadows == 0 })
        #expect((190...310).contains(scene.mirrors[0].requests))
        scene.end()
    }
}
