import ProxyResources
import Testing

@testable import Proxy

@Suite struct RelayTests {
    @Test("a request reaches the origin, the answer comes back, and connections on both sides are used again")
    func keepsAlive() throws {
        let origin = Origin()
        let gateway = try TestGateway.plain(origin)
        let visitor = Visitor(port: gateway.port)
        for _ in 0..<20 { #expect(visitor.get("/name")?.text == "origin") }
        #expect(origin.connections == 1)
        #expect(header("x-forwarded-for", origin.lastHead) == "127.0.0.1")
        #expect(header("x-request-id", origin.lastHead)?.count == 36)
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("bodies of a megabyte pass both ways unchanged, by length and in chunks", arguments: ["/echo", "/chunked"])
    func largeBodies(path: String) throws {
        let origin = Origin()
        let gateway = try TestGateway.plain(origin)
        let body = (0..<1_048_576).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }
        let visitor = Visitor(port: gateway.port)
        for _ in 0..<3 { expectBody(visitor.post(path, body)?.body, body) }
        // And a chunked request.
        let head = Array("POST \(path) HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n".utf8)
        let size = Array("\(String(body.count, radix: 16))\r\n".utf8)
        #expect(visitor.send(head + size + body + Array("\r\n0\r\n\r\n".utf8)))
        expectBody(visitor.response()?.body, body)
        #expect(visitor.get("/name")?.text == "origin", "the connection goes on")
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("HEAD has no body, 100-continue passes, a body until close ends with the connection")
    func otherFramings() throws {
        let origin = Origin()
        let gateway = try TestGateway.plain(origin)
        let visitor = Visitor(port: gateway.port)
        let head = visitor.get("/name", method: "HEAD")
        #expect(head?.status == 200)
        #expect(header("content-length", head?.head ?? "") == "6")
        #expect(visitor.send("POST /echo HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n"))
        #expect(visitor.response()?.status == 100)
        #expect(visitor.send("hello"))
        #expect(visitor.response()?.text == "hello")
        let last = visitor.get("/close")
        #expect(last?.text == "until the end")
        #expect(header("connection", last?.head ?? "") == "close")
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("pipelined requests are answered in order")
    func pipelined() throws {
        let origin = Origin()
        let gateway = try TestGateway.plain(origin)
        let visitor = Visitor(port: gateway.port)
        let one = "POST /echo HTTP/1.1\r\nhost: t\r\ncontent-length: 1\r\n\r\n"
        #expect(visitor.send("\(one)1\(one)2GET /none HTTP/1.1\r\nhost: t\r\n\r\n\(one)3"))
        #expect(visitor.response()?.text == "1")
        #expect(visitor.response()?.text == "2")
        #expect(visitor.response()?.text == "origin")
        #expect(visitor.response()?.text == "3")
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("a head that comes byte by byte is understood")
    func slowHead() throws {
        let origin = Origin()
        let gateway = try TestGateway.plain(origin)
        let visitor = Visitor(port: gateway.port)
        for byte in Array("GET /name HTTP/1.1\r\nhost: t\r\nx: y\r\n\r\n".utf8) { _ = visitor.send([byte]) }
        #expect(visitor.response()?.text == "origin")
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("after an upgrade bytes of any kind pass both ways")
    func upgrade() throws {
        let origin = Origin()
        let gateway = try TestGateway.plain(origin)
        let visitor = Visitor(port: gateway.port)
        let response = visitor.get("/upgrade", "connection: upgrade\r\nupgrade: echo\r\n")
        #expect(response?.status == 101)
        #expect(header("upgrade", response?.head ?? "") == "echo")
        for text in ["ping", "pong"] {
            #expect(visitor.send(text))
            #expect(visitor.some() == Array(text.utf8))
        }
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test(
        "a connection the origin closes instead of answering a second request is replaced, and the request sent again")
    func retriesStaleConnection() throws {
        let origin = Origin()
        let gateway = try TestGateway.plain(origin)
        let visitor = Visitor(port: gateway.port)
        for _ in 0..<10 { #expect(visitor.get("/drop-second")?.status == 200) }
        #expect(origin.connections > 1)
        #expect(gateway.plane.collect()[0].counts.retries > 0)
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("a request that may have been worked on is not sent again when sending it twice would do it twice")
    func leavesUnsafeRequests() throws {
        let origin = Origin()
        let gateway = try TestGateway.plain(origin)
        let visitor = Visitor(port: gateway.port)
        #expect(visitor.post("/name", [1])?.status == 200)
        let lost = visitor.post("/drop-second", [1])
        #expect(lost?.status == 502)
        #expect(origin.requests == 2)
        // One that is known to have gone away before is not used for it in the first place.
        for _ in 0..<5 { #expect(visitor.post("/name", [1])?.status == 200) }
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("an endpoint that refuses connections is left for another; when none is left the answer says so")
    func connectFailure() throws {
        let origin = Origin()
        let gateway = try TestGateway()
        try gateway.apply([rule([("o", 1)])], [backend("o", [endpoint(freePort()), endpoint(Int(origin.port))])])
        let visitor = Visitor(port: gateway.port)
        for _ in 0..<20 { #expect(visitor.get("/name")?.status == 200) }
        try gateway.apply([rule([("o", 1)])], [backend("o", [endpoint(freePort())])])
        let refused = visitor.get("/name")
        #expect(refused?.status == 503)
        #expect(refused?.reason == "connect_failure")
        try gateway.apply([rule([("o", 1)])], [backend("o", [])])
        let empty = visitor.get("/name")
        #expect(empty?.status == 503)
        #expect(empty?.reason == "no_endpoints")
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("a route's timeout ends in 504")
    func timeout() throws {
        let origin = Origin()
        let gateway = try TestGateway()
        try gateway.apply(
            [rule([("o", 1)]) { $0.timeoutMilliseconds = 100 }], [backend("o", [endpoint(Int(origin.port))])])
        let visitor = Visitor(port: gateway.port)
        let response = visitor.get("/slow")
        #expect(response?.status == 504)
        #expect(response?.reason == "upstream_timeout")
        #expect(visitor.get("/name")?.status == 200, "the connection goes on")
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test(
        "requests two hops could read differently are refused",
        arguments: [
            ("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n z\r\n\r\n", 400), ("GET / HTTP/1.1\nhost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nhost : a\r\n\r\n", 400), ("GET / HTTP/2.0\r\nhost: a\r\n\r\n", 505),
            ("GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", 501),
            ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        ])
    func smuggling(request: String, status: Int) throws {
        let origin = Origin()
        let gateway = try TestGateway.plain(origin)
        let visitor = Visitor(port: gateway.port)
        #expect(visitor.send(request))
        #expect(visitor.response()?.status == status)
        #expect(visitor.rest() == [], "and nothing more")
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("a head beyond 60 KiB gets 431, a target beyond 8 KiB 414")
    func limits() throws {
        let origin = Origin()
        let gateway = try TestGateway.plain(origin)
        var visitor = Visitor(port: gateway.port)
        let line = "x-filler: \(String(repeating: "f", count: 1000))\r\n"
        #expect(visitor.get("/name", String(repeating: line, count: 40))?.status == 200)
        #expect(visitor.get("/name", String(repeating: line, count: 70))?.status == 431)
        visitor.end()
        visitor = Visitor(port: gateway.port)
        #expect(visitor.get("/" + String(repeating: "p", count: 9000))?.status == 414)
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }
}
