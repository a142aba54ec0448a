import KubeTypes
import Wire

/// Why a node cannot take a pod. The text is what users of Kubernetes know.
package enum Refusal: Hashable, Sendable, CustomStringConvertible {
    case unschedulable
    case otherNodeName
    case taint(key: String, value: String)
    case affinity
    case hostPort
    case tooManyPods
    case insufficient(String)
    case companionsMissing
    case companionUnwanted
    case unwantedByCompanion
    case spreadLabelMissing
    case spread

    package var description: String {
        switch self {
        case .unschedulable: "node(s) were unschedulable"
        case .otherNodeName: "node(s) didn't match the requested node name"
        case .taint(let key, let value): "node(s) had untolerated taint {\(key): \(value)}"
        case .affinity: "node(s) didn't match Pod's node affinity/selector"
        case .hostPort: "node(s) didn't have free ports for the requested pod ports"
        case .tooManyPods: "Too many pods"
        case .insufficient(let resource): "Insufficient \(resource)"
        case .companionsMissing: "node(s) didn't match pod affinity rules"
        case .companionUnwanted: "node(s) didn't match pod anti-affinity rules"
        case .unwantedByCompanion: "node(s) didn't satisfy existing pods anti-affinity rules"
        case .spreadLabelMissing: "node(s) didn't match pod topology spread constraints (missing required label)"
        case .spread: "node(s) didn't match pod topology spread constraints"
        }
    }
}

/// Why the node cannot take the pod; empty when it can. The first kind of reason found counts, cheap ones first.
package func filter(_ pod: PodInfo, _ node: NodeInfo, _ facts: TopologyFacts) -> [Refusal] {
    if node.isUnschedulable {
        let cordon = Taint(["key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"])
        if !(cordon.map(pod.tolerates) ?? false) { return [.unschedulable] }
    }
    if !pod.nodeName.isEmpty, pod.nodeName != node.name { return [.otherNodeName] }
    for taint in node.taints where taint.effect != .preferNoSchedule {
        if !pod.tolerates(taint) { return [.taint(key: taint.key, value: taint.value)] }
    }
    if !pod.accepts(node) { return [.affinity] }
    if pod.hostPorts.contains(where: node.hasPort) { return [.hostPort] }
    let shortages = missing(pod, node)
    if !shortages.isEmpty { return shortages }
    if let refusal = spreadRefusal(pod, node, facts) { return [refusal] }
    if let refusal = companyRefusal(pod, node, facts) { return [refusal] }
    return []
}

private func missing(_ pod: PodInfo, _ node: NodeInfo) -> [Refusal] {
    var refusals: [Refusal] = []
    if node.pods.count + 1 > node.podLimit { refusals.append(.tooManyPods) }
    let wanted = pod.requests
    if wanted.cpu > 0, wanted.cpu > node.allocatable.cpu - node.requested.cpu { refusals.append(.insufficient("cpu")) }
    if wanted.memory > 0, wanted.memory > node.allocatable.memory - node.requested.memory {
        refusals.append(.insufficient("memory"))
    }
    for (name, amount) in wanted.others where amount > 0 {
        // A node that says nothing of its disk has not measured it; that is no shortage.
        if name == "ephemeral-storage", node.allocatable.others[name] == nil { continue }
        let free = (node.allocatable.others[name] ?? 0) - (node.requested.others[name] ?? 0)
        if amount > free { refusals.append(.insufficient(name)) }
    }
    return refusals
}

private func spreadRefusal(_ pod: PodInfo, _ node: NodeInfo, _ facts: TopologyFacts) -> Refusal? {
    for (constraint, counts) in zip(pod.spread, facts.spread) where constraint.isRequired {
        guard let value = node.labels[constraint.topologyKey] else { return .spreadLabelMissing }
        // With fewer places than wanted, the emptiest counts as empty, so that new places come to be used.
        let least = counts.count < constraint.minDomains ? 0 : counts.values.min() ?? 0
        let own = constraint.selector.matches(pod.labels) ? 1 : 0
        if (counts[value] ?? 0) + own - least > constraint.maxSkew { return .spread }
    }
    return nil
}

private func companyRefusal(_ pod: PodInfo, _ node: NodeInfo, _ facts: TopologyFacts) -> Refusal? {
    func place(_ key: String) -> TopologyPlace? { node.labels[key].map { TopologyPlace(key: key, value: $0) } }
    for (term, places) in zip(pod.requiredPods, facts.companions) {
        guard let place = place(term.topologyKey) else { return .companionsMissing }
        if !places.contains(place), !facts.isFirstOfGroup { return .companionsMissing }
    }
    for term in pod.requiredAbsences {
        if let place = place(term.topologyKey), facts.avoided.contains(place) { return .companionUnwanted }
    }
    if facts.forbidden.contains(where: { node.labels[$0.key] == $0.value }) { return .unwantedByCompanion }
    return nil
}

/// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`
package func unschedulableMessage(nodes: Int, refusals: [Refusal: Int]) -> String {
    if nodes == 0 { return "no nodes available to schedule pods" }
    let reasons = refusals.map { "\($0.value) \($0.key)" }.sorted().joined(separator: ", ")
    return "0/\(nodes) nodes are available: \(reasons)."
}
