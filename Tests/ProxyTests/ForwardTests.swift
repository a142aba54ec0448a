import Glibc
import ProxyResources
import TLS
import Testing

@testable import Proxy

/// Connections that go on as they are: from ports that are said to, out of TLS that ends here, and at sidecars.
@Suite struct ForwardTests {
    init() { signal(SIGPIPE, SIG_IGN) }

    private func echo(_ visitor: Visitor, _ text: String) -> String? {
        guard visitor.send(text) else { return nil }
        return visitor.some().map { String(decoding: $0, as: UTF8.self) }
    }

    @Test("a plain port sends all its connections on by weight, also where the server speaks first")
    func plain() throws {
        let greeting = Echo(greeting: "hello\n")
        let gateway = try TLSGateway { configuration, _ in
            configuration.backends["echo"] = backend("echo", [endpoint(Int(greeting.port))])
            configuration.listener.routes = []
            configuration.listener.backends = [
                WeightedBackend(backend: "echo"), WeightedBackend(backend: "origin", weight: 0),
            ]
        }
        for _ in 0..<4 {
            let visitor = Visitor(port: gateway.gateway.port)
            #expect(visitor.some() == Array("hello\n".utf8))
            #expect(echo(visitor, "GET /not-http") == "GET /not-http")
            visitor.end()
        }
        #expect(gateway.origin.requests == 0)
        try gateway.apply { configuration, _ in
            configuration.listener.backends = [WeightedBackend(backend: "gone")]
        }
        let visitor = Visitor(port: gateway.gateway.port)
        #expect(visitor.some() == nil)
        visitor.end()
        #expect(
            eventually {
                gateway.gateway.plane.collect().allSatisfy { $0.counts.clients == 0 && $0.counts.upstreams == 0 }
            })
        gateway.end()
        greeting.stop()
    }

    @Test("who trusted proxies speak for is told on to the backend of a plain port")
    func introduced() throws {
        let server = Echo()
        let gateway = try TLSGateway { configuration, _ in
            var made = backend("echo", [endpoint(Int(server.port))])
            made.proxyProtocol = .v1
            configuration.backends["echo"] = made
            configuration.listener.routes = []
            configuration.listener.backends = [WeightedBackend(backend: "echo")]
            configuration.listener.proxyProtocol = ProxyProtocolPeers(trusted: ["127.0.0.1"])
        }
        let visitor = Visitor(port: gateway.gateway.port)
        #expect(visitor.send("PROXY TCP4 192.0.2.7 192.0.2.8 1234 5678\r\nbytes"))
        var seen = ""
        while !seen.hasSuffix("bytes"), let more = visitor.some() { seen += String(decoding: more, as: UTF8.self) }
        #expect(seen.hasPrefix("PROXY TCP4 192.0.2.7 ") && seen.contains(" 1234 ") && seen.hasSuffix("\r\nbytes"))
        visitor.end()
        gateway.end()
        server.stop()
    }

    /// A gateway that forwards bytes to `server` within limits.
    private func tunnels(to server: Echo, _ limits: CircuitLimits) throws -> TLSGateway {
        try TLSGateway { configuration, _ in
            var made = backend("echo", [endpoint(Int(server.port))])
            made.resilience.limits = limits
            configuration.backends["echo"] = made
            configuration.listener.routes = []
            configuration.listener.backends = [WeightedBackend(backend: "echo")]
        }
    }

    @Test("a tunnel in which nothing moves ends after the backend's own time")
    func silence() throws {
        let server = Echo()
        var limits = CircuitLimits()
        limits.tunnelIdleTimeoutMilliseconds = 200
        let gateway = try tunnels(to: server, limits)
        let visitor = Visitor(port: gateway.gateway.port)
        #expect(echo(visitor, "hello") == "hello")
        #expect(visitor.some() == nil)
        visitor.end()
        gateway.end()
        server.stop()
    }

    @Test("the server of a tunnel is asked whether it is there, as the backend says")
    func keepAlive() throws {
        let server = Echo()
        var limits = CircuitLimits()
        limits.keepAlive = TCPKeepAlive(probes: 3, timeSeconds: 60, intervalSeconds: 10)
        let gateway = try tunnels(to: server, limits)
        let visitor = Visitor(port: gateway.gateway.port)
        #expect(echo(visitor, "hello") == "hello")
        let timers = run(["ss", "-tnoH", "dport = :\(server.port)"]).text
        #expect(timers.contains("keepalive"), "\(timers)")
        visitor.end()
        gateway.end()
        server.stop()
    }

    @Test("TLS ends and what is inside goes on by name; other names are served; a bad certificate opens nothing")
    func opened() throws {
        let server = Echo()
        let gateway = try TLSGateway { configuration, web in
            configuration.backends["echo"] = backend("echo", [endpoint(Int(server.port))])
            var bytes = TLSServer(hosts: ["db.test"], certificates: [try web.pair([.dns("db.test")])])
            bytes.backends = [WeightedBackend(backend: "echo")]
            var broken = TLSServer(
                hosts: ["broken.test"], certificates: [KeyPair(certificateChain: "no", privateKey: "none")])
            broken.backends = bytes.backends
            configuration.listener.tls = [
                bytes, broken, TLSServer(hosts: ["*.shop.test"], certificates: [try web.pair([.dns("*.shop.test")])]),
            ]
        }
        let root = gateway.scratch.write("root.pem", try gateway.web.root())
        func client(_ name: String, _ input: String) -> String {
            run(
                [
                    "sh", "-c",
                    "(printf '\(input)'; sleep 1) | openssl s_client -connect 127.0.0.1:\(gateway.gateway.port) -servername \(name) -CAfile \(root) -verify_return_error -alpn h2,postgresql -quiet -no_ign_eof",
                ]
            ).text
        }
        #expect(client("db.test", "some bytes").contains("some bytes"))
        #expect(client("broken.test", "some bytes").contains("alert internal error"))
        #expect(try gateway.curl("www.shop.test").text == "origin")
        // HTTP itself may be what is inside.
        try gateway.apply { configuration, web in
            var inside = TLSServer(hosts: ["*"], certificates: [try web.pair([.dns("shop.test")])])
            inside.backends = [WeightedBackend(backend: "origin")]
            configuration.listener.tls = [inside]
        }
        #expect(try gateway.curl("shop.test").text == "origin")
        #expect(header("x-forwarded-proto", gateway.origin.lastHead) == nil)
        gateway.end()
        server.stop()
    }

    @Test("a sidecar's tunnels take the first route for their pod's labels, TLS by its name")
    func sidecar() throws {
        let (usual, special) = (Echo(greeting: "usual"), Echo(greeting: "special"))
        let port = freePort()
        let plane = try DataPlane(
            loops: 1,
            listeners: [
                ListenerOption(side: .outbound, address: "127.0.0.1", port: port, destination: "10.99.0.7:99")
            ], seed: 7)
        func tell(_ change: (inout ServicePort) -> Void) throws {
            var service = ServicePort(
                namespace: "demo", service: "db", port: 99, addresses: ["10.99.0.7"], appProtocol: .tcp,
                defaultBackend: "usual")
            change(&service)
            let generation = try plane.apply(
                ProxyConfiguration(
                    workload: workload("client") { $0.labels = ["app": "client"] },
                    servicePorts: [service.resourceName: service],
                    backends: [
                        "usual": backend("usual", [endpoint(Int(usual.port))]),
                        "special": backend("special", [endpoint(Int(special.port))]),
                    ]), identity: nil)
            #expect(eventually { plane.collect().allSatisfy { $0.counts.generation == generation } })
        }
        func greeting(_ hello: [UInt8] = []) -> String? {
            let visitor = Visitor(port: port)
            defer { visitor.end() }
            if !hello.isEmpty { _ = visitor.send(hello) }
            return visitor.some().map { String(String(decoding: $0, as: UTF8.self).prefix(7)) }
        }
        let toSpecial = [WeightedBackend(backend: "special")]
        try tell { _ in }
        #expect(greeting()?.hasPrefix("usual") == true)
        try tell {
            $0.tcpRoutes = [
                TCPRoute(backends: [], source: SourceMatch(labels: ["app": "other"])),
                TCPRoute(backends: [], source: SourceMatch(namespace: "elsewhere")),
                TCPRoute(backends: toSpecial, source: SourceMatch(namespace: "demo", labels: ["app": "client"])),
            ]
        }
        #expect(greeting() == "special")
        try tell {
            $0.tlsRoutes = [
                TLSRoute(hosts: ["db.test"], backends: [], source: SourceMatch(labels: ["app": "other"])),
                TLSRoute(hosts: ["db.test"], backends: toSpecial),
            ]
        }
        #expect(greeting(clientHello("db.test")) == "special")
        #expect(greeting(clientHello("other.test"))?.hasPrefix("usual") == true)
        plane.stop()
        usual.stop()
        special.stop()
    }

    /// The least that names a server (RFC 8446 §4.1.2, RFC 6066 §3).
    private func clientHello(_ name: String) -> [UInt8] {
        func sized(_ bytes: [UInt8]) -> [UInt8] { [UInt8(bytes.count >> 8), UInt8(bytes.count & 255)] + bytes }
        let host = [0] + sized(Array(name.utf8))
        let extensions: [UInt8] = [0, 0] + sized(sized(host))
        let random = [UInt8](repeating: 7, count: 32)
        let suites: [UInt8] = [0, 2, 0x13, 0x01]
        var body: [UInt8] = [3, 3] + random
        body += [0]
        body += suites
        body += [1, 0]
        body += sized(extensions)
        let message: [UInt8] = [1, 0] + sized(body)
        return [22, 3, 1] + sized(message)
    }
}
