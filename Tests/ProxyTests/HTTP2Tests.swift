import Glibc
import Loop
import ProxyResources
import TestSupport
import Testing

@testable import Proxy

@Suite struct HTTP2Tests {
    private static let curl = "curl -s --max-time 60 --http2-prior-knowledge"

    /// A megabyte that repeats nowhere within a window.
    private func file(_ name: String, _ bytes: [UInt8]) -> String {
        let path = "/tmp/weft-http2-\(getpid())-\(UInt32.random(in: 0 ... .max))-\(name)"
        guard let file = fopen(path, "w") else { return path }
        bytes.withUnsafeBytes { _ = fwrite($0.baseAddress, 1, $0.count, file) }
        fclose(file)
        return path
    }

    private func read(_ path: String) -> [UInt8] {
        guard let file = fopen(path, "r") else { return [] }
        defer { fclose(file) }
        var space = [UInt8](repeating: 0, count: 4 << 20)
        let count = fread(&space, 1, space.count, file)
        return Array(space.prefix(count))
    }

    @Test("a client that speaks HTTP/2 by prior knowledge has its requests answered by an HTTP/1.1 origin")
    func priorKnowledge() throws {
        let origin = Origin()
        let gateway = try TestGateway.plain(origin)
        let found = output(of: "\(Self.curl) -w '%{http_version} %{http_code}' http://127.0.0.1:\(gateway.port)/name")
        #expect(found.text == "origin2 200")
        #expect(origin.lastHead.hasPrefix("GET /name HTTP/1.1\r\nhost: 127.0.0.1:\(gateway.port)\r\n"))
        let head = output(of: "\(Self.curl) -I http://127.0.0.1:\(gateway.port)/name")
        #expect(head.text.contains("HTTP/2 200") && head.text.contains("content-length: 6"))
        gateway.plane.stop()
        origin.stop()
    }

