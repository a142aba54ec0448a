import Glibc
import KubeClient
import KubeTypes
import Logging
import MeshControl
import MeshModel
import NIOCore
import NIOPosix
import Proxy
import ProxyResources
import Synchronization
import Testing
import Transport
import Wire

/// Two gateways of one mesh, each a proxy in this process with the control plane's socket of its pod, that answer `/` by
/// themselves within one global limit.
private struct LimitedGateways {
    let api = MemoryAPI()
    let directory = temporaryDirectory()
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    var control: MeshControl
    let pods: [KubeObject]
    let programs: [Program]
    let ports: [UInt16]

    private static let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

    init(_ limit: String) async throws {
        ports = [Self.freePort(), Self.freePort()]
        try api.add(
            """
            {apiVersion: v1, kind: Namespace, metadata: {name: demo}}
            ---
            {apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: weft}, spec: {controllerName: weft.dev/mesh-controller}}
            """)
        var pods: [KubeObject] = []
        for (place, port) in ports.enumerated() {
            try api.add(
                """
                apiVersion: gateway.networking.k8s.io/v1
                kind: Gateway
                metadata: {name: g\(place), namespace: demo, labels: {weft.dev/gateway: g\(place)}}
                spec: {gatewayClassName: weft, listeners: [{name: http, port: \(port), protocol: HTTP}]}
                """)
            var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "demo", name: "g\(place)-x")
            pod.labels = ["weft.dev/gateway": "g\(place)"]
            pod.json[path: ["metadata", "uid"]] = .string("uid-g\(place)")
            pod.spec = [
                "nodeName": "node-1", "serviceAccountName": "gateway",
                "containers": [["name": "weft-proxy", "ports": [["containerPort": .int(Int64(port))]]]],
            ]
            pod.status = ["phase": "Running", "podIP": .string("10.244.1.\(10 + place)")]
            api.seed(.pods, pod)
            pods.append(pod)
        }
        try api.add(
            """
            apiVersion: gateway.networking.k8s.io/v1
            kind: HTTPRoute
            metadata:
              name: elsewhere
              namespace: demo
              annotations:
                weft.dev/resilience: '{"rateLimits": [\(limit)]}'
            spec:
              parentRefs: [{name: g0}, {name: g1}]
              rules: [{filters: [{type: RequestRedirect, requestRedirect: {hostname: elsewhere.example, statusCode: 302}}]}]
            """)
        control = try Self.control(api, directory, group)
        self.pods = pods
        var programs: [Program] = []
        for (place, pod) in pods.enumerated() {
            try await control.open(pod: pod, directory: "\(directory)/\(place)")
            var options = ProgramOptions(role: .gateway)
            options.concurrency = 2
            options.meshSocket = "\(directory)/\(place)/mesh.sock"
            options.stateDirectory = ""
            (options.healthPort, options.metricsPort, options.adminPort) = (0, 0, 0)
            programs.append(try Program(options))
        }
        self.programs = programs
        for (program, port) in zip(programs, ports) {
            try await eventually("readiness") { program.state.isReady && Self.status(port, "probe") != nil }
        }
    }

    static func control(_ api: MemoryAPI, _ directory: String, _ group: MultiThreadedEventLoopGroup) throws
        -> MeshControl
    {
        try MeshControl.start(
            api: api, configuration: MeshControlConfiguration(authorityDirectory: "\(directory)/pki"), group: group,
            logger: logger)
    }

    func end() async {
        for program in programs {
            program.state.beginDraining()
            program.state.plane.stop()
        }
        await control.stop()
        try? await group.shutdownGracefully()
        remove(directory)
    }

    static func freePort() -> UInt16 {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { place in
            place.withMemoryRebound(to: sockaddr.self, capacity: 1) { place in
                _ = bind(listener, place, size)
                _ = getsockname(listener, place, &size)
            }
        }
        return UInt16(bigEndian: address.sin_port)
    }

    /// One request of a user on a connection of its own; nil when there was no answer.
    static func status(_ port: UInt16, _ user: String) -> Int? {
        let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(client) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) { place in
            place.withMemoryRebound(to: sockaddr.self, capacity: 1) { place in
                connect(client, place, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if connected != 0 { return nil }
        let request = Array("GET / HTTP/1.1\r\nhost: t\r\nx-user: \(user)\r\nconnection: close\r\n\r\n".utf8)
        if send(client, request, request.count, Int32(MSG_NOSIGNAL)) != request.count { return nil }
        var answer = [UInt8](repeating: 0, count: 4096)
        let count = recv(client, &answer, answer.count, 0)
        if count < 12 { return nil }
        return Int(String(decoding: answer[9..<12], as: UTF8.self))
    }

    /// Requests of a user to both gateways from several threads; how many passed, and all.
    func load(_ user: String, requests: Int) -> (passed: Int, all: Int) {
        let passed = Atomic<Int>(0)
        let all = Atomic<Int>(0)
        let left = Atomic<Int>(4)
        for worker in 0..<4 {
            let port = ports[worker % 2]
            let thread = Worker {
                for _ in 0..<requests / 4 {
                    guard let status = Self.status(port, user) else { continue }
                    all.add(1, ordering: .relaxed)
                    if status == 302 { passed.add(1, ordering: .relaxed) }
                }
                left.subtract(1, ordering: .releasing)
            }
            thread.start()
        }
        while left.load(ordering: .acquiring) > 0 { usleep(1000) }
        return (passed.load(ordering: .relaxed), all.load(ordering: .relaxed))
    }
}

/// A thread that runs a body once.
private final class Worker: Sendable {
    private let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }

    func start() {
        var thread = pthread_t()
        let cargo = Unmanaged.passRetained(self)
        pthread_create(
            &thread, nil,
            { cargo in
                guard let cargo else { return nil }
                Unmanaged<Worker>.fromOpaque(cargo).takeRetainedValue().body()
                return nil
            }, cargo.toOpaque())
        pthread_detach(thread)
    }
}

