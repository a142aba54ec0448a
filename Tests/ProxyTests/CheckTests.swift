import Glibc
import ProxyResources
import TestSupport
import Testing
import Wire

@testable import Proxy

/// A gateway that asks a real gRPC server (`Peers/authz_server.py`) about every request.
final class CheckedGateway {
    let origin = Origin()
    let server = PeerProgram("authz_server.py")
    let port: Int
    let gateway: TestGateway

    init(
        loops: Int = 1, _ asks: (inout ExternalAuthorizer) -> Void = { _ in },
        backend change: (inout Backend) -> Void = { _ in }, limits: (inout ClientLimits) -> Void = { _ in }
    ) throws {
        port = server.port()
        gateway = try TestGateway(loops: loops)
        var guarding = backend("authz", [endpoint(port)])
        change(&guarding)
        var configuration = gateway.configuration(
            [rule([("origin", 1)])], [backend("origin", [endpoint(Int(origin.port))]), guarding])
        var authorizer = ExternalAuthorizer(
            name: "a", form: .grpc, backend: "authz", authority: "authz.demo.svc.cluster.local:9000",
            timeoutMilliseconds: 20_000)
        asks(&authorizer)
        configuration.workload.security.authorizers = [authorizer]
        configuration.workload.security.policies = [
            try policy(#"{"name":"demo/ask","action":"CUSTOM","provider":"a","rules":[{}]}"#)
        ]
        limits(&configuration.workload.limits)
        let generation = try gateway.plane.apply(configuration, identity: nil)
        _ = eventually { gateway.plane.collect().allSatisfy { $0.counts.generation == generation } }
    }

    func ask(_ word: String) -> Int {
        server.say(word)
        return server.line().flatMap { Int($0) } ?? -1
    }

    func checks(_ outcome: CheckCount.Outcome) -> UInt64 {
        gateway.plane.collect().reduce(0) { sum, loop in
            sum + loop.counts.checks.reduce(0) { $0 + ($1.key.outcome == outcome ? $1.value : 0) }
        }
    }

    func end() {
        #expect(
            eventually {
                gateway.plane.collect().allSatisfy {
                    $0.counts.errands == 0 && $0.counts.shadows == 0 && $0.counts.exchanges == 0
                }
            })
        gateway.plane.stop()
        origin.stop()
        server.end()
    }
}

