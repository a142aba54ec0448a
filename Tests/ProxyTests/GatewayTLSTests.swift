import CKernel
import Glibc
import ProxyResources
import Synchronization
import TLS
import Testing

@testable import Proxy

/// Certificates for hosts, from one throw-away authority.
struct HostAuthority {
    let authority: CertificateAuthority
    init(_ name: String = "test web root") throws { authority = try CertificateAuthority.create(commonName: name) }

    func pair(_ names: [SubjectAlternativeName], client: Bool = false) throws -> KeyPair {
        let key = try PrivateKey.generate()
        let certificate = try authority.issue(
            CertificateRequest(
                commonName: client ? "a client" : nil, subjectAlternativeNames: names, serverUse: !client,
                clientUse: client, lifetime: .seconds(3600), publicKey: try key.publicKey()))
        return KeyPair(
            certificateChain: String(decoding: try certificate.pem(), as: UTF8.self),
            privateKey: String(decoding: try key.pem(), as: UTF8.self))
    }

    func root() throws -> String { String(decoding: try authority.certificate.pem(), as: UTF8.self) }
}

/// Files of a test, gone with it.
final class Scratch {
    let path: String
    init() {
        var template = Array("/tmp/weft-test-XXXXXX".utf8CString)
        path = String(cString: mkdtemp(&template))
    }
    deinit { _ = run(["rm", "-rf", path]) }

    func write(_ name: String, _ text: String) -> String {
        let file = "\(path)/\(name)"
        guard let opened = fopen(file, "w") else { return file }
        fputs(text, opened)
        fclose(opened)
        return file
    }
}

