import KubeTypes
import TLS
import Wire

/// Signers whose certificates the cluster's authority issues, each with what it lets a certificate say.
enum CertificateSigner: String, CaseIterable, Sendable {
    case client = "kubernetes.io/kube-apiserver-client"
    case kubeletClient = "kubernetes.io/kube-apiserver-client-kubelet"
    case kubeletServing = "kubernetes.io/kubelet-serving"
    case legacyUnknown = "kubernetes.io/legacy-unknown"

    /// Why this signer does not sign the request; `nil` when it may.
    func objection(_ request: SigningRequest, usages: [String], username: String) -> String? {
        let asked = Set(usages)
        switch self {
        case .legacyUnknown: return nil
        case .client:
            return Self.usages(asked, allowed: ["digital signature", "key encipherment"], needed: "client auth")
        case .kubeletClient:
            if let why = Self.node(request) { return why }
            guard request.subjectAlternativeNames.isEmpty, !request.hasOtherNames else {
                return "DNS, IP, URI and email subject alternative names are not allowed"
            }
            return Self.usages(
                asked, allowed: ["digital signature", "key encipherment"], needed: "client auth",
                alsoNeeded: "digital signature")
        case .kubeletServing:
            if let why = Self.node(request) { return why }
            if request.commonName != username { return "the common name must be the requesting node's, \(username)" }
            let names = request.subjectAlternativeNames
            let isURI = names.contains { if case .uri = $0 { true } else { false } }
            if isURI || request.hasOtherNames { return "URI and email subject alternative names are not allowed" }
            if names.isEmpty { return "DNS or IP subject alternative name is required" }
            return Self.usages(
                asked, allowed: ["digital signature", "key encipherment"], needed: "server auth",
                alsoNeeded: "digital signature")
        }
    }

    private static func node(_ request: SigningRequest) -> String? {
        guard request.organizations == [User.nodes] else {
            return "subject organization is not [\(User.nodes)]"
        }
        guard request.commonName?.hasPrefix("system:node:") == true else {
            return "subject common name does not begin with system:node:"
        }
        return nil
    }

    private static func usages(
        _ asked: Set<String>, allowed: [String], needed: String, alsoNeeded: String? = nil
    ) -> String? {
        for word in [needed, alsoNeeded].compactMap({ $0 }) where !asked.contains(word) {
            return "usage \"\(word)\" is required"
        }
        let more = asked.subtracting(allowed + [needed]).sorted()
        return more.isEmpty ? nil : "usages \(more) are not allowed: only \((allowed + [needed]).sorted())"
    }

    /// Signs. `lifetime`: seconds asked for; at most a year, and never beyond the authority's own end.
    func certificate(
        _ request: SigningRequest, usages: [String], lifetime: Int64?, by authority: CertificateAuthority, now: Int64
    ) throws(TLSFailure) -> Certificate {
        let year: Int64 = 365 * 86400
        let left = max(1, authority.certificate.notAfter - now)
        let seconds = min(max(lifetime ?? year, 600), year, left)
        var wanted = CertificateRequest(
            subjectAlternativeNames: request.subjectAlternativeNames, lifetime: .seconds(seconds),
            publicKey: try request.publicKey())
        wanted.subject = request
        wanted.keyUsages = CertificateUsages.words(usages, in: CertificateUsages.keyUsages)
        wanted.extendedKeyUsages = CertificateUsages.words(usages, in: CertificateUsages.extended)
        return try authority.issue(wanted)
    }
}
