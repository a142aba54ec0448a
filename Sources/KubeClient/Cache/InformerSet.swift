package import KubeTypes
package import Logging
import Synchronization

/// One informer per type, shared by all who need it. Ask for informers at any time; `run` runs those there are and those to come.
package final class InformerSet: Sendable {
    private struct Name: Hashable {
        var type: ResourceType
        var namespace: String
        var selection: Selection
    }
    private struct State {
        var informers: [Name: Informer] = [:]
        /// What runs them.
        var tasks: [Name: Task<Void, Never>] = [:]
    }

    private let state = Mutex(State())
    private let api: any KubeAPI
    private let clock: any Clock<Duration>
    private let logger: Logger
    private let arrivals: AsyncStream<Informer>
    private let arrived: AsyncStream<Informer>.Continuation

    package init(
        _ api: any KubeAPI, clock: any Clock<Duration> = ContinuousClock(),
        logger: Logger = Logger(label: "informer", factory: { _ in SwiftLogNoOpLogHandler() })
    ) {
        self.api = api
        self.clock = clock
        self.logger = logger
        (arrivals, arrived) = AsyncStream.makeStream()
    }

    package func informer(
        _ type: ResourceType, namespace: String = "", selection: Selection = .all, indexes: [CacheIndex] = []
    ) -> Informer {
        let name = Name(type: type, namespace: namespace, selection: selection)
        let (informer, isNew) = state.withLock { state in
            if let known = state.informers[name] { return (known, false) }
            let informer = Informer(
                api, type, namespace: namespace, selection: selection, indexes: indexes, clock: clock, logger: logger)
            state.informers[name] = informer
            return (informer, true)
        }
        if isNew {
            arrived.yield(informer)
        } else {
            for index in indexes { informer.cache.add(index) }
        }
        return informer
    }

    /// Ends the informers of a type that is not served any more, for all who share them. If the type comes back, ask again.
    package func drop(_ type: ResourceType) {
        let tasks = state.withLock { state in
            let names = state.informers.keys.filter { $0.type == type }
            return names.compactMap { name in
                state.informers[name] = nil
                return state.tasks.removeValue(forKey: name)
            }
        }
        for task in tasks { task.cancel() }
    }

    /// Runs until the task is cancelled. Call once.
    package func run() async {
        await withDiscardingTaskGroup { group in
            for await informer in arrivals {
                group.addTask { await self.run(informer) }
            }
            group.cancelAll()
        }
    }

    private func run(_ informer: Informer) async {
        let name = Name(type: informer.type, namespace: informer.namespace, selection: informer.selection)
        let task: Task<Void, Never>? = state.withLock { state in
            // It may have been dropped before it ran.
            guard state.informers[name] === informer else { return nil }
            let task = Task { await informer.run() }
            state.tasks[name] = task
            return task
        }
        guard let task else { return }
        await withTaskCancellationHandler {
            await task.value
        } onCancel: {
            task.cancel()
        }
    }

    /// Returns once every informer there is now has its first list.
    package func waitUntilSynced() async throws(CancellationError) {
        for informer in state.withLock({ Array($0.informers.values) }) { try await informer.waitUntilSynced() }
    }
}
