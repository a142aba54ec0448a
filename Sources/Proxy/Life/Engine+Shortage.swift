import Glibc
import Loop

/// What happens when the system has no more memory: what is in progress ends on the pool's reserve, nothing new begins.
extension Engine {
    /// Whether a connection that cannot read lacks memory, rather than somebody who takes what was read.
    func isStarved(_ connection: Conn) -> Bool {
        buffers.isShort && (connection.pointee.input == nil || connection.pointee.phase == .head)
    }

    /// There is no memory for a connection to be read into: it ends, and with it what waits for it.
    mutating func starve(_ connection: Conn) {
        counts.starved += 1
        if connection.pointee.role == .upstream, connection.pointee.phase == .head,
            let client = connection.pointee.peer
        {
            failExchange(connection, client, .overflow, status: 503, reason: "out_of_memory")
        } else if connection.pointee.role == .client, connection.pointee.mode == .http,
            connection.pointee.phase == .head, connection.pointee.session == nil
        {
            // Whatever has come of the request is not read.
            if connection.pointee.startedAt == 0 { renew(connection) }
            answer(connection, status: 503, .overflow, "out_of_memory", close: true)
        } else {
            closePair(connection, .overflow)
        }
    }

    /// Answers a request that comes while there is no memory.
    mutating func refuseShort(_ client: Conn) -> Step {
        counts.starved += 1
        return refuse(client, .overflow, 503, "out_of_memory")
    }
}
