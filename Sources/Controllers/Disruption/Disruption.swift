import KubeClient
import KubeTypes
import Wire

/// Keeps the status of PodDisruptionBudgets: how many of their pods an eviction may take.
struct DisruptionController: Controller {
    static let name = "disruption"

    private let plane: ControlPlane
    private let budgets: Informer
    private let pods: Informer
    /// What makes pods and says how many there should be, by kind.
    private let owners: [String: Informer]
    private let events: EventRecorder

    init(_ plane: ControlPlane) {
        self.plane = plane
        budgets = plane.informers.informer(.podDisruptionBudgets)
        pods = plane.informers.informer(.pods)
        let types: [ResourceType] = [.deployments, .replicaSets, .replicationControllers, .statefulSets]
        owners = Dictionary(uniqueKeysWithValues: types.map { ($0.kind, plane.informers.informer($0)) })
        events = plane.events("controllermanager")
    }

    var needs: [Informer] { [budgets, pods] + owners.values }

    func feed(_ queue: WorkQueue<ObjectKey>) {
        budgets.onChange { queue.add($0.key) }
        let budgets = budgets
        pods.onChange { change in
            var labels = [change.object.labels]
            if case .changed(let old, let new) = change {
                if PodView(old) == PodView(new) { return }
                if old.labels != new.labels { labels.append(old.labels) }
            }
            for budget in budgets.cache.list(namespace: change.key.namespace) {
                guard let selector = Self.selector(of: budget) else { continue }
                if labels.contains(where: selector.matches) { queue.add(budget.key) }
            }
        }
        for owner in owners.values {
            owner.onChange { change in
                if case .changed(let old, let new) = change, old.spec["replicas"] == new.spec["replicas"] { return }
                for budget in budgets.cache.list(namespace: change.key.namespace)
                where DisruptionPlan.needsReplicas(budget) { queue.add(budget.key) }
            }
        }
    }

    func reconcile(_ key: ObjectKey) async throws(APIFailure) -> NextLook {
        guard let budget = budgets.cache[key], budget.deletionTimestamp == nil else { return .onChange }
        let now = plane.now()
        guard let selector = Self.selector(of: budget) else {
            try await write(DisruptionPlan.failed("its selector cannot be read", of: budget, now: now), to: budget)
            return .onChange
        }
        let covered = pods.cache.list(namespace: key.namespace, matching: selector)
        if covered.isEmpty {
            await events.record(about: budget, reason: "NoPods", message: "No matching pods found")
        }
        var replicas = 0
        if DisruptionPlan.needsReplicas(budget) {
            switch wanted(by: covered) {
            case .count(let count): replicas = count
            case .unknown(let why):
                await events.record(.warning, about: budget, reason: "CalculateExpectedPodCountFailed", message: why)
                try await write(DisruptionPlan.failed(why, of: budget, now: now), to: budget)
                return .onChange
            }
        }
        let plan = DisruptionPlan(budget: budget, pods: covered, replicas: replicas, now: now)
        try await write(plan.status(of: budget, now: now), to: budget)
        return plan.lookAgain.map { .after(max(.milliseconds(100), $0 - now)) } ?? .onChange
    }

    /// Absent: nothing. Empty: every pod of the namespace.
    private static func selector(of budget: KubeObject) -> LabelSelector? {
        guard let json = budget.spec["selector"] else { return nil }
        return try? LabelSelector(json)
    }

    private enum Wanted {
        case count(Int)
        case unknown(String)
    }

    /// What the controllers of the pods want, each counted once.
    private func wanted(by pods: [KubeObject]) -> Wanted {
        var counts: [String: Int] = [:]
        for pod in pods {
            // A pod nobody controls has no number it should be part of.
            guard var reference = pod.controller else { continue }
            if reference.kind == "ReplicaSet",
                let set = owners["ReplicaSet"]?.cache[ObjectKey(namespace: pod.namespace, name: reference.name)],
                let above = set.controller
            {
                reference = above
            }
            if counts[reference.uid] != nil { continue }
            let key = ObjectKey(namespace: pod.namespace, name: reference.name)
            guard let owner = owners[reference.kind]?.cache[key], owner.uid == reference.uid else {
                return .unknown("found no controller with a scale for pod \"\(pod.name)\"")
            }
            counts[reference.uid] = owner.spec["replicas"]?.int ?? 1
        }
        return .count(counts.values.reduce(0, +))
    }

    private func write(_ status: JSON, to budget: KubeObject) async throws(APIFailure) {
        if status == budget.status { return }
        var changed = budget
        changed.status = status
        do throws(APIFailure) {
            _ = try await plane.api.updateStatus(.podDisruptionBudgets, changed)
        } catch {
            guard error.isNotFound else { throw error }
        }
    }
}

/// What a budget sees of a pod.
private struct PodView: Equatable {
    var labels: [String: String]
    var isReady: Bool
    var isFinished: Bool
    var isTerminating: Bool
    var owner: String?

    init(_ pod: KubeObject) {
        labels = pod.labels
        isReady = pod.isPodReady
        isFinished = pod.isPodFinished
        isTerminating = pod.deletionTimestamp != nil
        owner = pod.controller?.uid
    }
}
