import KubeTypes

/// One place of a topology: the nodes whose label `key` is `value`.
struct TopologyPlace: Hashable, Sendable {
    var key: String
    var value: String
}

/// What must be known of the whole cluster to judge one pod on each node, gathered once a pod.
package struct TopologyFacts: Sendable {
    /// For each of the pod's required terms: the places that have a matching pod.
    var companions: [Set<TopologyPlace>] = []
    /// No pod matches the terms yet, and the pod matches them itself: the first of a group may stand anywhere.
    var isFirstOfGroup = false
    /// Places with a pod this one must not be with.
    var avoided: Set<TopologyPlace> = []
    /// Places with a pod that does not want this one.
    var forbidden: Set<TopologyPlace> = []
    /// For each spread constraint: matching pods by value of its topology label, over the nodes that count.
    var spread: [[String: Int]] = []
    /// Wishes fulfilled, by place; negative for unwanted company.
    var wishes: [TopologyPlace: Int] = [:]

    /// - Parameter pod: not yet on any node.
    package init(for pod: PodInfo, in view: ClusterView) {
        gatherForbidden(pod, view)
        let hasTerms =
            !pod.requiredPods.isEmpty || !pod.requiredAbsences.isEmpty || !pod.preferredPods.isEmpty
            || !pod.preferredAbsences.isEmpty
        guard hasTerms || !pod.spread.isEmpty else { return }
        let nodes = view.nodes.filter(\.isKnown)
        if hasTerms { gatherTerms(pod, nodes, view.namespaceLabels) }
        spread = pod.spread.map { Self.count($0, pod, nodes) }
    }

    private mutating func gatherForbidden(_ pod: PodInfo, _ view: ClusterView) {
        for (uid, name) in view.exclusive {
            guard let node = view[name], let other = node.pods[uid] else { continue }
            for term in other.requiredAbsences where term.matches(pod, namespaceLabels: view.namespaceLabels) {
                if let value = node.labels[term.topologyKey] {
                    forbidden.insert(TopologyPlace(key: term.topologyKey, value: value))
                }
            }
        }
    }

    private mutating func gatherTerms(
        _ pod: PodInfo, _ nodes: [NodeInfo], _ namespaceLabels: [String: [String: String]]
    ) {
        companions = pod.requiredPods.map { _ in [] }
        func place(_ term: PodTerm, _ node: NodeInfo) -> TopologyPlace? {
            node.labels[term.topologyKey].map { TopologyPlace(key: term.topologyKey, value: $0) }
        }
        for node in nodes {
            for other in node.pods.values where !other.isEnding {
                for (index, term) in pod.requiredPods.enumerated() {
                    guard let place = place(term, node), term.matches(other, namespaceLabels: namespaceLabels) else {
                        continue
                    }
                    companions[index].insert(place)
                }
                for term in pod.requiredAbsences {
                    guard let place = place(term, node), term.matches(other, namespaceLabels: namespaceLabels) else {
                        continue
                    }
                    avoided.insert(place)
                }
                for wish in pod.preferredPods {
                    guard let place = place(wish.term, node), wish.term.matches(other, namespaceLabels: namespaceLabels)
                    else {
                        continue
                    }
                    wishes[place, default: 0] += wish.weight
                }
                for wish in pod.preferredAbsences {
                    guard let place = place(wish.term, node), wish.term.matches(other, namespaceLabels: namespaceLabels)
                    else {
                        continue
                    }
                    wishes[place, default: 0] -= wish.weight
                }
            }
        }
        isFirstOfGroup =
            !pod.requiredPods.isEmpty && companions.allSatisfy(\.isEmpty)
            && pod.requiredPods.allSatisfy { $0.matches(pod, namespaceLabels: namespaceLabels) }
    }

    private static func count(_ constraint: SpreadConstraint, _ pod: PodInfo, _ nodes: [NodeInfo]) -> [String: Int] {
        var counts: [String: Int] = [:]
        for node in nodes {
            guard let value = node.labels[constraint.topologyKey] else { continue }
            if constraint.honorsAffinity, !pod.accepts(node) { continue }
            if constraint.honorsTaints,
                node.taints.contains(where: { $0.effect != .preferNoSchedule && !pod.tolerates($0) })
            {
                continue
            }
            let matching = node.pods.values.count { other in
                other.key.namespace == pod.key.namespace && !other.isEnding && constraint.selector.matches(other.labels)
            }
            counts[value, default: 0] += matching
        }
        return counts
    }
}
