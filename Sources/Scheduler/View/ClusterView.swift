package import KubeTypes

/// The nodes with their pods, as the watches tell and as we assume: a pod we are binding counts at once.
package struct ClusterView: Sendable {
    package private(set) var nodes: [String: NodeInfo] = [:]
    /// Node names in a fixed order.
    package private(set) var order: [String] = []
    package var namespaceLabels: [String: [String: String]] = [:]
    /// Pods with required anti-affinity, of which there are few, by uid: they refuse others.
    package private(set) var exclusive: [String: String] = [:]
    /// Where each pod stands.
    private var places: [String: String] = [:]
    private var assumed: Set<String> = []

    package init() {}

    package var known: [NodeInfo] { order.compactMap { nodes[$0] }.filter(\.isKnown) }

    /// - Returns: whether pods that did not fit may fit now.
    package mutating func set(node object: KubeObject) -> Bool {
        if nodes[object.name] == nil { add(object.name) }
        guard let old = nodes[object.name] else { return false }
        nodes[object.name]?.update(from: object)
        return nodes[object.name]?.mayAcceptMore(than: old) ?? false
    }

    package mutating func remove(node name: String) {
        nodes[name]?.isKnown = false
        if nodes[name]?.pods.isEmpty == true {
            nodes[name] = nil
            order.removeAll { $0 == name }
        }
    }

    /// Notes a pod bound to a node; the word of the server replaces what we assumed.
    package mutating func set(pod: PodInfo) {
        if let place = places[pod.uid], place != pod.nodeName { remove(pod: pod.uid) }
        assumed.remove(pod.uid)
        put(pod)
    }

    package mutating func assume(_ pod: PodInfo, on node: String) {
        var pod = pod
        pod.nodeName = node
        assumed.insert(pod.uid)
        put(pod)
    }

    /// The binding failed: the pod is not there after all, unless the server said meanwhile that it is.
    package mutating func forget(_ uid: String) {
        if assumed.contains(uid) { remove(pod: uid) }
    }

    package func isPlaced(_ uid: String) -> Bool { places[uid] != nil }

    /// - Returns: whether the pod stood on a node.
    @discardableResult
    package mutating func remove(pod uid: String) -> Bool {
        assumed.remove(uid)
        exclusive[uid] = nil
        guard let place = places.removeValue(forKey: uid) else { return false }
        nodes[place]?.remove(uid)
        if nodes[place]?.isKnown == false { remove(node: place) }
        return true
    }

    private mutating func put(_ pod: PodInfo) {
        if nodes[pod.nodeName] == nil { add(pod.nodeName) }
        nodes[pod.nodeName]?.add(pod)
        places[pod.uid] = pod.nodeName
        exclusive[pod.uid] = pod.requiredAbsences.isEmpty ? nil : pod.nodeName
    }

    private mutating func add(_ name: String) {
        nodes[name] = NodeInfo(name: name)
        let place = order.firstIndex { $0 > name } ?? order.count
        order.insert(name, at: place)
    }
}
