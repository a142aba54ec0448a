import KubeTypes
import Synchronization

/// What goes on beside requests for kinds that are not the server's own: those of CRDs, and those of servers behind this one.
final class KindServices: Sendable {
    let aggregator: Aggregator
    private let registry: Registry
    private let pki: ClusterPKI
    private let tasks = Mutex<[Task<Void, Never>]>([])

    init(_ registry: Registry, _ pki: ClusterPKI, _ services: ServiceResolver, dialer: (any ClusterDialer)?) {
        self.registry = registry
        self.pki = pki
        aggregator = Aggregator(
            registry, services, dialer: dialer, identity: (certificate: pki.proxyCertificate, key: pki.proxyKey))
    }

    /// Serves what is stored already when it returns.
    func start() async throws(APIFailure) {
        try await FrontProxy.write(registry, pki)
        let aggregator = aggregator
        let custom = CustomResources(registry) { aggregator.noteKinds() }
        let revision = custom.load()
        tasks.withLock { tasks in
            tasks.append(Task { await custom.run(from: revision) })
            tasks.append(Task { await aggregator.run() })
        }
    }

    /// Call after the store ended its watches.
    func stop() async {
        let all = tasks.withLock { tasks in
            defer { tasks = [] }
            return tasks
        }
        for task in all { task.cancel() }
        for task in all { await task.value }
    }
}
