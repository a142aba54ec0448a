import Kernel
import KubeTypes
import TLS

/// The cluster's keys and certificates, made at the first start and kept in `pki/`.
///
/// The authority lives ten years, what it signs one; what has less than a third of its life left is made anew at a start.
struct ClusterPKI: Sendable {
    let authority: CertificateAuthority
    let serverCertificate: Certificate
    let serverKey: PrivateKey
    let adminCertificate: Certificate
    let adminKey: PrivateKey
    /// Signs what this server shows to the servers behind it; they trust nobody else to say who asks.
    let proxyAuthority: CertificateAuthority
    let proxyCertificate: Certificate
    let proxyKey: PrivateKey
    /// Signs service-account tokens.
    let accountKey: PrivateKey

    private static let lifetime = Duration.seconds(365 * 86400)

    static func open(_ directory: String, serverNames: [SubjectAlternativeName]) throws -> ClusterPKI {
        let files = PKIFiles(directory: directory)
        try SmallFile.makeDirectories(directory, mode: 0o700)
        let authority = try files.authority("ca", commonName: "weft-ca")
        let proxyAuthority = try files.authority("front-proxy-ca", commonName: "weft-front-proxy-ca")
        let proxy = try files.issued("front-proxy-client", by: proxyAuthority, naming: []) { key in
            CertificateRequest(
                commonName: FrontProxy.commonName, clientUse: true, lifetime: lifetime, publicKey: key)
        }
        let server = try files.issued("apiserver", by: authority, naming: serverNames) { key in
            CertificateRequest(
                commonName: "kube-apiserver", subjectAlternativeNames: serverNames, serverUse: true, lifetime: lifetime,
                publicKey: key)
        }
        let admin = try files.issued("admin", by: authority, naming: []) { key in
            CertificateRequest(
                commonName: "kubernetes-admin", organizations: ["system:masters"], clientUse: true, lifetime: lifetime,
                publicKey: key)
        }
        return ClusterPKI(
            authority: authority, serverCertificate: server.certificate, serverKey: server.key,
            adminCertificate: admin.certificate, adminKey: admin.key, proxyAuthority: proxyAuthority,
            proxyCertificate: proxy.certificate, proxyKey: proxy.key, accountKey: try files.key("sa"))
    }
}

/// `<name>.crt` and `<name>.key`, keys readable by their owner only.
private struct PKIFiles {
    let directory: String

    func pair(_ name: String) throws -> (certificate: Certificate, key: PrivateKey)? {
        guard let certificate = try read("\(name).crt"), let key = try read("\(name).key") else { return nil }
        return (try Certificate(pem: certificate), try PrivateKey(pem: key))
    }

    func write(_ name: String, _ certificate: Certificate, _ key: PrivateKey) throws {
        try SmallFile.replace("\(directory)/\(name).key", with: try key.pem(), mode: 0o600)
        try SmallFile.replace("\(directory)/\(name).crt", with: try certificate.pem())
    }

    func authority(_ name: String, commonName: String) throws -> CertificateAuthority {
        if let (certificate, key) = try pair(name) { return CertificateAuthority(certificate: certificate, key: key) }
        let made = try CertificateAuthority.create(commonName: commonName)
        try write(name, made.certificate, made.key)
        return made
    }

    func key(_ name: String) throws -> PrivateKey {
        if let text = try read("\(name).key") { return try PrivateKey(pem: text) }
        let key = try PrivateKey.generate()
        try SmallFile.replace("\(directory)/\(name).key", with: try key.pem(), mode: 0o600)
        return key
    }

    /// The stored pair while it is good: signed by the authority, naming what it must, and not near its end.
    func issued(
        _ name: String, by authority: CertificateAuthority, naming names: [SubjectAlternativeName],
        _ request: (PublicKey) -> CertificateRequest
    ) throws -> (certificate: Certificate, key: PrivateKey) {
        if let found = try pair(name), isGood(found.certificate, authority, names) { return found }
        let key = try PrivateKey.generate()
        let certificate = try authority.issue(request(try key.publicKey()))
        try write(name, certificate, key)
        return (certificate, key)
    }

    private func isGood(_ found: Certificate, _ authority: CertificateAuthority, _ names: [SubjectAlternativeName])
        -> Bool
    {
        guard (try? found.verify(against: [authority.certificate])) != nil else { return false }
        guard Set(found.subjectAlternativeNames).isSuperset(of: names) else { return false }
        let third = (found.notAfter - found.notBefore) / 3
        return found.notAfter - Timestamp.now().seconds > third
    }

    private func read(_ name: String) throws -> [UInt8]? {
        do throws(SystemCallFailed) {
            return try SmallFile.read("\(directory)/\(name)")
        } catch {
            if error.isMissing { return nil }
            throw error
        }
    }
}

extension SystemCallFailed {
    /// ENOENT.
    fileprivate var isMissing: Bool { code == 2 }
}
