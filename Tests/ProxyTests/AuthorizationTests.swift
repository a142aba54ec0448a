import ProxyResources
import Testing
import Wire

@testable import Proxy

@Suite struct AuthorizationTests {
    /// A sidecar whose policies are these, before an origin, called over mutual TLS by `frontend`.
    private func pair(_ policies: [String], mode: MutualTLS = .strict, explains: Bool = false) throws -> TestPair {
        let pair = try TestPair(mode: mode)
        var configuration = pair.serverConfiguration(mode)
        configuration.workload.security.policies = try policies.map { try policy($0) }
        configuration.workload.security.explainsDenials = explains
        let generation = try pair.server.apply(configuration, identity: try pair.authority.identity("catalog"))
        #expect(eventually { pair.server.collect().allSatisfy { $0.counts.generation == generation } })
        return pair
    }

    @Test(
        "a request no ALLOW policy matches gets 403 and never reaches the app; the policy's name is told only if asked for"
    )
    func allows() throws {
        let pair = try pair([
            #"{"name":"demo/get","rules":[{"from":[{"principals":["cluster.local/ns/demo/sa/frontend"]}],"to":[{"methods":["GET"],"paths":["/name*"]}]}]}"#,
            #"{"name":"demo/no-secret","action":"DENY","rules":[{"to":[{"paths":["/name/secret*"]}]}]}"#,
        ])
        let visitor = Visitor(port: pair.gateway.port)
        #expect(visitor.get("/name")?.status == 200)
        let refused = visitor.post("/name", [1, 2, 3])
        #expect(refused?.status == 403)
        #expect(refused?.reason == "rbac_denied")
        visitor.end()
        let again = Visitor(port: pair.gateway.port)
        #expect(again.get("/other")?.status == 403)
        #expect(again.get("/name/secret/x")?.status == 403)
        #expect(again.get("/name/x/../secret")?.status == 403)
        #expect(again.get("/name/%73ecret")?.status == 403)
        #expect(again.get("/name\\secret")?.status == 403)
        #expect(again.get("/x/../name/./a?b=/../c")?.status == 200)
        #expect(pair.origin.lastHead.hasPrefix("GET /name/a?b=/../c HTTP/1.1"))
        #expect(again.get("/name/%00")?.status == 400)
        again.end()
        #expect(pair.origin.requests == 2)
        let text = String(
            decoding: MetricsText.render(pair.server.collect(), labels: pair.server.labels, workload: nil),
            as: UTF8.self)
        #expect(text.contains(#"weft_policy_decisions_total{policy="demo/no-secret",outcome="denied"} 4"#))
        #expect(text.contains(#"response_flags="RBAC""#))
        pair.end()
        let open = try self.pair([#"{"name":"demo/no","action":"DENY","rules":[{}]}"#], explains: true)
        let curious = Visitor(port: open.gateway.port)
        let answer = curious.get("/name")
        #expect(answer?.status == 403)
        #expect(answer.flatMap { header("x-weft-policy", $0.head) } == "demo/no")
        curious.end()
        open.end()
    }

    @Test("a policy on trial refuses nobody and is counted")
    func dryRun() throws {
        let pair = try pair([
            #"{"name":"demo/trial","action":"DENY","dryRun":true,"rules":[{"to":[{"methods":["GET"]}]}]}"#
        ])
        let visitor = Visitor(port: pair.gateway.port)
        for _ in 0..<3 { #expect(visitor.get("/name")?.status == 200) }
        visitor.end()
        let counts = pair.server.collect()[0].counts.policies
        #expect(counts.first { $0.key.outcome == .wouldDeny }?.value == 3)
        #expect(counts.count == 1)
        pair.end()
    }

    @Test("opaque connections are refused by a reset, before the app hears of them")
    func opaque() throws {
        let pair = try pair(
            [#"{"name":"demo/nobody","rules":[{"from":[{"principals":["*"]}]}]}"#], mode: .permissive)
        let stranger = Visitor(port: pair.inboundPort)
        #expect(stranger.send("\u{1}\u{2}\u{3} not http\r\n\r\n"))
        #expect(stranger.rest() == [])
        stranger.end()
        #expect(pair.origin.connections == 0)
        let known = Visitor(port: pair.gateway.port)
        #expect(known.get("/name")?.status == 200)
        known.end()
        pair.end()
    }

    @Test("policies at a gateway see the client's address and, behind trusted proxies, the one they forward")
    func gateway() throws {
        let origin = Origin()
        let gateway = try TestGateway()
        var configuration = gateway.configuration(
            [rule([("origin", 1)])], [backend("origin", [endpoint(Int(origin.port))])])
        configuration.workload.security.policies = [
            try policy(#"{"name":"demo/inside","rules":[{"from":[{"remoteIpBlocks":["192.0.2.0/24"]}]}]}"#)
        ]
        configuration.workload.security.trustedProxies = 2
        try gateway.plane.apply(configuration, identity: nil)
        #expect(
            eventually {
                let visitor = Visitor(port: gateway.port)
                defer { visitor.end() }
                return visitor.get("/name")?.status == 403
            })
        let visitor = Visitor(port: gateway.port)
        #expect(visitor.get("/name", "x-forwarded-for: 192.0.2.7, 10.0.0.1\r\n")?.status == 200)
        #expect(visitor.get("/name", "x-forwarded-for: 192.0.2.7\r\nx-forwarded-for: 10.0.0.1\r\n")?.status == 200)
        #expect(visitor.get("/name", "x-forwarded-for: 192.0.2.7, 10.0.0.1, 10.0.0.2\r\n")?.status == 403)
        #expect(visitor.get("/name", "x-forwarded-for: 192.0.2.7\r\n")?.status == 403)
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }
}

@Suite struct PathNormalizationTests {
    @Test(
        "paths come into one form",
        arguments: [
            ("/a/b", "/a/b", PathNormalization.base), ("/a/./b", "/a/b", .base), ("/a/../b", "/b", .base),
            ("/../../b", "/b", .base), ("/a/b/..", "/a/", .base), ("/a/.", "/a/", .base), ("/.", "/", .base),
            ("/a/%2e%2E/b", "/b", .base), ("/%41%7e%2f", "/A~%2F", .base), ("/a\\b", "/a/b", .base),
            ("/a//b", "/a//b", .base), ("/a//../b", "/a/b", .base), ("/a//b", "/a/b", .mergeSlashes),
            ("/a/%2f/b", "/a/%2F/b", .mergeSlashes), ("/a%2Fb", "/a/b", .decodeAndMergeSlashes),
            ("/a%5c..%2fb", "/b", .decodeAndMergeSlashes), ("/a/%252e", "/a/%252e", .base),
            ("/.well-known", "/.well-known", .base),
            ("/a/..b/...", "/a/..b/...", .base), ("*", "*", .base), ("/a/../b", "/a/../b", .none),
        ])
    func forms(path: String, expected: String, way: PathNormalization) {
        #expect(normalized(path: path, way) == expected)
        #expect(normalized(path: expected, way) == expected)
    }

    @Test("what two readers would not agree on is refused", arguments: ["/a%00b", "/%zz", "/%4", "/%", "/a#b"])
    func refused(path: String) { #expect(normalized(path: path, .base) == nil) }
}
