package import KubeTypes
package import ProxyResources
import Wire

/// An Istio PeerAuthentication: whether a workload takes plain text. `nil` inherits.
package struct PeerAuthentication: Sendable, Hashable, AgedPolicy {
    package var key: ObjectKey
    package var created: String
    package var generation: Int
    package var selector: [String: String]
    package var mode: MutualTLS?
    package var ports: [Int: MutualTLS]
    package var findings: [PolicyFinding]

    package var reference: PolicyReference { PolicyReference(.peerAuthentications, key) }

    package init(_ object: KubeObject) {
        key = object.key
        created = object.creationTimestamp ?? ""
        generation = object.generation
        let spec = PolicyFields(object.spec, at: "spec", of: PolicyReference(.peerAuthentications, object.key))
        var findings: [PolicyFinding] = []
        spec.reportOthers(than: ["selector", "mtls", "portLevelMtls"], as: "it has no effect", to: &findings)
        selector = object.spec["selector"]?["matchLabels"]?.stringMap ?? [:]
        mode = Self.mode(spec.inside("mtls"), &findings)
        var ports: [Int: MutualTLS] = [:]
        if let levels = spec.inside("portLevelMtls") {
            for member in levels.json.object ?? JSONObject() {
                guard let port = Int(member.key), (1...65535).contains(port) else {
                    findings.append(levels.finding(member.key, .invalid, "is not a port number"))
                    continue
                }
                ports[port] = Self.mode(
                    PolicyFields(member.value, at: levels.place(member.key), of: spec.object), &findings)
            }
            if selector.isEmpty, !ports.isEmpty {
                findings.append(
                    spec.finding("portLevelMtls", .invalid, "needs a selector: a port belongs to a workload"))
                ports = [:]
            }
        }
        self.ports = ports
        self.findings = findings
    }

    private static func mode(_ fields: PolicyFields?, _ findings: inout [PolicyFinding]) -> MutualTLS? {
        guard let fields, let word = fields.string("mode"), word != "UNSET" else { return nil }
        if let mode = MutualTLS(rawValue: word) { return mode }
        findings.append(
            fields.finding("mode", .invalid, "\"\(word)\" is not one of UNSET, DISABLE, PERMISSIVE, STRICT"))
        return nil
    }
}

/// What a workload asks of its peers.
struct PeerRequirement {
    var mode: MutualTLS = .permissive
    var ports: [Int: MutualTLS] = [:]

    func mode(port: Int) -> MutualTLS { ports[port] ?? mode }
}

/// Finds the requirement of a pod: its own policy, else its namespace's, else the mesh's, else permissive.
/// Of several at one level the oldest counts.
struct PeerRequirements {
    private var mesh: MutualTLS?
    private var namespaces: [String: MutualTLS] = [:]
    private var workloads: [String: [PeerAuthentication]] = [:]
    private(set) var findings: [PolicyFinding] = []

    init(_ state: MeshState) {
        var seen: Set<String> = []
        for policy in state.peerAuthentications.values.oldestFirst() {
            let namespace = policy.key.namespace
            if !policy.selector.isEmpty {
                workloads[namespace, default: []].append(policy)
            } else if !seen.insert(namespace).inserted {
                findings.append(
                    PolicyFinding(
                        policy.reference, "spec", .conflict, "an older policy for the whole namespace is in force"))
            } else if state.settings.rootNamespaces.contains(namespace) {
                mesh = mesh ?? policy.mode
            } else {
                namespaces[namespace] = policy.mode
            }
        }
    }

    func requirement(for pod: MeshPod) -> PeerRequirement {
        let inherited = namespaces[pod.key.namespace] ?? mesh ?? .permissive
        let own = workloads[pod.key.namespace]?.first { pod.isSelected(by: $0.selector) }
        return PeerRequirement(mode: own?.mode ?? inherited, ports: own?.ports ?? [:])
    }
}