@Suite struct CheckTests {
    @Test("a check tells who asks whom for what, and nothing of the connection")
    func tells() throws {
        let checked = try CheckedGateway {
            $0.addedHeaders = [HeaderValue(name: "x-from", value: "gateway")]
            $0.contextExtensions = [HeaderValue(name: "route", value: "shop")]
        }
        let visitor = Visitor(port: checked.gateway.port)
        let headers =
            "X-Case: seen\r\nX-Tag: a\r\nx-tag: b\r\ncookie: c=1\r\nCookie: d=2\r\nx-bytes: a\u{e9}\r\n"
            + "keep-alive: 5\r\nx-request-id: number-1\r\n"
        #expect(visitor.get("/name/x?q=1", headers)?.status == 200)
        let seen = try JSON(parsing: try #require(header("x-seen", checked.origin.lastHead)))
        let http = try #require(seen["attributes"]?["request"]?["http"])
        #expect(http["method"]?.string == "GET" && http["path"]?.string == "/name/x?q=1")
        #expect(http["host"]?.string == "test" && http["scheme"]?.string == "http")
        #expect(http["protocol"]?.string == "HTTP/1.1" && http["id"]?.string == "number-1")
        let shown = try #require(http["headers"])
        #expect(shown["x-tag"]?.string == "a,b" && shown["cookie"]?.string == "c=1; d=2")
        #expect(shown[":path"]?.string == "/name/x?q=1" && shown[":method"]?.string == "GET")
        #expect(shown[":authority"]?.string == "test" && shown[":scheme"]?.string == "http")
        #expect(shown["keep-alive"] == nil && shown["host"] == nil && shown["x-bytes"]?.string == "a\u{e9}")
        let source = try #require(seen["attributes"]?["source"]?["address"]?["socket_address"])
        #expect(source["address"]?.string == "127.0.0.1" && source["port_value"] != nil)
        let destination = try #require(seen["attributes"]?["destination"]?["address"]?["socket_address"])
        #expect(destination["port_value"]?.int == checked.gateway.port)
        #expect(seen["attributes"]?["context_extensions"]?["route"]?.string == "shop")
        #expect(seen["attributes"]?["request"]?["time"]?["seconds"]?.string.flatMap { Int($0) } ?? 0 > 1_700_000_000)
        #expect(seen["metadata"]?["x-from"]?.string == "gateway")
        visitor.end()
        checked.end()
    }

    @Test("leave changes headers both ways and the query, as each change says")
    func edits() throws {
        let checked = try CheckedGateway()
        let visitor = Visitor(port: checked.gateway.port)
        let headers =
            "x-case: edits\r\nx-identity: forged\r\nx-list: a\r\nx-kept: old\r\nx-over: old\r\nx-there: old\r\n"
            + "x-secret: s\r\nauthorization: Basic z\r\n"
        for _ in 0..<3 {
            let answer = visitor.get("/name?drop=1&q=1&%74oken=old&r=%20", headers)
            #expect(answer?.status == 200)
            let head = checked.origin.lastHead
            #expect(head.hasPrefix("GET /name?r=%20&token=a%20b%26c&q=2 HTTP/1.1\r\n"), "\(head)")
            #expect(head.components(of: "x-identity: ") == ["Alice"])
            #expect(head.components(of: "x-list: ") == ["a", "b"])
            #expect(header("x-absent", head) == "new" && header("x-kept", head) == "old")
            #expect(head.components(of: "x-over: ") == ["new"] && head.components(of: "x-there: ") == ["new"])
            #expect(header("x-missing", head) == nil && header("x-secret", head) == nil)
            #expect(header("authorization", head) == nil && header("content-length", head) == nil)
            #expect(head.components(of: "host: ") == ["test"])
            let response = answer?.head ?? ""
            #expect(response.components(of: "set-cookie: ") == ["a=1", "b=2"])
            #expect(response.components(of: "server: ") == ["weft"] && header("x-new", response) == "1")
            #expect(header("x-if-there", response) == nil)
        }
        #expect(checked.ask("peers") == 1, "checks share a connection")
        #expect(checked.checks(.allowed) == 3)
        visitor.end()
        checked.end()
    }

    @Test("a refusal is the server's own, or 403; and as gRPC to a gRPC client")
    func refusals() throws {
        let checked = try CheckedGateway()
        let visitor = Visitor(port: checked.gateway.port)
        let refused = visitor.get("/name", "x-case: deny\r\n")
        #expect(refused?.status == 401 && refused?.text == "log in, please")
        #expect(refused?.reason == "ext_authz_denied")
        let head = refused?.head ?? ""
        #expect(header("www-authenticate", head) == "Basic" && header("x-more", head) == "1")
        #expect(header("content-type", head) == "text/plain" && header("x-request-id", head) != nil)
        #expect(visitor.get("/name", "x-case: plain\r\n")?.status == 403)
        #expect(visitor.get("/name", "x-case: deny\r\n", method: "HEAD")?.status == 401)
        #expect(visitor.get("/name")?.status == 200)
        let call = output(
            of: "curl -s -m 20 -i --http2-prior-knowledge -H 'content-type: application/grpc' -H 'te: trailers' "
                + "-H 'x-case: deny' -X POST --data-binary x http://127.0.0.1:\(checked.gateway.port)/a.B/C"
        ).text
        #expect(call.contains("grpc-status: 16") && call.contains("www-authenticate: Basic"), "\(call)")
        #expect(call.contains("x-request-id: "), "\(call)")
        visitor.end()
        checked.end()
    }

    @Test(
        "without an answer a request is refused, with the reason, or passes where that is wanted",
        arguments: [
            ("slow", "timeout"), ("abort UNAVAILABLE", "unreachable"), ("abort INTERNAL", "failed"),
            ("abort RESOURCE_EXHAUSTED", "overloaded"), ("abort DEADLINE_EXCEEDED", "timeout"), ("big", "bad_answer"),
        ], [false, true])
    func failures(how: (case: String, reason: String), opens: Bool) throws {
        let checked = try CheckedGateway {
            $0.failsOpen = opens
            $0.statusOnError = 503
            $0.timeoutMilliseconds = how.case == "slow" ? 500 : 20_000
        }
        let visitor = Visitor(port: checked.gateway.port)
        let answer = visitor.get("/name", "x-case: \(how.case)\r\n")
        #expect(answer?.status == (opens ? 200 : 503))
        if !opens { #expect(answer?.reason == "ext_authz_\(how.reason)") }
        #expect(checked.checks(.passedUnasked) == (opens ? 1 : 0))
        #expect(eventually { visitor.get("/name")?.status == 200 })
        visitor.end()
        checked.end()
    }

    /// Messages, and what is wrong with them.
    private static let spoiled = [
        "0a02080",  // not hexadecimal: the server itself fails
        "ff", "0a", "0a7f", "0a0508ffffffff", "0a0208071202ffff", "08001a00", "1a0b12090a070a05782d613a62",
        // A header's name with a line end, and values with one, with NUL.
        "1a0e120c0a0a0a06782d610d0a621200", "1a11120f0a0d0a03782d611206620d0a633a64", "1a0c120a0a080a03782d61120100",
        // A pseudo-header; an empty name; an unknown action.
        "1a0d120b0a090a053a7061746812002f", "1a0612040a020a00", "1a0b12090a050a03782d611809",
        // A refusal with status 99; with 700.
        "0a02080712040a020863", "0a02080712050a0308bc05",
        // A group.
        "1a021b1c",
    ]

    @Test("an answer that breaks the rules is no leave, whatever it holds", arguments: spoiled)
    func hostile(message: String) throws {
        let checked = try CheckedGateway()
        let visitor = Visitor(port: checked.gateway.port)
        let answer = visitor.get("/name", "x-case: raw\r\nx-raw: \(message)\r\n")
        #expect(answer?.status == 403)
        let reason = answer?.reason ?? ""
        #expect(reason == (message == "0a02080" ? "ext_authz_failed" : "ext_authz_bad_answer"), "\(reason)")
        #expect(visitor.get("/name")?.status == 200)
        visitor.end()
        checked.end()
    }

    @Test("answers of random bytes, and good ones cut or changed at random, never pass what they do not allow")
    func randomAnswers() throws {
        var chance = SystemRandomNumberGenerator()
        let good: [UInt8] = [
            0x0a, 2, 8, 7, 0x12, 0x10, 0x0a, 3, 8, 0x91, 3, 0x12, 9, 0x0a, 7, 0x0a, 3, 0x78, 0x2d, 0x61, 0x12, 0,
        ]
        for _ in 0..<20_000 {
            var bytes = good
            switch UInt8.random(in: 0..<3, using: &chance) {
            case 0:
                bytes = (0..<Int.random(in: 0..<64, using: &chance)).map { _ in .random(in: 0...255, using: &chance) }
            case 1: bytes.removeLast(Int.random(in: 1..<bytes.count, using: &chance))
            default: bytes[Int.random(in: 4..<bytes.count, using: &chance)] = .random(in: 0...255, using: &chance)
            }
            bytes.withUnsafeBufferPointer { bytes in
                guard let start = bytes.baseAddress else { return }
                let answer = try? CheckAnswer(ByteView(start: start, count: bytes.count))
                for line in (answer?.requestLines ?? []) + (answer?.responseLines ?? []) {
                    let value = UnsafeBufferPointer(start: line.value.start, count: line.value.count)
                    #expect(!value.contains(10) && !value.contains(13) && !value.contains(0) && line.name.count > 0)
                }
            }
        }
    }

    @Test("a thousand checks at once share few connections, and each answer reaches its own request")
    func many() throws {
        let checked = try CheckedGateway(loops: 2)
        let visitors = (0..<1000).map { _ in Visitor(port: checked.gateway.port) }
        for (number, visitor) in visitors.enumerated() {
            let name = number % 2 == 0 ? "pause" : "deny"
            #expect(visitor.send("GET /name HTTP/1.1\r\nhost: test\r\nx-case: \(name)\r\n\r\n"))
        }
        var wrong = 0
        for (number, visitor) in visitors.enumerated() {
            if visitor.response()?.status != (number % 2 == 0 ? 200 : 401) { wrong += 1 }
            visitor.end()
        }
        #expect(wrong == 0)
        #expect(checked.ask("checks") == 1000)
        #expect(checked.ask("peers") <= 22, "a hundred streams a connection")
        checked.end()
    }

    @Test("a server that dies in the middle of a check leaves a refusal; its successor is asked the next time")
    func dies() throws {
        let checked = try CheckedGateway()
        let visitor = Visitor(port: checked.gateway.port)
        #expect(visitor.get("/name")?.status == 200)
        let answer = visitor.get("/name", "x-case: die\r\n")
        #expect(answer?.status == 403 && answer?.reason == "ext_authz_unreachable")
        #expect(visitor.get("/name")?.reason == "ext_authz_unreachable")
        let successor = PeerProgram("authz_server.py", "127.0.0.1:\(checked.port)")
        #expect(successor.port() == checked.port)
        #expect(eventually { visitor.get("/name")?.status == 200 })
        visitor.end()
        checked.end()
        successor.end()
    }

    @Test("an authorizer in the mesh is asked over mutual TLS, and a request with an upgrade asks like any other")
    func meshed() throws {
        let server = PeerProgram("authz_server.py")
        let port = server.port()
        let authority = try TestAuthority()
        let inbound = freePort()
        let sidecar = try DataPlane(
            loops: 1,
            listeners: [
                ListenerOption(side: .inbound, address: "127.0.0.1", port: inbound, destination: "127.0.0.1:\(port)")
            ], seed: 5)
        let own = workload("catalog") {
            $0.mutualTLS = .strict
            $0.inboundPorts = [
                InboundPort(port: port, appProtocol: .grpc, service: "catalog.demo.svc.cluster.local")
            ]
        }
        try sidecar.apply(ProxyConfiguration(workload: own), identity: try authority.identity("catalog"))
        let origin = Origin()
        let gateway = try TestGateway()
        var configuration = gateway.configuration(
            [rule([("origin", 1)])],
            [
                backend("origin", [endpoint(Int(origin.port))]),
                backend("authz", [endpoint(inbound, principal: TestAuthority.principal("catalog"))]),
            ])
        configuration.workload.security.authorizers = [
            ExternalAuthorizer(name: "a", form: .grpc, backend: "authz", timeoutMilliseconds: 20_000)
        ]
        configuration.workload.security.policies = [
            try policy(#"{"name":"demo/ask","action":"CUSTOM","provider":"a","rules":[{}]}"#)
        ]
        try gateway.plane.apply(configuration, identity: try authority.identity("frontend"))
        #expect(eventually { gateway.plane.collect().allSatisfy { $0.counts.generation > 0 } })
        #expect(eventually { sidecar.collect().allSatisfy { $0.counts.generation > 0 } })
        let visitor = Visitor(port: gateway.port)
        #expect(visitor.get("/name", "x-case: edits\r\n")?.status == 200)
        #expect(header("x-identity", origin.lastHead) == "Alice")
        #expect(visitor.get("/name", "x-case: deny\r\n")?.status == 401)
        let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nx-case: deny\r\n"
        #expect(visitor.get("/name", upgrade)?.status == 401)
        #expect(sidecar.collect().contains { $0.counts.handshakes > 0 })
        visitor.end()
        gateway.plane.stop()
        sidecar.stop()
        origin.stop()
        server.end()
    }

    @Test("clients that leave while they wait, and others that stay, are not mixed up; their checks are cancelled")
    func leaving() throws {
        let checked = try CheckedGateway { $0.timeoutMilliseconds = 10_000 }
        for number in 0..<60 {
            let visitor = Visitor(port: checked.gateway.port)
            if number % 2 == 0 {
                #expect(visitor.send("GET /name HTTP/1.1\r\nhost: test\r\nx-case: pause\r\n\r\n"))
            } else {
                // Pipelined: each waits for its own answer.
                let request = "GET /name HTTP/1.1\r\nhost: test\r\nx-case: "
                #expect(visitor.send("\(request)deny\r\n\r\n\(request)pause\r\n\r\n\(request)plain\r\n\r\n"))
                #expect(visitor.response()?.status == 401)
                #expect(visitor.response()?.status == 200)
                #expect(visitor.response()?.status == 403)
            }
            visitor.end()
        }
        checked.end()
    }

    @Test("the limits of its backend hold for the authorizer: questions wait for a place, and too many are refused")
    func limits() throws {
        let checked = try CheckedGateway(backend: {
            $0.resilience.limits = CircuitLimits(
                maxPending: 2, pendingTimeoutMilliseconds: 10_000, maxRequests: 4)
        })
        let visitors = (0..<12).map { _ in Visitor(port: checked.gateway.port) }
        for visitor in visitors { #expect(visitor.send("GET /name HTTP/1.1\r\nhost: test\r\nx-case: slow\r\n\r\n")) }
        let answers = visitors.map { $0.response() }
        #expect(answers.filter { $0?.status == 200 }.count == 6)
        #expect(answers.filter { $0?.reason == "ext_authz_overloaded" }.count == 6)
        for visitor in visitors { visitor.end() }
        checked.end()
    }
}

extension String {
    /// The values of a head's lines that begin so.
    func components(of start: String) -> [String] {
        split(separator: "\r\n").filter { $0.hasPrefix(start) }.map { String($0.dropFirst(start.utf8.count)) }
    }
}
