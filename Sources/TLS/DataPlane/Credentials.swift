import COpenSSL
import Glibc

/// One workload's certificate, key and trusted roots, ready for both ends of a connection.
///
/// A connection keeps the OpenSSL context it started with, so replacing these drops none.
/// `@unchecked Sendable`: never changed after it is made; OpenSSL counts references to contexts atomically.
package final class Credentials: @unchecked Sendable {
    package let server: OpaquePointer
    package let client: OpaquePointer
    /// The SPIFFE ID in the certificate.
    package let principal: String
    /// Seconds since 1970.
    package let expires: Int64

    /// - Parameters: PEM texts; `trustRoots` may hold several.
    /// - Throws: `TLSFailure` naming the part that does not fit.
    package init(certificateChain: String, privateKey: String, trustRoots: String) throws(TLSFailure) {
        let chain = try Certificate.bundle(pem: Array(certificateChain.utf8))
        let roots = try Certificate.bundle(pem: Array(trustRoots.utf8))
        let key = try PrivateKey(pem: privateKey)
        guard let principal = spiffeID(of: chain[0]) else {
            throw TLSFailure("the certificate has not exactly one SPIFFE URI as subject alternative name")
        }
        self.principal = principal
        expires = chain[0].notAfter
        guard let server = SSL_CTX_new(TLS_server_method()), let client = SSL_CTX_new(TLS_client_method()) else {
            throw .fromQueue("making a TLS context")
        }
        self.server = server
        self.client = client
        for context in [server, client] {
            try Self.furnish(context, chain: chain, key: key, roots: roots)
        }
        SSL_CTX_set_verify(server, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
        SSL_CTX_set_verify(client, SSL_VERIFY_PEER, nil)
        let context: [UInt8] = Array("weft".utf8)
        SSL_CTX_set_session_id_context(server, context, UInt32(context.count))
        weft_tls_no_session_cache(server)
        SSL_CTX_set_num_tickets(server, 1)
        SSL_CTX_set_timeout(server, 3600)
        SSL_CTX_set_alpn_select_cb(server, chooseApplicationProtocol, nil)
        weft_tls_cache_client_sessions(client)
        SSL_CTX_sess_set_new_cb(client, keepSession)
    }

    deinit {
        SSL_CTX_free(server)
        SSL_CTX_free(client)
    }

    private static func furnish(
        _ context: OpaquePointer, chain: [Certificate], key: PrivateKey, roots: [Certificate]
    ) throws(TLSFailure) {
        weft_tls_shape(context)
        try chooseSuites(context)
        guard SSL_CTX_use_certificate(context, chain[0].pointer) == 1 else { throw .fromQueue("using the certificate") }
        for certificate in chain.dropFirst() {
            X509_up_ref(certificate.pointer)
            guard weft_ctx_add_chain(context, certificate.pointer) == 1 else {
                throw .fromQueue("adding an intermediate certificate")
            }
        }
        guard SSL_CTX_use_PrivateKey(context, key.pointer) == 1, SSL_CTX_check_private_key(context) == 1 else {
            throw .fromQueue("using the private key with the certificate")
        }
        try trust(roots, context)
    }
}

/// The one SPIFFE ID a certificate carries (X.509-SVID §2: exactly one URI); `nil` otherwise.
package func spiffeID(of certificate: Certificate) -> String? {
    var found: String? = nil
    for name in certificate.subjectAlternativeNames {
        guard case .uri(let uri) = name else { continue }
        if found != nil { return nil }
        found = uri
    }
    guard let found, found.hasPrefix("spiffe://") else { return nil }
    return found
}

/// The SPIFFE ID of the verified peer of a connection.
package func peerPrincipal(_ connection: OpaquePointer) -> String? {
    guard SSL_get_verify_result(connection) == Int(X509_V_OK), let pointer = SSL_get1_peer_certificate(connection)
    else { return nil }
    return spiffeID(of: Certificate(taking: pointer))
}

/// The SPIFFE ID of the verified peer of a connection, and its certificate's serial number in hexadecimal.
package func peerIdentity(_ connection: OpaquePointer) -> (principal: String, serial: String)? {
    guard SSL_get_verify_result(connection) == Int(X509_V_OK), let pointer = SSL_get1_peer_certificate(connection)
    else { return nil }
    let certificate = Certificate(taking: pointer)
    return spiffeID(of: certificate).map { ($0, certificate.serialNumber) }
}

/// How sidecars name what they carry to each other (ALPN).
package enum ApplicationProtocol: Sendable {
    case http
    /// HTTP/2; else HTTP/1.1, for those that do not know it.
    case http2
    case opaque

    /// As ALPN writes it: a length byte and the name.
    package var wire: StaticString {
        switch self {
        case .http: "\u{0D}weft-http/1.1"
        case .http2: "\u{07}weft-h2\u{0D}weft-http/1.1"
        case .opaque: "\u{08}weft-tcp"
        }
    }

    /// What a finished handshake agreed on.
    package static func negotiated(_ connection: OpaquePointer) -> ApplicationProtocol? {
        var start: UnsafePointer<UInt8>? = nil
        var count: UInt32 = 0
        SSL_get0_alpn_selected(connection, &start, &count)
        guard let start else { return nil }
        if count == 13, memcmp(start, "weft-http/1.1", 13) == 0 { return .http }
        if count == 7, memcmp(start, "weft-h2", 7) == 0 { return .http2 }
        if count == 8, memcmp(start, "weft-tcp", 8) == 0 { return .opaque }
        return nil
    }
}

private let chooseApplicationProtocol: SSL_CTX_alpn_select_cb_func = { _, chosen, chosenLength, offered, count, _ in
    guard let offered, let chosen, let chosenLength else { return SSL_TLSEXT_ERR_ALERT_FATAL }
    var place = 0
    while place < Int(count) {
        let length = Int(offered[place])
        let name = offered + place + 1
        if place + 1 + length > Int(count) { break }
        let isOurs =
            (length == 13 && memcmp(name, "weft-http/1.1", 13) == 0)
            || (length == 8 && memcmp(name, "weft-tcp", 8) == 0) || (length == 7 && memcmp(name, "weft-h2", 7) == 0)
        if isOurs {
            chosen.pointee = name
            chosenLength.pointee = UInt8(length)
            return SSL_TLSEXT_ERR_OK
        }
        place += 1 + length
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL
}

/// Where a client connection leaves the session the server gave it, for the next connection to the same peer.
package typealias SessionSlot = UnsafeMutablePointer<OpaquePointer?>

/// Safe to share: made once by Swift's lazy initialisation, an index never changes.
private let sessionIndex = CRYPTO_get_ex_new_index(CInt(CRYPTO_EX_INDEX_SSL), 0, nil, nil, nil, nil)

package func remember(session slot: SessionSlot, for connection: OpaquePointer) {
    SSL_set_ex_data(connection, sessionIndex, slot)
    if let session = slot.pointee { SSL_set_session(connection, session) }
}

let keepSession: @convention(c) (OpaquePointer?, OpaquePointer?) -> CInt = { connection, session in
    guard let kept = SSL_get_ex_data(connection, sessionIndex) else { return 0 }
    let slot = kept.assumingMemoryBound(to: OpaquePointer?.self)
    if let old = slot.pointee { SSL_SESSION_free(old) }
    slot.pointee = session
    return 1  // we keep the reference
}
