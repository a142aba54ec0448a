import ProxyResources
import Testing

@testable import Proxy

@Suite struct RotationUnderLoadTests {
    /// Each step leaves every pair of ends able to verify each other, whichever of them has taken it.
    private func rotate(
        _ fleet: TestFleet, from old: TestAuthority, to new: TestAuthority, under load: AllKindsOfLoad
    ) throws {
        let oldRoots = try old.identity("frontend").trustRoots
        let newRoots = try new.identity("frontend").trustRoots
        let steps: [(TestAuthority, String)] = [
            (old, oldRoots + newRoots), (new, oldRoots + newRoots), (new, newRoots),
        ]
        for (authority, roots) in steps {
            fleet.identities.gateway = try authority.identity("frontend")
            fleet.identities.gateway.trustRoots = roots
            fleet.identities.servers = try authority.identity("catalog")
            fleet.identities.servers.trustRoots = roots
            // The gateway first, then one server after the other; each has it before the next step.
            try fleet.direct(to: Array(fleet.servers.indices))
            for place in fleet.servers.indices {
                let generation = try fleet.tell(place)
                let plane = fleet.servers[place].plane
                #expect(eventually { plane.counts().allSatisfy { $0.generation == generation } })
            }
            // A handshake that began two steps ago has no root in common with its peer: each client has had an answer since.
            #expect(load.waitUntilServed())
        }
    }

    @Test(
        "certificates and roots are rotated again and again, with two roots trusted between, and no request fails",
        arguments: [Multiplexing.off, .on])
    func roots(multiplexing: Multiplexing) throws {
        let fleet = try TestFleet(2)
        fleet.multiplexing = multiplexing
        var authority = try TestAuthority()
        fleet.identities = (try authority.identity("frontend"), try authority.identity("catalog"))
        for place in fleet.servers.indices { try fleet.tell(place) }
        try fleet.direct(to: [0, 1])
        // All wait for their answers, so that no handshake ends but for its roots.
        let load = AllKindsOfLoad(fleet.gateway.port, leaves: false)
        #expect(load.waitUntilServed())
        let before = fleet.servers.map { $0.plane.counts()[0].handshakes }
        for _ in 0..<10 {
            let next = try TestAuthority()
            // Connections made with the old roots are not waited for; new ones show that the new ones hold.
            try rotate(fleet, from: authority, to: next, under: load)
            authority = next
        }
        let result = load.finish()
        #expect(result.failed == 0, "\(result)")
        #expect(fleet.servers.map { $0.plane.counts()[0].handshakeFailures } == [0, 0])
        let after = fleet.servers.map { $0.plane.counts()[0].handshakes }
        #expect(zip(before, after).allSatisfy { $0 + 10 < $1 }, "\(before) \(after)")
        fleet.end()
    }

    @Test("certificates alone are renewed under load, both ends a hundred times")
    func renewal() throws {
        let fleet = try TestFleet(2)
        let authority = try TestAuthority()
        fleet.identities = (try authority.identity("frontend"), try authority.identity("catalog"))
        for place in fleet.servers.indices { try fleet.tell(place) }
        try fleet.direct(to: [0, 1])
        let load = AllKindsOfLoad(fleet.gateway.port)
        for round in 0..<100 {
            fleet.identities = (try authority.identity("frontend"), try authority.identity("catalog"))
            for place in fleet.servers.indices { try fleet.tell(place) }
            try fleet.direct(to: [0, 1])
            if round % 25 == 0 { #expect(load.waitUntilServed(), "round \(round)") }
        }
        let result = load.finish()
        #expect(result.failed == 0, "\(result)")
        fleet.end()
    }
}
