import Glibc
import Kernel
import KubeTypes
import Logging
import Loop
import MeshControl
import MeshModel
import NIOCore
import NIOPosix
import ProxyResources
import Testing
import Wire

@testable import Proxy

/// A real control plane for one pod, over services whose endpoints are on loopback. It can go away and come back.
final class ServedMesh {
    let directory = "/tmp/weft-test-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    private let pod: KubeObject
    private(set) var state: MeshState
    private var running: Discovery?

    var socket: String { "\(directory)/mesh.sock" }
    var discovery: Discovery { running.unsafelyUnwrapped }

    init(_ change: (inout MeshSettings) -> Void = { _ in }, annotations: [String: String] = [:]) async throws {
        var settings = MeshSettings()
        change(&settings)
        state = MeshState(settings: settings)
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "demo", name: "frontend-x")
        pod.labels = ["app": "frontend"]
        pod.annotations = annotations.merging(["weft.dev/intercept": "true"]) { $1 }
        pod.json[path: ["metadata", "uid"]] = "uid-frontend"
        pod.spec = [
            "nodeName": "node-1", "serviceAccountName": "frontend", "containers": [["name": "app"]],
            "initContainers": [["name": "weft-proxy"]],
        ]
        pod.status = ["phase": "Running", "podIP": "10.244.9.9"]
        self.pod = pod
        _ = state.apply(.pods, pod)
        try SmallFile.makeDirectories(directory, mode: 0o755)
        try await start()
    }

    func start() async throws {
        let authority = try MeshAuthority.open(directory: "\(directory)/pki", trustDomain: "cluster.local")
        let made = Discovery(group: group, issuer: IdentityIssuer(authority), logger: logger)
        running = made
        publish()
        try await made.open(pod: pod, directory: directory)
    }

    /// The control plane dies; what it had told stays where it is.
    func stop() async { await discovery.shutdown() }

    func end() async {
        await stop()
        try? await group.shutdownGracefully()
        try? FileTree.remove(directory)
    }

    func publish() { discovery.publish(compile(state)) }

    /// `10.96.<index/250>.<index%250>:80`, with endpoints on loopback.
    static func address(_ index: Int) -> String { "10.96.\(index / 250).\(index % 250 + 1)" }

    func add(service index: Int, ports: [UInt16], namespace: String = "demo") {
        var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: namespace, name: "s\(index)")
        service.spec = [
            "clusterIP": .string(Self.address(index)), "ports": [["name": "http", "port": 80, "targetPort": 8080]],
        ]
        _ = state.apply(.services, service)
        set(endpoints: ports, of: index, namespace: namespace)
    }

    func set(endpoints ports: [UInt16], of index: Int, namespace: String = "demo") {
        for (place, port) in ports.enumerated() {
            var slice = KubeObject(
                apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", namespace: namespace,
                name: "s\(index)-\(place)")
            slice.labels = ["kubernetes.io/service-name": "s\(index)"]
            slice.json["ports"] = [["name": "http", "port": .int(Int64(port))]]
            slice.json["endpoints"] = [["addresses": ["127.0.0.1"], "conditions": ["ready": true]]]
            _ = state.apply(.endpointSlices, slice)
        }
    }

    func remove(service index: Int, namespace: String = "demo") {
        _ = state.remove(.services, ObjectKey(namespace: namespace, name: "s\(index)"))
    }

    func apply(_ type: ResourceType, _ object: KubeObject) { _ = state.apply(type, object) }
}

/// A proxy as in a pod, but that each destination has a port of its own on loopback.
final class Sidecar {
    let state: ProgramState
    private var ports: [String: Int] = [:]

    /// - Parameter directory: where its last good configuration is; empty for nowhere.
    init(
        socket: String, _ destinations: [String], directory: String = "", loops: Int = 2,
        ports known: [String: Int] = [:]
    )
        throws
    {
        var listeners: [ListenerOption] = []
        for destination in destinations {
            let port = known[destination] ?? freePort()
            ports[destination] = port
            listeners.append(
                ListenerOption(side: .outbound, address: "127.0.0.1", port: port, destination: destination))
        }
        let plane = try DataPlane(loops: loops, listeners: listeners, seed: 11)
        state = ProgramState(plane: plane, role: "sidecar", keeper: LastGood(directory: directory))
        state.restore()
        DiscoveryClient.start(socket: socket, state: state)
    }

    var desk: DemandDesk { state.plane.commons.demand }
    var allPorts: [String: Int] { ports }
    var held: ProxyConfiguration? { state.configuration }
    func port(_ destination: String) -> Int { ports[destination] ?? 0 }
    func isReady() -> Bool { eventually { state.isReady } }

    /// Connections and requests that wait for their destinations.
    var asking: Int { state.plane.counts().reduce(0) { $0 + $1.asking } }

    /// One request on a connection of its own.
    func get(_ destination: String, _ path: String = "/name") -> Visitor.Response? {
        let visitor = Visitor(port: port(destination))
        defer { visitor.end() }
        return visitor.get(path)
    }

    func end() {
        state.beginDraining()
        state.plane.stop()
    }
}
