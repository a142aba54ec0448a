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

extension BackendTLSPolicy {
    struct Place: Hashable {
        var service: ObjectKey
        var portName: String?
    }

    /// Whether a target is this port of a Service.
    func names(_ service: ObjectKey, _ portName: String) -> Bool {
        service.namespace == key.namespace
            && targets.contains { $0.service == service.name && $0.portName == portName }
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
        findings += missingCredentials()
    }

    /// `nil` when clients speak plain text, or the mesh's TLS.
    func tls(
        of service: ObjectKey, port: MeshService.Port, _ security: ClientSecurity?, rule: DestinationRule?
    ) -> BackendTLS? {
        if let policy = policy(for: service, port.name) {
            return BackendTLS(
                serverName: policy.hostname, names: policy.names,
                roots: policy.usesSystemRoots ? "" : roots(policy) ?? Self.nobody)
        }
        guard case .tls(let wanted) = security, let rule else { return nil }
        let host = state.settings.host(service.name, service.namespace)
        var made = BackendTLS(
            serverName: wanted.serverName.isEmpty ? host : wanted.serverName, names: wanted.names,
            skipsVerification: wanted.skipsVerification)
        if wanted.isRefused {
            (made.roots, made.skipsVerification) = (Self.nobody, false)
        } else if !wanted.credential.isEmpty {
            let own = state.secrets[ObjectKey(namespace: rule.key.namespace, name: wanted.credential)]
            let apart = state.secrets[ObjectKey(namespace: rule.key.namespace, name: "\(wanted.credential)-cacert")]
            let found = [apart?.authority, own?.authority].compactMap { $0 }
            made.roots = found.first { !$0.isEmpty } ?? Self.nobody
            if wanted.showsCertificate {
                made.certificate = own?.pair
                // Without its own certificate a client would be taken for another, or for nobody.
                if own?.pair == nil { (made.roots, made.skipsVerification) = (Self.nobody, false) }
            }
        }
        return made
    }

    /// The oldest that names the port, else the oldest that names the whole Service.
    private func policy(for service: ObjectKey, _ portName: String) -> BackendTLSPolicy? {
        let covering = policies.filter { $0.covers(service, portName: portName) }
        return covering.first { $0.names(service, portName) } ?? covering.first
    }

    /// What became of the policies.
    ///
    /// - Parameter gateways: those with routes to a Service.
    func statuses(_ gateways: [ObjectKey: Set<ObjectKey>]) -> [BackendTLSPolicyStatus] {
        var taken: Set<BackendTLSPolicy.Place> = []
        return policies.map { policy in
            let places = policy.targets.map {
                BackendTLSPolicy.Place(
                    service: ObjectKey(namespace: policy.key.namespace, name: $0.service), portName: $0.portName)
            }
            let isOlder = places.isEmpty || places.contains { !taken.contains($0) }
            taken.formUnion(places)
            let resolved = resolvedAuthorities(policy)
            var accepted = ConditionState(true, "Accepted")
            if !resolved.isTrue {
                accepted = ConditionState(false, "NoValidCACertificate", resolved.message)
            } else if !isOlder {
                accepted = ConditionState(false, "Conflicted", "an older policy has the same targets")
            }
            let parents = places.reduce(into: Set<ObjectKey>()) { $0.formUnion(gateways[$1.service] ?? []) }
            return BackendTLSPolicyStatus(
                key: policy.key, generation: policy.generation, gateways: parents.sorted(), accepted: accepted,
                resolvedReferences: resolved)
        }.sorted { $0.key < $1.key }
    }

    private func resolvedAuthorities(_ policy: BackendTLSPolicy) -> ConditionState {
        if policy.usesSystemRoots { return ConditionState(true, "ResolvedRefs") }
        var failure: ConditionState?
        for reference in policy.authorities {
            if !reference.group.isEmpty || !["ConfigMap", "Secret"].contains(reference.kind) {
                failure = ConditionState(
                    false, "InvalidKind", "\(reference.field): kind \(reference.kind) is no ConfigMap or Secret")
            } else if !hasRoots(reference, policy) {
                failure = ConditionState(
                    false, "InvalidCACertificateRef",
                    "\(reference.field): \(reference.kind) \(reference.key) does not exist, or holds no certificate as ca.crt"
                )
            } else {
                return ConditionState(true, "ResolvedRefs")
            }
        }
        return failure ?? ConditionState(false, "InvalidCACertificateRef", "caCertificateRefs: is required")
    }

    private func hasRoots(_ reference: CertificateReference, _ policy: BackendTLSPolicy) -> Bool {
        let found = reference.kind == "ConfigMap" ? state.certificateMaps[reference.key] : state.secrets[reference.key]
        return reference.key.namespace == policy.key.namespace
            && found?.authority.contains("-----BEGIN CERTIFICATE-----") ?? false
    }

    /// Secrets that rules name and that are not there, or do not hold what they should.
    func missingCredentials() -> [PolicyFinding] {
        var missing: [PolicyFinding] = []
        for rule in state.destinationRules.values {
            for (field, security) in rule.securities {
                guard case .tls(let wanted) = security, !wanted.credential.isEmpty else { continue }
                let key = ObjectKey(namespace: rule.key.namespace, name: wanted.credential)
                let apart = ObjectKey(namespace: rule.key.namespace, name: "\(wanted.credential)-cacert")
                let authorities = [state.secrets[key]?.authority, state.secrets[apart]?.authority]
                var lacks: [String] = []
                if !authorities.contains(where: { !($0 ?? "").isEmpty }) { lacks.append("ca.crt") }
                if wanted.showsCertificate, state.secrets[key]?.pair == nil { lacks.append("tls.crt and tls.key") }
                if lacks.isEmpty { continue }
                missing.append(
                    PolicyFinding(
                        rule.reference, "\(field).credentialName", .notFound,
                        "Secret \(key) does not hold \(lacks.joined(separator: ", or ")): no connection is made"))
            }
        }
        return missing
    }

    /// Stands for roots that are not there: no certificate leads to it, so nothing is spoken to unchecked.
    private static let nobody = "missing"

    private func roots(_ policy: BackendTLSPolicy) -> String? {
        var all = ""
        for reference in policy.authorities where reference.key.namespace == policy.key.namespace {
            guard hasRoots(reference, policy) else { continue }
            let isMap = reference.kind == "ConfigMap"
            let found = isMap ? state.certificateMaps[reference.key] : state.secrets[reference.key]
            let text = found?.authority ?? ""
            all += text.hasSuffix("\n") ? text : text + "\n"
        }
        return all.isEmpty ? nil : all
    }

    private func missingRoots(_ policy: BackendTLSPolicy) -> Bool { !policy.usesSystemRoots && roots(policy) == nil }
}
