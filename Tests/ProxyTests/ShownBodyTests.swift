import Glibc
import ProxyResources
import Testing

@testable import Proxy

/// Bodies that an authorizer is shown before the workload has them.
@Suite struct ShownBodyTests {
    private static func shows(_ bytes: Int, part: Bool = false, packed: Bool = false)
        -> (inout ExternalAuthorizer) -> Void
    {
        {
            $0.shownBody = bytes
            $0.allowsPartialBody = part
            $0.packsBodyAsBytes = packed
        }
    }

    private static func chunks(_ body: [UInt8], of size: Int) -> [UInt8] {
        var out: [UInt8] = []
        for place in stride(from: 0, to: body.count, by: size) {
            let part = body[place..<min(place + size, body.count)]
            out += Array("\(String(part.count, radix: 16))\r\n".utf8) + part + [13, 10]
        }
        return out + Array("0\r\n\r\n".utf8)
    }

    private static func head(_ framing: String, _ lines: String = "") -> [UInt8] {
        Array("POST /echo HTTP/1.1\r\nhost: test\r\nx-case: body\r\n\(framing)\r\n\(lines)\r\n".utf8)
    }

    @Test("a body is shown whole, and then goes to the workload as it came", arguments: [1, 700, 16_384, 65_536])
    func whole(length: Int) throws {
        let checked = try CheckedGateway(Self.shows(65_536))
        let visitor = Visitor(port: checked.gateway.port)
        let body = (0..<length).map { UInt8(truncatingIfNeeded: 97 + $0 % 26) }
        for isChunked in [false, true] {
            let framing = isChunked ? "transfer-encoding: chunked" : "content-length: \(length)"
            let text = isChunked ? Self.chunks(body, of: 1000) : body
            #expect(visitor.send(Self.head(framing) + text))
            #expect(visitor.response()?.body == body)
            let head = checked.origin.lastHead
            #expect(header("x-shown", head) == "\(length)" && header("x-partial", head) == "false")
        }
        #expect(visitor.get("/name", "x-case: body\r\n")?.status == 200)
        #expect(header("x-shown", checked.origin.lastHead) == "0")
        visitor.end()
        checked.end()
    }

    @Test("a body refused never reaches the workload", arguments: [false, true])
    func refused(isPacked: Bool) throws {
        let checked = try CheckedGateway(Self.shows(1000, packed: isPacked))
        let visitor = Visitor(port: checked.gateway.port)
        #expect(visitor.post("/echo", Array("good".utf8))?.text == "good")
        let before = checked.origin.lastHead
        #expect(visitor.send(Self.head("content-length: 7") + Array("bad one".utf8)))
        let refused = visitor.response()
        // Bytes are base64 in the peer's reading, and so not what it looks for.
        #expect(refused?.status == (isPacked ? 200 : 403))
        if !isPacked {
            #expect(refused?.text == "7 bytes")
            #expect(checked.origin.lastHead == before)
        }
        visitor.end()
        checked.end()
    }

    @Test("what is not UTF-8 is shown as text all the same")
    func notText() throws {
        let checked = try CheckedGateway(Self.shows(1000))
        let visitor = Visitor(port: checked.gateway.port)
        let body: [UInt8] = [0xFF, 0xC3, 0xA9, 0xE2, 0x82, 0x41, 0, 0xF5]
        #expect(visitor.send(Self.head("content-length: \(body.count)") + body))
        #expect(visitor.response()?.body == body)
        #expect(header("x-shown", checked.origin.lastHead) == "7")
        visitor.end()
        checked.end()
    }

    @Test(
        "of a longer body the first part is shown where that is allowed; otherwise it is too long",
        arguments: [true, false])
    func long(allowsPart: Bool) throws {
        let checked = try CheckedGateway(Self.shows(1000, part: allowsPart))
        let body = [UInt8](repeating: 97, count: 300_000)
        for isChunked in [false, true] {
            let visitor = Visitor(port: checked.gateway.port)
            let framing = isChunked ? "transfer-encoding: chunked" : "content-length: \(body.count)"
            let text = isChunked ? Self.chunks(body, of: 300) : body
            let descriptor = visitor.descriptor
            spawn { _ = sendAll(descriptor, Self.head(framing) + text) }
            let answer = visitor.response()
            if allowsPart {
                #expect(answer?.body == body)
                let head = checked.origin.lastHead
                #expect(header("x-shown", head) == "1000" && header("x-partial", head) == "true")
            } else {
                #expect(answer?.status == 413 && answer?.reason == "ext_authz_body_too_long")
            }
            visitor.end()
        }
        checked.end()
    }

    @Test("a client that waits for leave to send its body gets it here, once", arguments: [true, false])
    func expects(isPart: Bool) throws {
        let checked = try CheckedGateway(Self.shows(100, part: isPart))
        let visitor = Visitor(port: checked.gateway.port)
        let length = isPart ? 5000 : 50
        #expect(visitor.send(Self.head("content-length: \(length)", "expect: 100-continue\r\n")))
        #expect(visitor.response()?.status == 100)
        #expect(visitor.send([UInt8](repeating: 98, count: length)))
        let answer = visitor.response()
        #expect(answer?.status == 200 && answer?.body.count == length)
        #expect(header("expect", checked.origin.lastHead) == nil)
        // Too long: refused before it is sent.
        if !isPart {
            #expect(visitor.send(Self.head("content-length: 5000", "expect: 100-continue\r\n")))
            #expect(visitor.response()?.status == 413)
        }
        visitor.end()
        checked.end()
    }

