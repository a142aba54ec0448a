package import KubeTypes
import Wire

/// A node and the pods on it, with sums kept as pods come and go.
package struct NodeInfo: Sendable {
    package var name: String
    package var labels: [String: String] = [:]
    package var taints: [Taint] = []
    package var isUnschedulable = false
    package var allocatable = Resources()
    package var podLimit = 0
    /// Bytes of each image the node has.
    package var images: [String: Int64] = [:]
    /// Whether the node object is here: pods may be told before their node.
    package var isKnown = false

    package private(set) var pods: [String: PodInfo] = [:]  // by uid
    package private(set) var requested = Resources()
    /// As requested, but pods that ask for nothing count as small: for scores, where they would weigh nothing.
    package private(set) var weighed = Resources()
    package private(set) var ports: [PodInfo.HostPort: Int] = [:]
    package private(set) var owners: [String: Int] = [:]

    package init(name: String) { self.name = name }

    /// Takes over what the node object says; the pods stay.
    package mutating func update(from node: KubeObject) {
        isKnown = true
        labels = node.labels
        if labels["kubernetes.io/hostname"] == nil { labels["kubernetes.io/hostname"] = node.name }
        taints = (node[Node.taints] ?? []).compactMap(Taint.init)
        isUnschedulable = node[Node.unschedulable] ?? false
        let amounts = node[Node.allocatable] ?? node[Node.capacity]
        allocatable = Resources(json: amounts)
        podLimit = amounts?["pods"].flatMap(Quantity.init(json:)).map { Int($0.whole) } ?? 110
        images = [:]
        for image in node[Node.images] ?? [] {
            let size = Int64(image["sizeBytes"]?.int ?? 0)
            for name in image["names"]?.array ?? [] {
                if let name = name.string { images[name] = size }
            }
        }
    }

    /// Whether a change of the node could let a pod on it that did not fit before.
    package func mayAcceptMore(than old: NodeInfo) -> Bool {
        labels != old.labels || taints != old.taints || isUnschedulable != old.isUnschedulable
            || allocatable != old.allocatable || podLimit != old.podLimit || !old.isKnown
    }

    package mutating func add(_ pod: PodInfo) {
        if pods[pod.uid] != nil { remove(pod.uid) }
        pods[pod.uid] = pod
        requested = requested + pod.requests
        weighed = weighed + Self.weight(of: pod)
        for port in pod.hostPorts { ports[port, default: 0] += 1 }
        if let owner = pod.owner { owners[owner, default: 0] += 1 }
    }

    package mutating func remove(_ uid: String) {
        guard let pod = pods.removeValue(forKey: uid) else { return }
        requested = requested - pod.requests
        weighed = weighed - Self.weight(of: pod)
        for port in pod.hostPorts {
            let count = ports[port, default: 1] - 1
            ports[port] = count == 0 ? nil : count
        }
        if let owner = pod.owner {
            let count = owners[owner, default: 1] - 1
            owners[owner] = count == 0 ? nil : count
        }
    }

    /// A tenth of a core and 200 MiB for what a pod leaves unsaid.
    package static func weight(of pod: PodInfo) -> Resources {
        Resources(
            cpu: pod.requests.cpu == 0 ? 100 : pod.requests.cpu,
            memory: pod.requests.memory == 0 ? 200 << 20 : pod.requests.memory)
    }

    package func hasPort(_ port: PodInfo.HostPort) -> Bool {
        if ports.isEmpty { return false }
        return ports.keys.contains { used in
            used.port == port.port && used.transport == port.transport
                && (used.address == port.address || used.address == "0.0.0.0" || port.address == "0.0.0.0")
        }
    }
}
