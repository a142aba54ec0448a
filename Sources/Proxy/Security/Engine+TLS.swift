import COpenSSL
import Glibc
import ProxyResources
import TLS
import Wire

extension Engine {
    /// Starts the server's part on an inbound connection from the mesh.
    mutating func beginTLS(_ client: Conn) {
        guard let context = table?.pointee.server else {
            close(client)
            return
        }
        beginTLS(client, context)
    }

    /// Starts the server's part of a handshake.
    mutating func beginTLS(_ client: Conn, _ context: OpaquePointer) {
        guard attachTLS(client, SSL_new(context)) else {
            close(client)
            return
        }
        SSL_set_accept_state(client.pointee.ssl)
        setDeadline(client, after: Limits.handshake)
        _ = handshake(client)
    }

    /// Starts the client's part on a new connection to an endpoint.
    func attachClientTLS(
        _ upstream: Conn, _ context: OpaquePointer, _ endpoint: UnsafeMutablePointer<LiveEndpoint>,
        _ alpn: ApplicationProtocol
    ) -> Bool {
        guard attachTLS(upstream, SSL_new(context)) else { return false }
        SSL_set_connect_state(upstream.pointee.ssl)
        let name = alpn.wire
        SSL_set_alpn_protos(upstream.pointee.ssl, name.utf8Start, UInt32(name.utf8CodeUnitCount))
        if let ssl = upstream.pointee.ssl {
            let slot = UnsafeMutableRawPointer(endpoint).advanced(by: LiveEndpoint.sessionOffset)
            // Opaque connections start afresh: a session belongs to the protocol it was agreed with.
            if alpn != .opaque { remember(session: slot.assumingMemoryBound(to: OpaquePointer?.self), for: ssl) }
        }
        return true
    }

    /// Starts the client's part on a new connection to a server outside the mesh.
    func attachOrigination(
        _ upstream: Conn, _ endpoint: UnsafeMutablePointer<LiveEndpoint>, _ alpn: ApplicationProtocol
    ) -> Bool {
        guard let origination = endpoint.pointee.origination else { return true }
        guard attachTLS(upstream, origination._withUnsafeGuaranteedRef({ $0.connection() })),
            let ssl = upstream.pointee.ssl
        else { return false }
        SSL_set_connect_state(ssl)
        if alpn != .opaque {
            var name: StaticString = alpn == .http2 ? "\u{02}h2" : "\u{08}http/1.1"
            if alpn == .http2 && mayFallBack(endpoint) { name = "\u{02}h2\u{08}http/1.1" }
            SSL_set_alpn_protos(ssl, name.utf8Start, UInt32(name.utf8CodeUnitCount))
            let slot = UnsafeMutableRawPointer(endpoint).advanced(by: LiveEndpoint.sessionOffset)
            remember(session: slot.assumingMemoryBound(to: OpaquePointer?.self), for: ssl)
        }
        return true
    }

    private func attachTLS(_ connection: Conn, _ made: OpaquePointer?) -> Bool {
        guard let ssl = made else { return false }
        guard let bio = BIO_new(socketBIO) else {
            SSL_free(ssl)
            return false
        }
        BIO_set_data(bio, connection)
        BIO_set_init(bio, 1)
        SSL_set_bio(ssl, bio, bio)
        connection.pointee.ssl = ssl
        connection.pointee.isSecured = true
        connection.pointee.tls = .handshaking
        return true
    }

