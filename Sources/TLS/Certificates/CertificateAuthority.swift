import COpenSSL
import Glibc

/// What a certificate to be issued shall say.
package struct CertificateRequest: Sendable {
    /// `nil` leaves the subject without a common name, as SPIFFE identities have it.
    package var commonName: String?
    package var organizations: [String]
    package var subjectAlternativeNames: [SubjectAlternativeName]
    package var serverUse: Bool
    package var clientUse: Bool
    package var isAuthority: Bool
    package var lifetime: Duration
    package var publicKey: PublicKey
    /// Taken instead of name and organizations: the whole subject as its holder wrote it.
    package var subject: SigningRequest?
    /// In OpenSSL's words, such as `digitalSignature`; `nil` for what a key of ours needs.
    package var keyUsages: [String]?
    /// In OpenSSL's words, beside `serverUse` and `clientUse`.
    package var extendedKeyUsages: [String] = []

    package init(
        commonName: String? = nil, organizations: [String] = [], subjectAlternativeNames: [SubjectAlternativeName] = [],
        serverUse: Bool = false, clientUse: Bool = false, isAuthority: Bool = false, lifetime: Duration,
        publicKey: PublicKey
    ) {
        self.commonName = commonName
        self.organizations = organizations
        self.subjectAlternativeNames = subjectAlternativeNames
        self.serverUse = serverUse
        self.clientUse = clientUse
        self.isAuthority = isAuthority
        self.lifetime = lifetime
        self.publicKey = publicKey
    }
}

/// A certificate and the key it speaks for, allowed to sign others.
package struct CertificateAuthority: Sendable {
    package let certificate: Certificate
    package let key: PrivateKey

    /// Certificates are valid from this many seconds before now, for peers whose clock is behind.
    package static let clockSkew: Int64 = 60

    package init(certificate: Certificate, key: PrivateKey) {
        self.certificate = certificate
        self.key = key
    }

    /// A new self-signed root.
    package static func create(
        commonName: String, organizations: [String] = [], subjectAlternativeNames: [SubjectAlternativeName] = [],
        lifetime: Duration = .seconds(10 * 365 * 86400)
    ) throws(TLSFailure) -> CertificateAuthority {
        let key = try PrivateKey.generate()
        let request = CertificateRequest(
            commonName: commonName, organizations: organizations, subjectAlternativeNames: subjectAlternativeNames,
            isAuthority: true, lifetime: lifetime, publicKey: try key.publicKey())
        return CertificateAuthority(certificate: try sign(request, with: key, issuer: nil), key: key)
    }

    package func issue(_ request: CertificateRequest) throws(TLSFailure) -> Certificate {
        try Self.sign(request, with: key, issuer: certificate)
    }

    private static func sign(
        _ request: CertificateRequest, with key: PrivateKey, issuer: Certificate?
    ) throws(TLSFailure) -> Certificate {
        let what =
            "issuing a certificate for \(request.commonName ?? request.subjectAlternativeNames.first?.description ?? "?")"
        guard request.commonName != nil || !request.subjectAlternativeNames.isEmpty || request.subject != nil else {
            throw TLSFailure("issuing a certificate: it has neither a common name nor alternative names")
        }
        guard let pointer = X509_new() else { throw .fromQueue(what) }
        let made = Certificate(taking: pointer)
        let now = Int64(time(nil))
        let end = now + request.lifetime.components.seconds
        let isFilled =
            X509_set_version(pointer, 2) == 1 && weft_x509_random_serial(pointer) == 1
            && weft_x509_set_times(pointer, now - clockSkew, end) == 1
            && X509_set_pubkey(pointer, request.publicKey.pointer) == 1
        guard isFilled else { throw .fromQueue(what) }
        var subject = request.organizations.map { (NID_organizationName, $0) }
        if let name = request.commonName { subject.append((NID_commonName, name)) }
        if let whole = request.subject {
            subject = []
            guard X509_set_subject_name(pointer, X509_REQ_get_subject_name(whole.pointer)) == 1 else {
                throw .fromQueue(what)
            }
        }
        for (kind, text) in subject {
            let bytes = Array(text.utf8)
            guard weft_x509_add_subject(pointer, kind, bytes, CInt(bytes.count)) == 1 else {
                throw .fromQueue("\(what): subject part \"\(text)\"")
            }
        }
        let issuing = issuer?.pointer ?? pointer
        guard X509_set_issuer_name(pointer, X509_get_subject_name(issuing)) == 1 else { throw .fromQueue(what) }
        for (kind, value) in extensions(of: request, isRoot: issuer == nil) {
            guard weft_x509_add_extension(pointer, issuing, kind, value) == 1 else {
                throw .fromQueue("\(what): \(value)")
            }
        }
        try addNames(request.subjectAlternativeNames, to: pointer, what)
        guard X509_sign(pointer, key.pointer, EVP_sha256()) > 0 else { throw .fromQueue(what) }
        return made
    }

    /// In the order they are added; the subject's key identifier comes before the authority's, which reads it in a root.
    private static func extensions(of request: CertificateRequest, isRoot: Bool) -> [(CInt, String)] {
        let usual =
            request.isAuthority
            ? ["keyCertSign", "cRLSign", "digitalSignature"] : ["digitalSignature", "keyAgreement"]
        let keyUsages = request.keyUsages ?? usual
        var found: [(CInt, String)] = [
            (NID_basic_constraints, request.isAuthority ? "critical,CA:TRUE" : "critical,CA:FALSE")
        ]
        if !keyUsages.isEmpty { found.append((NID_key_usage, "critical," + keyUsages.joined(separator: ","))) }
        found.append((NID_subject_key_identifier, "hash"))
        if !isRoot { found.append((NID_authority_key_identifier, "keyid:always")) }
        let uses =
            (request.serverUse ? ["serverAuth"] : []) + (request.clientUse ? ["clientAuth"] : [])
            + request.extendedKeyUsages
        if !uses.isEmpty { found.append((NID_ext_key_usage, uses.joined(separator: ","))) }
        return found
    }

    private static func addNames(
        _ wanted: [SubjectAlternativeName], to certificate: OpaquePointer, _ what: String
    ) throws(TLSFailure) {
        if wanted.isEmpty { return }
        guard let names = GENERAL_NAMES_new() else { throw .fromQueue(what) }
        defer { GENERAL_NAMES_free(names) }
        for name in wanted {
            let (kind, text) =
                switch name {
                case .dns(let text): (GEN_DNS, text)
                case .ip(let text): (GEN_IPADD, text)
                case .uri(let text): (GEN_URI, text)
                }
            guard weft_names_add(names, kind, text, CInt(text.utf8.count)) == 1 else {
                throw .fromQueue("\(what): name \(name)")
            }
        }
        // RFC 5280 §4.2.1.6: critical when the subject is empty.
        let critical: CInt = weft_x509_subject_count(certificate) == 0 ? 1 : 0
        guard weft_names_attach(names, certificate, critical) == 1 else { throw .fromQueue(what) }
    }
}
