package import KubeTypes
package import ProxyResources
import Wire

/// A reference of a Gateway to a Secret or ConfigMap.
package struct CertificateReference: Sendable, Hashable {
    package var field: String
    package var group: String
    package var kind: String
    package var key: ObjectKey

    init(_ fields: PolicyFields, from namespace: String) {
        field = fields.path
        group = fields.string("group") ?? ""
        kind = fields.string("kind") ?? "Secret"
        key = ObjectKey(namespace: fields.string("namespace") ?? namespace, name: fields.string("name") ?? "")
    }
}

/// How a listener of a Gateway ends TLS.
package struct ListenerSecurity: Sendable, Hashable {
    package var isPassthrough = false
    package var certificates: [CertificateReference] = []
    package var authorities: [CertificateReference] = []
    package var clientsAreOptional = false
    package var minimumVersion = TLSVersion.v12

    init() {}

    init?(
        _ listener: PolicyFields, port: Int, gateway: PolicyFields, namespace: String, _ findings: inout [PolicyFinding]
    ) {
        guard let fields = listener.inside("tls") else { return nil }
        fields.reportOthers(than: ["mode", "certificateRefs", "options"], as: "it has no effect", to: &findings)
        isPassthrough = fields.string("mode") == "Passthrough"
        certificates = fields.each("certificateRefs").map { CertificateReference($0, from: namespace) }
        for option in fields.json["options"]?.stringMap ?? [:] {
            if option.key == "weft.dev/minimum-tls-version", let version = TLSVersion(rawValue: option.value) {
                minimumVersion = version
            } else {
                findings.append(
                    fields.finding("options", .unsupported, "\(option.key): \(option.value) is not supported"))
            }
        }
        let frontend = gateway.inside("tls")?.inside("frontend")
        let own = frontend?.each("perPort").first { $0.int("port") == port }?.inside("tls")
        guard let validation = (own ?? frontend?.inside("default"))?.inside("validation") else { return }
        authorities = validation.each("caCertificateRefs").map { CertificateReference($0, from: namespace) }
        clientsAreOptional = validation.string("mode") == "AllowInsecureFallback"
    }
}

extension MeshState {
    /// What a Gateway's references come to.
    struct ResolvedTLS {
        var server: TLSServer?
        var refusal: ConditionState?
        /// Clients' certificates could not be checked.
        var lacksAuthority = false
    }

    /// A Secret's certificate and key, or why a Gateway cannot have them.
    func pair(
        _ reference: CertificateReference, of gateway: Gateway, _ reason: String
    ) -> (pair: KeyPair?, refusal: ConditionState) {
        var refusal = ConditionState(true, "ResolvedRefs")
        if reference.kind != "Secret" || !reference.group.isEmpty {
            refusal = ConditionState(false, reason, "\(reference.field): kind \(reference.kind) is no Secret")
        } else if !permits(reference, from: gateway) {
            refusal = ConditionState(
                false, "RefNotPermitted",
                "\(reference.field): no ReferenceGrant in namespace \(reference.key.namespace) permits it")
        } else if let pair = secrets[reference.key]?.pair {
            return (pair, refusal)
        } else {
            refusal = ConditionState(
                false, reason,
                "\(reference.field): Secret \(reference.key) does not exist, or holds no certificate and key")
        }
        return (nil, refusal)
    }

