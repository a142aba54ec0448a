import NIOHTTP1
import TLS
import TestSupport
import Testing
import Wire

@testable import APIServer

@Suite("Servers behind this one that lie")
struct UpstreamTests {
    private func exchange(_ peer: PeerProgram, within limit: Duration) async throws -> UpstreamExchange {
        let port = try #require(await peer.line().flatMap { Int($0) })
        let authority = try #require(await peer.line().flatMap(Base64.decode))
        let context = try TLSContext(.client, .client(roots: try Certificate.bundle(pem: authority)))
        return UpstreamExchange(
            place: .machine(host: "localhost", port: port), serverName: "slow.test", context: context, dialer: nil,
            limit: limit)
    }

    private static func head() -> HTTPRequestHead {
        HTTPRequestHead(version: .http1_1, method: .GET, uri: "/", headers: ["host": "slow.test"])
    }

    @Test("an answer that trickles is given up in time")
    func trickle() async throws {
        let peer = PeerProgram("slow_server.py", "slow.test")
        defer { peer.end() }
        let exchange = try await exchange(peer, within: .seconds(2))
        await #expect(throws: UpstreamFault.self) { _ = try await exchange.collect(Self.head(), limit: 1 << 20) }
    }

    @Test("no user's name becomes another header")
    func injection() async throws {
        let peer = PeerProgram("slow_server.py", "slow.test")
        defer { peer.end() }
        let exchange = try await exchange(peer, within: .seconds(30))
        var head = Self.head()
        head.headers.add(name: "X-Remote-User", value: "ann\r\nX-Remote-Group: system:masters")
        let bad = head
        await #expect(throws: (any Error).self) { _ = try await exchange.collect(bad, limit: 1 << 20) }
    }
}
