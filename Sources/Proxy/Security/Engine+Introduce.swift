import CKernel
import Glibc
import Loop
import ProxyResources
import Wire

extension Engine {
    /// A trusted proxy says for whom it speaks, before anything else. Without a header, or with a broken one, the connection ends.
    mutating func introduced(_ client: Conn) {
        let space = buffers.take(2)
        defer { buffers.give(space, 2) }
        guard let first = peek(client, into: space, for: .introduction) else { return }
        switch first {
        case .introduction(let header):
            // It was seen whole, so it is read whole.
            guard weft_tcp_receive(client.pointee.fd, space, header.length) == header.length, let door = door(client)
            else {
                close(client)
                return
            }
            if let source = header.source {
                client.pointee.remoteAddress = source
                client.pointee.remotePort = header.sourcePort
            }
            enter(client, door)
            if client.pointee.role == .client { queue(client) }
        default:
            counts.badIntroductions += 1
            close(client)
        }
    }

    /// Tells a new connection's server for whom it is, before its first bytes. False when it could not be told.
    func introduce(_ upstream: Conn) -> Bool {
        guard upstream.pointee.endpoint >= 0, let client = upstream.pointee.peer else { return true }
        let version = endpoints[Int(upstream.pointee.endpoint)].proxyProtocol
        if version == .none { return true }
        let holder = client.pointee.carrier ?? client
        var destination = holder.pointee.originalAddress
        var port = holder.pointee.originalPort
        if holder.pointee.side == .gateway { _ = weft_local_address(holder.pointee.fd, &destination, &port) }
        let space = buffers.take(1)
        defer { buffers.give(space, 1) }
        let length = ProxyHeader.write(
            isText: version == .v1, source: holder.pointee.remoteAddress, sourcePort: holder.pointee.remotePort,
            destination: destination, destinationPort: port, into: space)
        // The socket is new and empty: this little fits, or something is wrong with it.
        return weft_tcp_send(upstream.pointee.fd, space, length) == length
    }
}
