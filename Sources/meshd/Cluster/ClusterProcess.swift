import APIServer
import ClusterLayout
import ContainerRuntime
import Controllers
import Glibc
import Kernel
import KubeClient
import KubeTypes
import Logging
import MeshControl
import MeshModel
import NIOCore
import NIOPosix
import NodeAgent
import Scheduler
import ServiceNetwork

/// A whole cluster in one process: its parts, in the order in which one needs the other.
struct ClusterProcess {
    let layout: ClusterLayout
    let settings: ClusterSettings
    let progress: ProgressReport
    let logger = Logger(label: "cluster")

    /// Runs until SIGTERM or SIGINT. Containers and proxies go on afterwards.
    func run() async throws {
        let stop = StopSignal()
        let fabric = try ClusterFabric(cluster: layout.name, runDirectory: layout.runDirectory, nodes: settings.nodes)
        try await progress.step("network of \(settings.nodes) node\(settings.nodes == 1 ? "" : "s")") {
            try await onThread { Result { try fabric.build() } }.get()
        }
        let packing = Task { [directory = layout.imageDirectory] in
            try await onThread { Result { try SystemImages(directory: directory).pack() } }.get()
        }
        let gateways = LateNodeGateway()
        let admission = MeshAdmission()
        let server = try await progress.step(
            "API server", remark: { _ in "https://\(ClusterLayout.apiAddress):\(settings.apiPort)" }
        ) {
            try await startServer(fabric, gateways, admission)
        }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let mesh = try await progress.step("mesh control") {
            let api = server.api(as: .component("mesh"))
            let mesh = try MeshControl.start(
                api: api,
                configuration: MeshControlConfiguration(
                    settings: Self.meshSettings, authorityDirectory: "\(layout.stateDirectory)/pki/mesh-ca",
                    proxyImage: SystemImages.proxy),
                group: group, logger: Logger(label: "mesh"))
            admission.attach(mesh, api: api)
            await mesh.waitUntilReady()
            return mesh
        }
        let agents = try nodeAgents(fabric, server, mesh)
        gateways.nodes = NodeGatewaySet(
            Dictionary(uniqueKeysWithValues: agents.map { ($0.configuration.name, $0 as any NodeGateway) }))
        server.add(
            MeshExtension(queries: queries(fabric, server), requests: requests(fabric, server), mesh: mesh))

        try await withThrowingDiscardingTaskGroup { tasks in
            startControl(server, &tasks)
            for (agent, network) in zip(agents, try networkAgents(fabric, server)) {
                tasks.addTask { try await agent.run() }
                tasks.addTask { try await network.run() }
            }
            try await progress.step("images of our own programs") { try await packing.value }
            try await announce(server)
            await stop.wait()
            logger.info("stopping; containers and proxies go on")
            tasks.cancelAll()
        }
        await mesh.stop()
        await server.stop()
        try await group.shutdownGracefully()
    }

    // MARK: Parts

    private func startServer(
        _ fabric: ClusterFabric, _ gateways: LateNodeGateway, _ admission: MeshAdmission
    ) async throws -> APIServer {
        let machine = try listener(IPv4Address(127, 0, 0, 1), settings.apiPort, inNamespace: nil)
        let inside = try listener(fabric.addresses.fabricGateway, 6443, inNamespace: fabric.namespace)
        var configuration = APIServerConfiguration(
            stateDirectory: layout.stateDirectory, listeners: [machine, inside], logger: Logger(label: "apiserver"))
        configuration.publicPort = settings.apiPort
        configuration.clusterName = layout.name
        configuration.mutating = [admission]
        configuration.validating = [admission, IdleKinds()]
        configuration.nodes = gateways
        try settings.storage.configure(&configuration)
        try settings.apiServer.configure(&configuration)
        configuration.dialer = FabricDialer(namespace: fabric.namespace)
        return try await APIServer.start(configuration)
    }

    private func listener(_ address: IPv4Address, _ port: Int, inNamespace path: String?) throws -> CInt {
        guard let number = UInt16(exactly: port) else { throw StartFailed("\(port) is not a port") }
        do { return try NamespaceSocket.listen(address, port: number, inNamespace: path).release() } catch {
            guard error.code == EADDRINUSE else { throw error }
            throw StartFailed(
                "\(address):\(port) is taken by another program: end it, or choose another port with --api-port")
        }
    }

    private static var meshSettings: MeshSettings {
        var settings = MeshSettings()
        settings.ranges = [ClusterLayout.serviceRange, ClusterLayout.podRange]
        return settings
    }

    private func startControl(_ server: APIServer, _ tasks: inout ThrowingDiscardingTaskGroup<any Error>) {
        let informers = InformerSet(server.api(as: .component("controllers")), logger: Logger(label: "informers"))
        let plane = ControlPlane(
            api: server.api(as: .component("controllers")), informers: informers, logger: Logger(label: "controllers"))
        let controllers = ControllerSet(
            plane, .init(rootCertificate: server.rootCertificate) { server.storedTypes })
        let scheduler = Scheduler(
            api: server.api(as: .component("scheduler")), informers: informers, logger: Logger(label: "scheduler"))
        tasks.addTask { await controllers.run() }
        tasks.addTask { await scheduler.run() }
        tasks.addTask { await informers.run() }
    }

