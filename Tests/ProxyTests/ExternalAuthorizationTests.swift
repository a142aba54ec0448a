import CKernel
import Glibc
import ProxyResources
import Synchronization
import Testing

@testable import Proxy

/// A service that decides by a request's path and headers, as `x-user` says.
final class Guard: Sendable {
    var port: UInt16 { door.port }
    private let door = Door()
    private let state = Mutex((heads: [String](), bodies: [[UInt8]]()))
    var heads: [String] { state.withLock { $0.heads } }
    var bodies: [[UInt8]] { state.withLock { $0.bodies } }

    init() {
        door.open { [self] in serve($0) }
    }

    func stop() { door.stop() }

    private func serve(_ client: CInt) {
        var reader = SocketReader(client)
        while let head = reader.head() {
            let body = reader.body(head) ?? []
            state.withLock {
                $0.heads.append(head)
                $0.bodies.append(body)
            }
            let answer: String
            switch header("x-user", head) {
            case "alice":
                answer = "200 OK\r\nx-identity: Alice\r\nx-other: secret\r\ncontent-length: 0\r\n\r\n"
            case "slow":
                usleep(1_500_000)
                answer = "200 OK\r\ncontent-length: 0\r\n\r\n"
            case "broken": answer = "500 Oops\r\ncontent-length: 0\r\n\r\n"
            case "chunks":
                answer =
                    "403 No\r\ntransfer-encoding: chunked\r\ncontent-type: text/x\r\n\r\n3\r\nnot\r\n5;a=b\r\n you!\r\n0\r\n\r\n"
            case "leaves": return
            case "huge": answer = "403 No\r\ncontent-length: 100000\r\n\r\n" + String(repeating: "x", count: 100_000)
            default:
                answer = "302 Found\r\nlocation: /login\r\nset-cookie: a=b\r\ncontent-length: 5\r\n\r\nlogin"
            }
            if !sendAll(client, Array("HTTP/1.1 \(answer)".utf8)) { return }
        }
    }
}

@Suite struct ExternalAuthorizationTests {
    private struct Setup {
        let origin = Origin()
        let service = Guard()
        let gateway: TestGateway

        init(loops: Int = 1, _ change: (inout ExternalAuthorizer) -> Void = { _ in }) throws {
            gateway = try TestGateway(loops: loops)
            var configuration = gateway.configuration(
                [rule([("origin", 1)])],
                [backend("origin", [endpoint(Int(origin.port))]), backend("guard", [endpoint(Int(service.port))])])
            var authorizer = ExternalAuthorizer(
                name: "a", backend: "guard", timeoutMilliseconds: 20_000, pathPrefix: "/check",
                shownHeaders: ["x-user", "x-t*"],
                addedHeaders: [HeaderValue(name: "x-from", value: "gateway")], headersOnAllow: ["x-identity"])
            change(&authorizer)
            configuration.workload.security.authorizers = [authorizer]
            configuration.workload.security.policies = [
                try policy(
                    #"{"name":"demo/ask","action":"CUSTOM","provider":"a","rules":[{"to":[{"paths":["/name*","/echo"]}]}]}"#
                ),
                try policy(#"{"name":"demo/never","action":"DENY","rules":[{"to":[{"paths":["/name/never"]}]}]}"#),
            ]
            let generation = try gateway.plane.apply(configuration, identity: nil)
            _ = eventually { gateway.plane.collect().allSatisfy { $0.counts.generation == generation } }
        }

        func end() {
            #expect(
                eventually { gateway.plane.collect().allSatisfy { $0.counts.errands == 0 && $0.counts.shadows == 0 } })
            gateway.plane.stop()
            origin.stop()
            service.stop()
        }
    }

    @Test("a service decides: it is shown what was asked for, its yes adds headers, its no is the client's answer")
    func decides() throws {
        let setup = try Setup()
        let visitor = Visitor(port: setup.gateway.port)
        let good = visitor.get(
            "/name/x?q=1",
            "X-User: alice\r\nx-tag: t\r\nx-hidden: h\r\nx-identity: forged\r\nauthorization: Basic z\r\n")
        #expect(good?.status == 200)
        #expect(
            header("x-identity", setup.origin.lastHead) == "Alice" && header("x-other", setup.origin.lastHead) == nil)
        let shown = setup.service.heads.last ?? ""
        #expect(shown.hasPrefix("GET /check/name/x?q=1 HTTP/1.1\r\nhost: test\r\n"))
        #expect(
            header("x-tag", shown) == "t" && header("x-hidden", shown) == nil && header("x-from", shown) == "gateway")
        #expect(header("authorization", shown) == "Basic z")
        let refused = visitor.get("/name")
        #expect(refused?.status == 302 && refused?.text == "login" && refused?.reason == "ext_authz_denied")
        #expect(refused.flatMap { header("location", $0.head) } == "/login")
        let chunked = visitor.get("/name", "x-user: chunks\r\n")
        #expect(chunked?.status == 403 && chunked?.text == "not you!")
        #expect(chunked.flatMap { header("content-type", $0.head) } == "text/x")
        #expect(visitor.get("/name/never", "x-user: alice\r\n")?.reason == "rbac_denied")
        let asked = setup.service.heads.count
        #expect(visitor.get("/other")?.status == 200)
        #expect(setup.service.heads.count == asked, "the policy is not about this path")
        visitor.end()
        let sender = Visitor(port: setup.gateway.port)
        #expect(sender.send("POST /echo HTTP/1.1\r\nhost: test\r\nx-user: alice\r\ncontent-length: 5\r\n\r\nhello"))
        #expect(sender.response()?.text == "hello")
        sender.end()
        setup.end()
    }

    @Test(
        "without an answer the request is refused, or passes where that is wanted",
        arguments: [
            ("slow", false, "timeout"), ("broken", false, "failed"), ("leaves", false, "unreachable"),
            ("huge", false, "bad_answer"), ("slow", true, ""), ("leaves", true, ""),
        ])
    func failure(user: String, opens: Bool, reason: String) throws {
        let setup = try Setup {
            $0.failsOpen = opens
            $0.statusOnError = 503
            if user == "slow" { $0.timeoutMilliseconds = 700 }
        }
        let visitor = Visitor(port: setup.gateway.port)
        let answer = visitor.get("/name", "x-user: \(user)\r\n")
        #expect(answer?.status == (opens ? 200 : 503))
        if !opens { #expect(answer?.reason == "ext_authz_\(reason)") }
        #expect(eventually { visitor.get("/name", "x-user: alice\r\n")?.status == 200 })
        visitor.end()
        setup.end()
    }

    @Test("many ask at once, some leave while they wait, and none is mixed up with another")
    func many() throws {
        let setup = try Setup(loops: 2)
        let answers = Answers()
        for number in 0..<8 {
            let port = setup.gateway.port
            spawn {
                var wrong = 0
                for turn in 0..<40 {
                    let visitor = Visitor(port: port)
                    if turn % 5 == 4 {
                        _ = visitor.send("GET /name HTTP/1.1\r\nhost: test\r\nx-user: slow\r\n\r\n")
                    } else {
                        let isGood = (turn + number) % 2 == 0
                        let status = visitor.get("/name", isGood ? "x-user: alice\r\n" : "")?.status
                        if status != (isGood ? 200 : 302) { wrong += 1 }
                    }
                    visitor.end()
                }
                answers.add("\(wrong)")
            }
        }
        #expect(eventually { answers.all.count == 8 })
        #expect(answers.all.allSatisfy { $0 == "0" })
        setup.end()
    }
}