    /// Moves a handshake on. False when it failed and the connection is gone.
    mutating func handshake(_ connection: Conn) -> Bool {
        let outcome = SSL_do_handshake(connection.pointee.ssl)
        if outcome == 1 {
            counts.handshakes += 1
            if SSL_session_reused(connection.pointee.ssl) != 0 { counts.resumed += 1 }
            return established(connection)
        }
        let reason = SSL_get_error(connection.pointee.ssl, outcome)
        if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE) && !connection.pointee.endOfInput {
            return true
        }
        ERR_clear_error()
        counts.handshakeFailures += 1
        if connection.pointee.role == .upstream { upstreamFailed(connection) } else { close(connection) }
        return false
    }

    /// The chain is verified; now the name in it must be the right one.
    private mutating func established(_ connection: Conn) -> Bool {
        guard let ssl = connection.pointee.ssl else { return false }
        if connection.pointee.role == .client && connection.pointee.side == .gateway {
            return gatewayEstablished(connection, ssl)
        }
        if connection.pointee.role == .upstream,
            let origination = endpoints[Int(connection.pointee.endpoint)].origination
        {
            return originated(connection, ssl, isRight: origination._withUnsafeGuaranteedRef { $0.accepts(ssl) })
        }
        guard let (principal, serial) = peerIdentity(ssl), !isRevoked(principal, serial) else {
            counts.handshakeFailures += 1
            if connection.pointee.role == .upstream { upstreamFailed(connection) } else { close(connection) }
            return false
        }
        connection.pointee.tls = .established
        connection.pointee.isMutual = true
        // What came with the handshake's last flight is in OpenSSL's buffer; no event will tell of it.
        queue(connection)
        if connection.pointee.role == .upstream {
            let endpoint = endpoints + Int(connection.pointee.endpoint)
            let length = Int(endpoint.pointee.principalLength)
            guard let expected = endpoint.pointee.principal, principal.utf8.count == length,
                principal.utf8.elementsEqual(UnsafeBufferPointer(start: expected, count: length))
            else {
                counts.handshakeFailures += 1
                connection.pointee.tls = .handshaking
                upstreamFailed(connection)
                return false
            }
            connected(connection)
            return true
        }
        connection.pointee.secure = .mutualTLS
        connection.pointee.principalLabels = labels.number(of: PeerHeader.byCertificate(principal))
        connection.pointee.peerLabels = connection.pointee.principalLabels
        keepCertificateLine(connection, principal)
        switch ApplicationProtocol.negotiated(ssl) {
        case .http:
            connection.pointee.mode = .http
            setDeadline(connection, after: idlePatience)
        case .http2: startSession(connection)
        case .opaque: startTunnel(connection)
        case nil:
            close(connection)
            return false
        }
        return connection.pointee.role == .client
    }

    /// Whether an upstream is, or will be, spoken to over the mesh's own TLS.
    @inline(__always)
    func speaksMesh(_ upstream: Conn) -> Bool {
        upstream.pointee.isSecured && upstream.pointee.endpoint >= 0
            && endpoints[Int(upstream.pointee.endpoint)].origination == nil
    }

    /// The handshake with a server outside the mesh is done.
    private mutating func originated(_ upstream: Conn, _ ssl: OpaquePointer, isRight: Bool) -> Bool {
        // Where streams were declared, only they can be carried.
        let isAgreed =
            upstream.pointee.session == nil || agreedOnHTTP2(ssl)
            || mayFallBack(endpoints + Int(upstream.pointee.endpoint))
        if !isRight || !isAgreed {
            counts.handshakeFailures += 1
            upstreamFailed(upstream)
            return false
        }
        upstream.pointee.tls = .established
        queue(upstream)
        connected(upstream)
        return true
    }

    /// Nobody said that the server speaks HTTP/2: its client does, and the server may choose.
    private func mayFallBack(_ endpoint: UnsafeMutablePointer<LiveEndpoint>) -> Bool {
        endpoint.pointee.appProtocol == .unknown
    }

    private func keepCertificateLine(_ client: Conn, _ principal: String) {
        guard let table else { return }
        let own = table.pointee.arrays.pointee.principal
        let by = String(
            decoding: UnsafeBufferPointer(
                start: table.pointee.arrays.pointee.text + Int(own.offset), count: Int(own.count)),
            as: UTF8.self)
        let line = Array("x-forwarded-client-cert: By=\(by);URI=\(principal)".utf8)
        keepCertificateLine(client, line, principalLength: principal.utf8.count)
    }
}

extension LiveEndpoint {
    static let sessionOffset = MemoryLayout<LiveEndpoint>.offset(of: \.session) ?? 0
}
