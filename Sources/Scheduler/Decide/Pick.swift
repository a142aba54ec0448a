/// The outcome of looking for a node.
package enum Choice: Sendable, Equatable {
    case node(String)
    /// How many nodes there are, and how often each reason was given.
    case none(nodes: Int, refusals: [Refusal: Int])
}

/// Looks for the best node. In large clusters it stops at enough nodes that fit, starting elsewhere each time.
///
/// - Parameter start: where to begin among the nodes; set to where the next search begins.
package func pick(
    _ pod: PodInfo, in view: ClusterView, start: inout Int, using random: inout some RandomNumberGenerator
) -> Choice {
    let total = view.knownCount
    guard total > 0 else { return .none(nodes: 0, refusals: [:]) }
    let facts = TopologyFacts(for: pod, in: view)
    let enough = nodesToFind(of: total)
    var fitting: [NodeInfo] = []
    var refusals: [Refusal: Int] = [:]
    var looked = 0
    while looked < view.nodes.count, fitting.count < enough {
        let index = (start + looked) % view.nodes.count
        looked += 1
        guard view.nodes[index].isKnown else { continue }
        let reasons = filter(pod, view.nodes[index], facts)
        if reasons.isEmpty { fitting.append(view.nodes[index]) }
        for reason in reasons { refusals[reason, default: 0] += 1 }
    }
    start = (start + looked) % view.nodes.count
    guard !fitting.isEmpty else { return .none(nodes: total, refusals: refusals) }
    let scores = scores(pod, fitting, facts)
    let best = scores.max() ?? 0
    let tied = fitting.indices.filter { scores[$0] == best }
    guard let chosen = tied.randomElement(using: &random) else { return .none(nodes: total, refusals: refusals) }
    return .node(fitting[chosen].name)
}

/// All nodes up to a hundred; beyond, a share that falls from half to a twentieth, and at least a hundred.
func nodesToFind(of count: Int) -> Int {
    if count <= 100 { return count }
    let percent = max(5, 50 - count / 125)
    return max(100, count * percent / 100)
}

/// A small generator that gives the same numbers for the same seed (SplitMix64).
package struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64
    package init(seed: UInt64) { state = seed }
    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
