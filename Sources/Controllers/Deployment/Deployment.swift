import KubeClient
import KubeTypes
import Wire

/// Rolls a Deployment's template out through ReplicaSets.
struct DeploymentController: Controller {
    static let name = "deployment"

    private let plane: ControlPlane
    private let deployments: Informer
    private let sets: Informer
    private let pods: Informer
    private let events: EventRecorder
    private let written = WrittenVersions()

    init(_ plane: ControlPlane) {
        self.plane = plane
        deployments = plane.informers.informer(.deployments)
        sets = plane.informers.informer(.replicaSets)
        pods = plane.informers.informer(.pods)
        events = plane.events("deployment-controller")
    }

    var needs: [Informer] { [deployments, sets, pods] }

    func feed(_ queue: WorkQueue<ObjectKey>) {
        deployments.onChange { queue.add($0.key) }
        let deployments = deployments
        let sets = sets
        sets.onChange { change in
            let set = change.object
            if let owner = set.controller {
                if owner.kind == "Deployment" { queue.add(ObjectKey(namespace: set.namespace, name: owner.name)) }
            } else {
                let labels = set.labels
                for deployment in deployments.cache.list(namespace: set.namespace) {
                    if (try? workloadSelector(deployment))?.matches(labels) == true { queue.add(deployment.key) }
                }
            }
        }
        // Recreate waits until the last old pod is gone.
        pods.onChange { change in
            guard change.isRemoval || change.object.isPodFinished, let owner = change.object.controller,
                owner.kind == "ReplicaSet"
            else { return }
            let set = sets.cache[ObjectKey(namespace: change.object.namespace, name: owner.name)]
            guard let deployment = set?.controller, deployment.kind == "Deployment" else { return }
            queue.add(ObjectKey(namespace: change.object.namespace, name: deployment.name))
        }
    }

    func reconcile(_ key: ObjectKey) async throws(APIFailure) -> NextLook {
        guard let deployment = deployments.cache[key] else { return .onChange }
        // The sets' changes bring us back when the cache has caught up with our own writes.
        guard written.areSeen(for: key, by: sets.cache) else { return .after(.seconds(30)) }
        let ownership = Ownership(
            of: deployment, selector: try workloadSelector(deployment), among: sets.cache.list(namespace: key.namespace)
        )
        let mine = try await ownership.settle(.replicaSets, owner: deployment, api: plane.api)
        let plan = try DeploymentPlan(
            deployment: deployment, sets: mine.map(RevisionSet.init),
            oldPods: { old in
                old.contains { set in pods.cache.owned(by: set.object.uid).contains { !$0.isPodFinished } }
            },
            now: plane.now())
        var status = plan.status
        if let creation = plan.creation { status["collisionCount"] = try await create(creation, for: deployment) }
        for set in plan.updates {
            written.wrote(try await plane.api.update(.replicaSets, set.object), for: key)
        }
        for note in plan.notes { await events.record(about: deployment, reason: note.reason, message: note.message) }
        for set in plan.deletions {
            do throws(APIFailure) {
                try await plane.api.delete(.replicaSets, set.object.key, DeleteOptions(uid: set.object.uid))
            } catch {
                guard error.isNotFound || error.isConflict else { throw error }
            }
        }
        var latest = deployment
        if let revision = plan.revision {
            latest.annotations[RevisionSet.revisionAnnotation] = revision
            latest = try await plane.api.update(.deployments, latest)
        }
        if status != latest.status {
            latest.status = status
            _ = try await plane.api.updateStatus(.deployments, latest)
        }
        return plan.lookAgain.map(NextLook.after) ?? .onChange
    }

    /// A set of that name may be there: ours from a moment ago, which the cache does not show yet, or, with another template, a
    /// collision of hashes, which the next look avoids by a higher count.
    /// - Returns: the collision count to write.
    private func create(_ set: KubeObject, for deployment: KubeObject) async throws(APIFailure) -> JSON? {
        let count = deployment.status["collisionCount"]
        do throws(APIFailure) {
            written.wrote(try await plane.api.create(.replicaSets, set), for: deployment.key)
            return count
        } catch {
            guard error.alreadyExists else {
                await events.record(
                    .warning, about: deployment, reason: "ReplicaSetCreateError", message: error.message)
                throw error
            }
        }
        let found = try await plane.api.get(.replicaSets, set.key)
        let isSame =
            found.controller?.uid == deployment.uid
            && TemplateHash.canonical(found[ReplicaSet.template] ?? [:])
                == TemplateHash.canonical(set[ReplicaSet.template] ?? [:])
        return isSame ? count : .int(Int64((count?.int ?? 0) + 1))
    }
}
