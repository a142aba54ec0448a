import COpenSSL
import Glibc

/// TLS as it is spoken to servers outside the mesh.
///
/// `@unchecked Sendable`: as `ServerContext`.
package final class OriginationContext: @unchecked Sendable {
    private let pointer: OpaquePointer
    private let serverName: String
    private let names: [String]
    private let skipsVerification: Bool

    /// - Parameters:
    ///   - serverName: asked for (SNI), and the name the certificate must carry unless `names` says otherwise.
    ///   - roots: PEM; empty for the machine's own.
    package init(
        serverName: String, names: [String], roots: String, skipsVerification: Bool,
        pair: (chain: String, key: String)?, needsTLS13: Bool
    ) throws(TLSFailure) {
        guard let context = SSL_CTX_new(TLS_client_method()) else { throw .fromQueue("making a TLS context") }
        pointer = context
        self.serverName = serverName
        self.names = names.isEmpty ? [serverName] : names
        self.skipsVerification = skipsVerification
        weft_tls_shape(context)
        try chooseSuites(context)
        if needsTLS13 { _ = weft_ctx_min_version(context, TLS1_3_VERSION) }
        if skipsVerification {
            SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nil)
        } else {
            SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
            if roots.isEmpty {
                guard SSL_CTX_set_default_verify_paths(context) == 1 else {
                    throw .fromQueue("reading the machine's trusted roots")
                }
            } else {
                try trust(try Certificate.bundle(pem: Array(roots.utf8)), context)
            }
        }
        if let pair {
            let certificates = try Certificate.bundle(pem: Array(pair.chain.utf8))
            let key = try PrivateKey(pem: pair.key)
            guard let others = weft_chain_new() else { throw .fromQueue("using a certificate") }
            defer { weft_chain_free(others) }
            for certificate in certificates.dropFirst() { _ = weft_chain_add(others, certificate.pointer) }
            guard weft_ctx_use_pair(context, certificates[0].pointer, key.pointer, others) == 1 else {
                throw .fromQueue("using the private key with the certificate")
            }
        }
        weft_tls_cache_client_sessions(context)
        SSL_CTX_sess_set_new_cb(context, keepSession)
    }

    deinit { SSL_CTX_free(pointer) }

    /// A connection's TLS, not yet begun; `nil` without memory.
    package func connection() -> OpaquePointer? {
        guard let connection = SSL_new(pointer) else { return nil }
        // An address is no server name (RFC 6066 §3).
        if !serverName.isEmpty, serverName.contains(where: { $0 != "." && !$0.isNumber }), !serverName.contains(":") {
            _ = weft_client_server_name(connection, serverName)
        }
        return connection
    }

    /// The chain is verified; whether the certificate is also this server's.
    package func accepts(_ connection: OpaquePointer) -> Bool {
        if skipsVerification { return true }
        guard SSL_get_verify_result(connection) == Int(X509_V_OK),
            let certificate = SSL_get1_peer_certificate(connection)
        else { return false }
        return Certificate(taking: certificate).carries(anyOf: names)
    }
}
