import KubeClient
import KubeTypes
import Synchronization
import Wire

/// Watches the nodes' leases: a node that falls silent is marked, kept free of new pods, and in time its pods are replaced.
struct NodeLifecycleController: Controller {
    static let name = "node-lifecycle"
    static let leaseNamespace = "kube-node-lease"

    private let plane: ControlPlane
    private let nodes: Informer
    private let leases: Informer
    private let pods: Informer
    private let events: EventRecorder
    private let heard = LastHeard()

    init(_ plane: ControlPlane) {
        self.plane = plane
        nodes = plane.informers.informer(.nodes)
        leases = plane.informers.informer(.leases)
        pods = plane.informers.informer(.pods, indexes: [.field(Pod.nodeName)])
        events = plane.events("node-controller")
    }

    var needs: [Informer] { [nodes, leases, pods] }

    func feed(_ queue: WorkQueue<ObjectKey>) {
        nodes.onChange { queue.add($0.key) }
        // A renewal changes nothing while the node is well, so it does not wake us; the end of a silence does.
        let nodes = nodes
        leases.onChange { change in
            guard change.key.namespace == Self.leaseNamespace, !change.isRemoval else { return }
            let key = ObjectKey(name: change.key.name)
            if nodes.cache[key]?.condition("Ready")?["status"] == "Unknown" { queue.add(key) }
        }
    }

    func reconcile(_ key: ObjectKey) async throws(APIFailure) -> NextLook {
        guard let node = nodes.cache[key] else {
            heard.forget(key.name)
            return .onChange
        }
        let lease = leases.cache[ObjectKey(namespace: Self.leaseNamespace, name: key.name)]
        let now = plane.now()
        // Measured by our own clock from when we saw the last sign of life, so a node's wrong clock, or a long pause of
        // ours, does not make it look dead.
        let heartbeat = node.condition("Ready")?["lastHeartbeatTime"]?.string ?? ""
        let sign = (lease?[Lease.renewTime] ?? "") + " " + heartbeat
        let quiet = now - heard.since(sign, of: key.name, now: now)
        let plan = NodeHealthPlan(node: node, quiet: quiet, now: now)
        var latest = node
        if let taints = plan.taints {
            latest[Node.taints] = taints.isEmpty ? nil : taints
            latest = try await plane.api.update(.nodes, latest)
        }
        if let status = plan.status {
            latest.status = status
            latest = try await plane.api.updateStatus(.nodes, latest)
            await events.record(
                about: node, reason: "NodeNotReady", message: "Node \(key.name) status is now: NodeNotReady")
        }
        var next = plan.lookAgain
        let stationed = pods.cache.list(by: .field(Pod.nodeName), key.name)
        if plan.marksPodsNotReady {
            for pod in stationed { try await markNotReady(pod, now) }
        }
        for pod in stationed where pod.deletionTimestamp == nil && !pod.isPodFinished {
            guard let time = evictionTime(of: pod, taints: plan.taints ?? node[Node.taints] ?? [], now: now) else { continue }
            if time <= now {
                try await evict(pod)
            } else {
                next = min(next, time - now + .milliseconds(100))
            }
        }
        return .after(next)
    }

    private func markNotReady(_ pod: KubeObject, _ now: Timestamp) async throws(APIFailure) {
        guard pod.isPodReady else { return }
        var conditions = Conditions(pod[Pod.conditions] ?? [])
        conditions.set(
            "Ready", "False", reason: "NodeNotReady", message: "the node stopped reporting", now: now)
        var changed = pod
        changed[Pod.conditions] = conditions.list
        do throws(APIFailure) {
            _ = try await plane.api.updateStatus(.pods, changed)
        } catch {
            guard error.isNotFound || error.isConflict else { throw error }
        }
    }

    private func evict(_ pod: KubeObject) async throws(APIFailure) {
        do throws(APIFailure) {
            try await plane.api.delete(.pods, pod.key, DeleteOptions(uid: pod.uid))
        } catch {
            guard error.isNotFound || error.isConflict else { throw error }
            return
        }
        await events.record(
            about: pod, reason: "TaintManagerEviction", message: "Marking for deletion Pod \(pod.namespace)/\(pod.name)")
    }
}

/// When each node's last new sign of life was seen here.
private final class LastHeard: Sendable {
    private struct Sign {
        var text: String
        var seen: Timestamp
    }
    private let signs = Mutex<[String: Sign]>([:])

    func since(_ text: String, of node: String, now: Timestamp) -> Timestamp {
        signs.withLock { signs in
            if let known = signs[node], known.text == text { return known.seen }
            signs[node] = Sign(text: text, seen: now)
            return now
        }
    }

    func forget(_ node: String) { signs.withLock { signs in signs[node] = nil } }
}
