package import KubeTypes
import ProxyResources
import Wire

/// A `gateway.networking.k8s.io` BackendTLSPolicy: clients of a Service speak TLS to it, and whose certificate is right.
package struct BackendTLSPolicy: Sendable, Hashable, AgedPolicy {
    package struct Target: Sendable, Hashable {
        package var service: String  // in the policy's own namespace
        package var portName: String?
    }

    package var key: ObjectKey
    package var created: String
    package var generation: Int
    package var targets: [Target]
    package var hostname: String
    package var names: [String]
    package var authorities: [CertificateReference]
    package var usesSystemRoots: Bool
    package var findings: [PolicyFinding]

    package var reference: PolicyReference { PolicyReference(.backendTLSPolicies, key) }

    package init(_ object: KubeObject) {
        key = object.key
        created = object.creationTimestamp ?? ""
        generation = object.generation
        var findings: [PolicyFinding] = []
        let spec = PolicyFields(object.spec, at: "spec", of: PolicyReference(.backendTLSPolicies, object.key))
        spec.reportOthers(than: ["targetRefs", "validation"], as: "it has no effect", to: &findings)
        targets = []
        for target in spec.each("targetRefs") {
            guard target.string("kind") == "Service", (target.string("group") ?? "").isEmpty else {
                findings.append(target.finding("kind", .unsupported, "only a Service is a target"))
                continue
            }
            targets.append(Target(service: target.string("name") ?? "", portName: target.string("sectionName")))
        }
        let validation = spec.inside("validation") ?? PolicyFields(nil, at: "spec.validation", of: spec.object)
        hostname = validation.string("hostname") ?? ""
        if hostname.isEmpty { findings.append(validation.finding("hostname", .invalid, "is required")) }
        authorities = validation.each("caCertificateRefs").map {
            CertificateReference($0, from: object.key.namespace)
        }
        usesSystemRoots = validation.string("wellKnownCACertificates") == "System"
        names = validation.each("subjectAltNames").compactMap { $0.string("uri") ?? $0.string("hostname") }
        if authorities.isEmpty, !usesSystemRoots {
            findings.append(
                validation.finding("caCertificateRefs", .invalid, "is required without wellKnownCACertificates"))
        }
        self.findings = findings
    }

    func covers(_ service: ObjectKey, portName: String) -> Bool {
        service.namespace == key.namespace
            && targets.contains { $0.service == service.name && ($0.portName ?? portName) == portName }
    }
}

/// TLS that clients speak to services outside the mesh's own.
struct BackendSecurity {
    private let state: MeshState
    private let policies: [BackendTLSPolicy]
    private(set) var findings: [PolicyFinding] = []

    init(_ state: MeshState) {
        self.state = state
        policies = state.backendTLSPolicies.values.oldestFirst()
        for policy in policies {
            for target in policy.targets {
                let service = ObjectKey(namespace: policy.key.namespace, name: target.service)
                if state.services[service] == nil {
                    findings.append(
                        PolicyFinding(
                            policy.reference, "spec.targetRefs", .notFound, "Service \(service) does not exist"))
                }
            }
            if missingRoots(policy) {
                findings.append(
                    PolicyFinding(
                        policy.reference, "spec.validation.caCertificateRefs", .notFound,
                        "no ConfigMap or Secret with ca.crt: no certificate will be right"))
            }
        }
    }

    /// `nil` when clients speak plain text, or the mesh's TLS.
    func tls(of service: ObjectKey, port: MeshService.Port, rule: DestinationRule?) -> BackendTLS? {
        if let policy = policies.first(where: { $0.covers(service, portName: port.name) }) {
            return BackendTLS(
                serverName: policy.hostname, names: policy.names,
                roots: policy.usesSystemRoots ? "" : roots(policy) ?? Self.nobody)
        }
        guard let wanted = rule?.originates, let rule else { return nil }
        let host = state.settings.host(service.name, service.namespace)
        var made = BackendTLS(
            serverName: wanted.serverName.isEmpty ? host : wanted.serverName, names: wanted.names,
            skipsVerification: wanted.skipsVerification)
        if !wanted.credential.isEmpty {
            let own = ObjectKey(namespace: rule.key.namespace, name: wanted.credential)
            let apart = ObjectKey(namespace: rule.key.namespace, name: "\(wanted.credential)-cacert")
            let found = [state.secrets[apart]?.authority, state.secrets[own]?.authority].compactMap { $0 }
            made.roots = found.first { !$0.isEmpty } ?? Self.nobody
        }
        return made
    }

    /// Stands for roots that are not there: no certificate leads to it, so nothing is spoken to unchecked.
    private static let nobody = "missing"

    private func roots(_ policy: BackendTLSPolicy) -> String? {
        var all = ""
        for reference in policy.authorities where reference.key.namespace == policy.key.namespace {
            let isMap = reference.kind == "ConfigMap"
            let found = isMap ? state.certificateMaps[reference.key] : state.secrets[reference.key]
            guard let text = found?.authority, !text.isEmpty else { continue }
            all += text.hasSuffix("\n") ? text : text + "\n"
        }
        return all.isEmpty ? nil : all
    }

    private func missingRoots(_ policy: BackendTLSPolicy) -> Bool { !policy.usesSystemRoots && roots(policy) == nil }
}
