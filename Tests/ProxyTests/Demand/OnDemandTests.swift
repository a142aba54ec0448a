import CKernel
import Glibc
import KubeTypes
import MeshControl
import MeshModel
import ProxyResources
import Synchronization
import Testing
import Wire

@testable import Proxy

/// A proxy that holds what it uses, with a real control plane behind it.
@Suite(.ownThreads, .serialized) struct OnDemandTests {
    private static func destination(_ index: Int) -> String { "\(ServedMesh.address(index)):80" }

    /// A mesh of so many services, all served by one origin.
    private func mesh(
        _ services: Int, _ origin: Origin, annotations: [String: String] = [:],
        _ change: (inout MeshSettings) -> Void = { _ in }
    ) async throws -> ServedMesh {
        let mesh = try await ServedMesh(change, annotations: annotations)
        for index in 0..<services { mesh.add(service: index, ports: [origin.port]) }
        mesh.publish()
        return mesh
    }

    @Test("the first connection waits for its destination, the second finds it; nothing else of the mesh is there")
    func first() async throws {
        let origin = Origin()
        let mesh = try await mesh(50, origin)
        let wanted = Self.destination(7)
        let proxy = try Sidecar(socket: mesh.socket, [wanted])
        #expect(proxy.isReady())
        #expect(proxy.held?.servicePorts.isEmpty == true && proxy.held?.backends.isEmpty == true)
        #expect(proxy.get(wanted)?.text == "origin")
        #expect(proxy.get(wanted)?.text == "origin")
        // The loops have it a moment before the pages.
        #expect(eventually { proxy.held?.destinations.count == 1 })
        let held = try #require(proxy.held)
        #expect(Array(held.servicePorts.keys) == ["demo/s7:80"] && Array(held.backends.keys) == ["demo/s7:80"])
        #expect(held.destinations == [wanted: Destination(key: wanted, servicePort: "demo/s7:80")])
        #expect(mesh.discovery.counters.resourcesSent == 5, "workload, identity, backend, service port, destination")
        #expect(eventually { mesh.discovery.statuses().first?.isCurrent == true })
        let status = try #require(mesh.discovery.statuses().first)
        #expect(status.isOnDemand && status.destinations == [wanted] && status.absent.isEmpty)
        proxy.end()
        await mesh.end()
        origin.stop()
    }

