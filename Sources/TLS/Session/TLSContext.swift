import COpenSSL

/// What the sessions of one server or one client have in common.
package struct TLSConfiguration: Sendable {
    package enum PeerVerification: Sendable {
        /// Any peer will do.
        case none
        /// A server asks for a certificate, and checks it when one is given.
        case ifGiven
        case required
    }

    /// The own certificate first, then those that lead to a root.
    package var certificates: [Certificate] = []
    package var key: PrivateKey?
    package var roots: [Certificate] = []
    package var verification = PeerVerification.required
    /// In order of preference; empty leaves ALPN out.
    package var applicationProtocols: [String] = []

    package init() {}

    package static func server(
        certificates: [Certificate], key: PrivateKey, clientRoots: [Certificate],
        verification: PeerVerification = .ifGiven,
        applicationProtocols: [String] = ["http/1.1"]
    ) -> TLSConfiguration {
        var made = TLSConfiguration()
        made.certificates = certificates
        made.key = key
        made.roots = clientRoots
        made.verification = verification
        made.applicationProtocols = applicationProtocols
        return made
    }

    package static func client(
        roots: [Certificate], certificates: [Certificate] = [], key: PrivateKey? = nil,
        applicationProtocols: [String] = ["http/1.1"]
    ) -> TLSConfiguration {
        var made = TLSConfiguration()
        made.roots = roots
        made.certificates = certificates
        made.key = key
        made.applicationProtocols = applicationProtocols
        return made
    }
}

/// OpenSSL's form of a configuration. TLS 1.2 and 1.3; no session is resumed, so every handshake checks certificates anew.
///
/// `@unchecked Sendable`: set up in `init` and only read afterwards; OpenSSL locks what sessions share.
package final class TLSContext: @unchecked Sendable {
    package enum Role: Sendable { case server, client }

    package let role: Role
    let pointer: OpaquePointer
    let verification: TLSConfiguration.PeerVerification
    /// The ALPN list as on the wire: each name behind its length.
    private let protocols: [UInt8]

    package init(_ role: Role, _ configuration: TLSConfiguration) throws(TLSFailure) {
        guard let made = SSL_CTX_new(role == .server ? TLS_server_method() : TLS_client_method()) else {
            throw .fromQueue("setting up TLS")
        }
        pointer = made
        self.role = role
        verification = configuration.verification
        protocols = configuration.applicationProtocols.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
        guard weft_ssl_ctx_set_min_version(pointer, TLS1_2_VERSION) == 1 else { throw .fromQueue("setting up TLS") }
        weft_ssl_ctx_no_resumption(pointer)
        weft_ssl_ctx_small_buffers(pointer)
        if role == .server {
            try chooseSuites(pointer)
            weft_ssl_ctx_own_preference(pointer)
        }
        try addIdentity(configuration)
        addRoots(configuration)
        if !protocols.isEmpty { addProtocols() }
    }

    deinit { SSL_CTX_free(pointer) }

    private func addIdentity(_ configuration: TLSConfiguration) throws(TLSFailure) {
        guard let own = configuration.certificates.first, let key = configuration.key else {
            if role == .server { throw TLSFailure("setting up TLS: a server needs a certificate and its key") }
            return
        }
        guard SSL_CTX_use_certificate(pointer, own.pointer) == 1, SSL_CTX_use_PrivateKey(pointer, key.pointer) == 1
        else {
            throw .fromQueue("using the certificate of \(own.commonName ?? "an unnamed subject")")
        }
        for certificate in configuration.certificates.dropFirst()
        where weft_ssl_ctx_add_chain(pointer, certificate.pointer) != 1 {
            throw .fromQueue("using the certificate of \(certificate.commonName ?? "an unnamed authority")")
        }
    }

    private func addRoots(_ configuration: TLSConfiguration) {
        let store = SSL_CTX_get_cert_store(pointer)
        for root in configuration.roots {
            X509_STORE_add_cert(store, root.pointer)
            if role == .server { SSL_CTX_add_client_CA(pointer, root.pointer) }
        }
        let mode =
            switch (role, verification) {
            case (_, .none): SSL_VERIFY_NONE
            case (.client, _), (.server, .ifGiven): SSL_VERIFY_PEER
            case (.server, .required): SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
            }
        SSL_CTX_set_verify(pointer, mode, nil)
    }

    private func addProtocols() {
        if role == .client {
            SSL_CTX_set_alpn_protos(pointer, protocols, CUnsignedInt(protocols.count))
            return
        }
        // Sessions hold this object, so it outlives every callback.
        let own = Unmanaged.passUnretained(self).toOpaque()
        SSL_CTX_set_alpn_select_cb(
            pointer,
            { _, chosen, count, offered, offeredCount, argument in
                guard let argument else { return SSL_TLSEXT_ERR_NOACK }
                let context = Unmanaged<TLSContext>.fromOpaque(argument).takeUnretainedValue()
                return context.protocols.withUnsafeBufferPointer { own in
                    var found: UnsafeMutablePointer<UInt8>?
                    let outcome = SSL_select_next_proto(
                        &found, count, own.baseAddress, CUnsignedInt(own.count), offered, offeredCount)
                    // On no match the function picks one anyway; RFC 7301 §3.2 wants an alert instead.
                    guard outcome == OPENSSL_NPN_NEGOTIATED, let found else { return SSL_TLSEXT_ERR_ALERT_FATAL }
                    // `found` points into our list, which an array may move: answer with the client's own bytes.
                    return TLSContext.answer(
                        found, count: Int(count?.pointee ?? 0), from: offered, Int(offeredCount), into: chosen)
                }
            }, own)
    }

    private static func answer(
        _ name: UnsafeMutablePointer<UInt8>, count: Int, from offered: UnsafePointer<UInt8>?, _ offeredCount: Int,
        into chosen: UnsafeMutablePointer<UnsafePointer<UInt8>?>?
    ) -> CInt {
        guard let offered else { return SSL_TLSEXT_ERR_ALERT_FATAL }
        let wanted = UnsafeBufferPointer(start: name, count: count)
        var place = 0
        while place < offeredCount {
            let length = Int(offered[place])
            let entry = UnsafeBufferPointer(start: offered + place + 1, count: length)
            if entry.elementsEqual(wanted) {
                chosen?.pointee = entry.baseAddress
                return SSL_TLSEXT_ERR_OK
            }
            place += 1 + length
        }
        return SSL_TLSEXT_ERR_ALERT_FATAL
    }
}
