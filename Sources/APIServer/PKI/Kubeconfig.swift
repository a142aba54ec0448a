import Kernel
import TLS
import Wire

/// The file that lets kubectl in as the administrator.
enum Kubeconfig {
    static func text(cluster: String, server: String, _ pki: ClusterPKI) throws(TLSFailure) -> String {
        let authority = Base64.encode(try pki.authority.certificate.pem())
        let certificate = Base64.encode(try pki.adminCertificate.pem())
        let key = Base64.encode(try pki.adminKey.pem())
        return """
            apiVersion: v1
            kind: Config
            current-context: \(cluster)
            clusters:
            - name: \(cluster)
              cluster:
                server: \(server)
                certificate-authority-data: \(authority)
            contexts:
            - name: \(cluster)
              context:
                cluster: \(cluster)
                user: \(cluster)-admin
            users:
            - name: \(cluster)-admin
              user:
                client-certificate-data: \(certificate)
                client-key-data: \(key)

            """
    }

    /// Readable by its owner only: it holds the administrator's key.
    static func write(_ path: String, cluster: String, server: String, _ pki: ClusterPKI) throws {
        let text = try text(cluster: cluster, server: server, pki)
        try SmallFile.replace(path, with: Array(text.utf8), mode: 0o600)
    }
}
