/// How well nodes suit a pod that fits all of them, from 0 to 100 for each aspect, weighted and added.
package func scores(_ pod: PodInfo, _ nodes: [NodeInfo], _ facts: TopologyFacts) -> [Int] {
    let owned = nodes.map { node in pod.owner.flatMap { node.owners[$0] } ?? 0 }
    let mostOwned = owned.max() ?? 0
    let wanted = nodes.map { node in pod.preferredNodes.filter { $0.term.matches(node) }.map(\.weight).reduce(0, +) }
    let mostWanted = wanted.max() ?? 0
    let disliked = nodes.map { node in node.taints.count { $0.effect == .preferNoSchedule && !pod.tolerates($0) } }
    let mostDisliked = disliked.max() ?? 0
    let company = facts.wishes.isEmpty ? [] : nodes.map { node in wishes(facts, node) }
    let leastCompany = company.min() ?? 0
    let mostCompany = company.max() ?? 0
    let spreads = spreadCosts(pod, nodes, facts)
    let mostSpread = spreads.max() ?? 0
    let demand = NodeInfo.weight(of: pod)
    return nodes.indices.map { index in
        let node = nodes[index]
        var score = leastAllocated(demand, node) + balance(demand, node)
        if mostOwned > 0 { score += 2 * 100 * (mostOwned - owned[index]) / mostOwned }
        if mostWanted > 0 { score += 2 * 100 * wanted[index] / mostWanted }
        if mostDisliked > 0 { score += 3 * 100 * (mostDisliked - disliked[index]) / mostDisliked }
        if mostCompany > leastCompany {
            score += 2 * 100 * (company[index] - leastCompany) / (mostCompany - leastCompany)
        }
        if mostSpread > 0 { score += 2 * 100 * (mostSpread - spreads[index]) / mostSpread }
        score += imageLocality(pod, node)
        return score
    }
}

/// The share of cpu and memory that stays free, so that load spreads.
private func leastAllocated(_ demand: Resources, _ node: NodeInfo) -> Int {
    func free(_ capacity: Int64, _ used: Int64) -> Int {
        capacity <= 0 || used > capacity ? 0 : Int((capacity - used) * 100 / capacity)
    }
    let cpu = free(node.allocatable.cpu, node.weighed.cpu + demand.cpu)
    let memory = free(node.allocatable.memory, node.weighed.memory + demand.memory)
    return (cpu + memory) / 2
}

/// High when cpu and memory are used to like shares, so that neither is left over without the other.
private func balance(_ demand: Resources, _ node: NodeInfo) -> Int {
    func share(_ capacity: Int64, _ used: Int64) -> Double {
        capacity <= 0 ? 1 : min(1, Double(used) / Double(capacity))
    }
    let cpu = share(node.allocatable.cpu, node.weighed.cpu + demand.cpu)
    let memory = share(node.allocatable.memory, node.weighed.memory + demand.memory)
    // The standard deviation of two values is half their distance.
    return Int((1 - abs(cpu - memory) / 2) * 100)
}

private func wishes(_ facts: TopologyFacts, _ node: NodeInfo) -> Int {
    facts.wishes.filter { node.labels[$0.key.key] == $0.key.value }.map(\.value).reduce(0, +)
}

/// Matching pods already in the node's places, over the constraints that are wishes.
private func spreadCosts(_ pod: PodInfo, _ nodes: [NodeInfo], _ facts: TopologyFacts) -> [Int] {
    let soft = zip(pod.spread, facts.spread).filter { !$0.0.isRequired }
    guard !soft.isEmpty else { return nodes.map { _ in 0 } }
    return nodes.map { node in
        soft.map { constraint, counts in
            node.labels[constraint.topologyKey].map { counts[$0] ?? 0 } ?? counts.values.max() ?? 0
        }
        .reduce(0, +)
    }
}

/// Large images that need no pulling; below 23 MiB in all it does not matter, a GiB a container is the most that counts.
private func imageLocality(_ pod: PodInfo, _ node: NodeInfo) -> Int {
    guard !node.images.isEmpty, !pod.images.isEmpty else { return 0 }
    let bytes = pod.images.compactMap { node.images[$0] ?? node.images["docker.io/library/" + $0] }.reduce(0, +)
    let least: Int64 = 23 << 20
    let most = Int64(pod.images.count) << 30
    let counted = min(max(bytes, least), most) - least
    return Int(counted * 100 / (most - least))
}