extension MemoryAPI {
    fileprivate func add(_ yaml: String) throws {
        for object in try yamlDocuments(yaml).map({ KubeObject($0.json) }) {
            guard let type = Self.types["\(object.apiVersion)/\(object.kind)"] else { continue }
            seed(type, object)
        }
    }
}

@Suite(.serialized) struct QuotaTests {
    /// So seldom that nothing comes back during a test: 40 in a day.
    private static let limit =
        #"{"name": "api", "requests": 40, "perMilliseconds": 86400000, "key": "header:x-user", "global": true}"#

    @Test("two proxies under load admit together what one budget has, for each key, and go on with what is left")
    func together() async throws {
        let gateways = try await LimitedGateways(Self.limit)
        // A new control plane grants only what comes back until it knows what was granted before it: its clock, not ours, says when.
        try await eventually("the end of its learning") {
            _ = LimitedGateways.status(gateways.ports[0], "scout")
            return gateways.control.quotaGranted > 0
        }
        // Four a proxy by allowance may come on top for a moment, and are taken off again.
        let ada = gateways.load("ada", requests: 400)
        #expect(ada.all == 400)
        #expect(ada.passed <= 48)
        #expect(ada.passed >= 1)
        try await eventually("all of the budget") {
            _ = gateways.load("ada", requests: 8)
            return gateways.load("ada", requests: 40).passed == 0
        }
        let bob = gateways.load("bob", requests: 200)
        #expect(bob.passed >= 1 && bob.passed <= 48, "a key of its own")
        // What is left when the control plane goes is known to the proxies, and so to the next one.
        await gateways.control.stop()
        var again = gateways
        again.control = try LimitedGateways.control(gateways.api, gateways.directory, gateways.group)
        for (place, pod) in gateways.pods.enumerated() {
            try await again.control.open(pod: pod, directory: "\(gateways.directory)/\(place)")
        }
        try await eventually("the proxies' coming back, and learning") {
            _ = LimitedGateways.status(gateways.ports[0], "scout-2")
            return again.control.quotaGranted > 0
        }
        let more = again.load("ada", requests: 100)
        #expect(more.passed <= 8, "no second budget")
        await again.end()
    }

    @Test("a limit says what it does without the control plane: closed, or the proxies' own parts")
    func lost() async throws {
        let closed = try await LimitedGateways(
            Self.limit.replacing("true", #"{"whenLost": "closed"}"#))
        await closed.control.stop()
        try await eventually("the end of the lease") { closed.load("eve", requests: 8).passed == 0 }
        await closed.end()
        let shared = try await LimitedGateways(Self.limit)
        await shared.control.stop()
        var passed = 0
        try await eventually("its own part in use") {
            let some = shared.load("eve", requests: 40)
            passed += some.passed
            return some.passed == 0 && some.all == 40
        }
        #expect(passed >= 1 && passed <= 48)
        await shared.end()
    }

    @Test("what is no report, or too long for one, ends the call with a status; so does a call of another name")
    func badReports() async throws {
        let mesh = try await RunningMesh()
        await mesh.control.waitUntilReady()
        func end(_ bytes: [UInt8], call: String = "\(QuotaReport.path)") async throws -> String? {
            let client = try await ADSClient.connect(mesh.socket, group: mesh.group, call: call)
            // A call of another name may have ended already.
            try? await client.sendRaw(GRPCFrames.framed(bytes))
            try await eventually("the end") { client.trailers != nil }
            let status = client.trailers?["grpc-status"]
            await client.close()
            return status
        }
        #expect(try await end([0xFF, 0xFF, 0xFF]) == "3")
        let lines = (0...QuotaReport.mostLines).map { QuotaReport.Line(key: UInt64($0)) }
        let long = QuotaReport(number: 1, pages: [QuotaReport.Page(budget: "demo/api", lines: lines)])
        #expect(try await end(long.bytes) == "8")
        #expect(try await end([], call: "/weft.quota.v1.QuotaService/Other") == "12")
        await mesh.end()
    }

    @Test("a workload leases what its configuration has, and nothing else")
    func permission() async throws {
        let gateways = try await LimitedGateways(Self.limit)
        let (model, _) = await gateways.control.snapshot()
        let gateway = ObjectKey(namespace: "demo", name: "g0-x")
        #expect(model.budgets(of: gateway) == ["demo/api"])
        #expect(model.budgets(of: ObjectKey(namespace: "demo", name: "unknown")) == [])
        await gateways.end()
    }
}

extension String {
    fileprivate func replacing(_ word: String, _ other: String) -> String {
        split(separator: word, omittingEmptySubsequences: false).joined(separator: other)
    }
}
