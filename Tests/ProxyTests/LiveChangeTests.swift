import CKernel
import Glibc
import ProxyResources
import Testing

@testable import Proxy

@Suite struct LiveChangeTests {
    @Test("1,000 configuration changes under load, endpoints coming and going, fail no request")
    func thousandChanges() throws {
        let origins = (0..<3).map { Origin(name: "o\($0)") }
        let gateway = try TestGateway(loops: 2)
        func apply(_ round: Int) throws {
            // One of the three is always away.
            let present = origins.enumerated().filter { $0.offset != round % 3 }.map { endpoint(Int($0.element.port)) }
            let weighted = rule([("a", 50 + round % 50), ("b", 1)])
            try gateway.apply([weighted], [backend("a", present), backend("b", [present[round % 2]])])
        }
        try apply(0)
        let load = Load(port: gateway.port, connections: 8)
        for round in 1...1000 { try apply(round) }
        let result = load.finish()
        #expect(result.failed == 0, "\(result.reasons)")
        #expect(result.served > 100)
        let counts = gateway.plane.collect().map(\.counts)
        #expect(counts.allSatisfy { $0.exchanges == 0 })
        gateway.plane.stop()
        for origin in origins { origin.stop() }
    }

    @Test("an inherited listener goes on while Gateways that share it come, go and rename it")
    func inheritedListener() throws {
        let origin = Origin()
        let port = freePort()
        let door = weft_listen_ipv4(0x7F00_0001, UInt16(port), 0, 64)
        try #require(door >= 0)
        let plane = try DataPlane(loops: 2, listeners: [], inherited: ["http": door], seed: 7)
        func apply(_ names: [String]) throws {
            let routes = [VirtualHost(hosts: ["*"], rules: [rule([("origin", 1)])])]
            let listeners = names.map { GatewayListener(name: $0, port: port, inherited: "http", routes: routes) }
            let configuration = ProxyConfiguration(
                workload: workload("gateway") { $0.gatewayListeners = listeners },
                backends: ["origin": backend("origin", [endpoint(Int(origin.port))])])
            let generation = try plane.apply(configuration, identity: nil)
            #expect(eventually { plane.collect().allSatisfy { $0.counts.generation == generation } })
        }
        for names in [["http"], ["other"], ["http"], [], ["http"], ["third"]] {
            try apply(names)
            if names.isEmpty { continue }
            // Enough connections that each loop takes some.
            for _ in 0..<8 {
                let visitor = Visitor(port: port)
                defer { visitor.end() }
                #expect(visitor.get("/")?.status == 200, "after \(names)")
            }
        }
        plane.stop()
        origin.stop()
        close(door)
    }

    @Test("a gateway's listener opens, moves and closes with its configuration")
    func listeners() throws {
        let origin = Origin()
        let gateway = try TestGateway.plain(origin)
        var configuration = gateway.configuration(
            [rule([("origin", 1)])], [backend("origin", [endpoint(Int(origin.port))])])
        let other = freePort()
        configuration.workload.gatewayListeners[0].port = other
        try gateway.plane.apply(configuration, identity: nil)
        #expect(
            eventually {
                let visitor = Visitor(port: other)
                defer { visitor.end() }
                return visitor.get("/name")?.status == 200
            })
        let closed = Visitor(port: gateway.port)
        #expect(closed.get("/name") == nil)
        closed.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("while draining, responses close their connections")
    func drain() throws {
        let origin = Origin()
        let gateway = try TestGateway.plain(origin)
        let visitor = Visitor(port: gateway.port)
        #expect(header("connection", visitor.get("/name")?.head ?? "") == nil)
        gateway.plane.drain()
        #expect(
            eventually {
                let visitor = Visitor(port: gateway.port)
                defer { visitor.end() }
                return header("connection", visitor.get("/name")?.head ?? "") == "close"
            })
        #expect(visitor.get("/name")?.status == 200)
        #expect(visitor.rest() == [])
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }
}
