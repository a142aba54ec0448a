import Glibc
import Kernel
import Loop
import ProxyResources
import Testing
import Wire

@testable import Proxy

@Suite struct ConfigurationTests {
    private func response(_ kind: ProxyResource.Kind, _ resources: [(String, String, JSON)], removed: [String] = [])
        throws -> DiscoveryResponse
    {
        var writer = ProtobufWriter()
        for (name, version, json) in resources {
            writer.message(2) {
                $0.string(1, version)
                $0.message(2) {
                    $0.string(1, kind.rawValue)
                    $0.bytes(2, json.bytes)
                }
                $0.string(3, name)
            }
        }
        writer.string(4, kind.rawValue)
        writer.string(5, "n1")
        for name in removed { writer.string(6, name) }
        return try DiscoveryResponse(writer.bytes)
    }

    private let good = backend("demo/a:80", [endpoint(80)])

    @Test("a response is taken whole; removals count; what is held is told to the next stream")
    func takes() throws {
        var subscription = Subscription()
        guard case .accepted(let request) = subscription.take(try response(.backend, [(good.name, "7", good.json)]))
        else {
            Issue.record("not accepted")
            return
        }
        #expect(request.nonce == "n1" && request.fault == nil)
        #expect(subscription.backends == [good.name: good])
        let own = workload("frontend").json
        _ = subscription.take(try response(.workload, [("self", "1", own)]))
        let opening = subscription.opening()
        #expect(opening.first { $0.kind == .backend }?.versions == [good.name: "7"])
        #expect(opening.allSatisfy { $0.subscribe == ["*"] })
        _ = subscription.take(try response(.backend, [], removed: [good.name]))
        #expect(subscription.backends.isEmpty)
    }

    @Test("a bad resource refuses the response, names resource and field, and changes nothing")
    func refuses() throws {
        var subscription = Subscription()
        var bad = backend("demo/b:80", [endpoint(80)])
        bad.endpoints[0].address = "fd00::1"
        let mixed = try response(.backend, [(good.name, "1", good.json), (bad.name, "1", bad.json)])
        guard case .refused(let request, let why) = subscription.take(mixed) else {
            Issue.record("not refused")
            return
        }
        #expect(request.nonce == "n1")
        #expect(why.contains("demo/b:80") && why.contains("endpoints[0].address"))
        #expect(subscription.backends.isEmpty)
        let torn = try response(
            .backend, [("demo/c:80", "1", ["name": "demo/c:80", "endpoints": [["address": "10.0.0.1"]]])])
        guard case .refused(_, let reason) = subscription.take(torn) else {
            Issue.record("not refused")
            return
        }
        #expect(reason.contains("endpoints[0].port"))
    }

    @Test("the last good configuration is kept readable only by its user, and read back the same")
    func lastGood() throws {
        let directory = "/tmp/weft-test-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        let keeper = try #require(LastGood(directory: directory))
        let identity = try TestAuthority().identity("catalog")
        let configuration = ProxyConfiguration(workload: workload("catalog"), backends: [good.name: good])
        keeper.save(configuration, identity: identity, versions: [.backend: [good.name: "3"]])
        var status = stat()
        #expect(stat(keeper.path, &status) == 0 && status.st_mode & 0o777 == 0o600)
        let kept = try #require(keeper.load())
        #expect(kept.configuration == configuration && kept.identity == identity)
        #expect(kept.versions[.backend] == [good.name: "3"])
        let whole = try SmallFile.read(keeper.path)
        for length in stride(from: 0, to: whole.count, by: 97) {
            try SmallFile.replace(keeper.path, with: Array(whole[..<length]), mode: 0o600)
            #expect(keeper.load() == nil, "cut to \(length) of \(whole.count) bytes")
        }
        for place in stride(from: 0, to: whole.count, by: 89) {
            var changed = whole
            changed[place] ^= 1
            try SmallFile.replace(keeper.path, with: changed, mode: 0o600)
            #expect(keeper.load() == nil, "changed at byte \(place)")
        }
        unlink(keeper.path)
        rmdir(directory)
    }

    @Test("a proxy that starts without the control plane serves what it was told; a broken file does not stop it")
    func restored() throws {
        let directory = "/tmp/weft-test-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        let origin = Origin()
        let port = freePort()
        let listener = GatewayListener(
            name: "http", port: port, routes: [VirtualHost(hosts: ["*"], rules: [rule([("origin", 1)])])])
        let configuration = ProxyConfiguration(
            workload: workload("gateway") { $0.gatewayListeners = [listener] },
            backends: ["origin": backend("origin", [endpoint(Int(origin.port))])])
        let keeper = try #require(LastGood(directory: directory))
        keeper.save(configuration, identity: try TestAuthority().identity("gateway"), versions: [:])
        var options = ProgramOptions(role: .gateway)
        options.stateDirectory = directory
        options.meshSocket = directory + "/nobody"
        options.concurrency = 1
        (options.adminPort, options.healthPort, options.metricsPort) = (0, 0, 0)
        let program = try Program(options)
        #expect(program.state.isReady)
        #expect(
            eventually {
                let visitor = Visitor(port: port)
                defer { visitor.end() }
                return visitor.get("/name")?.status == 200
            })
        program.state.plane.stop()
        try SmallFile.replace(keeper.path, with: Array("broken".utf8))
        let second = try Program(options)
        #expect(!second.state.isReady)
        second.state.plane.stop()
        origin.stop()
        try? FileTree.remove(directory)
    }

    @Test("names of services are answered here in any case; other types have no data; other names are not ours")
    func names() throws {
        let port = ServicePort(
            namespace: "demo", service: "catalog", port: 8080, addresses: ["10.96.0.77"],
            hosts: ["catalog.demo.svc.cluster.local"],
            appProtocol: .http, routes: [], defaultBackend: "x")
        var headless = port
        headless.hosts = ["db.demo.svc.cluster.local"]
        headless.addresses = []
        let names = ServiceNames([port, headless])
        func ask(_ name: String, _ type: DNSType) throws -> DNSMessage? {
            names.answer(.query(id: 9, try #require(DNSName(name)), type))
        }
        #expect(try ask("Catalog.Demo.svc.cluster.local", .a)?.answers.map(\.data) == [.a(0x0A60_004D)])
        let none = try #require(try ask("catalog.demo.svc.cluster.local", .aaaa))
        #expect(none.answers.isEmpty && none.code == .noError && none.id == 9)
        #expect(try ask("db.demo.svc.cluster.local", .a) == nil)
        #expect(try ask("example.org", .a) == nil)
    }

    @Test("timers come out in time, however far ahead, and never early")
    func timers() {
        let tick = UInt64(1) << TimerWheel.tickShift
        var wheel = TimerWheel(now: 0)
        _ = wheel.arm(1, at: tick * 10)
        _ = wheel.arm(2, at: tick * 3)
        let horizon = wheel.arm(3, at: tick * 100_000)
        #expect(horizon < tick * 5000)
        var out: [UInt64] = []
        wheel.expire(now: tick * 3, into: &out)
        #expect(out.isEmpty)
        wheel.expire(now: tick * 4, into: &out)
        #expect(out == [2])
        #expect(wheel.patience(now: tick * 4) > 0)
        wheel.expire(now: tick * 11, into: &out)
        #expect(out == [2, 1])
        wheel.expire(now: horizon, into: &out)
        #expect(out == [2, 1, 3] && wheel.isEmpty && wheel.patience(now: horizon) == -1)
    }

    @Test("a connection costs at most 576 bytes beside its buffers")
    func connectionSize() { #expect(MemoryLayout<Connection>.stride <= 576) }
}
