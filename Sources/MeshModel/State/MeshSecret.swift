package import KubeTypes
import ProxyResources
import Wire

/// What a Secret or ConfigMap holds of certificates.
package struct MeshSecret: Sendable, Hashable {
    package var certificate: String  // PEM
    package var key: String  // PEM
    package var authority: String  // PEM

    /// `nil` for one without any.
    package init?(_ object: KubeObject, isEncoded: Bool) {
        if object.json["type"]?.string == "kubernetes.io/service-account-token" { return nil }
        let data = object.json["data"]
        func text(_ names: [String]) -> String {
            guard let found = names.lazy.compactMap({ data?[$0]?.string }).first else { return "" }
            return isEncoded ? Base64.decode(found).map { String(decoding: $0, as: UTF8.self) } ?? "" : found
        }
        certificate = text(["tls.crt", "cert"])
        key = text(["tls.key", "key"])
        authority = text(["ca.crt", "cacert"])
        if certificate.isEmpty, authority.isEmpty { return nil }
    }

    /// `nil` without both parts, or when they are not what they should be as far as text tells.
    var pair: KeyPair? {
        guard certificate.contains("-----BEGIN CERTIFICATE-----"), key.contains("PRIVATE KEY-----") else { return nil }
        return KeyPair(certificateChain: certificate, privateKey: key)
    }
}
