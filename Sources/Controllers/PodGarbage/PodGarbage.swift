import KubeClient
import KubeTypes
import Wire

/// Removes pods whose node is gone, pods deleted before they started, and too many ended ones. Looks every 20 seconds, since
/// it is time that tells these from pods on their way.
struct PodGarbageController: Controller {
    static let name = "pod-garbage"
    private static let interval = Duration.seconds(20)
    /// A pod is stranded when its node was missing at two looks.
    private static let everything = ObjectKey(name: "all")

    private let plane: ControlPlane
    private let pods: Informer
    private let nodes: Informer
    private let suspects = Suspects()
    private let keptFinished: Int

    init(_ plane: ControlPlane, keptFinished: Int) {
        self.plane = plane
        self.keptFinished = keptFinished
        pods = plane.informers.informer(.pods)
        nodes = plane.informers.informer(.nodes)
    }

    var needs: [Informer] { [pods, nodes] }

    func feed(_ queue: WorkQueue<ObjectKey>) {
        queue.add(Self.everything)
        nodes.onChange { if $0.isRemoval { queue.add(Self.everything) } }
    }

    func reconcile(_ key: ObjectKey) async throws(APIFailure) -> NextLook {
        let plan = PodGarbagePlan(
            pods: pods.cache.all, nodes: Set(nodes.cache.keys.map(\.name)), keptFinished: keptFinished)
        let confirmed = suspects.confirm(plan.stranded.map(\.uid))
        for pod in plan.stranded where confirmed.contains(pod.uid) {
            guard try await isNodeGone(pod[Pod.nodeName] ?? "") else { continue }
            if !pod.isPodFinished { try await markFailed(pod) }
            try await remove(pod)
        }
        for pod in plan.neverStarted + plan.excess { try await remove(pod) }
        return .after(Self.interval)
    }

    private func isNodeGone(_ name: String) async throws(APIFailure) -> Bool {
        do throws(APIFailure) {
            _ = try await plane.api.get(.nodes, ObjectKey(name: name))
            return false
        } catch {
            guard error.isNotFound else { throw error }
            return true
        }
    }

    private func markFailed(_ pod: KubeObject) async throws(APIFailure) {
        var changed = pod
        changed[Pod.phase] = "Failed"
        var conditions = Conditions(pod[Pod.conditions] ?? [])
        conditions.set(
            "DisruptionTarget", "True", reason: "DeletionByPodGC", message: "the node of the pod is gone",
            now: plane.now())
        changed[Pod.conditions] = conditions.list
        do throws(APIFailure) {
            _ = try await plane.api.updateStatus(.pods, changed)
        } catch {
            guard error.isNotFound || error.isConflict else { throw error }
        }
    }

    private func remove(_ pod: KubeObject) async throws(APIFailure) {
        do throws(APIFailure) {
            try await plane.api.delete(.pods, pod.key, DeleteOptions(gracePeriodSeconds: 0, uid: pod.uid))
        } catch {
            guard error.isNotFound || error.isConflict else { throw error }
        }
    }
}
