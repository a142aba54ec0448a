import KubeClient
import KubeTypes
import Synchronization
import Wire

/// A kind that asks for a number of pods alike.
protocol ReplicaKind: Sendable {
    /// The controller's name, as logs have it and, with `-controller`, events.
    static var name: String { get }
    static var type: ResourceType { get }
}

enum ReplicaSetKind: ReplicaKind {
    static let name = "replicaset"
    static let type = ResourceType.replicaSets
}

/// What was there before ReplicaSets: the same, but for its selector, which is labels only.
enum ReplicationControllerKind: ReplicaKind {
    static let name = "replication"
    static let type = ResourceType.replicationControllers
}

/// Keeps as many pods as each object of a kind asks for.
struct ReplicaController<Kind: ReplicaKind>: Controller {
    static var name: String { Kind.name }

    private let plane: ControlPlane
    private let sets: Informer
    private let pods: Informer
    private let events: EventRecorder
    private let written = WrittenVersions()
    private let deleting = PendingDeletions()

    init(_ plane: ControlPlane) {
        self.plane = plane
        sets = plane.informers.informer(Kind.type)
        pods = plane.informers.informer(.pods)
        events = plane.events("\(Kind.name)-controller")
    }

    var needs: [Informer] { [sets, pods] }

    func feed(_ queue: WorkQueue<ObjectKey>) {
        sets.onChange { queue.add($0.key) }
        let sets = sets
        pods.onChange { change in
            if case .changed(let old, _) = change, let owner = old.controller, owner.kind == Kind.type.kind {
                queue.add(ObjectKey(namespace: old.namespace, name: owner.name))
            }
            let pod = change.object
            if let owner = pod.controller {
                if owner.kind == Kind.type.kind { queue.add(ObjectKey(namespace: pod.namespace, name: owner.name)) }
            } else {
                let labels = pod.labels
                for set in sets.cache.list(namespace: pod.namespace) {
                    if (try? workloadSelector(set))?.matches(labels) == true { queue.add(set.key) }
                }
            }
        }
    }

    func reconcile(_ key: ObjectKey) async throws(APIFailure) -> NextLook {
        guard let set = sets.cache[key] else {
            deleting.forget(key)
            return .onChange
        }
        // The pods' changes will bring us back here when the cache has caught up; the delay is for a change that never comes.
        guard written.areSeen(for: key, by: pods.cache), deleting.areSeen(for: key, by: pods.cache) else {
            return .after(.seconds(30))
        }
        let selector = try workloadSelector(set)
        let ownership = Ownership(of: set, selector: selector, among: pods.cache.list(namespace: key.namespace))
        let mine = try await ownership.settle(.pods, owner: set, api: plane.api)
        let plan = ReplicaSetPlan(set: set, pods: mine, neighbours: neighbours(of: set), now: plane.now())
        var failure: APIFailure?
        do throws(APIFailure) {
            try await create(plan.creations, for: set)
            try await delete(plan.deletions, of: set)
        } catch {
            failure = error
        }
        try await writeStatus(set, mine, failure)
        if let failure { throw failure }
        return plan.lookAgain.map(NextLook.after) ?? .onChange
    }

    /// One first, then two, four, and so on, so that pods that cannot be made are refused a few times only.
    private func create(_ count: Int, for set: KubeObject) async throws(APIFailure) {
        var left = count
        var batch = 1
        while left > 0 {
            let size = min(batch, left, 32)
            let results = await withTaskGroup(of: Result<KubeObject, APIFailure>.self) { group in
                for _ in 0..<size {
                    group.addTask { await createOne(for: set) }
                }
                var results: [Result<KubeObject, APIFailure>] = []
                for await result in group { results.append(result) }
                return results
            }
            var failure: APIFailure?
            for result in results {
                switch result {
                case .success(let pod):
                    written.wrote(pod, for: set.key)
                    await events.record(about: set, reason: "SuccessfulCreate", message: "Created pod: \(pod.name)")
                case .failure(let error): failure = error
                }
            }
            if let failure {
                await events.record(
                    .warning, about: set, reason: "FailedCreate", message: "Error creating: \(failure.message)")
                throw failure
            }
            left -= size
            batch *= 2
        }
    }

    private func createOne(for set: KubeObject) async -> Result<KubeObject, APIFailure> {
        do throws(APIFailure) {
            return .success(try await plane.api.create(.pods, podFromTemplate(of: set)))
        } catch {
            return .failure(error)
        }
    }

    private func delete(_ victims: [KubeObject], of set: KubeObject) async throws(APIFailure) {
        for pod in victims {
            do throws(APIFailure) {
                try await plane.api.delete(.pods, pod.key, DeleteOptions(uid: pod.uid))
            } catch {
                guard error.isNotFound || error.isConflict else { throw error }
                continue
            }
            deleting.deleted(pod, for: set.key)
            await events.record(about: set, reason: "SuccessfulDelete", message: "Deleted pod: \(pod.name)")
        }
    }

    private func writeStatus(_ set: KubeObject, _ pods: [KubeObject], _ failure: APIFailure?) async throws(APIFailure) {
        let status = replicaSetStatus(set: set, pods: pods, failure: failure, now: plane.now())
        guard status != set.status else { return }
        var changed = set
        changed.status = status
        do throws(APIFailure) {
            _ = try await plane.api.updateStatus(Kind.type, changed)
        } catch {
            guard error.isNotFound else { throw error }
        }
    }

    /// How many active pods of the set's Deployment, all its sets together, each node has.
    private func neighbours(of set: KubeObject) -> [String: Int] {
        guard let deployment = set.controller else { return [:] }
        var counts: [String: Int] = [:]
        for sibling in sets.cache.owned(by: deployment.uid) {
            for pod in pods.cache.owned(by: sibling.uid) where pod.isPodActive {
                counts[pod[Pod.nodeName] ?? "", default: 0] += 1
            }
        }
        return counts
    }
}

/// Pods we deleted that the cache may still show as living. A uid never comes back, so none stays here for good.
final class PendingDeletions: Sendable {
    private let pods = Mutex<[ObjectKey: [ObjectKey: String]]>([:])

    func deleted(_ pod: KubeObject, for key: ObjectKey) {
        pods.withLock { $0[key, default: [:]][pod.key] = pod.uid }
    }

    func forget(_ key: ObjectKey) { pods.withLock { pods in pods[key] = nil } }

    func areSeen(for key: ObjectKey, by cache: ObjectCache) -> Bool {
        pods.withLock { pods in
            guard let pending = pods[key] else { return true }
            let left = pending.filter { pod, uid in
                guard let shown = cache[pod], shown.uid == uid else { return false }
                return shown.deletionTimestamp == nil
            }
            pods[key] = left.isEmpty ? nil : left
            return left.isEmpty
        }
    }
}
