import CKernel
import COpenSSL
import Glibc
import Loop
import ProxyResources
import TLS
import Wire

extension Engine {
    /// A connection to a gateway: plain HTTP at once, or first what its listener asks for.
    mutating func beginGateway(_ client: Conn) {
        guard let door = door(client) else {
            client.pointee.mode = .http
            setDeadline(client, after: idlePatience)
            return
        }
        if let table, table.pointee.arrays.pointee.tls.trusts(door.trusted, client.pointee.peerAddress) {
            client.pointee.mode = .introduced
            setDeadline(client, after: Limits.sniff)
            return
        }
        enter(client, door)
    }

    /// Who the client is has been settled; what it speaks is next.
    mutating func enter(_ client: Conn, _ door: DoorEntry) {
        if door.names.count == 0 {
            if door.rule >= 0 {
                forward(client, door.rule)
                return
            }
            client.pointee.mode = .http
            setDeadline(client, after: idlePatience)
        } else {
            client.pointee.mode = .sniffing
            setDeadline(client, after: Limits.sniff)
        }
    }

    func door(_ client: Conn) -> DoorEntry? {
        guard let table, client.pointee.side == .gateway else { return nil }
        let place = Int(listeners[Int(client.pointee.listener)].gatewayPlace)
        guard place >= 0, place < table.pointee.arrays.pointee.tls.doorCount else { return nil }
        return table.pointee.arrays.pointee.tls.doors[place]
    }

    /// Names of TLS that is passed on, at an outbound connection's destination; none for most.
    func outboundNames(_ client: Conn) -> Run {
        guard let table else { return Run() }
        let place = table.pointee.arrays.pointee.byAddress.find(
            client.pointee.originalAddress, client.pointee.originalPort)
        return place < 0 ? Run() : table.pointee.arrays.pointee.tls.services[Int(place)]
    }

    /// Looks at a ClientHello without taking it, and sends its connection where the name in it belongs.
    mutating func sniffName(_ client: Conn) {
        let space = buffers.take(2)
        defer { buffers.give(space, 2) }
        let isGateway = client.pointee.side == .gateway
        guard let first = peek(client, into: space, for: isGateway ? [.tls, .http] : .tls) else { return }
        switch first {
        case .brokenTLS: refuseTLS(client, alert: 50)  // decode_error
        case .tls(let hello):
            let name = ByteView(start: space + hello.nameOffset, count: hello.nameLength)
            let names = client.pointee.side == .gateway ? door(client)?.names ?? Run() : outboundNames(client)
            guard let table, let entry = table.pointee.arrays.pointee.tls.find(names, name) else {
                if client.pointee.side == .outbound {
                    leaveSniffing(client)
                } else {
                    refuseTLS(client, alert: 112)  // unrecognized_name
                }
                return
            }
            if entry.context == ServerNameEntry.unopened {
                forward(client, entry.rule, serverName: name)
            } else if entry.context >= 0, let context = table.pointee.arrays.pointee.tls.contexts[Int(entry.context)] {
                client.pointee.mode = .http
                beginTLS(client, context)
            } else {
                refuseTLS(client, alert: 80)  // internal_error: the certificate cannot be used
            }
        default: sniffedPlain(client, isHTTP: first == .http1)
        }
    }

    /// Sends a connection on as it is, where a rule of the present table says.
    private mutating func forward(_ client: Conn, _ rule: Int32, serverName: ByteView = .none) {
        guard let table else {
            close(client)
            return
        }
        client.pointee.connectionRule = rule
        client.pointee.table = table
        table.pointee.users += 1
        startTunnel(client, serverName: serverName)
    }

    /// Where what is inside a client's TLS goes on; -1 when it is requests. Asked again after the handshake, since the table may be
    /// another by then.
    private func ruleInside(_ client: Conn, _ ssl: OpaquePointer) -> Int32 {
        guard let door = door(client), door.forwardsOpened, let table else { return -1 }
        let entry = table.pointee.arrays.pointee.tls.find(door.names, serverName(askedIn: ssl))
        guard let entry, entry.context >= 0 else { return -1 }
        return entry.rule
    }

