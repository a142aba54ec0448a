import ProxyResources
import TLS
import Testing

@testable import Proxy

@Suite struct MutualTLSTests {
    @Test("two proxies speak mutual TLS; the app sees who called; metrics on both sides name both workloads")
    func pair() throws {
        let pair = try TestPair()
        let visitor = Visitor(port: pair.gateway.port)
        for _ in 0..<5 { #expect(visitor.get("/name")?.text == "origin") }
        #expect(
            header("x-forwarded-client-cert", pair.origin.lastHead)
                == "By=\(TestAuthority.principal("catalog"));URI=\(TestAuthority.principal("frontend"))")
        #expect(header("x-weft-peer", pair.origin.lastHead) == nil)
        let body = (0..<1_048_576).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 9) }
        expectBody(visitor.post("/echo", body)?.body, body)
        expectBody(visitor.post("/chunked", body)?.body, body)
        visitor.end()
        let text = String(
            decoding: MetricsText.render(
                pair.server.collect(), labels: pair.server.labels, workload: workload("catalog")), as: UTF8.self)
        let line = text.split(separator: "\n").first { $0.hasPrefix("istio_requests_total") } ?? ""
        for part in [
            "reporter=\"destination\"", "source_workload=\"frontend\"",
            "source_principal=\"\(TestAuthority.principal("frontend"))\"",
            "destination_workload=\"catalog\"", "destination_service=\"catalog.demo.svc.cluster.local\"",
            "response_code=\"200\"",
            "connection_security_policy=\"mutual_tls\"",
        ] { #expect(line.contains(part)) }
        #expect(line.hasSuffix(" 7"))
        pair.end()
    }

    @Test("a strict port answers plain HTTP with 403 and nothing else at all; a permissive one serves it")
    func modes() throws {
        let strict = try TestPair(mode: .strict)
        var visitor = Visitor(port: strict.inboundPort)
        let refused = visitor.get("/name")
        #expect(refused?.status == 403)
        #expect(refused?.reason == "mutual_tls_required")
        visitor.end()
        visitor = Visitor(port: strict.inboundPort)
        #expect(visitor.send("SSH-2.0-test\r\n"))
        #expect(visitor.rest() == [])
        visitor.end()
        #expect(strict.origin.requests == 0)
        #expect(strict.server.collect()[0].counts.refusedPlain == 2)
        try strict.server.apply(
            strict.serverConfiguration(.permissive), identity: try strict.authority.identity("catalog"))
        #expect(
            eventually {
                let visitor = Visitor(port: strict.inboundPort)
                defer { visitor.end() }
                return visitor.get("/name")?.status == 200
            })
        #expect(header("x-forwarded-client-cert", strict.origin.lastHead) == nil)
        strict.end()
    }

    @Test("an endpoint with another name in its certificate, or from another authority, is not spoken to")
    func wrongIdentity() throws {
        let pair = try TestPair(expecting: "somebody-else")
        let visitor = Visitor(port: pair.gateway.port)
        let response = visitor.get("/name")
        #expect(response?.status == 503)
        #expect(response?.reason == "connect_failure")
        #expect(pair.origin.requests == 0)
        visitor.end()
        pair.end()

        let other = try TestPair()
        try other.server.apply(other.serverConfiguration(.strict), identity: try TestAuthority().identity("catalog"))
        #expect(
            eventually {
                let visitor = Visitor(port: other.gateway.port)
                defer { visitor.end() }
                return visitor.get("/name")?.status == 503
            })
        other.end()
    }

    @Test("a sidecar whose app is gone says so, and the request goes to another pod; an app cannot say it")
    func leavesDeadApp() throws {
        let pair = try TestPair()
        let deadPort = freePort()
        let dead = try DataPlane(
            loops: 1,
            listeners: [
                ListenerOption(
                    side: .inbound, address: "127.0.0.1", port: deadPort, destination: "127.0.0.1:\(freePort())")
            ])
        try dead.apply(pair.serverConfiguration(.strict), identity: try pair.authority.identity("catalog"))
        let principal = TestAuthority.principal("catalog")
        try pair.gateway.apply(
            [rule([("catalog", 1)])],
            [
                backend(
                    "catalog",
                    [endpoint(deadPort, principal: principal), endpoint(pair.inboundPort, principal: principal)])
            ],
            identity: try pair.authority.identity("frontend"))
        let visitor = Visitor(port: pair.gateway.port)
        for _ in 0..<30 { #expect(visitor.get("/name")?.status == 200) }
        let counts = dead.collect()[0].counts
        #expect(counts.handshakes > 0 && pair.gateway.plane.collect()[0].counts.retries > 0)
        #expect(visitor.get("/reason")?.reason == nil)
        visitor.end()
        dead.stop()
        pair.end()
    }

    @Test("certificates are swapped under load without a failed request")
    func rotation() throws {
        let pair = try TestPair(loops: 2)
        let load = Load(port: pair.gateway.port, connections: 8)
        let rules = [rule([("catalog", 1)])]
        let backends = [backend("catalog", [endpoint(pair.inboundPort, principal: TestAuthority.principal("catalog"))])]
        for _ in 0..<20 {
            try pair.server.apply(pair.serverConfiguration(.strict), identity: try pair.authority.identity("catalog"))
            try pair.gateway.apply(rules, backends, identity: try pair.authority.identity("frontend"))
        }
        let result = load.finish()
        #expect(result.failed == 0)
        #expect(result.served > 100)
        pair.end()
    }
}
