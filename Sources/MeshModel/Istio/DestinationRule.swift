package import KubeTypes
import Wire

/// An Istio DestinationRule: the subsets of a service, and how its clients speak to it.
package struct DestinationRule: Sendable, Hashable, AgedPolicy {
    package struct Subset: Sendable, Hashable {
        package var name: String
        package var labels: [String: String]
        package var traffic = TrafficPolicy()
    }

    package var key: ObjectKey
    package var created: String
    package var generation: Int
    package var host: String
    package var subsets: [Subset]
    package var traffic = TrafficPolicy()
    package var findings: [PolicyFinding]

    package var reference: PolicyReference { PolicyReference(.destinationRules, key) }

    package init(_ object: KubeObject) {
        key = object.key
        created = object.creationTimestamp ?? ""
        generation = object.generation
        let spec = PolicyFields(object.spec, at: "spec", of: PolicyReference(.destinationRules, object.key))
        var findings: [PolicyFinding] = []
        spec.reportOthers(
            than: ["host", "subsets", "trafficPolicy", "workloadSelector", "exportTo"], as: "it has no effect",
            to: &findings)
        if spec.has("workloadSelector") {
            findings.append(
                spec.finding("workloadSelector", .unsupported, "is not supported: the rule holds for all clients"))
        }
        if !spec.strings("exportTo").allSatisfy({ $0 == "*" }) {
            findings.append(
                spec.finding("exportTo", .unsupported, "is not supported: the rule holds for clients of all namespaces")
            )
        }
        host = spec.string("host")?.lowercased() ?? ""
        if host.isEmpty { findings.append(spec.finding("host", .invalid, "is required")) }

        if let policy = spec.inside("trafficPolicy") { traffic = TrafficPolicy(policy, &findings) }

        var subsets: [Subset] = []
        for fields in spec.each("subsets") {
            let name = fields.string("name") ?? ""
            fields.reportOthers(than: ["name", "labels", "trafficPolicy"], as: "it has no effect", to: &findings)
            var traffic = TrafficPolicy()
            if let policy = fields.inside("trafficPolicy") { traffic = TrafficPolicy(policy, &findings) }
            if name.isEmpty {
                findings.append(fields.finding("name", .invalid, "is required"))
            } else if subsets.contains(where: { $0.name == name }) {
                findings.append(fields.finding("name", .invalid, "\"\(name)\" is the name of an earlier subset"))
            } else {
                subsets.append(
                    Subset(name: name, labels: fields.json["labels"]?.stringMap ?? [:], traffic: traffic))
            }
        }
        self.subsets = subsets
        self.findings = findings
    }
}

extension DestinationRule {
    /// All that is said of TLS, and where.
    var securities: [(field: String, security: ClientSecurity)] {
        func said(_ policy: TrafficPolicy, _ field: String) -> [(String, ClientSecurity)] {
            let own = policy.security.map { [("\(field).tls", $0)] } ?? []
            let ports = policy.ports.sorted { $0.key < $1.key }
            return own + ports.compactMap { port in port.value.security.map { ("\(field).portLevelSettings", $0) } }
        }
        return said(traffic, "spec.trafficPolicy")
            + subsets.enumerated().flatMap { said($0.element.traffic, "spec.subsets[\($0.offset)].trafficPolicy") }
    }
}
