import ProxyResources
import Testing

@testable import Proxy

/// A gateway, and several servers behind sidecars of their own, over mutual TLS.
final class TestFleet {
    /// A sidecar before its app.
    struct Server {
        let origin: Origin
        let port: Int
        let listener: ListenerOption
        var plane: DataPlane

        init(_ number: Int) throws {
            origin = Origin(name: "o\(number)")
            port = freePort()
            listener = ListenerOption(
                side: .inbound, address: "127.0.0.1", port: port, destination: "127.0.0.1:\(origin.port)")
            plane = try DataPlane(loops: 1, listeners: [listener], seed: UInt64(number) + 5)
        }

        var endpoint: Endpoint {
            ProxyTests.endpoint(port, principal: TestAuthority.principal("catalog"))
        }
    }

    let gateway: TestGateway
    private(set) var servers: [Server] = []
    var identities: (gateway: Identity, servers: Identity)
    var multiplexing = Multiplexing.byLoad

    init(_ count: Int, loops: Int = 2) throws {
        let authority = try TestAuthority()
        identities = (try authority.identity("frontend"), try authority.identity("catalog"))
        gateway = try TestGateway(loops: loops)
        for number in 0..<count {
            servers.append(try Server(number))
            try tell(number)
        }
    }

    /// What the rules of a sidecar say, told to it.
    @discardableResult
    func tell(_ number: Int, _ change: (inout Workload) -> Void = { _ in }) throws -> UInt64 {
        let server = servers[number]
        var own = workload("catalog") {
            $0.mutualTLS = .strict
            $0.inboundPorts = [
                InboundPort(
                    port: Int(server.origin.port), appProtocol: .http, service: "catalog.demo.svc.cluster.local")
            ]
        }
        change(&own)
        return try server.plane.apply(ProxyConfiguration(workload: own), identity: identities.servers)
    }

    /// Gives the gateway a configuration, without waiting for it.
    @discardableResult
    func direct(
        _ rules: [RouteRule], _ backends: [Backend], _ change: (inout ProxyConfiguration) -> Void = { _ in }
    ) throws -> UInt64 {
        var configuration = gateway.configuration(rules, backends)
        configuration.workload.multiplexing = multiplexing
        change(&configuration)
        return try gateway.plane.apply(configuration, identity: identities.gateway)
    }

    /// Sends everything to these servers, and waits until each loop does.
    func direct(to present: [Int]) throws {
        let generation = try direct(
            [rule([("catalog", 1)])], [backend("catalog", present.map { servers[$0].endpoint })])
        #expect(gateway.follows(generation))
    }

    /// A new sidecar in the place of one that has ended.
    func restart(_ number: Int) throws {
        servers[number].plane = try DataPlane(loops: 1, listeners: [servers[number].listener])
        let generation = try tell(number)
        let plane = servers[number].plane
        #expect(eventually { plane.counts().allSatisfy { $0.generation == generation } })
    }

    func end() {
        gateway.plane.stop()
        for server in servers {
            server.plane.stop()
            server.origin.stop()
        }
    }
}

extension TestGateway {
    func follows(_ generation: UInt64) -> Bool {
        eventually { plane.counts().allSatisfy { $0.generation == generation } }
    }
}

extension DataPlane {
    /// As a program takes its leave: see `Program.drain`.
    func drainToTheEnd() -> Bool {
        drain()
        let isFinished = { self.isQuiet { $0.exchanges == 0 && $0.unfinished == 0 } }
        let hasFinished = eventually(isFinished)
        stopAccepting()
        let hasServed = eventually(isFinished)
        stop()
        return hasFinished && hasServed
    }
}

/// All kinds of clients at once.
struct AllKindsOfLoad {
    let kept: Load
    let small: Load
    let large: Load
    let programs: [LoadProgram]

    /// - Parameters:
    ///   - largest: bytes of the largest bodies.
    ///   - leaves: whether some clients go while they wait for an answer, as wrk does when its time is up. A handshake made for
    ///     their request ends with them.
    init(_ port: Int, largest: Int = 150_000, leaves: Bool = true) {
        kept = Load(port: port, connections: 5)
        small = Load(port: port, connections: 2, body: noise(2_000))
        large = Load(port: port, connections: 1, body: noise(largest))
        programs = leaves ? [.wrk(port), .h2load(port)] : [.h2load(port)]
    }

    /// Each kind has been served since.
    func waitUntilServed() -> Bool {
        let before = [kept.served, small.served, large.served] + programs.map(\.served)
        return eventually {
            let now = [kept.served, small.served, large.served] + programs.map(\.served)
            return zip(before, now).allSatisfy { $0 < $1 }
        }
    }

    func finish() -> LoadResult {
        ([kept.finish(), small.finish(), large.finish()] + programs.map { $0.finish() }).reduce(LoadResult(), +)
    }
}
