import CKernel
import Glibc
import ProxyResources
import Synchronization
import TLS
import Testing
import Wire

@testable import Proxy

/// Takes connections and keeps their first bytes; answers each request head with 200.
private final class Listener: Sendable {
    var port: UInt16 { door.port }
    private let door = Door()
    private let state = Mutex<[[UInt8]]>([])
    var starts: [[UInt8]] { state.withLock { $0 } }

    init() {
        door.open { [self] client in
            var bytes: [UInt8] = []
            var space = [UInt8](repeating: 0, count: 4096)
            while !String(decoding: bytes, as: UTF8.self).contains("host:") {
                let count = read(client, &space, space.count)
                if count <= 0 { break }
                bytes += space.prefix(count)
            }
            state.withLock { $0.append(bytes) }
            _ = sendAll(client, Array("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".utf8))
            // Stays open until the proxy leaves: it could use it again, and must not.
            while read(client, &space, space.count) > 0 {}
        }
    }

    func stop() { door.stop() }
}

@Suite struct ProxyProtocolTests {
    private func look(_ bytes: [UInt8]) -> ProxyHeader.Look {
        bytes.withUnsafeBufferPointer { space in
            space.baseAddress.map { ProxyHeader.look(at: $0, space.count) } ?? .needMore
        }
    }

