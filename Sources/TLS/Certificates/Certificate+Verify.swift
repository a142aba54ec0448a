import COpenSSL

extension Certificate {
    package enum Use: Sendable { case server, client, any }

    /// Checks that a chain leads from this certificate to one of the roots, is in date, and allows the use.
    ///
    /// `time`: seconds since 1970; now when `nil`.
    package func verify(
        against roots: [Certificate], intermediates: [Certificate] = [], use: Use = .any, at time: Int64? = nil
    ) throws(TLSFailure) {
        guard let store = X509_STORE_new(), let context = X509_STORE_CTX_new(), let chain = weft_chain_new() else {
            throw .fromQueue("verifying a certificate")
        }
        defer {
            X509_STORE_CTX_free(context)
            X509_STORE_free(store)
            weft_chain_free(chain)
        }
        for root in roots { X509_STORE_add_cert(store, root.pointer) }
        for certificate in intermediates { _ = weft_chain_add(chain, certificate.pointer) }
        guard X509_STORE_CTX_init(context, store, pointer, chain) == 1 else {
            throw .fromQueue("verifying a certificate")
        }
        switch use {
        case .server: X509_STORE_CTX_set_purpose(context, X509_PURPOSE_SSL_SERVER)
        case .client: X509_STORE_CTX_set_purpose(context, X509_PURPOSE_SSL_CLIENT)
        case .any: break
        }
        if let time { X509_STORE_CTX_set_time(context, 0, Int(time)) }
        if X509_verify_cert(context) == 1 { return }
        let reason = X509_verify_cert_error_string(Int(X509_STORE_CTX_get_error(context)))
        ERR_clear_error()
        throw TLSFailure(
            "certificate of \(commonName ?? subjectAlternativeNames.first?.description ?? "an unnamed subject")",
            reasons: [reason.map { String(cString: $0) } ?? "not valid"])
    }
}
