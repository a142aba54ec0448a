package import KubeTypes
package import ProxyResources
import Wire

/// An Istio DestinationRule: the subsets of a service, and whether its clients use the mesh's TLS.
package struct DestinationRule: Sendable, Hashable, AgedPolicy {
    package struct Subset: Sendable, Hashable {
        package var name: String
        package var labels: [String: String]
        package var traffic = TrafficPolicy()
    }

    package struct Origination: Sendable, Hashable {
        package var serverName: String
        package var names: [String]
        package var credential: String  // a Secret with `ca.crt`, or `<name>-cacert`
        package var skipsVerification: Bool
    }

    package var key: ObjectKey
    package var created: String
    package var generation: Int
    package var host: String
    package var subsets: [Subset]
    /// `trafficPolicy.tls.mode: DISABLE`: clients speak plain text.
    package var disablesTLS: Bool
    /// `trafficPolicy.tls.mode: SIMPLE`: clients speak TLS that is not the mesh's.
    package var originates: Origination?
    /// `connectionPool` and `retryBudget`.
    package var resilience: BackendResilience?
    package var traffic = TrafficPolicy()
    package var findings: [PolicyFinding]

    package var reference: PolicyReference { PolicyReference(.destinationRules, key) }

    package init(_ object: KubeObject) {
        key = object.key
        created = object.creationTimestamp ?? ""
        generation = object.generation
        let spec = PolicyFields(object.spec, at: "spec", of: PolicyReference(.destinationRules, object.key))
        var findings: [PolicyFinding] = []
        spec.reportOthers(than: ["host", "subsets", "trafficPolicy"], as: "it has no effect", to: &findings)
        host = spec.string("host")?.lowercased() ?? ""
        if host.isEmpty { findings.append(spec.finding("host", .invalid, "is required")) }

        var disables = false
        if let policy = spec.inside("trafficPolicy") {
            policy.reportOthers(
                than: BackendResilience.trafficPolicyFields.union(TrafficPolicy.fields).union(["tls"]),
                as: "it has no effect", to: &findings)
            resilience = BackendResilience(trafficPolicy: policy, &findings)
            traffic = TrafficPolicy(policy, &findings)
            let tls = policy.inside("tls")
            switch tls?.string("mode") ?? "ISTIO_MUTUAL" {
            case "ISTIO_MUTUAL": break
            case "DISABLE": disables = true
            case "SIMPLE":
                tls?.reportOthers(
                    than: ["mode", "sni", "subjectAltNames", "credentialName", "insecureSkipVerify"],
                    as: "it has no effect", to: &findings)
                originates = Origination(
                    serverName: tls?.string("sni") ?? "", names: tls?.strings("subjectAltNames") ?? [],
                    credential: tls?.string("credentialName") ?? "",
                    skipsVerification: tls?.json["insecureSkipVerify"]?.bool ?? false)
            case let mode:
                findings.append(
                    policy.finding("tls.mode", .unsupported, "\(mode) is not supported: the mesh's own TLS is used"))
            }
        }
        disablesTLS = disables

        var subsets: [Subset] = []
        for fields in spec.each("subsets") {
            let name = fields.string("name") ?? ""
            fields.reportOthers(than: ["name", "labels", "trafficPolicy"], as: "it has no effect", to: &findings)
            var traffic = TrafficPolicy()
            if let policy = fields.inside("trafficPolicy") {
                policy.reportOthers(than: TrafficPolicy.fields, as: "it has no effect for one subset", to: &findings)
                traffic = TrafficPolicy(policy, &findings)
            }
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
