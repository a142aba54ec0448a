import CAllocations
import Loop
import ProxyResources
import Synchronization
import Testing

@testable import Proxy

/// In steady state a request costs the proxy no call of the allocator: state is in the slab, buffers are from the pool.
@Suite struct AllocationTests {
    private static let requests = 10_000
    /// What asking a loop for its state costs, and a table that grows once in a while.
    private static let allowed: UInt64 = 64

    /// Runs in each loop's thread, and waits.
    private func inLoops(_ planes: [DataPlane], _ body: @escaping @Sendable () -> Void) {
        for plane in planes { plane.inEachLoop(body) }
    }

    private func allocations(of planes: [DataPlane], during body: () throws -> Void) rethrows -> UInt64 {
        inLoops(planes) { weft_watch_allocations(1) }
        let before = weft_watched_allocations()
        try body()
        inLoops(planes) { weft_watch_allocations(0) }
        return weft_watched_allocations() - before
    }

    private func ask(_ port: Int, _ count: Int, _ body: [UInt8] = []) throws {
        let visitor = Visitor(port: port)
        defer { visitor.end() }
        for _ in 0..<count {
            let response =
                body.isEmpty
                ? visitor.get("/name", "accept: */*\r\nuser-agent: test\r\nx-one: 1\r\n") : visitor.post("/echo", body)
            try #require(response?.status == 200)
        }
    }

    @Test("10,000 requests over HTTP/1.1 allocate nothing")
    func plain() throws {
        if weft_can_watch_allocations() == 0 { return }
        let origin = Origin()
        let gateway = try TestGateway.plain(origin)
        try ask(gateway.port, 200)
        let visitor = Visitor(port: gateway.port)
        try #require(visitor.get("/name")?.status == 200)
        let count = try allocations(of: [gateway.plane]) {
            for _ in 0..<Self.requests { try #require(visitor.get("/name", "x-one: 1\r\n")?.status == 200) }
        }
        #expect(count <= Self.allowed)
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("10,000 requests through two proxies and mutual TLS allocate nothing")
    func mutualTLS() throws {
        if weft_can_watch_allocations() == 0 { return }
        let pair = try TestPair()
        let visitor = Visitor(port: pair.gateway.port)
        for _ in 0..<200 { try #require(visitor.get("/name")?.status == 200) }
        let count = try allocations(of: [pair.gateway.plane, pair.server]) {
            for _ in 0..<Self.requests { try #require(visitor.get("/name", "x-one: 1\r\n")?.status == 200) }
        }
        #expect(count <= Self.allowed)
        visitor.end()
        pair.end()
    }

    @Test("tokens of a global limit are taken without allocating")
    func leases() throws {
        if weft_can_watch_allocations() == 0 { return }
        let origin = Origin()
        let gateway = try TestGateway(loops: 1)
        var limited = rule([("origin", 1)])
        var limit = RateLimit(name: "api", requests: 1_000_000, key: .header("x-one"))
        limit.global = GlobalQuota(budget: "demo/api")
        limited.resilience.rateLimits = [limit]
        try gateway.apply([limited], [backend("origin", [endpoint(Int(origin.port))])])
        let book = gateway.plane.limits
        book.clock.until.store(.max, ordering: .relaxed)
        let visitor = Visitor(port: gateway.port)
        try #require(visitor.get("/name", "x-one: 1\r\n")?.status == 200)
        let table = try #require(book.leaseTables.first)
        let now = Clock.monotonic
        let line = try #require(table.report(now: now, most: 10).first)
        table.take([QuotaGrants.Line(key: line.key, granted: 100_000, level: 0, holders: 1)], now: now)
        for _ in 0..<200 { try #require(visitor.get("/name", "x-one: 1\r\n")?.status == 200) }
        let count = try allocations(of: [gateway.plane]) {
            for _ in 0..<Self.requests { try #require(visitor.get("/name", "x-one: 1\r\n")?.status == 200) }
        }
        #expect(count <= Self.allowed)
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("bodies allocate nothing either")
    func bodies() throws {
        if weft_can_watch_allocations() == 0 { return }
        let origin = Origin()
        let gateway = try TestGateway.plain(origin)
        let body = [UInt8](repeating: 7, count: 5000)
        let visitor = Visitor(port: gateway.port)
        for _ in 0..<50 { try #require(visitor.post("/echo", body)?.body.count == body.count) }
        let count = try allocations(of: [gateway.plane]) {
            for _ in 0..<1000 { try #require(visitor.post("/echo", body)?.body.count == body.count) }
        }
        #expect(count <= Self.allowed)
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }
}
