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
    private var firstAttempt: ContinuousClock.Instant?
    private let clock = ContinuousClock()
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
        startGathering()
    }

    private func startGathering(atLeast least: Duration = .zero) {
        guard isSynced, isDirty, !isGathering else { return }
        isGathering = true
        let delay = max(gathering, least)
        Task {
            try? await Task.sleep(for: delay)
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

    /// Keys of tokens have been fetched, or have changed.
    func adopt(_ keys: String, from address: String) {
        if state.keySets[address] == keys { return }
        state.keySets[address] = keys
        isDirty = true
        startGathering()
    }

    /// Addresses of services by their names, for fetching from one.
    var serviceAddresses: [String: String] {
        var found: [String: String] = [:]
        for service in state.services.values {
            guard let address = service.addresses.first else { continue }
            let (name, namespace) = (service.key.name, service.key.namespace)
            for host in [state.settings.host(name, namespace), "\(name).\(namespace).svc", "\(name).\(namespace)"] {
                found[host] = address
            }
        }
        return found
    }

    /// A first model without the keys of tokens would make proxies that have them refuse good tokens, so it waits a little.
    private func awaitsKeys() -> Bool {
        if hasModel { return false }
        let missing = state.keyAddresses.contains { state.keySets[$0] == nil }
        let start = firstAttempt ?? clock.now
        firstAttempt = start
        return missing && clock.now - start < .seconds(5)
    }

    private func makeModel() {
        isGathering = false
        if awaitsKeys() {
            startGathering(atLeast: .milliseconds(100))
            return
        }
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