    private static let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10]

    @Test(
        "headers of version 1",
        arguments: [
            (
                "PROXY TCP4 192.0.2.7 10.0.0.1 5000 80\r\nGET",
                ProxyHeader(length: 39, source: 0xC000_0207, sourcePort: 5000)
            ),
            ("PROXY UNKNOWN ffff::1 ::1 1 2\r\n", ProxyHeader(length: 31, source: nil, sourcePort: 0)),
            ("PROXY UNKNOWN\r\n", ProxyHeader(length: 15, source: nil, sourcePort: 0)),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 5000 80\r\n", ProxyHeader(length: 44, source: 0, sourcePort: 5000)),
            ("PROXY TCP4 192.0.2.300 10.0.0.1 5000 80\r\n", nil), ("PROXY TCP4 192.0.2.7 10.0.0.1 5000\r\n", nil),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 5000 99999\r\n", nil), ("PROXY TCP5 192.0.2.7 10.0.0.1 1 2\r\n", nil),
            ("GET / HTTP/1.1\r\n", nil), ("PROXY  TCP4 192.0.2.7 10.0.0.1 1 2\r\n", nil),
        ])
    func text(line: String, header: ProxyHeader?) {
        #expect(look(Array(line.utf8)) == header.map { .header($0) } ?? .invalid)
    }

    @Test("a header is not read before it is whole, and never waited for beyond its limit")
    func pieces() {
        let line = Array("PROXY TCP4 192.0.2.7 10.0.0.1 5000 80\r\n".utf8)
        for count in 1..<line.count { #expect(look(Array(line.prefix(count))) == .needMore) }
        #expect(look(Array("PROXY ".utf8) + [UInt8](repeating: 65, count: 200)) == .invalid)
        let binary = Self.signature + [0x21, 0x11, 0, 15, 192, 0, 2, 7, 10, 0, 0, 1, 0x13, 0x88, 0, 80, 4, 0, 0]
        for count in 1..<binary.count { #expect(look(Array(binary.prefix(count))) == .needMore) }
        #expect(look(binary + [1]) == .header(ProxyHeader(length: 31, source: 0xC000_0207, sourcePort: 5000)))
        #expect(look(Self.signature + [0x20, 0, 0, 0]) == .header(ProxyHeader(length: 16, source: nil, sourcePort: 0)))
        #expect(look(Self.signature + [0x11, 0x11, 0, 12]) == .invalid)
        #expect(look(Self.signature + [0x21, 0x11, 0, 4, 1, 2, 3, 4]) == .invalid)
        #expect(look(Self.signature + [0x21, 0x11, 0xFF, 0xFF]) == .invalid)
    }

    @Test("what is written is read again", arguments: [true, false])
    func writes(isText: Bool) {
        var space = [UInt8](repeating: 0, count: ProxyHeader.longestText)
        let count = space.withUnsafeMutableBufferPointer { space in
            space.baseAddress.map {
                ProxyHeader.write(
                    isText: isText, source: 0xC000_0207, sourcePort: 65535, destination: 0x0A00_0001,
                    destinationPort: 1,
                    into: $0)
            } ?? 0
        }
        #expect(
            look(Array(space.prefix(count)))
                == .header(ProxyHeader(length: count, source: 0xC000_0207, sourcePort: 65535)))
    }

    @Test("a trusted proxy says for whom it speaks, and must; from others a header is no header")
    func receives() throws {
        let origin = Origin()
        let gateway = try TestGateway()
        func apply(_ trusted: String) throws {
            var configuration = gateway.configuration(
                [rule([("origin", 1)])], [backend("origin", [endpoint(Int(origin.port))])])
            configuration.listener.proxyProtocol = ProxyProtocolPeers(trusted: [trusted])
            configuration.workload.security.policies = [
                try policy(#"{"name":"p","action":"DENY","rules":[{"from":[{"remoteIpBlocks":["203.0.113.0/24"]}]}]}"#)
            ]
            let generation = try gateway.plane.apply(configuration, identity: nil)
            #expect(eventually { gateway.plane.collect().allSatisfy { $0.counts.generation == generation } })
        }
        func ask(_ header: [UInt8]) -> Int? {
            let visitor = Visitor(port: gateway.port)
            defer { visitor.end() }
            guard header.isEmpty || visitor.send(header) else { return nil }
            return visitor.get("/name")?.status
        }
        try apply("127.0.0.0/8")
        #expect(ask(Array("PROXY TCP4 192.0.2.7 10.0.0.1 5000 80\r\n".utf8)) == 200)
        #expect(header("x-forwarded-for", origin.lastHead) == "192.0.2.7")
        #expect(ask(Self.signature + [0x21, 0x11, 0, 12, 192, 0, 2, 8, 10, 0, 0, 1, 0x13, 0x88, 0, 80]) == 200)
        #expect(header("x-forwarded-for", origin.lastHead) == "192.0.2.8")
        #expect(ask(Array("PROXY UNKNOWN\r\n".utf8)) == 200)
        #expect(header("x-forwarded-for", origin.lastHead) == "127.0.0.1")
        #expect(ask(Array("PROXY TCP4 203.0.113.9 10.0.0.1 5000 80\r\n".utf8)) == 403)
        #expect(ask([]) == nil)
        #expect(gateway.plane.collect()[0].counts.badIntroductions == 1)
        try apply("192.0.2.0/24")
        #expect(ask([]) == 200)
        #expect(ask(Array("PROXY TCP4 192.0.2.7 10.0.0.1 5000 80\r\n".utf8)) == 400)
        gateway.plane.stop()
        origin.stop()
    }

    @Test(
        "a backend that asks for it is told the client's address first, on a connection of that client's own",
        arguments: [ProxyProtocolVersion.v1, .v2])
    func sends(version: ProxyProtocolVersion) throws {
        let listener = Listener()
        let gateway = try TestGateway()
        var told = backend("origin", [endpoint(Int(listener.port))])
        told.proxyProtocol = version
        try gateway.apply([rule([("origin", 1)])], [told])
        let visitor = Visitor(port: gateway.port)
        for _ in 0..<2 { #expect(visitor.get("/name")?.status == 200) }
        visitor.end()
        #expect(listener.starts.count == 2)
        for start in listener.starts {
            guard case .header(let header) = look(start) else {
                Issue.record("no header: \(start)")
                continue
            }
            #expect(header.source == 0x7F00_0001)
            #expect(String(decoding: start.dropFirst(header.length), as: UTF8.self).hasPrefix("GET /name HTTP/1.1\r\n"))
        }
        gateway.plane.stop()
        listener.stop()
    }
}

@Suite struct RevocationTests {
    @Test(
        "a revoked identity is cut off where it is connected, and let in no more; others stay",
        arguments: [true, false])
    func cutOff(bySerial: Bool) throws {
        let pair = try TestPair()
        let frontend = try pair.authority.identity("frontend")
        let rules = [rule([("catalog", 1)])]
        let backends = [backend("catalog", [endpoint(pair.inboundPort, principal: TestAuthority.principal("catalog"))])]
        try pair.gateway.apply(rules, backends, identity: frontend)
        let visitor = Visitor(port: pair.gateway.port)
        #expect(visitor.get("/name")?.status == 200)
        #expect(pair.server.collect()[0].counts.clients == 1)
        var configuration = pair.serverConfiguration(.strict)
        if bySerial {
            let serial = try Certificate(pem: frontend.certificateChain).serialNumber
            configuration.workload.security.revoked = Revocation(serials: [Revocation.plain(serial: serial)])
        } else {
            configuration.workload.security.revoked = Revocation(principals: [
                "spiffe://cluster.local/ns/demo/sa/front*"
            ])
        }
        try pair.server.apply(configuration, identity: try pair.authority.identity("catalog"))
        #expect(eventually { pair.server.collect()[0].counts.revoked == 1 })
        #expect(pair.server.collect()[0].counts.clients == 0)
        let refused = visitor.get("/name")
        #expect(refused?.status == 503 || refused?.status == 502)
        #expect(pair.origin.requests == 1)
        try pair.gateway.apply(rules, backends, identity: try pair.authority.identity(bySerial ? "frontend" : "backup"))
        #expect(eventually { visitor.get("/name")?.status == 200 })
        visitor.end()
        pair.end()
    }

    @Test("old and new roots are trusted at once while they change")
    func roots() throws {
        let pair = try TestPair()
        let other = try TestAuthority()
        let principal = TestAuthority.principal("catalog")
        let bundle = [pair.authority, other].compactMap {
            try? String(decoding: $0.authority.certificate.pem(), as: UTF8.self)
        }
        .joined()
        func both(_ identity: Identity) -> Identity {
            var identity = identity
            identity.trustRoots = bundle
            return identity
        }
        let load = Load(port: pair.gateway.port, connections: 4)
        let rules = [rule([("catalog", 1)])]
        let backends = [backend("catalog", [endpoint(pair.inboundPort, principal: principal)])]
        let server = pair.serverConfiguration(.strict)
        // First everybody trusts both, then everybody has a new certificate, then the old root goes.
        try pair.server.apply(server, identity: both(try pair.authority.identity("catalog")))
        try pair.gateway.apply(rules, backends, identity: both(try pair.authority.identity("frontend")))
        let mid = try pair.server.apply(server, identity: both(try other.identity("catalog")))
        #expect(eventually { pair.server.collect().allSatisfy { $0.counts.generation == mid } })
        try pair.gateway.apply(rules, backends, identity: both(try other.identity("frontend")))
        let last = try pair.server.apply(server, identity: try other.identity("catalog"))
        #expect(eventually { pair.server.collect().allSatisfy { $0.counts.generation == last } })
        let visitor = Visitor(port: pair.gateway.port)
        for _ in 0..<20 { #expect(visitor.get("/name")?.status == 200) }
        visitor.end()
        let result = load.finish()
        #expect(result.failed == 0, "\(result.reasons)")
        pair.end()
    }
}
