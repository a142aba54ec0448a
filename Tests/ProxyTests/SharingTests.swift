import Glibc
import ProxyResources
import TestSupport
import Testing

@testable import Proxy

@Suite struct SharingTests {
    @Test("small requests share connections when many are in flight; few, or large ones, go alone")
    func pays() {
        func isCheaper(_ active: Int32, usual: Int32 = 200, body: Int = 0) -> Bool {
            SharingRule.pays(lately: active * 16, usualBytes: usual, body: body)
        }
        #expect(!isCheaper(0) && !isCheaper(7) && isCheaper(8) && isCheaper(500))
        #expect(isCheaper(64, body: 10_000) && !isCheaper(64, body: 1 << 20) && !isCheaper(64, body: .max))
        #expect(isCheaper(64, usual: 16384) && !isCheaper(64, usual: 16385))
        // A crowd that was answered together is one still; alone, requests are alone again after a while.
        var lately: Int32 = 0
        for active in 0..<Int32(64) { lately = SharingRule.crowded(lately, with: active) }
        var alone = 0
        while SharingRule.pays(lately: lately, usualBytes: 200, body: 0) {
            lately = SharingRule.crowded(lately, with: 0)
            alone += 1
        }
        #expect((16...64).contains(alone), "\(alone)")
        // A megabyte among small ones is remembered for a while.
        var usual: Int32 = 0
        for _ in 0..<100 { usual = SharingRule.averaged(usual, with: 300) }
        #expect(usual > 250 && usual <= 300)
        usual = SharingRule.averaged(usual, with: 1 << 20)
        #expect(Int(usual) > SharingRule.light)
        var small = 0
        while Int(usual) > SharingRule.light {
            usual = SharingRule.averaged(usual, with: 300)
            small += 1
        }
        #expect((20...40).contains(small))
        for _ in 0..<500 { usual = SharingRule.averaged(usual, with: .max) }
        #expect(usual <= 1 << 22 && usual > 1 << 21)
    }

    private func load(_ port: Int, _ path: String, requests: Int, connections: Int) -> String {
        output(of: "timeout 120 h2load --h1 -n \(requests) -c \(connections) http://127.0.0.1:\(port)\(path)").text
    }

    /// The HTTP versions requests that failed have come to the sidecar in.
    private func versions(_ hops: TestHops) -> Set<UInt8> {
        Set(hops.sidecar.records(most: 1000) { $0.status == 500 }.map(\.majorVersion))
    }

    @Test("by load, a crowd shares few connections between the sidecars and no request fails; a few requests go alone")
    func byLoad() throws {
        let origin = Origin()
        let hops = try TestHops(app: Int(origin.port), speaks: .http, multiplexing: .byLoad)
        origin.fail(500)
        let visitor = Visitor(port: hops.gateway.port)
        for _ in 0..<5 { #expect(visitor.get("/name")?.status == 500) }
        #expect(versions(hops) == [1])
        origin.recover()
        let found = load(hops.gateway.port, "/name", requests: 3000, connections: 64)
        #expect(found.contains("3000 succeeded, 0 failed, 0 errored"), "\(found)")
        let most = Int(SharingRule.crowd + SharingRule.sessions)
        #expect(hops.sidecar.collect()[0].counts.clients <= most, "\(hops.sidecar.collect()[0].counts.clients)")
        origin.fail(500)
        _ = load(hops.gateway.port, "/name", requests: 500, connections: 64)
        #expect(versions(hops).contains(2))
        visitor.end()
        hops.end()
        origin.stop()
    }

    @Test("by load, large answers go alone however many there are")
    func bulk() throws {
        let origin = Origin()
        let hops = try TestHops(app: Int(origin.port), speaks: .http, multiplexing: .byLoad)
        let visitor = Visitor(port: hops.gateway.port)
        let body = [UInt8](repeating: 120, count: 1 << 20)
        for _ in 0..<8 { #expect(visitor.post("/echo", body)?.body.count == body.count) }
        origin.set(Origin.Mood(status: 500, delay: 50_000))
        _ = load(hops.gateway.port, "/name", requests: 30, connections: 30)
        #expect(versions(hops) == [1])
        visitor.end()
        hops.end()
        origin.stop()
    }

    @Test("streams nobody reads hold up no other stream of their session")
    func slowReaders() throws {
        let origin = Origin()
        let hops = try TestHops(app: Int(origin.port), speaks: .http, multiplexing: .on)
        // Together more than a connection's window holds, on one session.
        let stuck = PeerProgram("h2_stuck.py", "\(hops.gateway.port)", "24", "400000")
        #expect(stuck.line() == "sent")
        #expect(eventually { origin.requests == 24 })
        let visitor = Visitor(port: hops.gateway.port)
        for _ in 0..<20 { #expect(visitor.get("/name")?.text == "origin") }
        visitor.end()
        stuck.end()
        #expect(eventually { hops.gateway.plane.collect()[0].counts.exchanges == 0 })
        #expect(eventually { hops.sidecar.collect()[0].counts.exchanges == 0 })
        hops.end()
        origin.stop()
    }

    @Test("sessions are not filled while there are few; each takes its share of a crowd of slow requests")
    func sessions() throws {
        let origin = Origin()
        let hops = try TestHops(app: Int(origin.port), speaks: .http, multiplexing: .on)
        origin.set(Origin.Mood(delay: 200_000))
        let found = load(hops.gateway.port, "/name", requests: 300, connections: 100)
        #expect(found.contains("300 succeeded, 0 failed, 0 errored"), "\(found)")
        #expect((2...Int(SharingRule.sessions)).contains(hops.sidecar.collect()[0].counts.clients))
        hops.end()
        origin.stop()
    }

    @Test("bodies of a megabyte on many streams at once", arguments: [Multiplexing.on, .byLoad])
    func bodies(multiplexing: Multiplexing) throws {
        let origin = Origin()
        let hops = try TestHops(app: Int(origin.port), speaks: .http, multiplexing: multiplexing)
        let scratch = Scratch()
        let file = scratch.write("body", String(repeating: "0123456789abcdef", count: 65_536))
        let found = output(
            of: "timeout 120 h2load --h1 -n 96 -c 16 -d \(file) http://127.0.0.1:\(hops.gateway.port)/echo"
        ).text
        #expect(found.contains("96 succeeded, 0 failed, 0 errored"), "\(found)")
        hops.end()
        origin.stop()
    }

    @Test("a sidecar that knows no streams gets the requests over HTTP/1.1, none of them lost")
    func older() throws {
        let authority = try TestAuthority()
        let identity = try authority.identity("catalog")
        let scratch = Scratch()
        let chain = scratch.write("chain.pem", identity.certificateChain)
        let key = scratch.write("key.pem", identity.privateKey)
        let older = PeerProgram("older_sidecar.py", chain, key, scratch.write("roots.pem", identity.trustRoots))
        let port = older.port()
        let gateway = try TestGateway()
        var configuration = gateway.configuration(
            [rule([("catalog", 1)])],
            [backend("catalog", [endpoint(port, principal: TestAuthority.principal("catalog"))])])
        configuration.workload.multiplexing = .on
        try gateway.plane.apply(configuration, identity: try authority.identity("frontend"))
        #expect(eventually { gateway.plane.collect()[0].counts.generation > 0 })
        let found = load(gateway.port, "/name", requests: 600, connections: 30)
        #expect(found.contains("600 succeeded, 0 failed, 0 errored"), "\(found)")
        gateway.plane.stop()
        older.end()
    }
}