    /// - Parameter hosts: server names the listener answers for.
    func resolve(_ security: ListenerSecurity, of gateway: Gateway, hosts: [String]) -> ResolvedTLS {
        func refused(_ reason: String, _ message: String) -> ResolvedTLS {
            ResolvedTLS(refusal: ConditionState(false, reason, message))
        }
        func refusedClients(_ reason: String, _ message: String) -> ResolvedTLS {
            ResolvedTLS(refusal: ConditionState(false, reason, message), lacksAuthority: true)
        }
        if security.certificates.isEmpty {
            return refused("InvalidCertificateRef", "tls.certificateRefs: is required to end TLS")
        }
        var pairs: [KeyPair] = []
        for reference in security.certificates {
            let (found, refusal) = pair(reference, of: gateway, "InvalidCertificateRef")
            guard let found else { return ResolvedTLS(refusal: refusal) }
            pairs.append(found)
        }
        var roots = ""
        for reference in security.authorities {
            guard reference.group.isEmpty, ["ConfigMap", "Secret"].contains(reference.kind) else {
                return refusedClients(
                    "InvalidCACertificateKind", "\(reference.field): kind \(reference.kind) is no ConfigMap")
            }
            guard permits(reference, from: gateway) else {
                return refusedClients(
                    "RefNotPermitted",
                    "\(reference.field): no ReferenceGrant in namespace \(reference.key.namespace) permits it")
            }
            let found = reference.kind == "ConfigMap" ? certificateMaps[reference.key] : secrets[reference.key]
            guard let text = found?.authority, !text.isEmpty else {
                return refusedClients(
                    "InvalidCACertificateRef",
                    "\(reference.field): \(reference.kind) \(reference.key) does not exist, or holds no ca.crt")
            }
            roots += text.hasSuffix("\n") ? text : text + "\n"
        }
        let how: TLSServer.ClientCertificates =
            roots.isEmpty ? .none : security.clientsAreOptional ? .optional : .required
        return ResolvedTLS(
            server: TLSServer(
                hosts: hosts, certificates: pairs, clientCertificates: how, clientRoots: roots,
                minimumVersion: security.minimumVersion))
    }

    private func permits(_ reference: CertificateReference, from gateway: Gateway) -> Bool {
        if reference.key.namespace == gateway.key.namespace { return true }
        return referenceGrants.values.contains {
            $0.key.namespace == reference.key.namespace
                && $0.permits(
                    from: ("gateway.networking.k8s.io", "Gateway", gateway.key.namespace),
                    to: (reference.group, reference.kind, reference.key.name))
        }
    }

    /// An Istio Gateway's server: its secrets stand beside the pod that serves it.
    func resolve(_ tls: IstioGateway.Security, hosts: [String], beside pod: MeshPod) -> TLSServer? {
        func secret(_ name: String) -> MeshSecret? { secrets[ObjectKey(namespace: pod.key.namespace, name: name)] }
        let pairs = tls.credentials.compactMap { secret($0)?.pair }
        guard !pairs.isEmpty, let name = tls.credentials.first else { return nil }
        var server = TLSServer(
            hosts: hosts, certificates: pairs, clientNames: tls.names, minimumVersion: tls.minimumVersion,
            maximumVersion: tls.maximumVersion)
        if tls.mode == .mutual || tls.mode == .optionalMutual {
            let own = secret("\(name)-cacert")?.authority ?? ""
            let usual = own.isEmpty ? secret(name)?.authority ?? "" : own
            server.clientRoots = tls.authority.isEmpty ? usual : secret(tls.authority)?.authority ?? ""
            // Without roots nobody could be checked, and nobody is let in unchecked.
            if server.clientRoots.isEmpty { return nil }
            server.clientCertificates = tls.mode == .mutual ? .required : .optional
        }
        return server
    }

    /// The first Secret beside a pod that a server names and that does not hold what it should.
    func missingSecret(_ tls: IstioGateway.Security, beside pod: MeshPod) -> (field: String, message: String)? {
        func key(_ name: String) -> ObjectKey { ObjectKey(namespace: pod.key.namespace, name: name) }
        for name in tls.credentials where secrets[key(name)]?.pair == nil {
            let field = name == tls.credentials.first ? "credentialName" : "credentialNames"
            return (field, "Secret \(key(name)) does not exist, or holds no certificate and key")
        }
        guard tls.mode != .simple, let name = tls.credentials.first else { return nil }
        let names = tls.authority.isEmpty ? ["\(name)-cacert", name] : [tls.authority]
        if names.contains(where: { !(secrets[key($0)]?.authority ?? "").isEmpty }) { return nil }
        let field = tls.authority.isEmpty ? "credentialName" : "caCertCredentialName"
        return (field, "Secret \(key(names[0])) does not exist, or holds no ca.crt: the port is not opened")
    }
}
