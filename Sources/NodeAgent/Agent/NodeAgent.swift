package import ContainerRuntime
import Glibc
import Kernel
package import KubeClient
package import KubeTypes
package import Logging
package import ServiceNetwork
import Wire

/// The kubelet: what the API says of this node's pods becomes true, and is told back.
///
/// One worker a pod. The agent itself only hands on: the API's changes, the runtime's, and the pods an agent before left.
package actor NodeAgent {
    package nonisolated let configuration: NodeConfiguration
    nonisolated let runtime: any PodRuntime
    let meter: UsageMeter
    private let node: NodeServices
    nonisolated let pods: Informer
    private let services: Informer
    private var workers: [String: PodWorker] = [:]
    private var tasks: [String: Task<Void, Never>] = [:]
    private var attachments: [String: PodAttachment] = [:]

    /// - Parameters:
    ///   - meshSockets: `nil` on a node without a mesh: pods that ask for its socket do not start.
    ///   - tokens: `nil` leaves service-account tokens out of projected volumes.
    ///   - barrier: see `EndpointWithdrawal`; `nil` stops pods at once.
    package init(
        configuration: NodeConfiguration, api: any KubeAPI, runtime: any PodRuntime, network: any PodNetwork,
        meshSockets: (any MeshSockets)? = nil, tokens: (any ServiceAccountTokens)? = nil,
        barrier: TerminationBarrier? = nil,
        logger: Logger = Logger(label: "node"), now: @escaping @Sendable () -> Timestamp = { .now() }
    ) {
        self.configuration = configuration
        self.runtime = runtime
        meter = UsageMeter(runtime, now: now)
        pods = Informer(api, .pods, selection: Selection(fields: "spec.nodeName=\(configuration.name)"), logger: logger)
        services = Informer(api, .services, logger: logger)
        node = NodeServices(
            configuration: configuration, machine: configuration.machine ?? .measured(), api: api, runtime: runtime,
            network: network,
            mesh: meshSockets, tokens: tokens, barrier: barrier, events: EventQueue(), services: services.cache,
            pods: pods.cache,
            logger: logger, now: now)
    }

    /// Runs until the task is cancelled. Containers go on when it ends; the next run adopts them.
    package func run() async throws {
        // A command's closed input must not end the process.
        signal(SIGPIPE, SIG_IGN)
        try SmallFile.makeDirectories("\(configuration.stateDirectory)/pods")
        try SmallFile.makeDirectories("\(configuration.runDirectory)/pods")
        let registration = NodeRegistration(
            configuration: configuration, machine: node.machine, api: node.api, logger: node.logger, now: node.now)
        await registration.register()
        let recorder = EventRecorder(node.api, component: "kubelet", host: configuration.name, now: node.now)
        // Before the first pod is looked at: a change between that look and this would not be heard.
        let changes = await runtime.changes()
        do {
            try await work(changes, registration, recorder)
        } catch {
            await endWorkers()
            throw error
        }
        await endWorkers()
    }

    /// No step of any pod goes on after this: whoever starts an agent next has the node for itself.
    private func endWorkers() async {
        let running = Array(tasks.values)
        for task in running { task.cancel() }
        for task in running { await task.value }
    }

    private func work(
        _ changes: AsyncStream<String>, _ registration: NodeRegistration, _ recorder: EventRecorder
    ) async throws {
        let events = node.events
        try await withThrowingDiscardingTaskGroup { group in
            group.addTask { [pods] in await pods.run() }
            group.addTask { [services] in await services.run() }
            group.addTask { await events.run(recorder) }
            group.addTask { await registration.keepFresh() }
            group.addTask {
                for await uid in changes { await self.ring(uid) }
            }
            group.addTask {
                try await self.pods.waitUntilSynced()
                try await self.services.waitUntilSynced()
                try await self.adopt()
                for await change in self.pods.changes() { await self.apply(change) }
            }
        }
    }

    private func ring(_ uid: String) { workers[uid]?.ring() }

    private func apply(_ change: CacheChange) async {
        switch change {
        case .added(let pod): await worker(for: pod).update(pod)
        case .changed(let old, let pod):
            if old.uid != pod.uid { await workers[old.uid]?.forget() }
            await worker(for: pod).update(pod)
        case .removed(let pod): await workers[pod.uid]?.forget()
        }
    }

    @discardableResult
    private func worker(for pod: KubeObject) -> PodWorker {
        if let known = workers[pod.uid] { return known }
        let worker = PodWorker(pod, node: node, attachment: attachments.removeValue(forKey: pod.uid))
        workers[pod.uid] = worker
        tasks[pod.uid] = Task {
            await worker.run()
            self.end(pod.uid)
        }
        return worker
    }

    private func end(_ uid: String) {
        workers[uid] = nil
        tasks[uid] = nil
    }

    // MARK: After a restart

    /// Takes over what an agent before left: pods the API still has go on untouched, others are cleared.
    private func adopt() async throws {
        attachments = try await asked { try await self.node.network.attachments() }
        let sandboxes = try await asked { try await self.runtime.sandboxes() }
        let known = Set(pods.cache.all.map(\.uid))
        // The directories of several nodes may be one: only pods recorded as ours are ours to clear.
        for uid in FileTree.names(in: "\(configuration.stateDirectory)/pods") where !known.contains(uid) {
            guard let pod = recordedPod(uid) else { continue }
            node.logger.info("pod \(pod.key) (\(uid)) is no longer in the API: clearing it")
            await worker(for: pod).forget()
        }
        let everywhere = try await asked { try await self.node.api.list(.pods) }
        let alive = Set(everywhere.items.map(\.uid))
        for sandbox in sandboxes where !alive.contains(sandbox.podUID) && workers[sandbox.podUID] == nil {
            node.logger.info("sandbox \(sandbox.podUID) belongs to no pod: removing it")
            do throws(RuntimeFailure) { try await runtime.removeSandbox(podUID: sandbox.podUID) } catch {
                node.logger.warning("sandbox \(sandbox.podUID): \(error)")
            }
        }
        for uid in Array(attachments.keys) where !alive.contains(uid) && workers[uid] == nil {
            attachments[uid] = nil
            do throws(NetworkFailure) { try await node.network.detach(podUID: uid) } catch {
                node.logger.warning("network of \(uid): \(error)")
            }
        }
    }

    /// Asks until there is an answer: acting on half of what there is would lose pods.
    private func asked<Answer: Sendable>(_ question: @Sendable () async throws -> Answer) async throws -> Answer {
        while true {
            try Task.checkCancellation()
            do { return try await question() } catch {
                node.logger.error("node \(configuration.name): cannot learn what is on the node: \(error)")
                try await Task.sleep(for: .seconds(1))
            }
        }
    }

    private func recordedPod(_ uid: String) -> KubeObject? {
        guard let bytes = try? SmallFile.read(configuration.places(of: uid).record),
            let json = try? JSON(parsing: bytes),
            json["node"]?.string == configuration.name, let pod = json["pod"]
        else { return nil }
        let object = KubeObject(pod)
        return object.uid == uid ? object : nil
    }
}