    @Test(
        "bodies of a megabyte pass both ways between HTTP/2 and HTTP/1.1, by length and in chunks",
        arguments: ["/echo", "/chunked"], ["", "-H 'transfer-encoding: chunked'"])
    func largeBodies(path: String, framing: String) throws {
        let origin = Origin()
        let gateway = try TestGateway.plain(origin)
        let body = (0..<1_048_576).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }
        let sent = file("sent", body)
        let got = file("got", [])
        let url = "http://127.0.0.1:\(gateway.port)\(path)"
        let found = output(of: "\(Self.curl) \(framing) --data-binary @\(sent) -o \(got) \(url)")
        #expect(found.status == 0, "\(found.text)")
        let isSame = read(got) == body
        #expect(isSame)
        unlink(sent)
        unlink(got)
        gateway.plane.stop()
        origin.stop()
    }

    @Test("many streams of several sessions are served side by side, over few connections to the origin")
    func manyStreams() throws {
        let origin = Origin()
        let gateway = try TestGateway.plain(origin)
        let found = output(of: "h2load -n 2000 -c 4 -m 25 http://127.0.0.1:\(gateway.port)/name")
        #expect(found.text.contains("2000 succeeded, 0 failed, 0 errored"), "\(found.text)")
        #expect(origin.connections <= 100)
        gateway.plane.stop()
        origin.stop()
    }

    @Test("each rule of HTTP/2 a client breaks ends its stream or its session, with the code the RFC asks for")
    func brokenRules() throws {
        let origin = Origin()
        let gateway = try TestGateway.plain(origin)
        let found = output(of: "\(PeerProgram.python) \(PeerProgram.path("h2_cases.py")) \(gateway.port) all")
        #expect(found.status == 0, "\(found.text)")
        let faults = gateway.plane.collect()[0].counts
        #expect(faults.sessionFaults[Int(SessionFault.resetFlood.rawValue)] >= 1)
        #expect(faults.malformedStreams >= 30)
        gateway.plane.stop()
        origin.stop()
    }

    @Test("after GOAWAY streams in flight are answered, new ones refused, and the session ends")
    func drain() throws {
        let origin = Origin()
        let gateway = try TestGateway.plain(origin)
        let client = PeerProgram("h2_drain.py", "\(gateway.port)")
        #expect(client.line() == "open")
        gateway.plane.drain()
        #expect(client.line() == "leaving")
        #expect(client.line() == "answered 200")
        #expect(client.line() == "over")
        client.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("under load, a proxy that drains finishes every stream it has taken")
    func drainUnderLoad() throws {
        let origin = Origin()
        let gateway = try TestGateway.plain(origin, loops: 2)
        let load = PeerProgram("h2_load.py", "\(gateway.port)", "4", "20")
        #expect(load.line() == "going")
        gateway.plane.drain()
        // Each connection ends as soon as it has begun; its streams are all served.
        let before = origin.requests
        #expect(eventually { origin.requests > before + 200 })
        load.say("stop")
        let told = load.line() ?? ""
        #expect(told.split(separator: " ").count == 3, "\(told)")
        #expect(load.status() == 0)
        #expect(eventually { gateway.plane.collect().allSatisfy { $0.counts.clients == 0 } })
        load.end()
        gateway.plane.stop()
        origin.stop()
    }

    /// A gateway before an HTTP/2 origin.
    private func gateway(before port: Int) throws -> TestGateway {
        let gateway = try TestGateway()
        var origin = backend("origin", [endpoint(port)])
        origin.appProtocol = .http2
        try gateway.apply([rule([("origin", 1)])], [origin])
        return gateway
    }

    @Test(
        "an HTTP/2 origin serves clients of both versions: bodies, trailers, interim responses, no bodies",
        arguments: ["--http1.1", "--http2-prior-knowledge"])
    func origins(version: String) throws {
        let origin = PeerProgram("h2_origin.py")
        let gateway = try gateway(before: origin.port())
        let curl = "curl -s --max-time 60 \(version)"
        let url = "http://127.0.0.1:\(gateway.port)"
        #expect(output(of: "\(curl) \(url)/headers").text.contains(":authority: 127.0.0.1:\(gateway.port)"))
        let body = (0..<1_048_576).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }
        let sent = file("sent", body)
        let got = file("got", [])
        for path in ["/echo", "/echo/length"] {
            for framing in ["", "-H 'transfer-encoding: chunked'"] {
                #expect(output(of: "\(curl) \(framing) --data-binary @\(sent) -o \(got) \(url)\(path)").status == 0)
                let isSame = read(got) == body
                #expect(isSame, "\(path) \(framing)")
            }
        }
        unlink(sent)
        unlink(got)
        let early = output(of: "\(curl) -i \(url)/early").text
        #expect(early.contains(" 103") && early.contains("link: </a.css>") && early.contains(" 200"))
        #expect(output(of: "\(curl) -i \(url)/status/204").text.contains(" 204"))
        #expect(output(of: "\(curl) -I \(url)/x").text.contains("content-length: 9"))
        let reset = output(of: "\(curl) -i \(url)/reset")
        #expect(reset.text.contains("502") || reset.status != 0)
        origin.end()
        gateway.plane.stop()
    }

    @Test("trailers pass from an HTTP/2 origin to an HTTP/1.1 client as those of chunks")
    func trailers() throws {
        let origin = PeerProgram("h2_origin.py")
        let gateway = try gateway(before: origin.port())
        let visitor = Visitor(port: gateway.port)
        #expect(visitor.send("GET /trailers HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n"))
        let text = String(decoding: visitor.rest(), as: UTF8.self)
        #expect(text.hasSuffix("0\r\nx-checked: yes\r\nx-second: 2\r\n\r\n"), "\(text)")
        visitor.end()
        origin.end()
        gateway.plane.stop()
    }

    @Test("a refused stream and one beyond a GOAWAY are sent again; no request is lost while origins leave")
    func refusedStreams() throws {
        let origin = PeerProgram("h2_origin.py")
        let gateway = try gateway(before: origin.port())
        let url = "http://127.0.0.1:\(gateway.port)"
        let refused = output(of: "curl -s --max-time 60 -d body -w '%{http_code}' \(url)/refuse")
        #expect(refused.text == "h2 origin200")
        let leaving = output(of: "h2load -n 1000 -c 2 -m 20 \(url)/leave")
        #expect(leaving.text.contains("1000 succeeded, 0 failed, 0 errored"), "\(leaving.text)")
        origin.end()
        gateway.plane.stop()
    }

    @Test("a session takes no more streams than its peer allows; more sessions are made")
    func peerLimit() throws {
        let origin = PeerProgram("h2_origin.py", "5")
        let gateway = try gateway(before: origin.port())
        let found = output(of: "h2load -n 60 -c 3 -m 10 http://127.0.0.1:\(gateway.port)/slow")
        #expect(found.text.contains("60 succeeded, 0 failed, 0 errored"), "\(found.text)")
        origin.end()
        gateway.plane.stop()
    }

    @Test("large bodies on many streams share a session's window, and all of them end")
    func sharedWindow() throws {
        let origin = PeerProgram("h2_origin.py")
        let gateway = try gateway(before: origin.port())
        let url = "http://127.0.0.1:\(gateway.port)/big/700000"
        for window in ["16", "20"] {
            let found = output(of: "timeout 60 h2load -n 60 -c 2 -m 15 -w \(window) -W \(window) \(url)")
            #expect(found.text.contains("60 succeeded, 0 failed, 0 errored"), "\(found.text)")
        }
        origin.end()
        gateway.plane.stop()
    }

    @Test("gRPC of every kind passes through a gateway, and through two sidecars over mutual TLS", arguments: [1, 2])
    func grpc(hops: Int) throws {
        let app = PeerProgram("grpc_peer.py", "serve")
        let port = app.port()
        let single = hops == 1 ? try gateway(before: port) : nil
        let pair = hops == 2 ? try TestHops(app: port, speaks: .grpc) : nil
        let front = single?.port ?? pair?.gateway.port ?? 0
        let found = output(
            of: "timeout 120 \(PeerProgram.python) \(PeerProgram.path("grpc_peer.py")) call \(front) all")
        #expect(found.status == 0, "\(found.text)")
        if let pair {
            // Few connections between the sidecars carry the hundreds that are in flight at once.
            #expect(pair.sidecar.collect()[0].counts.clients <= Int(SharingRule.sessions))
        }
        single?.plane.stop()
        pair?.end()
        app.end()
    }

    @Test("our own answers to gRPC are gRPC's: trailers only, with the code that fits", arguments: [false, true])
    func grpcAnswers(hasRoute: Bool) throws {
        let gateway = try TestGateway()
        var gone = backend("gone", [endpoint(freePort())])
        gone.appProtocol = .grpc
        try gateway.apply(
            hasRoute
                ? [rule([("gone", 1)])] : [rule([("gone", 1)]) { $0.matches = [RouteMatch(path: .exact("/none"))] }],
            [gone])
        let name = hasRoute ? "unavailable" : "no_route"
        let found = output(
            of: "timeout 60 \(PeerProgram.python) \(PeerProgram.path("grpc_peer.py")) call \(gateway.port) \(name)")
        #expect(found.status == 0, "\(found.text)")
        gateway.plane.stop()
    }

    @Test(
        "between sidecars requests of HTTP/1.1 and HTTP/2 are multiplexed, and the app is spoken to as it speaks",
        arguments: [AppProtocol.http, .unknown], ["--http1.1", "--http2-prior-knowledge"])
    func multiplexed(appProtocol: AppProtocol, version: String) throws {
        let origin = Origin()
        let hops = try TestHops(app: Int(origin.port), speaks: appProtocol, multiplexing: .on)
        let body = (0..<1_048_576).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }
        let sent = file("sent", body)
        let got = file("got", [])
        let url = "http://127.0.0.1:\(hops.gateway.port)/echo"
        #expect(output(of: "curl -s --max-time 60 \(version) --data-binary @\(sent) -o \(got) \(url)").status == 0)
        let isSame = read(got) == body
        #expect(isSame)
        #expect(
            origin.lastHead.contains(
                "By=\(TestAuthority.principal("catalog"));URI=\(TestAuthority.principal("frontend"))"))
        #expect(!origin.lastHead.contains("x-weft-protocol"))
        #expect(hops.sidecar.collect()[0].counts.clients == 1)
        unlink(sent)
        unlink(got)
        hops.end()
        origin.stop()
    }

    @Test("streams are judged by the certificate of their session")
    func authorization() throws {
        let origin = Origin()
        let hops = try TestHops(
            app: Int(origin.port), speaks: .http, multiplexing: .on,
            policies: [
                #"{"name":"demo/get","rules":[{"from":[{"principals":["cluster.local/ns/demo/sa/frontend"]}],"to":[{"paths":["/name*"]}]}]}"#
            ])
        let visitor = Visitor(port: hops.gateway.port)
        for _ in 0..<3 {
            #expect(visitor.get("/name")?.status == 200)
            #expect(visitor.get("/other")?.status == 403)
        }
        visitor.end()
        hops.end()
        origin.stop()
    }

    @Test("a WebSocket passes through a gateway, and through sidecars that multiplex all else", arguments: [1, 2])
    func webSocket(hops: Int) throws {
        let app = PeerProgram("websocket_peer.py", "serve")
        let port = app.port()
        let single = hops == 1 ? try TestGateway() : nil
        try single?.apply([rule([("origin", 1)])], [backend("origin", [endpoint(port)])])
        let pair = hops == 2 ? try TestHops(app: port, speaks: .http, multiplexing: .on) : nil
        let front = single?.port ?? pair?.gateway.port ?? 0
        let found = output(
            of: "timeout 60 \(PeerProgram.python) \(PeerProgram.path("websocket_peer.py")) call \(front)")
        #expect(found.status == 0, "\(found.text)")
        single?.plane.stop()
        pair?.end()
        app.end()
    }

    private func cases(_ name: String, _ port: Int) -> (text: String, status: Int32) {
        output(of: "timeout 60 \(PeerProgram.python) \(PeerProgram.path("h2_cases.py")) \(port) \(name)")
    }

    @Test("CONNECT is for routes that name it, over both versions; others answer 501")
    func connect() throws {
        let origin = Origin()
        let gateway = try TestGateway()
        let target = backend("origin", [endpoint(Int(origin.port))])
        let named = rule([("origin", 1)]) { $0.matches = [RouteMatch(method: "CONNECT")] }
        try gateway.apply([named, rule([("origin", 1)])], [target])
        let over1 = output(of: "curl -s --max-time 20 -p -x http://127.0.0.1:\(gateway.port) http://origin/name")
        #expect(over1.text == "origin")
        let over2 = cases("connect", gateway.port)
        #expect(over2.status == 0, "\(over2.text)")
        try gateway.apply([rule([("origin", 1)])], [target])
        let visitor = Visitor(port: gateway.port)
        #expect(visitor.get("origin:80", method: "CONNECT")?.status == 501)
        visitor.end()
        let away = backend("away", [endpoint(freePort())])
        try gateway.apply([rule([("away", 1)]) { $0.matches = [RouteMatch(method: "CONNECT")] }], [away])
        let other = Visitor(port: gateway.port)
        #expect(other.get("origin:80", method: "CONNECT")?.reason == "connect_failure")
        other.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("a WebSocket on a stream reaches an app of HTTP/1.1")
    func webSocketStream() throws {
        let app = PeerProgram("websocket_peer.py", "serve")
        let port = app.port()
        let gateway = try TestGateway()
        try gateway.apply([rule([("origin", 1)])], [backend("origin", [endpoint(port)])])
        let found = cases("websocket", gateway.port)
        #expect(found.status == 0, "\(found.text)")
        gateway.plane.stop()
        app.end()
    }

    @Test("an upgrade to WebSocket becomes a stream to an origin that takes CONNECT with a protocol")
    func webSocketToStream() throws {
        let origin = PeerProgram("h2_origin.py")
        let gateway = try gateway(before: origin.port())
        let visitor = Visitor(port: gateway.port)
        #expect(visitor.get("/x")?.text == "h2 origin")
        #expect(
            visitor.send(
                "GET /chat HTTP/1.1\r\nhost: t\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            ))
        let opened = visitor.response()
        #expect(opened?.status == 101)
        // The example of RFC 6455 §1.3.
        #expect(opened.flatMap { header("sec-websocket-accept", $0.head) } == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        #expect(visitor.send("any bytes"))
        #expect(visitor.some().map { String(decoding: $0, as: UTF8.self) } == "any bytes")
        visitor.end()
        origin.end()
        gateway.plane.stop()
    }

    @Test("random frames end a session, never the gateway")
    func randomFrames() throws {
        let origin = Origin()
        let gateway = try TestGateway.plain(origin)
        var chance = Chance(seed: 20_26)
        let rounds = getenv("WEFT_FUZZ_ITERATIONS") == nil ? 150 : 3000
        for _ in 0..<rounds {
            var bytes = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0]
            for _ in 0..<chance.below(40) {
                let length = Int(chance.below(chance.below(4) == 0 ? 300 : 20))
                let kind = UInt8(chance.below(11))
                let flags = UInt8(truncatingIfNeeded: chance.next())
                bytes += [0, UInt8(length >> 8), UInt8(length & 255), kind, flags, 0, 0, 0, UInt8(chance.below(12))]
                if kind == 1 && chance.below(2) == 0 && length > 4 {
                    // A block that can be read: GET, http, "/", and an authority.
                    bytes += [0x82, 0x86, 0x84, 0x41, UInt8(min(length - 5, 126))]
                    bytes += [UInt8](repeating: 97, count: length - 5)
                } else {
                    for _ in 0..<length { bytes.append(UInt8(truncatingIfNeeded: chance.next())) }
                }
            }
            let visitor = Visitor(port: gateway.port)
            _ = visitor.send(bytes)
            _ = shutdown(visitor.descriptor, Int32(SHUT_WR))
            _ = visitor.rest()
            visitor.end()
        }
        let visitor = Visitor(port: gateway.port)
        #expect(visitor.get("/name")?.text == "origin")
        visitor.end()
        #expect(eventually { gateway.plane.collect()[0].counts.exchanges == 0 })
        #expect(eventually { gateway.plane.collect()[0].counts.clients == 0 })
        gateway.plane.stop()
        origin.stop()
    }
}
