import Glibc
import ProxyResources
import TLS
import TestSupport
import Testing

@testable import Proxy

/// HTTP/2 over TLS: agreed on with clients at gateways, and with servers outside.
@Suite struct GatewayHTTP2Tests {
    private func shop(_ protocols: [String] = TLSServer.usualProtocols) throws -> TLSGateway {
        try TLSGateway { configuration, web in
            configuration.listener.tls = [
                TLSServer(certificates: [try web.pair([.dns("shop.test")])], protocols: protocols)
            ]
        }
    }

    @Test(
        "client and gateway agree on a version as ALPN says; without it they speak HTTP/1.1",
        arguments: [
            (["--http2"], "2"), (["--http1.1"], "1.1"), (["--no-alpn"], "1.1"), (["--http2", "--tls-max", "1.2"], "2"),
        ])
    func agreed(options: [String], version: String) throws {
        let gateway = try shop()
        let found = try gateway.curl("shop.test", "/name", options + ["-w", " %{http_version} %{http_code}"])
        #expect(found.text == "origin \(version) 200")
        #expect(header("x-forwarded-proto", gateway.origin.lastHead) == "https")
        gateway.end()
    }

    @Test("a listener that offers one version speaks no other")
    func oneVersion() throws {
        let old = try shop(["http/1.1"])
        #expect(try old.curl("shop.test", "/name", ["--http2", "-w", " %{http_version}"]).text == "origin 1.1")
        let root = old.scratch.write("root.pem", try old.web.root())
        func client(_ gateway: TLSGateway, _ alpn: String?, _ input: String) -> String {
            run(
                [
                    "openssl", "s_client", "-connect", "127.0.0.1:\(gateway.gateway.port)", "-servername", "shop.test",
                    "-CAfile", root, "-ign_eof",
                ] + (alpn.map { ["-alpn", $0] } ?? []), input: input
            ).text
        }
        // Nobody gets past the listener's choice by speaking what was not agreed on.
        for alpn in [nil, "http/1.1"] {
            let told = client(old, alpn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            #expect(told.contains("HTTP/1.1 505"), "\(told)")
        }
        #expect(client(old, "h2", "").contains("no application protocol"))
        let new = try shop(["h2"])
        #expect(try new.curl("shop.test", "/name", ["--http2", "-w", " %{http_version}"]).text == "origin 2")
        #expect(client(new, "http/1.1", "").contains("no application protocol"))
        let wrong = client(new, "h2", "GET /name HTTP/1.1\r\nhost: shop.test\r\n\r\n")
        #expect(!wrong.contains("origin"), "\(wrong)")
        new.end()
        old.end()
    }

    @Test("TLS 1.2 has no cipher that HTTP/2 forbids, and no renegotiation")
    func ciphers() throws {
        let gateway = try shop()
        func client(_ cipher: String) -> String {
            run(
                [
                    "openssl", "s_client", "-connect", "127.0.0.1:\(gateway.gateway.port)", "-servername", "shop.test",
                    "-tls1_2", "-alpn", "h2", "-cipher", cipher,
                ]
            ).text
        }
        let good = client("ECDHE-ECDSA-AES128-GCM-SHA256")
        #expect(good.contains("ALPN protocol: h2") && good.contains("Compression: NONE"), "\(good)")
        for cipher in [
            "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA256", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-CCM",
        ] {
            #expect(client(cipher).contains("handshake failure"), "\(cipher)")
        }
        gateway.end()
    }

    @Test("many streams over TLS: bodies whole, trailers and gRPC of every kind")
    func clients() throws {
        let gateway = try shop()
        let load = run([
            "h2load", "-n", "2000", "-c", "4", "-m", "25", "https://127.0.0.1:\(gateway.gateway.port)/name",
        ])
        #expect(load.text.contains("2000 succeeded, 0 failed, 0 errored"), "\(load.text)")
        #expect(load.text.contains("Application protocol: h2"))
        let body = gateway.scratch.write("body", String(repeating: "0123456789abcdef", count: 65_536))
        let echoed = "\(gateway.scratch.path)/echoed"
        #expect(
            try gateway.curl("shop.test", "/echo", ["--http2", "--data-binary", "@\(body)", "-o", echoed]).status == 0)
        #expect(run(["cmp", body, echoed]).status == 0)
        let app = PeerProgram("grpc_peer.py", "serve")
        let port = app.port()
        try gateway.apply { configuration, web in
            var calls = backend("origin", [endpoint(port)])
            calls.appProtocol = .grpc
            configuration.backends["origin"] = calls
            configuration.listener.tls = [TLSServer(certificates: [try web.pair([.dns("shop.test")])])]
        }
        let root = gateway.scratch.write("root.pem", try gateway.web.root())
        let found = run([
            PeerProgram.python, PeerProgram.path("grpc_peer.py"), "call", "\(gateway.gateway.port)", "all", root,
            "shop.test",
        ])
        #expect(found.status == 0, "\(found.text)")
        app.end()
        gateway.end()
    }

