import CKernel
import Glibc
import Wire

extension Engine {
    /// What a new connection begins with, as far as it has come; the bytes stay in the socket.
    ///
    /// - Parameter space: room for `FirstBytes.enough`; what was looked at is there.
    /// - Returns: `nil` while that cannot be said, or when the connection has ended.
    mutating func peek(_ client: Conn, into space: Bytes, for kinds: FirstBytes.Kinds) -> FirstBytes? {
        let count = weft_peek(client.pointee.fd, space, FirstBytes.enough)
        if count == 0 || (count < 0 && count != -Int(EAGAIN)) {
            close(client)
            return nil
        }
        let first = FirstBytes.look(at: space, max(0, count), for: kinds)
        if first != .silence && first != .needMore { return first }
        client.pointee.isDrained = true
        if count > 0 && client.pointee.hangup { close(client) }
        return nil
    }
}
