import COpenSSL

/// Whom a client trusts and who it says it is. Shared by its connections.
///
/// `@unchecked Sendable`: SSL_CTX counts its references atomically and is not changed after `init`.
package final class ClientContext: @unchecked Sendable {
    let pointer: OpaquePointer

    /// - Parameter identity: the client's certificate with what leads to its authority, and its key.
    package init(
        roots: [Certificate], identity: (chain: [Certificate], key: PrivateKey)?
    ) throws(TLSFailure) {
        guard let context = SSL_CTX_new(TLS_client_method()) else { throw .fromQueue("no TLS context") }
        pointer = context
        _ = weft_client_min_tls12(context)
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
        let store = SSL_CTX_get_cert_store(context)
        for root in roots where X509_STORE_add_cert(store, root.pointer) != 1 {
            throw .fromQueue("a trusted certificate cannot be used")
        }
        guard let identity else { return }
        guard let leaf = identity.chain.first else { throw TLSFailure("the client certificate is empty") }
        guard SSL_CTX_use_certificate(context, leaf.pointer) == 1 else {
            throw .fromQueue("the client certificate cannot be used")
        }
        for link in identity.chain.dropFirst() where weft_client_add_chain(context, link.pointer) != 1 {
            throw .fromQueue("the client certificate's chain cannot be used")
        }
        guard SSL_CTX_use_PrivateKey(context, identity.key.pointer) == 1, SSL_CTX_check_private_key(context) == 1 else {
            throw .fromQueue("the client's key does not belong to its certificate")
        }
    }

    deinit { SSL_CTX_free(pointer) }
}