    private func nodeAgents(_ fabric: ClusterFabric, _ server: APIServer, _ mesh: MeshControl) throws -> [NodeAgent] {
        let supervisor = try ProgramFile.beside("mesh-init")
        return try fabric.nodes.map { node in
            let addresses = fabric.addresses
            var configuration = NodeConfiguration(
                name: node.name, podRange: addresses.pods(of: node.index).description,
                nodeAddress: addresses.node(node.index).description,
                stateDirectory: layout.nodeStateDirectory(node.name),
                runDirectory: layout.nodeRunDirectory(node.name))
            configuration.networkNamespace = fabric.namespace(of: node)
            configuration.version = "v1.36.0-weft.\(weftVersion)"
            let runtime = try LocalRuntime(
                runtimeConfiguration(layout, node: node.name, supervisor: supervisor))
            let api = server.api(as: .node(node.name))
            return NodeAgent(
                configuration: configuration, api: api, runtime: runtime,
                network: try NodePodNetwork(fabric, node: node),
                meshSockets: MeshControlSockets(mesh: mesh), tokens: PodTokens(api: api),
                barrier: barrier(api, mesh), logger: Logger(label: "node/\(node.name)"))
        }
    }

    /// A pod stops when the nodes have had time to follow its endpoints, and every proxy has answered that it did.
    private func barrier(_ api: any KubeAPI, _ mesh: MeshControl) -> TerminationBarrier {
        let nodes = EndpointWithdrawal.barrier(api, propagation: .milliseconds(200))
        return { pod, deadline in
            async let proxies: Void = mesh.waitUntilWithdrawn(pod, deadline: deadline)
            await nodes(pod, deadline)
            await proxies
        }
    }

    private func networkAgents(_ fabric: ClusterFabric, _ server: APIServer) throws -> [ServiceNetworkAgent] {
        try fabric.nodes.map { node in
            try ServiceNetworkAgent(
                fabric, node: node, api: server.api(as: .component("network:\(node.name)")),
                logger: Logger(label: "network/\(node.name)"))
        }
    }

    private func queries(_ fabric: ClusterFabric, _ server: APIServer) -> TrafficQueries {
        TrafficQueries(
            api: server.api(as: .component("mesh")), namespaceOfNode: { "\(fabric.namespaceDirectory)/\($0)" },
            logger: Logger(label: "traffic"))
    }

    private func requests(_ fabric: ClusterFabric, _ server: APIServer) -> RequestQueries {
        RequestQueries(
            api: server.api(as: .component("mesh")),
            namespaceOfPod: { node, uid in "\(fabric.namespaceDirectory)/\(uid.map { "pod-\($0)" } ?? node)" },
            logger: Logger(label: "traffic"))
    }

    // MARK: Ready

    /// Makes what every cluster has, waits until it works, and says so.
    private func announce(_ server: APIServer) async throws {
        let api = server.api(as: .component("bootstrap"))
        try await progress.step("gateway and default policies") {
            try await DefaultObjects(api: api, image: SystemImages.proxy, gatewayPort: settings.gatewayPort).ensure()
        }
        let wait = StartWait(api: api)
        try await progress.step("nodes ready") { try await wait.forNodes(settings.nodes) }
        try await progress.step("ingress gateway", remark: { _ in "http://127.0.0.1:\(settings.gatewayPort)" }) {
            try await wait.forDeployment(
                ObjectKey(namespace: "weft-system", name: "weft-ingress"),
                hopeless: "Address already in use",
                means:
                    "127.0.0.1:\(settings.gatewayPort) is taken by another program: end it, or choose another port with --gateway-port"
            )
        }
        try SmallFile.replace(layout.readyFile, with: Array("\(getpid())\n".utf8))
        progress.ready()
        logger.info("cluster \(layout.name) is ready")
    }
}

func runtimeConfiguration(_ layout: ClusterLayout, node: String, supervisor: String) -> RuntimeConfiguration {
    var configuration = RuntimeConfiguration(
        stateDirectory: layout.nodeStateDirectory(node), runDirectory: layout.nodeRunDirectory(node),
        cgroupRoot: layout.cgroup, supervisorPath: supervisor)
    configuration.imageDirectory = layout.imageDirectory
    return configuration
}

struct StartFailed: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// The mesh's sockets as the node agent asks for them.
struct MeshControlSockets: MeshSockets {
    let mesh: MeshControl
    func open(pod: KubeObject, directory: String) async throws { try await mesh.open(pod: pod, directory: directory) }
    func close(podUID: String) async { await mesh.close(podUID: podUID) }
}
