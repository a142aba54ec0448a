package import KubeTypes

/// The nodes with their pods, as the watches tell and as we assume: a pod we are binding counts at once.
package struct ClusterView: Sendable {
    /// In the order of their names. One whose object is not here is kept while pods stand on it; see `isKnown`.
    package private(set) var nodes: [NodeInfo] = []
    package private(set) var knownCount = 0
    package var namespaceLabels: [String: [String: String]] = [:]
    /// Pods with required anti-affinity, of which there are few, and their nodes: they refuse others.
    package private(set) var exclusive: [String: String] = [:]
    /// Where each node is in `nodes`, and on which node each pod stands.
    private var indexes: [String: Int] = [:]
    private var places: [String: String] = [:]
    private var assumed: Set<String> = []

    package init() {}

    package subscript(name: String) -> NodeInfo? { indexes[name].map { nodes[$0] } }

    /// - Returns: whether pods that did not fit may fit now.
    package mutating func set(node object: KubeObject) -> Bool {
        let index = place(of: object.name)
        let old = nodes[index]
        if !old.isKnown { knownCount += 1 }
        nodes[index].update(from: object)
        return nodes[index].mayAcceptMore(than: old)
    }

    package mutating func remove(node name: String) {
        guard let index = indexes[name] else { return }
        if nodes[index].isKnown { knownCount -= 1 }
        nodes[index].isKnown = false
        guard nodes[index].pods.isEmpty else { return }
        nodes.remove(at: index)
        indexes[name] = nil
        reindex(from: index)
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
        guard let place = places.removeValue(forKey: uid), let index = indexes[place] else { return false }
        nodes[index].remove(uid)
        if !nodes[index].isKnown { remove(node: place) }
        return true
    }

    private mutating func put(_ pod: PodInfo) {
        nodes[place(of: pod.nodeName)].add(pod)
        places[pod.uid] = pod.nodeName
        exclusive[pod.uid] = pod.requiredAbsences.isEmpty ? nil : pod.nodeName
    }

    /// The node's index; a new name gets one.
    private mutating func place(of name: String) -> Int {
        if let index = indexes[name] { return index }
        let index = nodes.firstIndex { $0.name > name } ?? nodes.count
        nodes.insert(NodeInfo(name: name), at: index)
        reindex(from: index)
        return index
    }

    private mutating func reindex(from first: Int) {
        for index in first..<nodes.count { indexes[nodes[index].name] = index }
    }
}
