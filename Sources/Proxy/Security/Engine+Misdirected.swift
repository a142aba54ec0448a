import COpenSSL
import Glibc
import TLS
import Wire

extension Engine {
    /// Whether a gateway's TLS connection may carry a request for this host.
    ///
    /// Clients share a connection between the hosts its certificate names (RFC 9113 §9.1.1), and any client can write any host. When
    /// another part of the listener's TLS is narrower for the host, with its own demands on clients, the request belongs there: it is
    /// answered 421 (RFC 9110 §15.5.20), and the client opens a connection that asks for the host.
    mutating func isMisdirected(_ client: Conn, _ bytes: UnsafePointer<UInt8>) -> Bool {
        let carrier = client.pointee.carrier ?? client
        guard let ssl = carrier.pointee.ssl, let table, let door = door(client), door.names.count > 1 else {
            return false
        }
        let host = requestedHost(bytes)
        var asked = ByteView(start: bytes, count: 0)
        if let name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) {
            let start = UnsafeRawPointer(name).assumingMemoryBound(to: UInt8.self)
            asked = ByteView(start: start, count: strlen(name))
        }
        if asked.count == host.count && sameName(asked.start, host.start, host.count) { return false }
        let names = table.pointee.arrays.pointee.tls
        guard let wanted = names.find(door.names, host) else { return false }
        if let came = names.find(door.names, asked), came.context == wanted.context, came.rule == wanted.rule {
            return false
        }
        skipHead(client)
        answer(client, status: 421, .noRoute, "misdirected_request", close: false)
        return true
    }
}
