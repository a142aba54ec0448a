package import KubeTypes
import Wire

/// What scheduling needs to know of a pod, decoded once.
package struct PodInfo: Sendable, Hashable {
    package struct HostPort: Sendable, Hashable {
        package var address: String  // 0.0.0.0 for all
        package var transport: String
        package var port: Int
    }

    package var key: ObjectKey
    package var uid: String
    package var labels: [String: String]
    /// The node it is bound to, or that it insists on; empty for none.
    package var nodeName: String
    package var requests: Resources
    package var priority: Int
    /// The uid of the controller, by which its pods are spread.
    package var owner: String?
    package var nodeSelector: [String: String]
    /// Alternatives, of which one must match; `nil` when there is no such rule.
    package var requiredNodes: [NodeTerm]?
    package var preferredNodes: [WeightedTerm<NodeTerm>] = []
    package var requiredPods: [PodTerm] = []
    package var requiredAbsences: [PodTerm] = []
    package var preferredPods: [WeightedTerm<PodTerm>] = []
    package var preferredAbsences: [WeightedTerm<PodTerm>] = []
    package var tolerations: [Toleration]
    package var hostPorts: [HostPort]
    package var spread: [SpreadConstraint] = []
    package var images: [String]
    package var isEnding: Bool

    package init(_ pod: KubeObject) throws(APIFailure) {
        key = pod.key
        uid = pod.uid
        labels = pod.labels
        nodeName = pod[Pod.nodeName] ?? ""
        requests = Resources(requestedBy: pod)
        priority = pod[Pod.priority] ?? 0
        owner = pod.controller?.uid
        nodeSelector = pod[Pod.nodeSelector] ?? [:]
        tolerations = (pod[Pod.tolerations] ?? []).map(Toleration.init)
        isEnding = pod.deletionTimestamp != nil
        let restartable = (pod[Pod.initContainers] ?? []).filter { $0[Container.restartPolicy] == "Always" }
        let containers = (pod[Pod.containers] ?? []) + restartable
        images = containers.compactMap { $0[Container.image] }
        var ports: [HostPort] = []
        for container in containers {
            for port in container[Container.ports] ?? [] {
                guard let number = port["hostPort"]?.int, number > 0 else { continue }
                let address = port["hostIP"]?.string ?? ""
                ports.append(
                    HostPort(
                        address: address.isEmpty ? "0.0.0.0" : address, transport: port["protocol"]?.string ?? "TCP",
                        port: number))
            }
        }
        hostPorts = ports
        try decodeAffinity(pod)
        for constraint in pod[Pod.topologySpreadConstraints] ?? [] {
            spread.append(try SpreadConstraint(constraint, of: pod))
        }
    }

    private mutating func decodeAffinity(_ pod: KubeObject) throws(APIFailure) {
        guard let affinity = pod[Pod.affinity] else { return }
        let required = "requiredDuringSchedulingIgnoredDuringExecution"
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution"
        if let alternatives = affinity["nodeAffinity"]?[required]?["nodeSelectorTerms"]?.array {
            var terms: [NodeTerm] = []
            for json in alternatives {
                if let term = try NodeTerm(json) { terms.append(term) }
            }
            requiredNodes = terms
        }
        for json in affinity["nodeAffinity"]?[preferred]?.array ?? [] {
            guard let term = try NodeTerm(json["preference"] ?? [:]) else { continue }
            preferredNodes.append(WeightedTerm(weight: json["weight"]?.int ?? 1, term: term))
        }
        requiredPods = try Self.terms(affinity["podAffinity"]?[required], pod)
        requiredAbsences = try Self.terms(affinity["podAntiAffinity"]?[required], pod)
        preferredPods = try Self.weighted(affinity["podAffinity"]?[preferred], pod)
        preferredAbsences = try Self.weighted(affinity["podAntiAffinity"]?[preferred], pod)
    }

    private static func terms(_ json: JSON?, _ pod: KubeObject) throws(APIFailure) -> [PodTerm] {
        var terms: [PodTerm] = []
        for element in json?.array ?? [] { terms.append(try PodTerm(element, of: pod)) }
        return terms
    }

    private static func weighted(_ json: JSON?, _ pod: KubeObject) throws(APIFailure) -> [WeightedTerm<PodTerm>] {
        var terms: [WeightedTerm<PodTerm>] = []
        for element in json?.array ?? [] {
            let term = try PodTerm(element["podAffinityTerm"] ?? [:], of: pod)
            terms.append(WeightedTerm(weight: element["weight"]?.int ?? 1, term: term))
        }
        return terms
    }

    package func tolerates(_ taint: Taint) -> Bool { tolerations.contains { $0.tolerates(taint) } }

    /// `nodeSelector` and required node affinity.
    package func accepts(_ node: NodeInfo) -> Bool {
        guard nodeSelector.allSatisfy({ node.labels[$0.key] == $0.value }) else { return false }
        return requiredNodes?.contains { $0.matches(node) } ?? true
    }
}