/// Runs a program and gives what it wrote, both ways; `nil` input ends at once.
func run(_ arguments: [String], input: String = "") -> (status: Int32, text: String) {
    var toChild: [CInt] = [0, 0]
    var fromChild: [CInt] = [0, 0]
    guard pipe(&toChild) == 0, pipe(&fromChild) == 0 else { return (-1, "") }
    for end in [toChild[1], fromChild[0]] { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawn_file_actions_adddup2(&actions, toChild[0], 0)
    posix_spawn_file_actions_adddup2(&actions, fromChild[1], 1)
    posix_spawn_file_actions_adddup2(&actions, fromChild[1], 2)
    for end in [toChild[0], fromChild[1]] { posix_spawn_file_actions_addclose(&actions, end) }
    var words: [UnsafeMutablePointer<CChar>?] = (["timeout", "30"] + arguments).map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    // A thread of the tests' pool blocks signals, which a child would inherit: `timeout` could end nothing.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    var process = pid_t()
    let code = posix_spawnp(&process, "timeout", &actions, &attributes, &words, environ)
    posix_spawn_file_actions_destroy(&actions)
    posix_spawnattr_destroy(&attributes)
    close(toChild[0])
    close(fromChild[1])
    _ = Array(input.utf8).withUnsafeBytes { write(toChild[1], $0.baseAddress, $0.count) }
    close(toChild[1])
    defer { close(fromChild[0]) }
    guard code == 0 else { return (code, "") }
    var bytes: [UInt8] = []
    var space = [UInt8](repeating: 0, count: 65536)
    while true {
        let count = read(fromChild[0], &space, space.count)
        if count <= 0 { break }
        bytes += space.prefix(count)
    }
    var status: Int32 = 0
    waitpid(process, &status, 0)
    return (status >> 8 & 255, String(decoding: bytes, as: UTF8.self))
}

/// A gateway whose listener is what a test makes of it.
struct TLSGateway {
    let gateway: TestGateway
    let origin = Origin()
    let web: HostAuthority
    let scratch = Scratch()

    init(loops: Int = 1, _ change: (inout ProxyConfiguration, HostAuthority) throws -> Void) throws {
        web = try HostAuthority()
        gateway = try TestGateway(loops: loops)
        try apply(change)
    }

    func apply(_ change: (inout ProxyConfiguration, HostAuthority) throws -> Void) throws {
        var configuration = gateway.configuration(
            [rule([("origin", 1)])], [backend("origin", [endpoint(Int(origin.port))])])
        try change(&configuration, web)
        let generation = try gateway.plane.apply(configuration, identity: nil)
        guard eventually({ gateway.plane.collect().allSatisfy { $0.counts.generation == generation } }) else {
            throw ConfigurationFault("the loops did not take generation \(generation)")
        }
    }

    func curl(_ host: String, _ path: String = "/name", _ more: [String] = []) throws -> (status: Int32, text: String) {
        let root = scratch.write("root.pem", try web.root())
        return run(
            [
                "curl", "-sS", "--noproxy", "*", "--cacert", root, "--resolve", "\(host):\(gateway.port):127.0.0.1",
                "--max-time", "10",
            ] + more + ["https://\(host):\(gateway.port)\(path)"])
    }

    func end() {
        gateway.plane.stop()
        origin.stop()
    }
}

extension ProxyConfiguration {
    var listener: GatewayListener {
        get { workload.gatewayListeners[0] }
        set { workload.gatewayListeners[0] = newValue }
    }
}

@Suite struct GatewayTLSTests {
    @Test("certificates are chosen by the name asked for; other names get an alert, plain HTTP a word")
    func names() throws {
        let gateway = try TLSGateway { configuration, web in
            configuration.listener.tls = [
                TLSServer(hosts: ["shop.test"], certificates: [try web.pair([.dns("shop.test")])]),
                TLSServer(hosts: ["*.wide.test"], certificates: [try web.pair([.dns("*.wide.test")])]),
            ]
        }
        for host in ["shop.test", "a.wide.test", "SHOP.test"] {
            let answer = try gateway.curl(host)
            #expect(answer.text == "origin", "\(host): \(answer)")
        }
        #expect(header("x-forwarded-proto", gateway.origin.lastHead) == "https")
        #expect(try gateway.curl("other.test").text.contains("unrecognized name"))
        let visitor = Visitor(port: gateway.gateway.port)
        let plain = visitor.get("/name")
        #expect(plain?.status == 400)
        #expect(plain?.reason == "tls_required")
        visitor.end()
        gateway.end()
    }

    @Test(
        "TLS 1.2 and 1.3 as the listener allows, AES-128-GCM first, sessions resumed",
        arguments: [TLSVersion.v12, .v13])
    func versions(least: TLSVersion) throws {
        let gateway = try TLSGateway { configuration, web in
            configuration.listener.tls = [
                TLSServer(certificates: [try web.pair([.dns("shop.test")])], minimumVersion: least)
            ]
        }
        let root = gateway.scratch.write("root.pem", try gateway.web.root())
        func client(_ more: [String]) -> String {
            run(
                [
                    "openssl", "s_client", "-connect", "127.0.0.1:\(gateway.gateway.port)", "-servername", "shop.test",
                    "-CAfile", root, "-alpn", "http/1.1",
                ] + more, input: "GET /name HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n"
            ).text
        }
        let modern = client(["-tls1_3"])
        #expect(modern.contains("TLS_AES_128_GCM_SHA256"), "\(modern)")
        #expect(modern.contains("ALPN protocol: http/1.1"))
        let old = client(["-tls1_2"])
        #expect(old.contains("ECDHE-ECDSA-AES128-GCM-SHA256") == (least == .v12))
        #expect(old.contains("alert protocol version") == (least == .v13))
        #expect(client(["-tls1_1"]).contains("Cipher is (NONE)"))
        let session = "\(gateway.scratch.path)/session"
        _ = client(["-tls1_3", "-sess_out", session, "-ign_eof"])
        #expect(client(["-tls1_3", "-sess_in", session]).contains("Reused, TLSv1.3"))
        gateway.end()
    }

    @Test("clients' certificates: required, optional, by name; the app is told who came")
    func clients() throws {
        let gateway = try TLSGateway { configuration, web in
            let server = try web.pair([.dns("must.test"), .dns("may.test"), .dns("some.test")])
            func named(_ host: String, _ how: TLSServer.ClientCertificates, _ names: [String] = []) throws -> TLSServer
            {
                TLSServer(
                    hosts: [host], certificates: [server], clientCertificates: how, clientRoots: try web.root(),
                    clientNames: names)
            }
            configuration.listener.tls = [
                try named("must.test", .required), try named("may.test", .optional),
                try named("some.test", .required, ["spiffe://elsewhere/robot"]),
            ]
        }
        let known = try gateway.web.pair([.uri("spiffe://elsewhere/person")], client: true)
        let stranger = try HostAuthority().pair([.uri("spiffe://elsewhere/robot")], client: true)
        let robot = try gateway.web.pair([.uri("spiffe://elsewhere/robot")], client: true)
        func with(_ pair: KeyPair, _ name: String) -> [String] {
            [
                "--cert", gateway.scratch.write("\(name).pem", pair.certificateChain), "--key",
                gateway.scratch.write("\(name).key", pair.privateKey),
            ]
        }
        #expect(try gateway.curl("must.test").status != 0)
        #expect(try gateway.curl("must.test", "/name", with(known, "known")).text == "origin")
        let told = header("x-forwarded-client-cert", gateway.origin.lastHead) ?? ""
        #expect(told.hasPrefix("Hash=") && told.hasSuffix(";Subject=\"CN=a client\";URI=spiffe://elsewhere/person"))
        #expect(try gateway.curl("must.test", "/name", with(stranger, "stranger")).status != 0)
        #expect(
            try gateway.curl("may.test", "/name", ["-H", "x-forwarded-client-cert: URI=spiffe://me"]).text == "origin")
        #expect(header("x-forwarded-client-cert", gateway.origin.lastHead) == nil)
        #expect(try gateway.curl("may.test", "/name", with(stranger, "stranger")).status != 0)
        #expect(try gateway.curl("some.test", "/name", with(known, "known")).status != 0)
        #expect(try gateway.curl("some.test", "/name", with(robot, "robot")).text == "origin")
        gateway.end()
    }

    @Test("TLS that is passed on goes by its name to a backend that ends it itself")
    func passthrough() throws {
        let inner = try TLSGateway { configuration, web in
            configuration.listener.tls = [TLSServer(certificates: [try web.pair([.dns("inner.test")])])]
        }
        let outer = try TLSGateway { configuration, web in
            configuration.backends["inner"] = backend("inner", [endpoint(Int(inner.gateway.port))])
            configuration.listener.tls = [
                TLSServer(hosts: ["*.test"], certificates: [try web.pair([.dns("outer.test")])])
            ]
            configuration.listener.tlsRoutes = [
                TLSRoute(hosts: ["inner.test"], backends: [WeightedBackend(backend: "inner")]),
                TLSRoute(hosts: ["gone.test"], backends: [WeightedBackend(backend: "nowhere")]),
            ]
            configuration.workload.security.policies = [
                try policy(
                    #"{"name":"p","action":"DENY","rules":[{"when":[{"key":"connection.sni","values":["shut.test"]}]}]}"#
                )
            ]
        }
        #expect(try outer.curl("outer.test").text == "origin")
        let root = inner.scratch.write("inner.pem", try inner.web.root())
        #expect(try outer.curl("inner.test", "/name", ["--cacert", root]).text == "origin")
        #expect(inner.origin.requests == 1 && outer.origin.requests == 1)
        #expect(try outer.curl("gone.test").status != 0)
        outer.end()
        inner.end()
    }

    @Test("certificates of a listener are swapped under load without a failed request; what is open stays open")
    func swap() throws {
        let gateway = try TLSGateway(loops: 2) { configuration, web in
            configuration.listener.tls = [TLSServer(certificates: [try web.pair([.dns("shop.test")])])]
        }
        let root = gateway.scratch.write("root.pem", try gateway.web.root())
        let config = gateway.scratch.write(
            "many",
            (0..<150).map { _ in "url=\"https://shop.test:\(gateway.gateway.port)/name\"\noutput=/dev/null\n" }.joined()
        )
        let answers = Answers()
        for number in 0..<4 {
            let more = number % 2 == 0 ? [] : ["-H", "connection: close"]
            let port = gateway.gateway.port
            spawn {
                let result = run(
                    [
                        "curl", "-sS", "--noproxy", "*", "--cacert", root, "--resolve", "shop.test:\(port):127.0.0.1",
                        "--fail-early", "--fail", "-K", config,
                    ] + more)
                answers.add(result.status == 0 ? "" : result.text)
            }
        }
        var swaps = 0
        while answers.all.count < 4 && swaps < 2000 {
            try gateway.apply { configuration, web in
                configuration.listener.tls = [TLSServer(certificates: [try web.pair([.dns("shop.test")])])]
            }
            swaps += 1
        }
        #expect(eventually { answers.all.count == 4 })
        #expect(answers.all == ["", "", "", ""])
        #expect(swaps > 3)
        #expect(gateway.origin.requests == 600)
        gateway.end()
    }

    @Test("a backend outside the mesh is spoken to over TLS, and only when it is who it should be")
    func origination() throws {
        let server = try TLSGateway { configuration, web in
            configuration.listener.tls = [
                TLSServer(
                    certificates: [try web.pair([.dns("api.test"), .uri("spiffe://elsewhere/api")])],
                    clientCertificates: .optional, clientRoots: try web.root())
            ]
        }
        let client = try TestGateway()
        func answer(_ tls: BackendTLS) throws -> (status: Int?, handshakes: UInt64) {
            var origin = backend("api", [endpoint(Int(server.gateway.port))])
            origin.tls = tls
            let before = client.plane.collect()[0].counts.resumed
            try client.apply([rule([("api", 1)])], [origin])
            let visitor = Visitor(port: client.port)
            defer { visitor.end() }
            let status = visitor.get("/name")?.status
            return (status, client.plane.collect()[0].counts.resumed - before)
        }
        let roots = try server.web.root()
        #expect(try answer(BackendTLS(serverName: "api.test", roots: roots)).status == 200)
        #expect(header("x-weft-peer", server.origin.lastHead) == nil)
        #expect(try answer(BackendTLS(serverName: "other.test", roots: roots)).status == 503)
        #expect(try answer(BackendTLS(serverName: "x", names: ["spiffe://elsewhere/api"], roots: roots)).status == 200)
        #expect(
            try answer(BackendTLS(serverName: "x", names: ["spiffe://elsewhere/other"], roots: roots)).status == 503)
        #expect(try answer(BackendTLS(serverName: "api.test", roots: try HostAuthority().root())).status == 503)
        #expect(try answer(BackendTLS(serverName: "other.test", skipsVerification: true)).status == 200)
        #expect(try answer(BackendTLS(serverName: "api.test", roots: "not a certificate")).status == 503)
        let robot = try server.web.pair([.uri("spiffe://elsewhere/robot")], client: true)
        #expect(try answer(BackendTLS(serverName: "api.test", roots: roots, certificate: robot)).status == 200)
        #expect(
            header("x-forwarded-client-cert", server.origin.lastHead)?.hasSuffix("URI=spiffe://elsewhere/robot") == true
        )
        client.plane.stop()
        server.end()
    }
}

/// What threads found.
final class Answers: Sendable {
    private let state = Mutex<[String]>([])
    func add(_ text: String) { state.withLock { $0.append(text) } }
    var all: [String] { state.withLock { $0 } }
}
