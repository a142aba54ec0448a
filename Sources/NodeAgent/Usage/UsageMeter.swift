import ContainerRuntime
import Kernel
import KubeClient
import KubeTypes

/// What the pods of a node use, measured when somebody asks: a node nobody asks about has no cost.
///
/// Processor time is the mean since the sample before, if that is fresh; the first to ask waits for a second sample.
actor UsageMeter {
    private struct Sample {
        let at: ContinuousClock.Instant
        /// By pod uid, then by container id; see `PodRuntime.stats`.
        let usage: [String: [String: CgroupUsage]]
    }
    /// Samples of which the later is sooner than this tell little.
    private static let shortest = Duration.seconds(1)
    private static let longest = Duration.seconds(60)

    private let runtime: any PodRuntime
    private let now: @Sendable () -> Timestamp
    private var older: Sample?
    private var newer: Sample?

    init(_ runtime: any PodRuntime, now: @escaping @Sendable () -> Timestamp) {
        self.runtime = runtime
        self.now = now
    }

    func usage() async throws(RuntimeFailure) -> NodeUsage {
        let sandboxes = try await runtime.sandboxes().filter(\.isRunning)
        let current = await sample(sandboxes)
        if let newer, current.at - newer.at >= Self.shortest { older = newer }
        newer = current
        if let older, current.at - older.at <= Self.longest { return usage(sandboxes, from: older, to: current) }
        older = current
        try? await Task.sleep(for: Self.shortest)
        let later = await sample(sandboxes)
        newer = later
        return usage(sandboxes, from: current, to: later)
    }

    private func sample(_ sandboxes: [SandboxStatus]) async -> Sample {
        var usage: [String: [String: CgroupUsage]] = [:]
        for sandbox in sandboxes {
            // One that ends meanwhile uses nothing any more.
            usage[sandbox.podUID] = try? await runtime.stats(podUID: sandbox.podUID)
        }
        return Sample(at: .now, usage: usage)
    }

    private func usage(_ sandboxes: [SandboxStatus], from older: Sample, to newer: Sample) -> NodeUsage {
        let window = newer.at - older.at
        func amount(_ uid: String, _ id: String) -> NodeUsage.Amount? {
            guard let last = newer.usage[uid]?[id] else { return nil }
            let first = older.usage[uid]?[id]?.cpuNanoseconds ?? 0
            let spent = Double(last.cpuNanoseconds >= first ? last.cpuNanoseconds - first : 0)
            return NodeUsage.Amount(
                nanocores: UInt64(spent / max(window / .seconds(1), 0.001)), workingSetBytes: last.workingSetBytes)
        }
        let pods = sandboxes.compactMap { sandbox -> NodeUsage.Pod? in
            guard let whole = amount(sandbox.podUID, "") else { return nil }
            let running = sandbox.containers.filter { $0.state == .running }
            return NodeUsage.Pod(
                key: ObjectKey(namespace: sandbox.namespace, name: sandbox.name), whole: whole,
                containers: running.compactMap { container in
                    amount(sandbox.podUID, container.id).map { (container.name, $0) }
                })
        }
        return NodeUsage(time: now(), window: window, pods: pods)
    }
}
