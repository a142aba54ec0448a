import KubeClient
package import KubeTypes
import Logging

/// The cluster's controllers, run together.
package struct ControllerSet: Sendable {
    package struct Configuration: Sendable {
        /// Certificates by which pods verify the API server, PEM.
        package var rootCertificate: String
        /// Every type the API serves now that can be listed and deleted: what a namespace may hold, and what may own or be
        /// owned.
        package var types: @Sendable () -> [ResourceType]
        /// Ended pods kept to be looked at.
        package var keptFinishedPods = 12_500

        package init(rootCertificate: String, types: @escaping @Sendable () -> [ResourceType]) {
            self.rootCertificate = rootCertificate
            self.types = types
        }

        package init(rootCertificate: String, types: [ResourceType]) {
            self.init(rootCertificate: rootCertificate) { types }
        }

        /// For a server that serves this catalog.
        package init(rootCertificate: String, catalog: SchemaCatalog) {
            self.init(rootCertificate: rootCertificate, types: Self.types(of: catalog))
        }

        /// Each stored resource once, in the version it is stored in.
        private static func types(of catalog: SchemaCatalog) -> [ResourceType] {
            catalog.definitions.filter { definition in
                definition.type == definition.storageType
                    && ["list", "watch", "delete"].allSatisfy(definition.verbs.contains)
            }.map(\.type)
        }
    }

    private let plane: ControlPlane
    private let configuration: Configuration

    package init(_ plane: ControlPlane, _ configuration: Configuration) {
        self.plane = plane
        self.configuration = configuration
    }

    /// Runs all controllers until the task is cancelled. Whoever made the plane's informers runs them.
    package func run() async {
        await withDiscardingTaskGroup { group in
            start(DeploymentController(plane), in: &group)
            start(ReplicaController<ReplicaSetKind>(plane), workers: 4, in: &group)
            start(ReplicaController<ReplicationControllerKind>(plane), in: &group)
            start(EndpointSliceController(plane), in: &group)
            start(EndpointsController(plane), in: &group)
            start(DefaultServiceAccountController(plane), workers: 1, in: &group)
            start(RootCertificateController(plane, certificate: configuration.rootCertificate), workers: 1, in: &group)
            start(NamespaceController(plane, types: configuration.types), in: &group)
            start(NodeLifecycleController(plane), in: &group)
            start(PodGarbageController(plane, keptFinished: configuration.keptFinishedPods), workers: 1, in: &group)
            start(DisruptionController(plane), workers: 1, in: &group)
            start(AutoscalingController(plane), workers: 1, in: &group)
            start(EventExpiryController(plane), workers: 1, in: &group)
            let collector = GarbageCollector(plane, types: configuration.types)
            group.addTask { await collector.run() }
        }
    }

    /// A controller decides only on complete caches, so it starts when their first lists are there.
    private func start(_ controller: some Controller, workers: Int = 2, in group: inout DiscardingTaskGroup) {
        let plane = plane
        group.addTask { await Self.run(controller, workers: workers, plane) }
    }

    private static func run<Subject: Controller>(_ controller: Subject, workers: Int, _ plane: ControlPlane) async {
        for informer in controller.needs {
            guard (try? await informer.waitUntilSynced()) != nil else { return }
        }
        let queue = Self.queue(clock: plane.clock)
        controller.feed(queue)
        let loop = ReconcilerLoop(Subject.name, controller, queue: queue, workers: workers, logger: plane.logger)
        await loop.run()
    }

    private static func queue(clock: some Clock<Duration>) -> WorkQueue<ObjectKey> { WorkQueue(clock: clock) }
}
