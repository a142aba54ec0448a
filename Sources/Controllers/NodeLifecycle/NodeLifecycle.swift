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
        let (heard, now, nodes) = (heard, plane.now, nodes)
        nodes.onChange { change in
            if case .changed(let old, let new) = change, heartbeat(old) != heartbeat(new) {
                heard.note(new.name, at: now())
            }
            queue.add(change.key)
        }
        // A renewal changes nothing while the node is well, so it does not wake us; the end of a silence does.
        leases.onChange { change in
            guard change.key.namespace == Self.leaseNamespace, !change.isRemoval else { return }
            heard.note(change.key.name, at: now())
            let key = ObjectKey(name: change.key.name)
            if nodes.cache[key]?.condition("Ready")?["status"] == "Unknown" { queue.add(key) }
        }
    }

    func reconcile(_ key: ObjectKey) async throws(APIFailure) -> NextLook {
        guard let node = nodes.cache[key] else {
            heard.forget(key.name)
            return .onChange
        }
        let now = plane.now()
        let quiet = heard.silence(of: key.name, at: now)
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
            guard let time = evictionTime(of: pod, taints: plan.taints ?? node[Node.taints] ?? [], now: now) else {
                continue
            }
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
            about: pod, reason: "TaintManagerEviction", message: "Marking for deletion Pod \(pod.namespace)/\(pod.name)"
        )
    }
}

private func heartbeat(_ node: KubeObject) -> JSON? { node.condition("Ready")?["lastHeartbeatTime"] }

/// When each node last gave a sign of life, by our own clock, so that a node's wrong clock does not make it look dead.
private final class LastHeard: Sendable {
    private struct State {
        var nodes: [String: Timestamp] = [:]
        var lastLook: Timestamp?
    }
    private let state = Mutex(State())

    func note(_ node: String, at time: Timestamp) { state.withLock { $0.nodes[node] = time } }

    /// A node never heard of is heard from now on. While nodes are here we look at least every 40 seconds; a longer gap means
    /// that this process stood still, or the clock jumped, and every node is given its time anew.
    func silence(of node: String, at now: Timestamp) -> Duration {
        state.withLock { state in
            if let last = state.lastLook, now - last > NodeHealthPlan.silence + .seconds(15) {
                for name in state.nodes.keys { state.nodes[name] = now }
            }
            state.lastLook = now
            if let heard = state.nodes[node] { return max(.zero, now - heard) }
            state.nodes[node] = now
            return .zero
        }
    }

    func forget(_ node: String) { state.withLock { state in state.nodes[node] = nil } }
}
