import COpenSSL
import Glibc

/// Which certificates a server asks of its clients.
package enum ClientVerification: Sendable { case none, optional, required }

/// TLS as a gateway speaks it for some server names.
///
/// A connection keeps the OpenSSL context it started with, so replacing this drops none.
/// `@unchecked Sendable`: never changed after it is made; OpenSSL counts references to contexts atomically.
package final class ServerContext: @unchecked Sendable {
    package let pointer: OpaquePointer

    /// - Parameters:
    ///   - pairs: PEM texts of certificate chains and their keys, at most one of each kind of key.
    ///   - clientNames: alternative names of which a client's certificate must carry one; empty for any.
    ///   - protocols: `h2` and `http/1.1`, in order of preference; with none, what a client offers is not looked at.
    /// - Throws: `TLSFailure` naming the part that does not fit.
    package init(
        pairs: [(chain: String, key: String)], verification: ClientVerification, clientRoots: String,
        clientNames: [String], needsTLS13: Bool, forbidsTLS13: Bool, protocols: [String]
    ) throws(TLSFailure) {
        guard let context = SSL_CTX_new(TLS_server_method()) else { throw .fromQueue("making a TLS context") }
        pointer = context
        weft_tls_shape(context)
        try chooseSuites(context)
        if needsTLS13 { _ = weft_ctx_min_version(context, TLS1_3_VERSION) }
        if forbidsTLS13 { _ = weft_ctx_max_version(context, TLS1_2_VERSION) }
        for pair in pairs { try Self.use(pair.chain, pair.key, context) }
        if verification != .none {
            let roots = try Certificate.bundle(pem: Array(clientRoots.utf8))
            try trust(roots, context)
            for root in roots { _ = weft_ctx_name_client_authority(context, root.pointer) }
            let must = verification == .required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0
            SSL_CTX_set_verify(context, SSL_VERIFY_PEER | must, nil)
        }
        // A session tells who the client is, so it is worth only what its own context asks: each makes its own ticket keys.
        let name = Array("gateway".utf8)
        SSL_CTX_set_session_id_context(context, name, UInt32(name.count))
        weft_tls_no_session_cache(context)
        SSL_CTX_set_num_tickets(context, 2)
        SSL_CTX_set_timeout(context, 3600)
        var wanted = ALPNChoice(rawValue: 0)
        if protocols.contains("h2") { wanted.insert(.http2) }
        if protocols.contains("http/1.1") { wanted.insert(.http1) }
        if protocols.first == "http/1.1" { wanted.insert(.http1First) }
        if wanted.rawValue != 0 {
            SSL_CTX_set_alpn_select_cb(context, chooseHTTP, UnsafeMutableRawPointer(bitPattern: UInt(wanted.rawValue)))
        }
        if !clientNames.isEmpty {
            SSL_CTX_set_ex_data(context, namesIndex, Unmanaged.passRetained(NameList(clientNames)).toOpaque())
        }
    }

    deinit { SSL_CTX_free(pointer) }

    private static func use(_ chain: String, _ key: String, _ context: OpaquePointer) throws(TLSFailure) {
        let certificates = try Certificate.bundle(pem: Array(chain.utf8))
        let key = try PrivateKey(pem: key)
        guard let others = weft_chain_new() else { throw .fromQueue("using a certificate") }
        defer { weft_chain_free(others) }
        for certificate in certificates.dropFirst() { _ = weft_chain_add(others, certificate.pointer) }
        guard weft_ctx_use_pair(context, certificates[0].pointer, key.pointer, others) == 1 else {
            throw .fromQueue("using the private key with the certificate")
        }
    }
}

/// Whether the client at the other end of a finished handshake may come in by its certificate's names.
package func clientIsNamed(_ connection: OpaquePointer) -> Bool {
    guard let context = SSL_get_SSL_CTX(connection), let kept = SSL_CTX_get_ex_data(context, namesIndex) else {
        return true
    }
    let list = Unmanaged<NameList>.fromOpaque(kept).takeUnretainedValue()
    guard let pointer = SSL_get1_peer_certificate(connection) else { return true }
    return Certificate(taking: pointer).carries(anyOf: list.names)
}

/// The application protocol a finished handshake agreed on, at a gateway.
package func agreedOnHTTP2(_ connection: OpaquePointer) -> Bool {
    var start: UnsafePointer<UInt8>? = nil
    var count: UInt32 = 0
    SSL_get0_alpn_selected(connection, &start, &count)
    guard let start else { return false }
    return count == 2 && start[0] == 104 && start[1] == 50
}

extension Certificate {
    /// Whether one of these stands among the alternative names: URIs have a scheme, all else is a host's name or address.
    func carries(anyOf names: [String]) -> Bool {
        names.contains { name in
            if name.contains("://") { return subjectAlternativeNames.contains(.uri(name)) }
            return weft_x509_names_host(pointer, name, name.utf8.count) == 1
                || weft_x509_names_address(pointer, name) == 1
        }
    }
}

func chooseSuites(_ context: OpaquePointer) throws(TLSFailure) {
    // 128-bit AES first: with hardware support it is the cheapest of the three.
    let suites = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
    guard SSL_CTX_set_ciphersuites(context, suites) == 1,
        SSL_CTX_set_cipher_list(
            context, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE+AESGCM:ECDHE+CHACHA20") == 1
    else { throw .fromQueue("choosing cipher suites") }
}

func trust(_ roots: [Certificate], _ context: OpaquePointer) throws(TLSFailure) {
    guard let store = SSL_CTX_get_cert_store(context) else { throw .fromQueue("opening the trust store") }
    for root in roots {
        guard X509_STORE_add_cert(store, root.pointer) == 1 else { throw .fromQueue("trusting a root") }
    }
}

private final class NameList: Sendable {
    let names: [String]
    init(_ names: [String]) { self.names = names }
}

/// Safe to share: made once by Swift's lazy initialisation, an index never changes.
private let namesIndex = weft_ctx_data_index { _, kept, _, _, _, _ in
    if let kept { Unmanaged<NameList>.fromOpaque(kept).release() }
}

/// What a context offers, as its callback's argument: no memory that could end before a handshake does.
private struct ALPNChoice: OptionSet {
    let rawValue: UInt8
    static let http1 = ALPNChoice(rawValue: 1)
    static let http2 = ALPNChoice(rawValue: 2)
    static let http1First = ALPNChoice(rawValue: 4)
}

/// RFC 7301 §3.2: the server's preference, and an alert when nothing is shared.
private let chooseHTTP: SSL_CTX_alpn_select_cb_func = { _, chosen, chosenLength, offered, count, argument in
    guard let offered, let chosen, let chosenLength else { return SSL_TLSEXT_ERR_ALERT_FATAL }
    let ours = ALPNChoice(rawValue: UInt8(truncatingIfNeeded: UInt(bitPattern: argument)))
    var http1: Int? = nil
    var http2: Int? = nil
    var place = 0
    while place < Int(count) {
        let length = Int(offered[place])
        if place + 1 + length > Int(count) { break }
        if length == 2, memcmp(offered + place + 1, "h2", 2) == 0, ours.contains(.http2) { http2 = place }
        if length == 8, memcmp(offered + place + 1, "http/1.1", 8) == 0, ours.contains(.http1) { http1 = place }
        place += 1 + length
    }
    let best = ours.contains(.http1First) ? http1 ?? http2 : http2 ?? http1
    guard let best else { return SSL_TLSEXT_ERR_ALERT_FATAL }
    chosen.pointee = offered + best + 1
    chosenLength.pointee = offered[best]
    return SSL_TLSEXT_ERR_OK
}
