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

    /// Runs until the task is cancelled. Call once.
    package func run() async {
        await withDiscardingTaskGroup { group in
            for await informer in arrivals {
                group.addTask { await informer.run() }
            }
            group.cancelAll()
        }
    }

    /// Returns once every informer there is now has its first list.
    package func waitUntilSynced() async throws(CancellationError) {
        for informer in state.withLock({ Array($0.informers.values) }) { try await informer.waitUntilSynced() }
    }
}
