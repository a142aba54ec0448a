import COpenSSL

/// One TLS connection between two buffers: ciphertext goes in and comes out as bytes, and whoever owns the socket moves them.
///
/// Not thread safe: belongs to one event loop.
package final class TLSSession {
    package enum ReadOutcome: Sendable, Equatable { case bytes(Int), needsInput, ended }

    private let session: OpaquePointer
    private let input: UnsafeMutablePointer<CipherInput>
    private let output: UnsafeMutablePointer<CipherOutput>
    private let context: TLSContext
    package private(set) var isEstablished = false

    /// `serverName`: for clients, the name or address the server's certificate must have.
    package init(_ context: TLSContext, serverName: String? = nil) throws(TLSFailure) {
        guard let session = SSL_new(context.pointer) else { throw .fromQueue("setting up a TLS session") }
        self.context = context
        self.session = session
        input = .allocate(capacity: 1)
        input.initialize(to: CipherInput())
        output = .allocate(capacity: 1)
        output.initialize(to: CipherOutput())
        guard let from = CipherInput.bio(input), let to = CipherOutput.bio(output) else {
            throw .fromQueue("setting up a TLS session")
        }
        SSL_set_bio(session, from, to)
        switch context.role {
        case .server: SSL_set_accept_state(session)
        case .client: SSL_set_connect_state(session)
        }
        guard context.role == .client, let serverName else { return }
        if let parameters = SSL_get0_param(session), X509_VERIFY_PARAM_set1_ip_asc(parameters, serverName) == 1 {
            return
        }
        ERR_clear_error()
        guard SSL_set1_host(session, serverName) == 1, weft_ssl_set_server_name(session, serverName) == 1 else {
            throw .fromQueue("setting up a TLS session with \(serverName)")
        }
    }

    deinit {
        SSL_free(session)
        input.deinitialize(count: 1).deallocate()
        output.deinitialize(count: 1).deallocate()
    }

    /// Takes ciphertext from the peer.
    package func receive(_ bytes: UnsafeRawBufferPointer) { input.pointee.keep(bytes) }

    /// Reads ciphertext from the peer where it is, as far as `body` does; the rest is kept.
    package func receive(_ bytes: UnsafeRawBufferPointer, while body: () -> Void) {
        input.pointee.lend(bytes)
        body()
        input.pointee.endLoan()
    }

    /// About as many bytes as can still be read of what has come; with none, none can.
    package var waitingInput: Int { Int(SSL_pending(session)) + input.pointee.waiting }

    /// Goes on with the handshake as far as the input allows; `true` when it is done.
    package func handshake() throws(TLSFailure) -> Bool {
        if isEstablished { return true }
        ERR_clear_error()
        let code = SSL_do_handshake(session)
        if code == 1 {
            isEstablished = true
            return true
        }
        switch SSL_get_error(session, code) {
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return false
        default: throw handshakeFailure()
        }
    }

    private func handshakeFailure() -> TLSFailure {
        let verdict = SSL_get_verify_result(session)
        let failure = TLSFailure.fromQueue("TLS handshake")
        guard verdict != X509_V_OK, let text = X509_verify_cert_error_string(verdict) else { return failure }
        return TLSFailure(failure.what, reasons: failure.reasons + [String(cString: text)])
    }

    package func read(into space: UnsafeMutableRawBufferPointer) throws(TLSFailure) -> ReadOutcome {
        ERR_clear_error()
        let count = SSL_read(session, space.baseAddress, CInt(clamping: space.count))
        if count > 0 { return .bytes(Int(count)) }
        switch SSL_get_error(session, count) {
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return .needsInput
        case SSL_ERROR_ZERO_RETURN: return .ended
        default: throw .fromQueue("reading from a TLS session")
        }
    }

    /// Encrypts all the bytes into the output.
    package func write(_ bytes: UnsafeRawBufferPointer) throws(TLSFailure) {
        var done = 0
        while done < bytes.count {
            ERR_clear_error()
            let count = SSL_write(session, bytes.baseAddress.map { $0 + done }, CInt(clamping: bytes.count - done))
            guard count > 0 else { throw .fromQueue("writing to a TLS session") }
            done += Int(count)
        }
    }

    /// Encrypts all the bytes straight into `space`; how many bytes that made. What does not fit waits as output.
    package func write(
        _ bytes: UnsafeRawBufferPointer, into space: UnsafeMutableRawBufferPointer
    ) throws(TLSFailure) -> Int {
        output.pointee.lend(space)
        do throws(TLSFailure) { try write(bytes) } catch {
            _ = output.pointee.takeBack()
            throw error
        }
        return output.pointee.takeBack()
    }

    /// What `count` bytes become at most: records of 16 KiB (RFC 8446 §5.1), each with a header, a nonce and a tag.
    package static func mostCiphertext(of count: Int) -> Int { count + (count / 16384 + 1) * 128 }

    /// Ciphertext waiting for the peer, in bytes.
    package var pendingOutput: Int { output.pointee.kept.count }

    package func takeOutput(into space: UnsafeMutableRawBufferPointer) -> Int { output.pointee.take(into: space) }

    /// Tells the peer that no more will come.
    package func shutDown() {
        guard isEstablished else { return }
        ERR_clear_error()
        SSL_shutdown(session)
        ERR_clear_error()
    }

    package var applicationProtocol: String? {
        var start: UnsafePointer<UInt8>?
        var count: CUnsignedInt = 0
        SSL_get0_alpn_selected(session, &start, &count)
        guard count > 0, let start else { return nil }
        return String(decoding: UnsafeBufferPointer(start: start, count: Int(count)), as: UTF8.self)
    }

    /// The peer's certificate, when it gave one and it was found good.
    package var peerCertificate: Certificate? {
        guard isEstablished, context.verification != .none, SSL_get_verify_result(session) == X509_V_OK else {
            return nil
        }
        return weft_ssl_peer_certificate(session).map(Certificate.init(taking:))
    }

    /// The name the client asked for (SNI).
    package var requestedName: String? {
        var name: UnsafePointer<CChar>?
        guard weft_ssl_server_name(session, &name) == 1, let name else { return nil }
        return String(cString: name)
    }
}
