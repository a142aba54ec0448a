import KubeClient
import KubeTypes
import Logging
import MeshModel

/// Keeps the mesh's state equal to the cluster, and makes a new model when it has changed.
actor ModelKeeper {
    private enum Event: Sendable {
        case change(ResourceType, CacheChange)
        /// Everything the cluster had at the start has come.
        case synced
    }

    private(set) var state: MeshState
    private(set) var model = MeshModel()
    /// The UIDs of pods whose proxy is ready, as the API has it: also of those that have not come back to us yet.
    private(set) var readyProxies: Set<String> = []
    private var isSynced = false
    private var isDirty = true
    private var isGathering = false
    private var hasModel = false
    private var waiters: [CheckedContinuation<Void, Never>] = []
    private let gathering: Duration
    private let publish: @Sendable (MeshModel) -> Void
    private let report: @Sendable (MeshModel, MeshState) -> Void

    /// `publish` is called with each new model, `report` with each one made, new or not.
    init(
        settings: MeshSettings, gathering: Duration, publish: @escaping @Sendable (MeshModel) -> Void,
        report: @escaping @Sendable (MeshModel, MeshState) -> Void
    ) {
        state = MeshState(settings: settings)
        self.gathering = gathering
        self.publish = publish
        self.report = report
    }

    /// Watches until the task is cancelled. The first model waits for all kinds: one made without the routes would undo them.
    func follow(_ api: any KubeAPI, _ logger: Logger) async {
        let informers = MeshState.watched.map { Informer(api, $0, logger: logger) }
        let (events, found) = AsyncStream.makeStream(of: Event.self)
        for informer in informers {
            let type = informer.type
            informer.onChange { found.yield(.change(type, $0)) }
        }
        await withDiscardingTaskGroup { tasks in
            for informer in informers { tasks.addTask { await informer.run() } }
            tasks.addTask {
                for informer in informers {
                    do { try await informer.waitUntilSynced() } catch { return }
                }
                found.yield(.synced)
            }
            for await event in events { take(event) }
            tasks.cancelAll()
        }
    }

    private func take(_ event: Event) {
        switch event {
        case .change(let type, let change):
            let object = change.object
            if type == .pods { follow(object, isRemoved: change.isRemoval) }
            let isNews = change.isRemoval ? state.remove(type, object.key) : state.apply(type, object)
            if isNews { isDirty = true }
        case .synced: isSynced = true
        }
        guard isSynced, isDirty, !isGathering else { return }
        isGathering = true
        Task {
            try? await Task.sleep(for: gathering)
            makeModel()
        }
    }

    private func follow(_ pod: KubeObject, isRemoved: Bool) {
        if !isRemoved, MeshPod.hasReadyProxy(pod) {
            readyProxies.insert(pod.uid)
        } else {
            readyProxies.remove(pod.uid)
        }
    }

    private func makeModel() {
        isGathering = false
        isDirty = false
        let made = compile(state)
        if !hasModel || made != model {
            model = made
            hasModel = true
            publish(made)
        }
        // Also when the model is the same: an object's new generation has been looked at.
        report(made, state)
        for waiter in waiters { waiter.resume() }
        waiters = []
    }

    /// Whether the model published last was made when no slice offered the address as ready any more.
    func isWithdrawn(_ address: String) -> Bool {
        let isOffered = state.slices.values.contains { slice in
            slice.addresses.contains { $0.address == address && $0.isReady }
        }
        return !isOffered && !isDirty && !isGathering && hasModel
    }

    func waitForModel() async {
        if hasModel { return }
        await withCheckedContinuation { waiters.append($0) }
    }
}
