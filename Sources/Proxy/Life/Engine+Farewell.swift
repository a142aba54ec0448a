import CKernel
import COpenSSL
import Glibc
import Loop

extension Engine {
    /// Clients whose last answer has not all been taken by their sockets, or that may not have heard yet that the end is near; and
    /// once no more are accepted, those that have come and not been served at all.
    func unfinishedClients() -> Int {
        var count = 0
        for place in 0..<Int(top) where slab[place].role == .client {
            let connection = slab + place
            let isNew =
                isLeaving && connection.pointee.phase == .head && connection.pointee.status == 0
                && connection.pointee.session == nil
            let isAnnouncing = connection.pointee.session?.pointee.goingAway == .announced
            if connection.pointee.hasOutput || connection.pointee.phase == .lingering || isNew || isAnnouncing
                || connection.pointee.tls == .handshaking
            {
                count += 1
            }
        }
        return count
    }

    /// Takes the connections that wait at a listener which is about to close: they would be reset.
    mutating func takeWaiting(at place: Int) {
        for index in 0..<Int(top)
        where slab[index].role == .listener && Int(slab[index].listener) == place && !listeners[place].isShared {
            accept(slab + index)
        }
    }

    // MARK: between two requests

    /// Whether nothing of a request has been looked at since the last answer, or at all.
    ///
    /// Such a connection ends with TLS's own goodbye, and no other does before it has answered: the sidecar at its other end may
    /// send a request that crossed the end again, whatever the request does. See `wasNotRead`.
    func isBetweenRequests(_ connection: Conn) -> Bool {
        connection.pointee.role == .client && connection.pointee.phase == .head
            && (connection.pointee.mode == .http || connection.pointee.mode == .detecting)
            && connection.pointee.peer == nil && connection.pointee.inputCount == 0
            && connection.pointee.parking == .none
    }

    /// Whether the sidecar at the other end has said goodbye instead of an answer: it has not read the request.
    func wasNotRead(_ upstream: Conn) -> Bool {
        guard let ssl = upstream.pointee.ssl, upstream.pointee.isMutual, !upstream.pointee.sawResponse else {
            return false
        }
        return SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN != 0
    }

    // MARK: descriptors

    /// The process is out of descriptors, whoever holds them: connections wait at the listener for a moment.
    mutating func pauseAccepting(_ door: Conn) {
        poller.remove(door.pointee.fd)
        setDeadline(door, after: Limits.acceptPause)
    }

    mutating func resumeAccepting(_ door: Conn) {
        if !poller.addListener(door.pointee.fd, key: key(door)) {
            log("the poller does not take a listener back: \(String(cString: strerror(errno)))", level: "error")
        }
    }

    /// Whether new clients would take the descriptors that requests of those here need for their endpoints.
    ///
    /// - Parameter arrived: clients of the same turn, none of whom has been read from yet: each is about to ask.
    func isOutOfRoom(arrived: Int) -> Bool {
        if buffers.isShort { return true }
        return counts.clients &+ counts.upstreams >= roomForConnections &- roomForConnections / 8
            || counts.clients >= roomForConnections / 2 && counts.exchanges &+ arrived >= roomForConnections / 4
    }

    /// A new connection to an endpoint; idle clients go for it when there is no descriptor left.
    mutating func connect(_ address: UInt32, _ port: UInt16) -> CInt {
        let fd = weft_connect_ipv4(address, port)
        if fd != -EMFILE && fd != -ENFILE { return fd }
        counts.withoutDescriptor += 1
        return shedIdle() ? weft_connect_ipv4(address, port) : fd
    }
}
