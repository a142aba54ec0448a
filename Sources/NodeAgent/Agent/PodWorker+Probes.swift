import ContainerRuntime
import KubeClient
import KubeTypes
import ServiceNetwork
import Wire

extension PodWorker {
    /// A run that is looked after: what its probes say, and the tasks that ask them.
    struct WatchedRun {
        var probes: RunProbes
        var tasks: [ProbeKind: Task<Void, Never>] = [:]
        var isHooked = false
        var hookFailure: String?
    }

    /// Probes what runs, forgets what has ended.
    func follow(_ sandbox: SandboxStatus?) {
        let known = sandbox?.containers ?? []
        let isAlive = sandbox?.isRunning ?? false
        for run in known {
            guard let container = pod.container(named: run.name) else { continue }
            if run.state == .running, isAlive {
                if runs[run.id] == nil {
                    runs[run.id] = WatchedRun(probes: RunProbes(container, earlier: earlierVerdict(run)))
                }
                probe(run, container)
            } else {
                endWatch(run.id)
                stops[run.id] = nil
                if messages[run.id] == nil { messages[run.id] = terminationMessage(of: run, container) }
            }
        }
        for id in Array(runs.keys) where !known.contains(where: { $0.id == id }) { endWatch(id) }
        for id in Array(stops.keys) where !known.contains(where: { $0.id == id }) { stops[id] = nil }
    }

    func endWatch(_ id: String) {
        guard let run = runs.removeValue(forKey: id) else { return }
        run.tasks.values.forEach { $0.cancel() }
    }

    /// What the API says of this very run, told by an agent before us.
    private func earlierVerdict(_ run: RunStatus) -> ProbeVerdict? {
        let id = PodStatusPlan.containerID(run, pod)
        guard let status = pod.statuses.first(where: { $0["containerID"]?.string == id }) else { return nil }
        return ProbeVerdict(isStarted: status["started"]?.bool ?? false, isReady: status["ready"]?.bool ?? false)
    }

    private func probe(_ run: RunStatus, _ container: ContainerDescription) {
        guard let watched = runs[run.id], !watched.isHooked else { return }
        let isStarted = watched.probes.isStarted
        let due: [ProbeKind] = isStarted ? [.liveness, .readiness] : [.startup]
        for kind in due where watched.tasks[kind] == nil {
            guard let state = watched.probes[kind] else { continue }
            let prober = prober
            runs[run.id]?.tasks[kind] = Task {
                let first = Timestamp(unixNanoseconds: run.startedAt) + state.description.initialDelay
                try? await Task.sleep(for: max(.zero, first - self.node.now()))
                while !Task.isCancelled {
                    let outcome = await prober.attempt(
                        state.description.handler, container: run.id, within: state.description.timeout)
                    if Task.isCancelled { return }
                    guard let pause = self.record(kind, outcome, run.id, container) else { return }
                    try? await Task.sleep(for: pause)
                }
            }
        }
    }

    /// - Returns: how long until the next attempt; `nil` when there is none.
    private func record(
        _ kind: ProbeKind, _ outcome: ProbeOutcome, _ id: String, _ container: ContainerDescription
    ) -> Duration? {
        guard let before = runs[id]?.probes.verdict else { return nil }
        let counted = runs[id]?.probes.record(kind, outcome, at: node.now()) ?? false
        switch outcome {
        case .failure(let message) where counted:
            node.events.tell(
                .warning, pod.object, "Unhealthy", "\(kind.rawValue) probe failed: \(message)", container: container)
        case .unknown(let message):
            node.events.tell(
                .warning, pod.object, "ProbeWarning", "\(kind.rawValue) probe: \(message)", container: container)
        default: break
        }
        guard let probes = runs[id]?.probes, let state = probes[kind] else { return nil }
        if probes.verdict != before { ring() }
        if kind == .startup, state.isPassing { return nil }
        return state.pause
    }

    var prober: Prober {
        Prober(
            runtime: node.runtime, podUID: pod.uid, address: attachment?.address ?? node.configuration.nodeAddress,
            networkNamespace: pod.usesHostNetwork ? node.configuration.networkNamespace : attachment?.networkNamespace)
    }

    /// A run whose `postStart` hook is under way is not started, and not probed.
    func beginHook(_ id: String, _ container: ContainerDescription) {
        var run = runs[id] ?? WatchedRun(probes: RunProbes(container))
        run.isHooked = true
        runs[id] = run
    }

    func endHook(_ id: String, failure: String?) {
        runs[id]?.isHooked = false
        runs[id]?.hookFailure = failure
        ring()
    }
}