    @Test("a body that comes byte by byte is put together; one that stops is given up; broken chunks are refused")
    func slow() throws {
        let checked = try CheckedGateway(Self.shows(200))
        let visitor = Visitor(port: checked.gateway.port)
        let body = Array("slow but sure".utf8)
        #expect(visitor.send(Self.head("transfer-encoding: chunked")))
        for byte in Self.chunks(body, of: 3) {
            #expect(visitor.send([byte]))
            usleep(500)
        }
        #expect(visitor.response()?.body == body)
        #expect(visitor.send(Self.head("transfer-encoding: chunked") + Array("3\r\nabcX".utf8)))
        let broken = visitor.response()
        #expect(broken?.status == 400 && broken?.reason == "bad_chunk_end", "\(broken?.reason ?? "")")
        visitor.end()
        let gone = Visitor(port: checked.gateway.port)
        #expect(gone.send(Self.head("content-length: 20") + Array("half".utf8)))
        gone.end()
        checked.end()
    }

    @Test("the body's time is the head's")
    func stalls() throws {
        let checked = try CheckedGateway(Self.shows(200), limits: { $0.headTimeoutMilliseconds = 400 })
        let visitor = Visitor(port: checked.gateway.port)
        #expect(visitor.send(Self.head("content-length: 20") + Array("half".utf8)))
        let answer = visitor.response()
        #expect(answer?.status == 408 && answer?.reason == "request_body_timeout")
        visitor.end()
        checked.end()
    }

    @Test("pipelined requests with bodies keep to their own")
    func pipelined() throws {
        let checked = try CheckedGateway(Self.shows(100))
        let visitor = Visitor(port: checked.gateway.port)
        var all: [UInt8] = []
        for number in 0..<10 {
            // A refusal leaves the rest of its request unread, and so is the last answer.
            let body = Array((number == 9 ? "bad \(number)" : "fine \(number)").utf8)
            all +=
                number % 2 == 0
                ? Self.head("content-length: \(body.count)") + body
                : Self.head("transfer-encoding: chunked") + Self.chunks(body, of: 2)
        }
        #expect(visitor.send(all))
        for number in 0..<10 {
            let answer = visitor.response()
            #expect(answer?.text == (number == 9 ? "5 bytes" : "fine \(number)"))
        }
        visitor.end()
        checked.end()
    }

    @Test("clients of HTTP/2 send theirs on streams, as many at once as there may be", arguments: [false, true])
    func streams(knowsLength: Bool) throws {
        let checked = try CheckedGateway(Self.shows(65_536, part: true))
        let path = "/tmp/weft-shown-\(getpid())-\(checked.gateway.port)"
        let text = String(repeating: "0123456789abcdef", count: 6250)
        let file = try #require(fopen(path, "w"))
        fputs(text, file)
        fclose(file)
        defer { unlink(path) }
        let url = "http://127.0.0.1:\(checked.gateway.port)/echo"
        let upload = knowsLength ? "--data-binary @\(path)" : "-X POST -T -"
        let curl = "curl -s -m 50 --http2-prior-knowledge -H 'expect:' -H 'x-case: body' \(upload) \(url)"
        let echoed = output(of: "\(curl) < \(path) | cmp - \(path)")
        #expect(echoed.status == 0, "\(echoed.text)")
        // More on one connection than its window holds at once.
        let load = output(of: "h2load -n 240 -c 2 -m 60 -H 'x-case: body' -d \(path) \(url)")
        #expect(load.text.contains("240 succeeded, 0 failed, 0 errored"), "\(load.text)")
        #expect(load.text.contains("status codes: 240 2xx"), "\(load.text)")
        let head = checked.origin.lastHead
        #expect(header("x-shown", head) == "65536" && header("x-partial", head) == "true")
        checked.end()
    }

    @Test("over HTTP the question carries the body too")
    func http() throws {
        let origin = Origin()
        let service = Guard()
        let gateway = try TestGateway()
        var configuration = gateway.configuration(
            [rule([("origin", 1)])],
            [backend("origin", [endpoint(Int(origin.port))]), backend("guard", [endpoint(Int(service.port))])])
        configuration.workload.security.authorizers = [
            ExternalAuthorizer(
                name: "a", backend: "guard", timeoutMilliseconds: 20_000, shownHeaders: ["x-user"], shownBody: 10,
                allowsPartialBody: true)
        ]
        configuration.workload.security.policies = [
            try policy(#"{"name":"demo/ask","action":"CUSTOM","provider":"a","rules":[{}]}"#)
        ]
        let generation = try gateway.plane.apply(configuration, identity: nil)
        #expect(eventually { gateway.plane.collect().allSatisfy { $0.counts.generation == generation } })
        let visitor = Visitor(port: gateway.port)
        for (text, shown) in [("short", "short"), ("longer than ten", "longer tha")] {
            let body = Array(text.utf8)
            for isChunked in [false, true] {
                let framing = isChunked ? "transfer-encoding: chunked" : "content-length: \(body.count)"
                let sent = isChunked ? Self.chunks(body, of: 4) : body
                #expect(visitor.send(Self.head(framing, "x-user: alice\r\n") + sent))
                #expect(visitor.response()?.text == text)
                #expect(service.bodies.last.map { String(decoding: $0, as: UTF8.self) } == shown)
                let question = service.heads.last ?? ""
                #expect(header("x-envoy-auth-partial-body", question) == (text == shown ? "false" : "true"))
            }
        }
        visitor.end()
        gateway.plane.stop()
        origin.stop()
        service.stop()
    }
}
