package import KubeClient
package import KubeTypes
package import Logging
import Synchronization
import Wire

/// Gives each pod without a node the node that suits it best.
///
/// One pod is decided at a time, on the cluster as the watches and the decisions before it make it; the binding is written beside that.
package final class Scheduler: Sendable {
    private struct State {
        var view = ClusterView()
        var pending = PendingPods()
        var random: SeededRandom
        var start = 0
        /// Uids of pods a binding is being written for.
        var binding: Set<String> = []
        /// When the sleeping alarm rings.
        var alarm: Duration?
    }

    private let state: Mutex<State>
    private let api: any KubeAPI
    private let pods: Informer
    private let nodes: Informer
    private let namespaces: Informer
    private let events: EventRecorder
    private let schedulerName: String
    private let now: @Sendable () -> Timestamp
    private let elapsed: @Sendable () -> Duration
    private let sleep: @Sendable (Duration) async -> Void
    private let logger: Logger
    private let wake: AsyncStream<Void>
    private let waker: AsyncStream<Void>.Continuation

    /// Bindings written at the same time, at most.
    private static let writers = 32

    package init(
        api: any KubeAPI, informers: InformerSet, name: String = "default-scheduler",
        seed: UInt64 = .random(in: 0 ... .max),
        clock: some Clock<Duration> = ContinuousClock(), now: @escaping @Sendable () -> Timestamp = { .now() },
        logger: Logger = Logger(label: "scheduler", factory: { _ in SwiftLogNoOpLogHandler() })
    ) {
        self.api = api
        pods = informers.informer(.pods)
        nodes = informers.informer(.nodes)
        namespaces = informers.informer(.namespaces)
        events = EventRecorder(api, component: name, now: now)
        schedulerName = name
        self.now = now
        let begin = clock.now
        elapsed = { begin.duration(to: clock.now) }
        sleep = { try? await clock.sleep(for: $0) }
        self.logger = logger
        state = Mutex(State(random: SeededRandom(seed: seed)))
        (wake, waker) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Runs until the task is cancelled. Whoever made the informers runs them.
    package func run() async {
        for informer in [nodes, pods, namespaces] {
            guard (try? await informer.waitUntilSynced()) != nil else { return }
        }
        let handlers = [
            (namespaces, namespaces.onChange { [weak self] in self?.note(namespace: $0) }),
            (nodes, nodes.onChange { [weak self] in self?.note(node: $0) }),
            (pods, pods.onChange { [weak self] in self?.note(pod: $0) }),
        ]
        defer { for (informer, handler) in handlers { informer.remove(handler) } }
        let slots = Slots(Self.writers)
        await withDiscardingTaskGroup { group in
            for await _ in wake {
                while let key = state.withLock({ $0.pending.next() }) {
                    if Task.isCancelled { return }
                    await slots.take()
                    guard let work = decide(key) else {
                        slots.give()
                        continue
                    }
                    group.addTask {
                        await self.perform(work)
                        slots.give()
                    }
                }
                if let delay = alarm() {
                    group.addTask {
                        await self.sleep(delay)
                        self.ring()
                    }
                }
            }
        }
    }

    // MARK: What the watches tell

    private func note(namespace change: CacheChange) {
        let labels = change.isRemoval ? nil : change.object.labels
        state.withLock { $0.view.namespaceLabels[change.key.name] = labels }
    }

    private func note(node change: CacheChange) {
        let mayFit = state.withLock { state in
            if change.isRemoval {
                state.view.remove(node: change.key.name)
                return false
            }
            let mayFit = state.view.set(node: change.object)
            if mayFit { state.pending.clusterChanged() }
            return mayFit
        }
        if mayFit { waker.yield() }
    }

    private func note(pod change: CacheChange) {
        let pod = change.object
        let phase = pod[Pod.phase]
        let isOver = change.isRemoval || phase == "Succeeded" || phase == "Failed"
        if case .changed(let old, _) = change, old.uid != pod.uid { note(pod: .removed(old)) }
        if isOver {
            state.withLock { state in
                state.pending.remove(pod.key)
                if state.view.remove(pod: pod.uid) { state.pending.clusterChanged() }
            }
            waker.yield()
            return
        }
        if !(pod[Pod.nodeName] ?? "").isEmpty {
            // A running pod whose affinity cannot be read stays what it is: taken, with its requests.
            guard let info = try? PodInfo(pod) else { return }
            state.withLock { state in
                state.pending.remove(pod.key)
                let isNew = !state.view.isPlaced(pod.uid)
                var changed = isNew
                if case .changed(let old, _) = change, old.labels != pod.labels { changed = true }
                state.view.set(pod: info)
                // Somebody may have waited for this one's company.
                if changed { state.pending.clusterChanged() }
            }
            waker.yield()
            return
        }
        guard isOurs(pod) else {
            state.withLock { $0.pending.remove(pod.key) }
            return
        }
        // Our own notes in its status are no reason to try again.
        if case .changed(let old, _) = change, old.spec == pod.spec, old.labels == pod.labels, isOurs(old) { return }
        state.withLock { $0.pending.add(pod.key, priority: pod[Pod.priority] ?? 0) }
        waker.yield()
    }

    private func isOurs(_ pod: KubeObject) -> Bool {
        (pod[Pod.schedulerName] ?? schedulerName) == schedulerName && pod.deletionTimestamp == nil
            && (pod[Pod.schedulingGates] ?? []).isEmpty
    }

    // MARK: One pod

    private enum Work: Sendable {
        case bind(KubeObject, node: String)
        case explain(KubeObject, reason: String, message: String)
    }

    private func decide(_ key: ObjectKey) -> Work? {
        guard let pod = pods.cache[key], (pod[Pod.nodeName] ?? "").isEmpty, isOurs(pod) else {
            state.withLock { $0.pending.remove(key) }
            return nil
        }
        let info: PodInfo
        do throws(APIFailure) {
            info = try PodInfo(pod)
        } catch {
            state.withLock { $0.pending.noNodeFits(key, now: elapsed()) }
            return .explain(pod, reason: "SchedulerError", message: error.message)
        }
        return state.withLock { state in
            // Bound by us a moment ago; the cache does not show it yet.
            if state.view.isPlaced(pod.uid) || state.binding.contains(pod.uid) {
                state.pending.remove(key)
                return nil
            }
            switch pick(info, in: state.view, start: &state.start, using: &state.random) {
            case .node(let name):
                state.view.assume(info, on: name)
                state.binding.insert(pod.uid)
                return .bind(pod, node: name)
            case .none(let count, let refusals):
                state.pending.noNodeFits(key, now: elapsed())
                return .explain(
                    pod, reason: "Unschedulable", message: unschedulableMessage(nodes: count, refusals: refusals))
            }
        }
    }

    private func perform(_ work: Work) async {
        switch work {
        case .bind(let pod, let node): await bind(pod, to: node)
        case .explain(let pod, let reason, let message): await explain(pod, reason, message)
        }
    }

    private func bind(_ pod: KubeObject, to node: String) async {
        do throws(APIFailure) {
            try await api.bind(pod.key, uid: pod.uid, node: node)
            state.withLock { state in
                state.binding.remove(pod.uid)
                state.pending.remove(pod.key)
            }
            await events.record(
                about: pod, reason: "Scheduled", message: "Successfully assigned \(pod.key) to \(node)")
        } catch {
            logger.debug("binding of \(pod.label) to \(node): \(error)")
            state.withLock { state in
                state.binding.remove(pod.uid)
                state.view.forget(pod.uid)
                if error.isNotFound {
                    state.pending.remove(pod.key)
                } else {
                    state.pending.failed(pod.key, now: elapsed())
                }
                state.pending.clusterChanged()
            }
            waker.yield()
            if !error.isNotFound, !error.isConflict {
                await events.record(
                    .warning, about: pod, reason: "FailedScheduling", message: "binding rejected: \(error.message)")
            }
        }
    }

    /// Says in the pod's status and in an event why it waits; only when that is news.
    private func explain(_ pod: KubeObject, _ reason: String, _ message: String) async {
        let old = pod[Pod.conditions]?.first { $0["type"]?.string == "PodScheduled" }
        let isNews = old?["status"] != "False" || old?["message"]?.string != message || old?["reason"]?.string != reason
        guard isNews else { return }
        let isSame = old?["status"]?.string == "False"
        let condition: JSON = [
            "type": "PodScheduled", "status": "False", "reason": .string(reason), "message": .string(message),
            "lastTransitionTime": isSame ? old?["lastTransitionTime"] ?? now().json : now().json,
        ]
        do throws(APIFailure) {
            _ = try await api.patch(
                .pods, pod.key, .strategicMerge, ["status": ["conditions": [condition]]], subresource: "status")
        } catch {
            logger.debug("condition of \(pod.label): \(error)")
        }
        await events.record(.warning, about: pod, reason: "FailedScheduling", message: message)
    }

    // MARK: Waiting

    /// How long to sleep for the next pod that is due; `nil` when nothing is, or an earlier alarm is set.
    private func alarm() -> Duration? {
        let now = elapsed()
        return state.withLock { state in
            guard let next = state.pending.nextDue else { return nil }
            if let alarm = state.alarm, alarm <= next { return nil }
            state.alarm = next
            return max(next - now, .zero)
        }
    }

    private func ring() {
        let now = elapsed()
        state.withLock { state in
            if let alarm = state.alarm, alarm <= now { state.alarm = nil }
            state.pending.wake(now: now)
        }
        waker.yield()
    }
}
