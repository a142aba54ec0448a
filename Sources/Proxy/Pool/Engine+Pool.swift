import CKernel
import COpenSSL
import Glibc
import Loop
import ProxyResources
import TLS
import Wire

/// What came of asking for a connection.
enum Upstream {
    case ready(Conn)
    case full
    case failed
    /// The client is parked until a connection is free.
    case waits
    /// A limit does not admit it, and too many wait.
    case overflow(StaticString)
}

extension Engine {
    /// An idle connection to the endpoint, or a new one that is being made.
    mutating func upstream(for client: Conn, _ slot: Int32, _ table: UnsafeMutablePointer<LiveTable>?) -> Upstream {
        if mustQueue(client), let waits = queueBehind(client) { return waits }
        let endpoint = endpoints + Int(slot)
        // A connection that began with one client's address is that client's.
        if endpoint.pointee.proxyProtocol != .none { return dial(slot, .http, table) }
        while endpoint.pointee.idleHead >= 0 {
            let place = endpoint.pointee.idleHead
            let found = slab + Int(place)
            // What cannot be sent twice is not sent to a peer that has already left.
            if !client.pointee.isIdempotent {
                found.pointee.isDrained = false
                idleSpoke(found)
                if endpoint.pointee.idleHead != place { continue }
            }
            unlinkIdle(found, endpoint)
            found.pointee.isReused = true
            found.pointee.phase = .head
            found.pointee.sawResponse = false
            found.pointee.deadline = .max
            if client.pointee.hasEffort { tookIdle(client) }
            return .ready(found)
        }
        return dial(for: client, slot, .http, table)
    }

    /// A new connection to the endpoint, over TLS when it has a principal.
    mutating func dial(_ slot: Int32, _ alpn: ApplicationProtocol, _ table: UnsafeMutablePointer<LiveTable>?)
        -> Upstream
    {
        let endpoint = endpoints + Int(slot)
        if endpoint.pointee.connections >= Limits.connectionsPerEndpoint { return .full }
        let fd = connect(endpoint.pointee.address, endpoint.pointee.port)
        if fd == -EMFILE || fd == -ENFILE { return .overflow("no_descriptor") }
        if fd < 0 { return .failed }
        guard let upstream = open(fd, .upstream) else {
            _ = Glibc.close(fd)
            return .full
        }
        counts.upstreams += 1
        upstream.pointee.mode = .http
        upstream.pointee.isConnecting = true
        upstream.pointee.endpoint = slot
        endpoint.pointee.connections &+= 1
        if endpoint.pointee.principal != nil && !isOwnAddress(fd, endpoint.pointee.address) {
            guard let context = table?.pointee.client, attachClientTLS(upstream, context, endpoint, alpn) else {
                close(upstream)
                return .failed
            }
        }
        if endpoint.pointee.isUnspeakable || !attachOrigination(upstream, endpoint, alpn) {
            close(upstream)
            return .failed
        }
        guard poller.add(fd, key: key(upstream)) else {
            close(upstream)
            return .failed
        }
        setDeadline(
            upstream, after: upstream.pointee.tls == .none ? Limits.connect : Limits.connect + Limits.second)
        return .ready(upstream)
    }

    /// Whether a connection leads back into this pod: to the app itself, past its sidecar's inbound side, so in plain text.
    private func isOwnAddress(_ fd: CInt, _ address: UInt32) -> Bool {
        if address >> 24 == 127 { return false }
        var own: UInt32 = 0
        var port: UInt16 = 0
        return weft_local_address(fd, &own, &port) == 0 && own == address
    }

    /// A new plain connection to an address no configuration speaks of.
    mutating func dial(address: UInt32, port: UInt16) -> Conn? {
        let fd = connect(address, port)
        if fd < 0 { return nil }
        guard let upstream = open(fd, .upstream) else {
            _ = Glibc.close(fd)
            return nil
        }
        counts.upstreams += 1
        upstream.pointee.isConnecting = true
        guard poller.add(fd, key: key(upstream)) else {
            close(upstream)
            return nil
        }
        setDeadline(upstream, after: 10 * Limits.second)
        return upstream
    }

    /// A connection is made and, over TLS, its peer is who it should be.
    mutating func connected(_ upstream: Conn) {
        upstream.pointee.deadline = .max
        if let session = upstream.pointee.session { sessionConnected(upstream, session) }
        if let client = upstream.pointee.peer { draft(client).pointee.connected = now }
        if let client = upstream.pointee.peer, client.pointee.mode == .http, upstream.pointee.mode == .opaque {
            connectMade(client)
        }
        if upstream.pointee.endpoint >= 0 { observeConnected(upstream) }
    }

    /// Gives a connection back after a whole response, or ends it.
    mutating func release(_ upstream: Conn, isUsable: Bool) {
        upstream.pointee.peer = nil
        let slot = upstream.pointee.endpoint
        guard isUsable, slot >= 0, upstream.pointee.fd >= 0 else {
            close(upstream)
            return
        }
        let endpoint = endpoints + Int(slot)
        if endpoint.pointee.references == 0 || endpoint.pointee.proxyProtocol != .none
            || endpoint.pointee.idleCount >= Limits.idlePerEndpoint || upstream.pointee.hangup || isWornOut(upstream)
        {
            close(upstream)
            return
        }
        dropInput(upstream)
        upstream.pointee.phase = .head
        upstream.pointee.isPaused = false
        upstream.pointee.isIdle = true
        upstream.pointee.previous = -1
        upstream.pointee.next = endpoint.pointee.idleHead
        if endpoint.pointee.idleHead >= 0 { slab[Int(endpoint.pointee.idleHead)].previous = upstream.pointee.index }
        endpoint.pointee.idleHead = upstream.pointee.index
        endpoint.pointee.idleCount &+= 1
        setDeadline(upstream, after: noteIdle(upstream))
    }

    func unlinkIdle(_ upstream: Conn, _ endpoint: UnsafeMutablePointer<LiveEndpoint>) {
        let next = upstream.pointee.next
        let previous = upstream.pointee.previous
        if previous >= 0 { slab[Int(previous)].next = next } else { endpoint.pointee.idleHead = next }
        if next >= 0 { slab[Int(next)].previous = previous }
        upstream.pointee.next = -1
        upstream.pointee.previous = -1
        upstream.pointee.isIdle = false
        noteBusy(upstream)
        endpoint.pointee.idleCount &-= 1
    }

    /// An idle connection has something to say: a session ticket, or that it ends. Bytes nobody asked for end it too.
    mutating func idleSpoke(_ upstream: Conn) {
        var byte: UInt8 = 0
        let count = receive(upstream, &byte, 1)
        if count == IO.wouldBlock && !upstream.pointee.endOfInput { return }
        close(upstream)
    }

    func closeIdle(_ endpoint: UnsafeMutablePointer<LiveEndpoint>) -> [Int32] {
        var found: [Int32] = []
        var place = endpoint.pointee.idleHead
        while place >= 0 {
            found.append(place)
            place = slab[Int(place)].next
        }
        return found
    }
}