    @Test("a host with TLS of its own is not served on another host's connection, in either version")
    func misdirected() throws {
        let gateway = try TLSGateway { configuration, web in
            let wide = try web.pair([.dns("a.test"), .dns("b.test"), .dns("shut.test")])
            configuration.listener.tls = [
                TLSServer(hosts: ["a.test", "b.test"], certificates: [wide]),
                TLSServer(
                    hosts: ["shut.test"], certificates: [try web.pair([.dns("shut.test")])],
                    clientCertificates: .required, clientRoots: try web.root()),
                TLSServer(hosts: ["*.wide.test"], certificates: [try web.pair([.dns("*.wide.test")])]),
            ]
        }
        let root = gateway.scratch.write("root.pem", try gateway.web.root())
        let found = run(
            [
                PeerProgram.python, PeerProgram.path("h2_hosts.py"), "\(gateway.gateway.port)", root, "a.test",
                "a.test", "b.test", "shut.test", "SHUT.test:443", "x.wide.test", "b.test", "nobody.test",
            ])
        #expect(
            found.text.split(separator: "\n") == ["200", "200", "421", "421", "421", "200", "200"], "\(found.text)")
        #expect(gateway.origin.requests == 4)
        let old = try gateway.curl("a.test", "/name", ["--http1.1", "-i", "-H", "host: shut.test"])
        #expect(old.text.contains("421 Misdirected Request") && old.text.contains("misdirected_request"), "\(old.text)")
        // With the certificate of every listener changed, open connections go on: the names decide.
        gateway.end()
    }

    private func server(_ arguments: [String], _ scratch: Scratch, _ web: HostAuthority) throws -> PeerProgram {
        let pair = try web.pair([.dns("api.test")])
        let chain = scratch.write("chain.pem", pair.certificateChain)
        let key = scratch.write("key.pem", pair.privateKey)
        return PeerProgram("h2_origin.py", "100", chain, key)
    }

    @Test(
        "a server outside that is declared to speak HTTP/2 is spoken to in it, over TLS",
        arguments: ["--http1.1", "--http2-prior-knowledge"])
    func toServers(version: String) throws {
        let (web, scratch) = (try HostAuthority(), Scratch())
        let origin = try server([], scratch, web)
        let gateway = try TestGateway()
        var api = backend("api", [endpoint(origin.port())])
        api.tls = BackendTLS(serverName: "api.test", roots: try web.root())
        api.appProtocol = .http2
        try gateway.apply([rule([("api", 1)])], [api])
        let url = "http://127.0.0.1:\(gateway.port)"
        #expect(output(of: "curl -s --max-time 30 \(version) \(url)/x").text == "h2 origin")
        let body = scratch.write("body", String(repeating: "0123456789abcdef", count: 65_536))
        let echoed = "\(scratch.path)/echoed"
        let sent = output(of: "curl -s --max-time 30 \(version) --data-binary @\(body) -o \(echoed) \(url)/echo")
        #expect(sent.status == 0)
        #expect(run(["cmp", body, echoed]).status == 0)
        // What is not declared is HTTP/1.1 at a gateway, and this server ends such connections.
        api.appProtocol = .unknown
        try gateway.apply([rule([("api", 1)])], [api])
        #expect(output(of: "curl -s --max-time 30 -o /dev/null -w '%{http_code}' \(version) \(url)/x").text == "502")
        origin.end()
        gateway.plane.stop()
    }

    @Test("a server outside that speaks HTTP/1.1 alone: refused where HTTP/2 is declared, spoken to where it is not")
    func toOldServers() throws {
        let server = try shop(["http/1.1"])
        let gateway = try TestGateway()
        var api = backend("api", [endpoint(Int(server.gateway.port))])
        api.tls = BackendTLS(serverName: "shop.test", roots: try server.web.root())
        for (declared, status) in [(AppProtocol.grpc, "503"), (.http2, "503"), (.http, "200"), (.unknown, "200")] {
            api.appProtocol = declared
            try gateway.apply([rule([("api", 1)])], [api])
            let url = "http://127.0.0.1:\(gateway.port)/name"
            for version in ["--http1.1", "--http2-prior-knowledge"] {
                let found = output(of: "curl -s --max-time 30 -o /dev/null -w '%{http_code}' \(version) \(url)").text
                #expect(found == status, "\(declared) \(version)")
            }
        }
        gateway.plane.stop()
        server.end()
    }

    @Test(
        "a call in HTTP/2 to a server nobody has declared: the server chooses",
        arguments: [["h2", "http/1.1"], ["http/1.1"]])
    func undeclared(protocols: [String]) throws {
        let server = try shop(protocols)
        let port = ServicePort(
            namespace: "demo", service: "api", port: 8080, addresses: ["10.96.0.77"], hosts: ["api.test"],
            appProtocol: .unknown, routes: [], defaultBackend: "api")
        var api = backend("api", [endpoint(Int(server.gateway.port))])
        api.tls = BackendTLS(serverName: "shop.test", roots: try server.web.root())
        let door = freePort()
        let plane = try DataPlane(
            loops: 1,
            listeners: [
                ListenerOption(side: .outbound, address: "127.0.0.1", port: door, destination: "10.96.0.77:8080")
            ], seed: 3)
        try plane.apply(
            ProxyConfiguration(
                workload: workload("frontend"), servicePorts: [port.resourceName: port], backends: ["api": api]),
            identity: nil)
        #expect(eventually { plane.collect()[0].counts.generation > 0 })
        for version in ["--http2-prior-knowledge", "--http1.1"] {
            for _ in 0..<3 {
                let found = output(of: "curl -s --max-time 30 \(version) http://127.0.0.1:\(door)/name").text
                #expect(found == "origin", "\(version)")
            }
        }
        server.origin.fail(500)
        _ = output(of: "curl -s --max-time 30 --http2-prior-knowledge http://127.0.0.1:\(door)/name")
        let seen = server.gateway.plane.records(most: 10) { $0.status == 500 }.map(\.majorVersion)
        #expect(seen == [protocols.contains("h2") ? 2 : 1])
        plane.stop()
        server.end()
    }
}
