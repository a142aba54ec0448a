import CKernel
import Glibc
import ProxyResources
import Testing
import Wire

@testable import Proxy

/// What one client may take from others: each test names the limit it meets.
@Suite(.serialized) struct LimitsTests {
    private func gateway(_ origin: Origin, _ change: (inout ClientLimits) -> Void) throws -> TestGateway {
        let gateway = try TestGateway()
        var configuration = gateway.configuration(
            [rule([("origin", 1)])], [backend("origin", [endpoint(Int(origin.port))])])
        change(&configuration.workload.limits)
        let generation = try gateway.plane.apply(configuration, identity: nil)
        #expect(eventually { gateway.plane.collect().allSatisfy { $0.counts.generation == generation } })
        return gateway
    }

    private func clients(_ gateway: TestGateway) -> Int {
        gateway.plane.collect().reduce(0) { $0 + $1.counts.clients }
    }

    @Test(
        "a head beyond what is configured is refused, each part with its reason",
        arguments: [
            ("/", "a: b\r\nc: d\r\ne: f\r\ng: h\r\n", 431, "too_many_headers"),
            ("/\(String(repeating: "p", count: 80))", "", 414, "target_too_long"),
            ("/", "a: \(String(repeating: "v", count: 600))\r\n", 431, "head_too_long"),
        ])
    func heads(path: String, lines: String, status: Int, reason: String) throws {
        let origin = Origin()
        let gateway = try gateway(origin) {
            $0.headerLines = 4
            $0.targetBytes = 64
            $0.headBytes = 512
        }
        let visitor = Visitor(port: gateway.port)
        #expect(visitor.get("/name")?.status == 200)
        let response = visitor.get(path, lines)
        #expect(response?.status == status && response?.reason == reason)
        #expect(visitor.rest().isEmpty, "the connection ends")
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("content beyond what is configured is refused: by its length at once, in chunks when it gets there")
    func bodies() throws {
        let origin = Origin()
        let gateway = try gateway(origin) { $0.bodyBytes = 10_000 }
        var visitor = Visitor(port: gateway.port)
        #expect(visitor.post("/echo", [UInt8](repeating: 7, count: 9000))?.status == 200)
        #expect(visitor.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 10001\r\n\r\n"))
        var response = visitor.response()
        #expect(response?.status == 413 && response?.reason == "request_body_too_long")
        visitor.end()
        visitor = Visitor(port: gateway.port)
        #expect(visitor.send("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"))
        let piece = "400\r\n\(String(repeating: "x", count: 1024))\r\n"
        for _ in 0..<12 { _ = visitor.send(piece) }
        response = visitor.response()
        #expect(response?.status == 413 && response?.reason == "request_body_too_long")
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("limits are read as they are written, and one that cannot be is refused by its name")
    func resources() throws {
        var made = workload("w")
        made.limits.bodyBytes = 5
        made.limits.progressWindowMilliseconds = 7
        made.limits.connections = 3
        #expect(try Workload(json: made.json) == made)
        var json = made.json
        json["limits"] = ["headerLines": 500]
        let fault = #expect(throws: ResourceFault.self) { try Workload(json: json) }
        #expect(fault?.field == "limits.headerLines")
    }

    @Test("a head that does not come to its end gets 408")
    func slowHead() throws {
        let origin = Origin()
        let gateway = try gateway(origin) { $0.headTimeoutMilliseconds = 200 }
        let visitor = Visitor(port: gateway.port)
        #expect(visitor.send("GET / HTTP/1.1\r\nhost: a\r\nx: "))
        let response = visitor.response()
        #expect(response?.status == 408 && response?.reason == "request_head_timeout")
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("a body that trickles gets 408, one that comes on is served", arguments: [true, false])
    func slowBody(isTrickle: Bool) throws {
        let origin = Origin()
        let gateway = try gateway(origin) {
            $0.progressBytes = isTrickle ? 1_000_000 : 1
            $0.progressWindowMilliseconds = isTrickle ? 200 : 20_000
        }
        let visitor = Visitor(port: gateway.port)
        #expect(visitor.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab"))
        if isTrickle {
            let response = visitor.response()
            #expect(response?.status == 408 && response?.reason == "request_body_timeout")
            #expect(visitor.rest().isEmpty)
        } else {
            usleep(50_000)
            #expect(visitor.send("cd"))
            #expect(visitor.response()?.text == "abcd")
        }
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("a client that does not take its response loses its connection, and the upstream's is given up")
    func slowReader() throws {
        let origin = Origin()
        let gateway = try gateway(origin) { $0.progressWindowMilliseconds = 200 }
        let visitor = Visitor(port: gateway.port)
        let body = [UInt8](repeating: 7, count: 40 << 20)
        #expect(visitor.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: \(body.count)\r\n\r\n"))
        #expect(visitor.send(body))
        #expect(eventually { clients(gateway) == 0 })
        #expect(gateway.plane.collect().allSatisfy { $0.counts.upstreams == 0 })
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("a connection without requests ends after its time")
    func idle() throws {
        let origin = Origin()
        let gateway = try gateway(origin) { $0.idleTimeoutMilliseconds = 200 }
        let fresh = Visitor(port: gateway.port)
        let used = Visitor(port: gateway.port)
        #expect(used.get("/name")?.status == 200)
        #expect(used.rest().isEmpty)
        #expect(fresh.rest().isEmpty)
        #expect(clients(gateway) == 0)
        fresh.end()
        used.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("connections beyond a listener's limit are reset, and there is room again when one ends")
    func connections() throws {
        let origin = Origin()
        let gateway = try gateway(origin) { $0.connections = 2 }
        let first = Visitor(port: gateway.port)
        let second = Visitor(port: gateway.port)
        #expect(first.get("/name")?.status == 200 && second.get("/name")?.status == 200)
        let third = Visitor(port: gateway.port)
        #expect(third.get("/name") == nil)
        #expect(gateway.plane.collect().reduce(0) { $0 + $1.counts.refusedFull } >= 1)
        second.end()
        #expect(eventually { clients(gateway) == 1 })
        let fourth = Visitor(port: gateway.port)
        #expect(fourth.get("/name")?.status == 200)
        for visitor in [first, third, fourth] { visitor.end() }
        gateway.plane.stop()
        origin.stop()
    }

    @Test("three thousand requests sent at once are answered in order, and others are served meanwhile")
    func pipelined() throws {
        let origin = Origin()
        let gateway = try gateway(origin) { _ in }
        let eager = Visitor(port: gateway.port)
        let descriptor = eager.descriptor
        spawn {
            for number in 0..<3000 {
                let body = "number \(number)"
                let head = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: \(body.utf8.count)\r\n\r\n"
                _ = sendAll(descriptor, Array((head + body).utf8))
            }
        }
        let other = Visitor(port: gateway.port)
        for number in 0..<3000 {
            guard let response = eager.response() else {
                Issue.record("no response \(number)")
                break
            }
            #expect(response.text == "number \(number)")
            if number % 100 == 0 { #expect(other.get("/name")?.status == 200) }
        }
        eager.end()
        other.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("two thousand connections that trickle their heads do not stop others, and end when their time is over")
    func slowloris() throws {
        var files = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &files)
        files.rlim_cur = min(files.rlim_max, 65536)
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &files)
        let origin = Origin()
        let gateway = try gateway(origin) { $0.headTimeoutMilliseconds = 3000 }
        let slow = (0..<2000).map { _ in Visitor(port: gateway.port) }
        for visitor in slow { #expect(visitor.send("GET / HTTP/1.1\r\nhost: a\r\nx-slow: ")) }
        #expect(eventually { clients(gateway) == slow.count }, "all of them are open")
        let other = Visitor(port: gateway.port)
        for round in 0..<50 {
            for visitor in slow[(round * 40)..<(round * 40 + 40)] { _ = visitor.send("z") }
            #expect(other.get("/name")?.status == 200)
        }
        for visitor in slow.prefix(20) { #expect(visitor.response()?.reason == "request_head_timeout") }
        #expect(eventually { clients(gateway) <= 1 }, "none outlives its time")
        for visitor in slow { visitor.end() }
        other.end()
        gateway.plane.stop()
        origin.stop()
    }
}
