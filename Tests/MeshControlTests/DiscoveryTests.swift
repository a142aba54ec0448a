import Glibc
import KubeClient
import KubeTypes
import Logging
import MeshControl
import MeshModel
import NIOCore
import NIOPosix
import ProxyResources
import Testing
import Transport
import Wire

/// Mesh control over the API in memory, with a pod `demo/frontend-x` whose socket is open.
struct RunningMesh {
    let api = MemoryAPI()
    let directory = temporaryDirectory()
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let control: MeshControl
    let pod: KubeObject

    var socket: String { "\(directory)/mesh.sock" }

    /// Its proxies hold all of the mesh.
    static let settings = {
        var settings = MeshSettings()
        settings.loading = .all
        return settings
    }()

    init(identityLifetime: Duration = .seconds(24 * 3600)) async throws {
        for file in ["00-namespace", "services"] { try api.apply(file: "policies/examples/canary/\(file).yaml") }
        for (index, name) in ["catalog-v1", "catalog-v2", "frontend"].enumerated() { api.addPod(name, index) }
        control = try MeshControl.start(
            api: api,
            configuration: MeshControlConfiguration(
                settings: Self.settings, authorityDirectory: "\(directory)/pki", identityLifetime: identityLifetime),
            group: group,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        pod = try await api.get(.pods, ObjectKey(namespace: "demo", name: "frontend-x"))
        try await control.open(pod: pod, directory: directory)
    }

    func end() async {
        await control.stop()
        try? await group.shutdownGracefully()
        remove(directory)
    }
}

extension MemoryAPI {
    static let root = #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" }
    static let types = Dictionary(MeshState.watched.map { ("\($0.apiVersion)/\($0.kind)", $0) }) { $1 }

    func apply(file: String) throws {
        for var object in try Self.objects(file: file) {
            guard let type = Self.types["\(object.apiVersion)/\(object.kind)"] else { continue }
            if type == .services {
                object.json[path: ["spec", "clusterIP"]] = .string("10.96.0.\(object.name.utf8.count)")
            }
            seed(type, object)
        }
    }

    static func objects(file: String) throws -> [KubeObject] {
        var bytes: [UInt8] = []
        let opened = try #require(fopen("\(root)/\(file)", "r"))
        defer { fclose(opened) }
        var space = [UInt8](repeating: 0, count: 65536)
        while case let count = fread(&space, 1, space.count, opened), count > 0 { bytes += space.prefix(count) }
        return try yamlDocuments(String(decoding: bytes, as: UTF8.self)).map { KubeObject($0.json) }
    }

    func setProxyReady(_ pod: String, _ isReady: Bool) async throws {
        var object = try await get(.pods, ObjectKey(namespace: "demo", name: pod))
        object.status["initContainerStatuses"] = [["name": "weft-proxy", "ready": .bool(isReady)]]
        _ = try await updateStatus(.pods, object)
    }

    /// A running pod with a sidecar, an endpoint of the service of its name (and of `catalog`).
    func addPod(_ name: String, _ index: Int) {
        let app = String(name.prefix { $0 != "-" })
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "demo", name: "\(name)-x")
        pod.labels = ["app": app, "version": String(name.suffix(2))]
        pod.annotations = ["weft.dev/intercept": "true"]
        pod.json[path: ["metadata", "uid"]] = .string("uid-\(name)")
        pod.spec = [
            "nodeName": "node-1", "serviceAccountName": .string(app), "containers": [["name": "app"]],
            "initContainers": [["name": "weft-proxy", "volumeMounts": [["name": "weft-mesh"]]]],
            "volumes": [["name": "weft-mesh", "csi": ["driver": "mesh.weft.dev"]]],
        ]
        pod.status = ["phase": "Running", "podIP": .string("10.244.1.\(10 + index)")]
        seed(.pods, pod)
        for service in Set([name, app]) {
            var slice = KubeObject(
                apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", namespace: "demo", name: "\(service)-\(index)"
            )
            slice.labels = ["kubernetes.io/service-name": service]
            slice.json["ports"] = [["name": "http", "port": 8080]]
            slice.json["endpoints"] = [
                [
                    "addresses": [.string("10.244.1.\(10 + index)")], "conditions": ["ready": true],
                    "targetRef": ["kind": "Pod", "name": .string("\(name)-x"), "namespace": "demo"],
                ]
            ]
            seed(.endpointSlices, slice)
        }
    }
}