    @Test("a thousand connections that come at once, while the answer is away, ask once, and all are served")
    func thousand() async throws {
        let origin = Origin()
        let mesh = try await mesh(3, origin)
        let wanted = Self.destination(1)
        let relay = ControlRelay(to: mesh.socket, at: "\(mesh.directory)/relay.sock")
        let proxy = try Sidecar(socket: relay.path, [wanted])
        #expect(proxy.isReady())
        let before = mesh.discovery.counters.resourcesSent
        proxy.desk.patience = 60 * Limits.second
        relay.hold()
        let visitors = (0..<1000).map { _ in Visitor(port: proxy.port(wanted)) }
        for visitor in visitors { #expect(visitor.send("GET /name HTTP/1.1\r\nhost: s1.demo\r\n\r\n")) }
        #expect(eventually { proxy.asking == 1000 })
        #expect(proxy.desk.contents.map(\.key) == [wanted])
        relay.release()
        var outcomes: [String: Int] = [:]
        for visitor in visitors {
            let response = visitor.response()
            outcomes[response.map { $0.status == 200 ? $0.text : $0.reason ?? "" } ?? "none", default: 0] += 1
            visitor.end()
        }
        #expect(outcomes == ["origin": 1000])
        #expect(mesh.discovery.counters.resourcesSent - before == 3, "backend, service port and destination, once")
        #expect(proxy.asking == 0)
        #expect(eventually { proxy.desk.contents.first?.open == 0 })
        proxy.end()
        relay.end()
        await mesh.end()
        origin.stop()
    }

    @Test("an address that is not the mesh's is passed through, remembered, and taken up when it becomes a service's")
    func unknown() async throws {
        let origin = Origin()
        let stranger = Origin(name: "stranger")
        let mesh = try await mesh(2, origin)
        let outside = "127.0.0.1:\(stranger.port)"
        let proxy = try Sidecar(socket: mesh.socket, [outside, Self.destination(1)])
        #expect(proxy.isReady())
        #expect(proxy.get(outside)?.text == "stranger")
        #expect(proxy.desk.contents.map(\.standing) == [.absent])
        let sent = mesh.discovery.counters.pushes
        for _ in 0..<20 { #expect(proxy.get(outside)?.text == "stranger") }
        #expect(mesh.discovery.counters.pushes == sent, "the answer is remembered")
        #expect(eventually { mesh.discovery.statuses().first?.absent == [outside] })

        // A service whose endpoint has that address: calls to it are now the mesh's own.
        mesh.add(service: 5, ports: [stranger.port])
        mesh.publish()
        #expect(eventually { proxy.held?.destinations[outside]?.backend == "demo/s5:80" })
        #expect(proxy.get(outside)?.text == "stranger")
        #expect(eventually { proxy.desk.contents.map(\.standing) == [.present] })
        mesh.remove(service: 5)
        mesh.publish()
        #expect(eventually { proxy.desk.contents.map(\.standing) == [.absent] })
        #expect(proxy.held?.backends.isEmpty == true)
        proxy.end()
        await mesh.end()
        origin.stop()
        stranger.stop()
    }

    @Test("an address outside the cluster's ranges is passed through without asking, control plane or not")
    func outsideRanges() async throws {
        let origin = Origin()
        let mesh = try await mesh(0, origin) { $0.ranges = ["10.96.0.0/16"] }
        let outside = "127.0.0.1:\(origin.port)"
        let proxy = try Sidecar(socket: mesh.socket, [outside])
        #expect(proxy.isReady())
        #expect(proxy.get(outside)?.text == "origin")
        await mesh.stop()
        #expect(eventually { proxy.desk.isLost })
        #expect(proxy.get(outside)?.text == "origin")
        #expect(proxy.desk.contents.isEmpty)
        proxy.end()
        await mesh.end()
        origin.stop()
    }

    @Test(
        "without a control plane a destination not held is refused with a reason, in time, and asked for when it is back"
    )
    func lost() async throws {
        let origin = Origin()
        let mesh = try await mesh(4, origin)
        let (known, other) = (Self.destination(1), Self.destination(2))
        let proxy = try Sidecar(socket: mesh.socket, [known, other])
        #expect(proxy.isReady())
        #expect(proxy.get(known)?.status == 200)
        await mesh.stop()
        #expect(eventually { proxy.desk.isLost })
        let visitor = Visitor(port: proxy.port(other))
        let refused = try #require(visitor.get("/name"))
        #expect(refused.status == 503 && refused.reason == "control_plane_lost")
        #expect(proxy.get(known)?.status == 200, "what is held goes on")
        // What does not speak HTTP is ended, not left hanging.
        let bare = Visitor(port: proxy.port(other))
        #expect(bare.send("\u{1}\u{2}\u{3} not HTTP\r\n"))
        #expect(bare.rest().isEmpty)
        bare.end()
        let text = String(decoding: MetricsText.render(proxy.state.metricsSnapshot(), .prometheus), as: UTF8.self)
        #expect(text.contains("response_flags=\"UD\""))
        try await mesh.start()
        // The same connection: its next request asks again.
        #expect(eventually { visitor.get("/name")?.status == 200 })
        visitor.end()
        proxy.end()
        await mesh.end()
        origin.stop()
    }

    @Test("what is not used is dropped, what is connected to stays; a long connection to what was dropped asks again")
    func idle() async throws {
        let origin = Origin()
        let mesh = try await mesh(10, origin, annotations: ["weft.dev/configuration-idle": "1s"])
        let all = (0..<5).map(Self.destination)
        let proxy = try Sidecar(socket: mesh.socket, all)
        #expect(proxy.isReady())
        let visitors = all.map { Visitor(port: proxy.port($0)) }
        for visitor in visitors { #expect(visitor.get("/name")?.status == 200) }
        #expect(eventually { proxy.held?.servicePorts.count == 5 })
        let kept = visitors[0]
        for visitor in visitors.dropFirst() { visitor.end() }
        #expect(eventually { proxy.held?.servicePorts.count == 1 && proxy.held?.backends.count == 1 })
        #expect(proxy.held?.destinations.keys.sorted() == [all[0]])
        #expect(eventually { mesh.discovery.statuses().first?.destinations == [all[0]] })
        #expect(kept.get("/name")?.status == 200)
        #expect(proxy.get(all[3])?.status == 200, "it comes back when it is used again")
        kept.end()
        #expect(eventually { proxy.held?.servicePorts.isEmpty == true })
        proxy.end()
        await mesh.end()
        origin.stop()
    }

    @Test("with 10,000 services in the mesh a proxy that uses 10 holds 10, and churn of the others does not reach it")
    func scale() async throws {
        let origin = Origin()
        let mesh = try await mesh(10_000, origin)
        let used = (0..<10).map { Self.destination($0 * 997) }
        let proxy = try Sidecar(socket: mesh.socket, used)
        #expect(proxy.isReady())
        for destination in used { #expect(proxy.get(destination)?.status == 200, "\(destination)") }
        #expect(eventually { proxy.held?.destinations.count == 10 })
        let held = try #require(proxy.held)
        #expect(held.servicePorts.count == 10 && held.backends.count == 10 && held.destinations.count == 10)
        #expect(eventually { mesh.discovery.statuses().first?.isCurrent == true })
        let before = mesh.discovery.counters
        for index in 0..<2000 where index % 997 != 0 { mesh.set(endpoints: [20_001], of: index) }
        mesh.publish()
        #expect(eventually { mesh.discovery.statuses().first?.isCurrent == true })
        #expect(mesh.discovery.counters.pushes == before.pushes)
        #expect(mesh.discovery.counters.resourcesSent == before.resourcesSent)
        // A service in use: its endpoints do come, alone.
        mesh.set(endpoints: [20_009], of: 997)
        mesh.publish()
        #expect(eventually { proxy.held?.backends["demo/s997:80"]?.endpoints.map(\.port) == [20_009] })
        #expect(mesh.discovery.counters.resourcesSent == before.resourcesSent + 1)
        proxy.end()
        await mesh.end()
        origin.stop()
    }

    @Test("a route brings all the backends it speaks of; what a mirror and an authorizer name too")
    func routes() async throws {
        let origin = Origin()
        let mesh = try await mesh(6, origin)
        var route = KubeObject(
            apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", namespace: "demo", name: "split")
        route.spec = [
            "parentRefs": [["group": "", "kind": "Service", "name": "s0"]],
            "rules": [
                [
                    "filters": [
                        ["type": "RequestMirror", "requestMirror": ["backendRef": ["name": "s3", "port": 80]]]
                    ],
                    "backendRefs": [["name": "s1", "port": 80], ["name": "s2", "port": 80]],
                ]
            ],
        ]
        mesh.apply(.httpRoutes, route)
        mesh.publish()
        let proxy = try Sidecar(socket: mesh.socket, [Self.destination(0)])
        #expect(proxy.isReady())
        #expect(proxy.get(Self.destination(0))?.status == 200)
        #expect(eventually { proxy.held?.destinations.count == 1 })
        #expect(proxy.held?.servicePorts.keys.sorted() == ["demo/s0:80"])
        #expect(proxy.held?.backends.keys.sorted() == ["demo/s0:80", "demo/s1:80", "demo/s2:80", "demo/s3:80"])
        proxy.end()
        await mesh.end()
        origin.stop()
    }

    @Test(
        "names of what is held are answered here, all others by the cluster's name server; explain asks for what it needs"
    )
    func names() async throws {
        let cluster = weft_udp_ipv4(0x7F00_0001, 0)
        blocking(cluster)
        var (address, port): (UInt32, UInt16) = (0, 0)
        _ = weft_local_address(cluster, &address, &port)
        spawn {
            // Whatever is asked: 10.96.255.255.
            var space = [UInt8](repeating: 0, count: 512)
            var (from, number): (UInt32, UInt16) = (0, 0)
            while true {
                let count = weft_receive_from(cluster, &space, 512, &from, &number)
                guard count > 0, let query = try? DNSMessage(parsing: Array(space[..<count])) else { return }
                var answer = query.response()
                answer.answers = [DNSRecord(query.questions[0].name, ttl: 5, .a(0x0A60_FFFF))]
                let bytes = answer.composed(limit: 512)
                _ = weft_send_to(cluster, bytes, bytes.count, from, number)
            }
        }
        let origin = Origin()
        let mesh = try await mesh(5, origin) { $0.dnsUpstream = "127.0.0.1:\(port)" }
        let proxy = try Sidecar(socket: mesh.socket, [Self.destination(1)])
        #expect(proxy.isReady())
        let door = freePort()
        try NameServer.start(port: door, state: proxy.state)
        let asker = weft_udp_ipv4(0x7F00_0001, 0)
        blocking(asker)
        func resolve(_ name: String) throws -> DNSData? {
            let query = DNSMessage.query(id: 7, try #require(DNSName(name)), .a).composed(limit: 512)
            _ = weft_send_to(asker, query, query.count, 0x7F00_0001, UInt16(door))
            var space = [UInt8](repeating: 0, count: 512)
            var (from, number): (UInt32, UInt16) = (0, 0)
            let count = weft_receive_from(asker, &space, 512, &from, &number)
            return try DNSMessage(parsing: Array(space[..<max(0, count)])).answers.first?.data
        }
        #expect(try resolve("s1.demo.svc.cluster.local") == .a(0x0A60_FFFF))
        #expect(proxy.get(Self.destination(1))?.status == 200)
        #expect(eventually { (try? resolve("s1.demo.svc.cluster.local")) == .a(0x0A60_0002) })
        #expect(try resolve("s2.demo.svc.cluster.local") == .a(0x0A60_FFFF))
        #expect(try resolve("example.org") == .a(0x0A60_FFFF))

        let pages = AdminPages(state: proxy.state)
        let told = pages.page(.admin, AdminRequest(target: "/explain?host=s3:80&path=/"))
        #expect(try JSON(parsing: told.body)["destination"]?.string == "demo/s3:80")
        let nothing = pages.page(.admin, AdminRequest(target: "/explain?host=s33:80&path=/"))
        #expect(try JSON(parsing: nothing.body)["outcome"]?.string == "no_route")
        let dump = try JSON(parsing: pages.page(.admin, AdminRequest(target: "/config_dump")).body)
        let listed = dump["destinations"]?.array?.compactMap { $0["key"]?.string } ?? []
        #expect(listed == [Self.destination(1), "s33:80", "s3:80"])
        proxy.state.ringFarewell()
        shutdown(cluster, Int32(SHUT_RDWR))
        close(asker)
        proxy.end()
        await mesh.end()
        origin.stop()
    }

    @Test("the knob is turned while traffic flows: all of the mesh, and back to what is used, without a failed request")
    func knob() async throws {
        let origin = Origin()
        let mesh = try await mesh(20, origin)
        let used = (0..<4).map(Self.destination)
        let proxy = try Sidecar(socket: mesh.socket, used)
        #expect(proxy.isReady())
        let load = DemandLoad(proxy, used, clients: 4)
        func turn(_ word: String) {
            var map = KubeObject(apiVersion: "v1", kind: "ConfigMap", namespace: "weft-system", name: "weft-mesh")
            map.json["data"] = ["configuration": .string(word)]
            mesh.apply(.configMaps, map)
            mesh.publish()
        }
        #expect(eventually { load.succeeded > 50 })
        turn("all")
        #expect(eventually { proxy.held?.servicePorts.count == 20 })
        #expect(eventually { proxy.desk.contents.isEmpty })
        #expect(eventually { proxy.held?.destinations.isEmpty == true })
        turn("on-demand")
        #expect(eventually { proxy.held?.servicePorts.count == 4 })
        let sofar = load.succeeded
        #expect(eventually { load.succeeded > sofar + 50 })
        #expect(load.end() == 0)
        proxy.end()
        await mesh.end()
        origin.stop()
    }

    @Test(
        "the control plane is lost under load, the proxy started again meanwhile, and both come back: 0 failed requests"
    )
    func lostUnderLoad() async throws {
        let origin = Origin()
        let mesh = try await mesh(200, origin)
        let used = (0..<10).map { Self.destination($0 * 17) }
        let kept = "\(mesh.directory)/state"
        let first = try Sidecar(socket: mesh.socket, used, directory: kept)
        #expect(first.isReady())
        let load = DemandLoad(first, used, clients: 6)
        #expect(eventually { first.held?.destinations.count == 10 })
        await mesh.stop()
        #expect(eventually { first.desk.isLost })
        var sofar = load.succeeded
        #expect(eventually { load.succeeded > sofar + 300 })
        #expect(load.end() == 0)
        first.end()

        // Nobody to ask, and a new process: it serves what the one before it served.
        let second = try Sidecar(socket: mesh.socket, used, directory: kept)
        #expect(second.isReady())
        let again = DemandLoad(second, used, clients: 6)
        #expect(eventually { again.succeeded > 300 })
        #expect(second.desk.isLost)
        try await mesh.start()
        #expect(eventually { mesh.discovery.statuses().first?.isCurrent == true && !second.desk.isLost })
        sofar = again.succeeded
        #expect(eventually { again.succeeded > sofar + 300 })
        #expect(again.end() == 0)
        #expect(second.held?.destinations.keys.sorted() == used.sorted())
        #expect(mesh.discovery.counters.resourcesSent == 1, "the new identity; all else is as it was told")
        second.end()
        await mesh.end()
        origin.stop()
    }
}

/// Clients that send requests to all destinations, over connections some of which last, until they are told to end.
private final class DemandLoad: Sendable {
    private let counts = Mutex((succeeded: 0, failed: 0, running: 0))
    private let isOver = Atomic<Bool>(false)

    init(_ proxy: Sidecar, _ destinations: [String], clients: Int) {
        let ports = destinations.map { proxy.port($0) }
        counts.withLock { $0.running = clients }
        for client in 0..<clients {
            spawn { [self] in
                run(ports, client)
                counts.withLock { $0.running -= 1 }
            }
        }
    }

    private func run(_ ports: [Int], _ client: Int) {
        var kept = ports.map { Visitor(port: $0) }
        var round = client
        while !isOver.load(ordering: .relaxed) {
            round += 1
            let place = round % ports.count
            let isKept = round % 3 != 0
            let visitor = isKept ? kept[place] : Visitor(port: ports[place])
            let isGood = visitor.get("/name")?.status == 200
            counts.withLock {
                if isGood { $0.succeeded += 1 } else { $0.failed += 1 }
            }
            if !isKept || !isGood { visitor.end() }
            if isKept && !isGood { kept[place] = Visitor(port: ports[place]) }
        }
        for visitor in kept { visitor.end() }
    }

    var succeeded: Int { counts.withLock { $0.succeeded } }

    /// Ends it; how many requests failed.
    func end() -> Int {
        isOver.store(true, ordering: .relaxed)
        #expect(eventually { counts.withLock { $0.running } == 0 })
        return counts.withLock { $0.failed }
    }
}
