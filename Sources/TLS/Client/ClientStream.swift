import COpenSSL
internal import Glibc

/// A TLS connection of a client over a blocking socket. One thread at a time uses it.
package final class ClientStream: @unchecked Sendable {  // Handed from thread to thread, never shared by two.
    private let session: OpaquePointer
    private let socket: CInt

    /// Makes the connection and the handshake.
    ///
    /// - Parameters:
    ///   - host: a name or an address; the server's certificate must carry it.
    ///   - timeout: in seconds, for each send and each receive; 0 waits for ever.
    package init(_ context: ClientContext, host: String, port: UInt16, timeout: Int) throws(TLSFailure) {
        socket = try Self.connect(host, port, timeout)
        guard let session = SSL_new(context.pointer) else {
            close(socket)
            throw .fromQueue("no TLS session")
        }
        self.session = session
        SSL_set_fd(session, socket)
        var isAddress = in_addr()
        if inet_pton(AF_INET, host, &isAddress) != 1 { _ = weft_client_server_name(session, host) }
        guard weft_client_expect_host(session, host) == 1 else {
            throw .fromQueue("\(host) is no name a certificate can carry")
        }
        ERR_clear_error()
        let code = SSL_connect(session)
        guard code == 1 else {
            let verified = SSL_get_verify_result(session)
            if verified != Int(X509_V_OK) {
                throw TLSFailure(
                    "the certificate of \(host):\(port) is not trusted",
                    reasons: [String(cString: X509_verify_cert_error_string(verified))])
            }
            throw .fromQueue("TLS handshake with \(host):\(port) failed")
        }
    }

    deinit {
        SSL_free(session)
        close(socket)
    }

    /// Changes how long each receive may take, in seconds; 0 waits for ever.
    package func setReceiveTimeout(_ seconds: Int) {
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    /// Ends the connection for a thread that waits in `read`.
    package func shutDown() { shutdown(socket, CInt(SHUT_RDWR)) }

    package func write(_ bytes: [UInt8]) throws(TLSFailure) {
        var done = 0
        while done < bytes.count {
            ERR_clear_error()
            let count = bytes.withUnsafeBytes {
                SSL_write(session, $0.baseAddress.map { $0 + done }, CInt(bytes.count - done))
            }
            guard count > 0 else { throw .fromQueue("the server closed the connection while the request was sent") }
            done += Int(count)
        }
    }

    /// What has arrived, at least one byte; empty at the end of the stream.
    package func read(upTo limit: Int = 65_536) throws(TLSFailure) -> [UInt8] {
        var chunk = [UInt8](repeating: 0, count: limit)
        ERR_clear_error()
        let count = chunk.withUnsafeMutableBytes { SSL_read(session, $0.baseAddress, CInt($0.count)) }
        let code = errno
        if count > 0 { return Array(chunk[..<Int(count)]) }
        switch SSL_get_error(session, count) {
        case SSL_ERROR_ZERO_RETURN: return []
        case SSL_ERROR_WANT_READ: throw TLSFailure("the server did not answer in time")
        case SSL_ERROR_SYSCALL where code == EAGAIN: throw TLSFailure("the server did not answer in time")
        case SSL_ERROR_SYSCALL where code == 0: return []
        default:
            let failure = TLSFailure.fromQueue("reading from the server failed")
            // A peer that ends without close_notify: whether the answer is whole is for its length to say.
            if failure.reasons.contains(where: { $0.contains("unexpected eof") }) { return [] }
            throw failure
        }
    }

    private static func connect(_ host: String, _ port: UInt16, _ timeout: Int) throws(TLSFailure) -> CInt {
        var hints = addrinfo()
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, "\(port)", &hints, &found)
        guard code == 0 else { throw TLSFailure("\(host) cannot be resolved: \(String(cString: gai_strerror(code)))") }
        defer { freeaddrinfo(found) }
        var last: CInt = 0
        var candidate = found
        while let address = candidate {
            candidate = address.pointee.ai_next
            let socket = Glibc.socket(
                address.pointee.ai_family, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
            guard socket >= 0 else {
                last = errno
                continue
            }
            var limit = timeval(tv_sec: timeout, tv_usec: 0)
            setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
            setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
            var on: CInt = 1
            setsockopt(socket, CInt(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<CInt>.size))
            if Glibc.connect(socket, address.pointee.ai_addr, address.pointee.ai_addrlen) == 0 { return socket }
            last = errno
            close(socket)
        }
        throw TLSFailure("\(host):\(port) does not answer: \(String(cString: strerror(last)))")
    }
}