@Suite struct DiscoveryTests {
    @Test("a proxy is told who it is and where to send, then only what changes, and status says what it holds")
    func journey() async throws {
        let mesh = try await RunningMesh()
        let client = try await ADSClient.connect(mesh.socket, group: mesh.group)
        for kind in ProxyResource.Kind.allCases { try await client.subscribe(kind) }
        var held: [String: VersionedResource] = [:]
        for _ in ProxyResource.Kind.allCases {
            let response = try await client.next()
            for resource in response.resources {
                held["\(response.typeURL) \(resource.name)"] = resource
                let kind = try #require(ProxyResource.Kind(rawValue: response.typeURL))
                _ = try ProxyResource.decode(kind: kind, name: resource.name, bytes: resource.value)
            }
            try await client.acknowledge(response)
        }
        #expect(held.keys.filter { $0.contains("ServicePort") }.count == 4)
        let own = try #require(held["\(ProxyResource.Kind.workload.rawValue) self"])
        let workload = try Workload(json: JSON(parsing: own.value))
        #expect(workload.principal == "spiffe://cluster.local/ns/demo/sa/frontend")
        let identity = try Identity(
            json: JSON(parsing: try #require(held["\(ProxyResource.Kind.identity.rawValue) self"]).value))
        #expect(identity.trustRoots.contains("BEGIN CERTIFICATE"))
        try await eventually("consent to the first generation") {
            mesh.control.proxyStatuses().first?.isCurrent == true
        }

        try mesh.api.apply(file: "policies/examples/canary/route.yaml")
        let routed = try await client.next(.servicePort)
        #expect(routed.resources.map(\.name) == ["demo/catalog:8080"], "only what changed is sent")
        let port = try ServicePort(json: JSON(parsing: routed.resources[0].value))
        #expect(port.routes.first?.backends.map(\.weight) == [90, 10])
        try await eventually("consent to the route") { mesh.control.proxyStatuses().first?.isCurrent == true }
        let status = try #require(mesh.control.proxyStatuses().first)
        #expect(status.word == "SYNCED" && status.proxy == "test" && status.node == "node-1")

        try await eventually("the route's status") {
            let route = try await mesh.api.get(.httpRoutes, ObjectKey(namespace: "demo", name: "catalog"))
            let conditions = route.status["parents"]?[0]?["conditions"]?.array ?? []
            return conditions.count == 2 && conditions.allSatisfy { $0["status"]?.string == "True" }
        }
        let counted = try metricSamples(mesh.control.metricsText())
        #expect(counted.first { $0.name == "weft_mesh_proxies" && $0.labels["status"] == "SYNCED" }?.value == 1)
        #expect(counted.first { $0.name == "weft_identity_issued_total" }?.value == 1)
        await client.close()
        try await eventually("its leaving") { mesh.control.proxyStatuses().first?.word == "NOT CONNECTED" }
        await mesh.end()
    }

    @Test("a refusal is shown with its reason and does not end the stream")
    func refusal() async throws {
        let mesh = try await RunningMesh()
        let client = try await ADSClient.connect(mesh.socket, group: mesh.group)
        try await client.subscribe(.servicePort)
        let first = try await client.next()
        try await client.acknowledge(first, error: "demo/catalog:8080: routes[0]: no")
        try await eventually("the refusal") { mesh.control.proxyStatuses().first?.word == "REJECTED" }
        let rejection = mesh.control.proxyStatuses().first?.types.first?.lastRejection
        #expect(rejection?.message == "demo/catalog:8080: routes[0]: no")
        try mesh.api.apply(file: "policies/examples/canary/route.yaml")
        let next = try await client.next(.servicePort)
        #expect(next.resources.count == 4, "all that was refused comes with the change")
        try await eventually("consent") { mesh.control.proxyStatuses().first?.word == "SYNCED" }
        await client.close()
        await mesh.end()
    }

    @Test("another call, bytes that are no message, and a pod that goes away end the call with a status")
    func ends() async throws {
        let mesh = try await RunningMesh()
        let wrong = try await ADSClient.connect(
            mesh.socket, group: mesh.group,
            call: "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources")
        try await eventually("the answer") { wrong.trailers != nil }
        #expect(wrong.trailers?["grpc-status"] == "12")

        let broken = try await ADSClient.connect(mesh.socket, group: mesh.group)
        try await broken.sendRaw(GRPCFrames.framed([0xFF, 0xFF, 0xFF]))
        try await eventually("the answer") { broken.trailers != nil }
        #expect(broken.trailers?["grpc-status"] == "3")

        let client = try await ADSClient.connect(mesh.socket, group: mesh.group)
        try await client.subscribe(.backend)
        _ = try await client.next()
        await mesh.control.close(podUID: mesh.pod.uid)
        try await eventually("the end of the connection") { client.isClosed }
        #expect(access(mesh.socket, F_OK) != 0)
        #expect(mesh.control.proxyStatuses().isEmpty)
        for each in [wrong, broken, client] { await each.close() }
        await mesh.end()
    }

    @Test("after a restart of the control plane a proxy with its versions is sent its new identity and nothing else")
    func restart() async throws {
        let mesh = try await RunningMesh()
        let client = try await ADSClient.connect(mesh.socket, group: mesh.group)
        var held: [ProxyResource.Kind: [String: String]] = [:]
        for kind in ProxyResource.Kind.allCases {
            try await client.subscribe(kind)
            let response = try await client.next(kind)
            for resource in response.resources { held[kind, default: [:]][resource.name] = resource.version }
        }
        await client.close()
        await mesh.control.stop()

        let again = try MeshControl.start(
            api: mesh.api,
            configuration: MeshControlConfiguration(
                settings: RunningMesh.settings, authorityDirectory: "\(mesh.directory)/pki"),
            group: mesh.group,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        try await again.open(pod: mesh.pod, directory: mesh.directory)
        let back = try await ADSClient.connect(mesh.socket, group: mesh.group)
        for kind in ProxyResource.Kind.allCases {
            try await back.subscribe(kind, held: held[kind] ?? [:])
            let response = try await back.next(kind)
            #expect(response.removed.isEmpty)
            #expect(response.resources.map(\.name) == (kind == .identity ? ["self"] : []))
        }
        await back.close()
        await again.stop()
        await mesh.end()
    }

    @Test("a proxy is sent its new certificate in time, by itself and alone")
    func rotation() async throws {
        let mesh = try await RunningMesh(identityLifetime: .seconds(4))
        let client = try await ADSClient.connect(mesh.socket, group: mesh.group)
        try await client.subscribe(.identity)
        try await client.subscribe(.backend)
        let first = try await client.next(.identity)
        try await client.next(.backend)
        let second = try await client.next()
        #expect(second.typeURL == ProxyResource.Kind.identity.rawValue)
        #expect(second.resources.map(\.version) != first.resources.map(\.version))
        #expect(mesh.control.identities.counters.rotated >= 1)
        await client.close()
        await mesh.end()
    }

    @Test("a pod cannot open streams without end")
    func limit() async throws {
        let mesh = try await RunningMesh()
        var clients: [ADSClient] = []
        for _ in 0..<9 { clients.append(try await ADSClient.connect(mesh.socket, group: mesh.group)) }
        try await eventually("the refusal") { clients.contains { $0.trailers?["grpc-status"] == "8" } }
        for client in clients { await client.close() }
        try await eventually("their leaving") { mesh.control.proxyStatuses().first?.word == "NOT CONNECTED" }
        let again = try await ADSClient.connect(mesh.socket, group: mesh.group)
        try await again.subscribe(.backend)
        try await again.next(.backend)
        await again.close()
        await mesh.end()
    }

    @Test("a pod may stop when no slice offers it and every proxy has said yes to that")
    func barrier() async throws {
        let mesh = try await RunningMesh()
        await mesh.control.waitUntilReady()
        let client = try await ADSClient.connect(mesh.socket, group: mesh.group)
        try await client.subscribe(.backend)
        try await client.next(.backend)
        let pod = try await mesh.api.get(.pods, ObjectKey(namespace: "demo", name: "catalog-v1-x"))
        let deadline = Timestamp.now() + .seconds(120)
        let waiting = Task {
            await mesh.control.waitUntilWithdrawn(pod, deadline: deadline)
            return Timestamp.now()
        }
        for service in ["catalog", "catalog-v1"] {
            let key = ObjectKey(namespace: "demo", name: "\(service)-0")
            try await mesh.api.delete(.endpointSlices, key)
        }
        // The proxy holds its answer back for a while, and so the barrier holds too.
        let withdrawn = try await client.next()
        try await Task.sleep(for: .milliseconds(100))
        let answered = Timestamp.now()
        try await client.acknowledge(withdrawn)
        while client.pending > 0 { try await client.acknowledge(try await client.next()) }
        let opened = await waiting.value
        #expect(opened >= answered)
        #expect(opened < deadline, "the answer opened it, not the deadline")
        await client.close()

        let late = Timestamp.now() + .milliseconds(50)
        let running = try await mesh.api.get(.pods, ObjectKey(namespace: "demo", name: "catalog-v2-x"))
        await mesh.control.waitUntilWithdrawn(running, deadline: late)
        #expect(Timestamp.now() >= late, "a pod still offered is waited for until the deadline")
        await mesh.end()
    }

    @Test("a ready proxy that has not come back yet is waited for, and so is its answer; one that said no has answered")
    func barrierAfterRestart() async throws {
        let mesh = try await RunningMesh()
        await mesh.control.waitUntilReady()
        try await mesh.api.setProxyReady("frontend-x", true)
        let pod = try await mesh.api.get(.pods, ObjectKey(namespace: "demo", name: "catalog-v1-x"))
        for service in ["catalog", "catalog-v1"] {
            try await mesh.api.delete(.endpointSlices, ObjectKey(namespace: "demo", name: "\(service)-0"))
        }
        let deadline = Timestamp.now() + .seconds(240)
        let waiting = Task {
            await mesh.control.waitUntilWithdrawn(pod, deadline: deadline)
            return Timestamp.now()
        }
        // Enough for a barrier that looks at connections only to open.
        try await Task.sleep(for: .milliseconds(200))
        let client = try await ADSClient.connect(mesh.socket, group: mesh.group)
        try await client.subscribe(.backend)
        let answered = Timestamp.now()
        try await client.acknowledge(try await client.next(.backend), error: "no")
        let opened = await waiting.value
        #expect(opened >= answered)
        #expect(opened < deadline, "the answer opened it, not the deadline")

        // A refusal that stands holds nobody back; neither does a proxy that is known to be gone.
        try await mesh.api.setProxyReady("frontend-x", false)
        await client.close()
        await mesh.control.waitUntilWithdrawn(pod, deadline: deadline)
        #expect(Timestamp.now() < deadline, "nobody was waited for")
        await mesh.end()
    }

    @Test("findings reach the status of an Istio policy, and lint says them before it is stored")
    func findings() async throws {
        let mesh = try await RunningMesh()
        try mesh.api.apply(file: "policies/examples/canary-istio/route.yaml")
        let key = ObjectKey(namespace: "demo", name: "catalog")
        func accepted(_ type: ResourceType) async throws -> JSON? {
            try await mesh.api.get(type, key).status["conditions"]?.array?.first { $0["type"]?.string == "Accepted" }
        }
        try await eventually("acceptance") { try await accepted(.virtualServices)?["status"]?.string == "True" }
        var policy = try await mesh.api.get(.virtualServices, key)
        policy.json[path: ["spec", "http"]] = [["route": [["destination": ["host": "gone"]]]]]
        let said = await mesh.control.findings(.virtualServices, policy)
        #expect(
            said.map(\.description) == [
                "VirtualService demo/catalog: spec.http[0].route[0].destination: host \"gone\" names no service"
            ])
        _ = try await mesh.api.update(.virtualServices, policy)
        try await eventually("the finding") {
            try await accepted(.virtualServices)?["message"]?.string?.contains("names no service") == true
        }

        // A new generation that changes no route is still one that was looked at.
        let generation = mesh.control.discovery.generation
        policy = try await mesh.api.get(.virtualServices, key)
        policy.json[path: ["spec", "exportTo"]] = ["*"]
        let saved = try await mesh.api.update(.virtualServices, policy)
        try await eventually("its generation") {
            try await mesh.api.get(.virtualServices, key).status["observedGeneration"]?.int == saved.generation
        }
        #expect(mesh.control.discovery.generation == generation, "no proxy is told what it knows")

        var filter = KubeObject(
            apiVersion: "networking.istio.io/v1alpha3", kind: "EnvoyFilter", namespace: "demo", name: "f")
        filter.spec = [:]
        let type = ResourceType(
            group: "networking.istio.io", version: "v1alpha3", resource: "envoyfilters", kind: "EnvoyFilter")
        #expect(await mesh.control.findings(type, filter).map(\.severity) == [.error])
        await mesh.end()
    }
}