    /// Empty when the client named none.
    func serverName(askedIn ssl: OpaquePointer) -> ByteView {
        guard let asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) else { return .none }
        return ByteView(start: UnsafeRawPointer(asked).assumingMemoryBound(to: UInt8.self), count: strlen(asked))
    }

    /// No hello in time. A server of an outbound connection may be the one to speak first.
    mutating func nameTimedOut(_ client: Conn) {
        if client.pointee.side == .outbound {
            leaveSniffing(client)
        } else {
            counts.handshakeFailures += 1
            close(client)
        }
    }

    private mutating func sniffedPlain(_ client: Conn, isHTTP: Bool) {
        if client.pointee.side == .outbound {
            leaveSniffing(client)
            return
        }
        counts.refusedPlain += 1
        client.pointee.mode = .http
        client.pointee.startedAt = now
        if isHTTP {
            answer(client, status: 400, .refusedPlain, "tls_required", close: true)
        } else {
            close(client)
        }
    }

    /// An outbound connection that no name sends elsewhere goes on as its port's protocol says.
    private mutating func leaveSniffing(_ client: Conn) {
        beginOutbound(client, sniffs: false)
        if client.pointee.role == .client { queue(client) }
    }

    /// RFC 8446 §6: a fatal alert, in the record version everybody reads, and the end.
    private mutating func refuseTLS(_ client: Conn, alert: UInt8) {
        counts.handshakeFailures += 1
        let bytes: [UInt8] = [21, 3, 3, 0, 2, 2, alert]
        _ = bytes.withUnsafeBufferPointer { weft_tcp_send(client.pointee.fd, $0.baseAddress, $0.count) }
        // Unread bytes would turn the end into a reset that overtakes the alert.
        client.pointee.mode = .http
        linger(client)
    }

    /// A client's handshake with a gateway is done.
    mutating func gatewayEstablished(_ client: Conn, _ ssl: OpaquePointer) -> Bool {
        client.pointee.tls = .established
        queue(client)
        guard clientIsNamed(ssl), keepClientCertificate(client, ssl) else {
            counts.handshakeFailures += 1
            close(client)
            return false
        }
        let rule = ruleInside(client, ssl)
        if rule >= 0 {
            forward(client, rule)
            return client.pointee.role == .client
        }
        client.pointee.mode = .http
        setDeadline(client, after: idlePatience)
        if agreedOnHTTP2(ssl) { startSession(client) }
        return client.pointee.role == .client
    }

    /// What the workload is told of a client that brought a certificate. False when that is no longer good.
    private mutating func keepClientCertificate(_ client: Conn, _ ssl: OpaquePointer) -> Bool {
        guard let pointer = SSL_get1_peer_certificate(ssl) else { return true }
        let certificate = Certificate(taking: pointer)
        let principal = spiffeID(of: certificate) ?? ""
        if isRevoked(principal, certificate.serialNumber) { return false }
        guard let der = try? certificate.der() else { return false }
        let digits = Array("0123456789abcdef".utf8)
        var line = Array("x-forwarded-client-cert: Hash=".utf8)
        for byte in sha256(der) { line += [digits[Int(byte >> 4)], digits[Int(byte & 15)]] }
        if let name = certificate.commonName, name.utf8.allSatisfy({ $0 >= 32 && $0 < 127 && $0 != 34 && $0 != 92 }) {
            line += Array(";Subject=\"CN=\(name)\"".utf8)
        }
        if !principal.isEmpty { line += Array(";URI=\(principal)".utf8) }
        keepCertificateLine(client, line, principalLength: principal.utf8.count)
        return true
    }

    func keepCertificateLine(_ client: Conn, _ line: [UInt8], principalLength: Int) {
        let memory = Bytes.allocate(capacity: line.count + 2)
        for (place, byte) in line.enumerated() { memory[place] = byte }
        memory[line.count] = 13
        memory[line.count + 1] = 10
        client.pointee.certificateLine = memory
        client.pointee.certificateLineLength = Int32(line.count + 2)
        client.pointee.principalStart = principalLength == 0 ? 0 : Int32(line.count - principalLength)
    }

    /// Whether a peer is on the list of those that are cut off.
    func isRevoked(_ principal: String, _ serial: @autoclosure () -> String) -> Bool {
        guard let table else { return false }
        let revoked = table.pointee.table._withUnsafeGuaranteedRef { $0.revoked }
        return !revoked.isEmpty && revoked.covers(principal: principal, serial: Revocation.plain(serial: serial()))
    }

    /// Ends every connection whose peer is on the list, after a new one has come.
    mutating func cutOffRevoked() {
        guard let table else { return }
        let revoked = table.pointee.table._withUnsafeGuaranteedRef { $0.revoked }
        if revoked.isEmpty { return }
        for place in 0..<Int(top) {
            let connection = slab + place
            guard connection.pointee.role == .client || connection.pointee.role == .upstream,
                connection.pointee.tls == .established, let ssl = connection.pointee.ssl,
                let pointer = SSL_get1_peer_certificate(ssl)
            else { continue }
            let certificate = Certificate(taking: pointer)
            let serial = Revocation.plain(serial: certificate.serialNumber)
            guard revoked.covers(principal: spiffeID(of: certificate) ?? "", serial: serial) else { continue }
            counts.revoked += 1
            if connection.pointee.isIdle || (connection.pointee.role == .upstream && connection.pointee.peer == nil) {
                close(connection)
            } else {
                closePair(connection, .revoked)
            }
        }
    }
}
