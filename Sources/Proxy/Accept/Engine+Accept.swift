import CKernel
import COpenSSL
import Glibc
import Loop
import ProxyResources
import TLS
import Wire

extension Engine {
    /// Takes what waits at a listener, a bounded number at a time.
    mutating func accept(_ door: Conn) {
        var taken = 0
        while taken < Limits.acceptsAWake {
            // The listener stays readable: rather than spin, look again a little later.
            if isOutOfRoom(arrived: taken), !shedIdle() {
                pauseAccepting(door)
                return
            }
            var address: UInt32 = 0
            var port: UInt16 = 0
            let fd = weft_tcp_accept(door.pointee.fd, &address, &port)
            if fd < 0 {
                if fd == -EMFILE || fd == -ENFILE, !shedIdle() { pauseAccepting(door) }
                return
            }
            taken += 1
            let place = Int(door.pointee.listener)
            if !move(fd, address, port, place) { admit(fd, address, port, place) }
        }
    }

    /// Begins with an accepted connection, if its listener has room.
    mutating func admit(_ fd: CInt, _ address: UInt32, _ port: UInt16, _ place: Int) {
        if listeners[place].open >= clientGrant.connections {
            counts.refusedFull += 1
            weft_reset_on_close(fd)
            _ = Glibc.close(fd)
            return
        }
        var found = open(fd, .client)
        if found == nil, shedIdle() { found = open(fd, .client) }
        guard let client = found else {
            counts.refusedFull += 1
            _ = Glibc.close(fd)
            return
        }
        listeners[place].open &+= 1
        counts.clients += 1
        client.pointee.listener = Int16(truncatingIfNeeded: place)
        client.pointee.remoteAddress = address
        client.pointee.peerAddress = address
        client.pointee.remotePort = port
        begin(client)
    }

    /// Learns where a new connection wanted to go and what it may carry.
    private mutating func begin(_ client: Conn) {
        let listening = listeners[Int(client.pointee.listener)]
        client.pointee.side = listening.side
        guard poller.add(client.pointee.fd, key: key(client)) else {
            close(client)
            return
        }
        if listening.side == .gateway {
            beginGateway(client)
            return
        }
        if let destination = listening.destination {
            client.pointee.originalAddress = destination.address
            client.pointee.originalPort = destination.port
        } else {
            guard originalDestination(client) else {
                close(client)
                return
            }
        }
        if listening.side == .inbound { beginInbound(client) } else { beginOutbound(client) }
    }

    /// False when nothing redirected the connection here, or it would come back to us for ever.
    private func originalDestination(_ client: Conn) -> Bool {
        var address: UInt32 = 0
        var port: UInt16 = 0
        guard weft_original_destination(client.pointee.fd, &address, &port) == 0 else { return false }
        var ownAddress: UInt32 = 0
        var ownPort: UInt16 = 0
        _ = weft_local_address(client.pointee.fd, &ownAddress, &ownPort)
        // Conntrack also answers for a connection made straight to our own port.
        if port == ownPort || ownPorts.contains(port) && (address == ownAddress || address >> 24 == 127) {
            return false
        }
        client.pointee.originalAddress = address
        client.pointee.originalPort = port
        return true
    }

    /// - Parameter sniffs: a server name may send it elsewhere than its port's protocol says.
    mutating func beginOutbound(_ client: Conn, sniffs: Bool = true) {
        if let table, table.pointee.arrays.pointee.demand.isOn, !meetsDestination(client, table.pointee.arrays) {
            return
        }
        if sniffs && outboundNames(client).count > 0 {
            client.pointee.mode = .sniffing
            setDeadline(client, after: Limits.detect)
            return
        }
        switch outboundProtocol(client) {
        case .http, .http2, .grpc:
            client.pointee.mode = .http
            setDeadline(client, after: idlePatience)
        case .tcp: startTunnel(client)
        case .unknown: beginUnknown(client)
        }
    }

    /// Nothing says what the connection carries: its first bytes will, unless the server is known to begin.
    private mutating func beginUnknown(_ client: Conn) {
        if serverBegins(client) {
            client.pointee.lesson = .memory
            startTunnel(client)
            return
        }
        client.pointee.mode = .detecting
        setDeadline(client, after: Limits.detect)
    }

    private mutating func beginInbound(_ client: Conn) {
        let mode = mutualTLS(port: client.pointee.originalPort)
        if mode == .disabled {
            beginPlainInbound(client)
            return
        }
        client.pointee.mode = .sniffing
        let entry = inboundPort(client.pointee.originalPort)
        let mayWait = mode == .strict || entry?.appProtocol.isHTTP == true
        // Callers from the mesh speak first, with TLS, whatever is inside: there is a wait, but a shorter one.
        let known = serverBegins(client) ? Limits.detectKnown : Limits.detect
        setDeadline(client, after: mayWait ? Limits.sniff : known)
    }

    private mutating func beginPlainInbound(_ client: Conn) {
        switch inboundPort(client.pointee.originalPort)?.appProtocol ?? .unknown {
        case .http, .http2, .grpc:
            client.pointee.mode = .http
            setDeadline(client, after: idlePatience)
        case .tcp: startTunnel(client)
        case .unknown: beginUnknown(client)
        }
    }

    /// Inbound: looks at the first bytes without taking them, so that TLS or the app finds them in place.
    mutating func sniff(_ client: Conn) {
        if client.pointee.side != .inbound {
            sniffName(client)
            return
        }
        let space = buffers.take(2)
        defer { buffers.give(space, 2) }
        let isStrict = mutualTLS(port: client.pointee.originalPort) == .strict
        guard let first = peek(client, into: space, for: isStrict ? [.tls, .http] : .tls) else { return }
        if case .tls(let hello) = first, hello.isForMesh {
            client.pointee.mode = .detecting
            beginTLS(client)
            return
        }
        if isStrict {
            refusePlain(client, isHTTP: first == .http1)
            return
        }
        beginPlainInbound(client)
        if client.pointee.role == .client { queue(client) }
    }

    /// Nobody spoke: it may be a protocol where the server speaks first.
    mutating func sniffTimedOut(_ client: Conn) {
        if client.pointee.side != .inbound {
            nameTimedOut(client)
            return
        }
        if mutualTLS(port: client.pointee.originalPort) == .strict {
            counts.refusedPlain += 1
            close(client)
        } else if inboundPort(client.pointee.originalPort)?.appProtocol.isHTTP == true {
            client.pointee.mode = .http
            setDeadline(client, after: idlePatience)
        } else {
            noteSilence(client)
            startTunnel(client)
        }
    }

    /// Strict ports speak only to the mesh. HTTP gets an answer, all else a reset.
    private mutating func refusePlain(_ client: Conn, isHTTP: Bool) {
        counts.refusedPlain += 1
        client.pointee.service = inboundPort(client.pointee.originalPort)?.label ?? 0
        client.pointee.flag = .refusedPlain
        client.pointee.mode = .http
        client.pointee.startedAt = now
        if isHTTP {
            answer(client, status: 403, .refusedPlain, ResponseFlag.refusedPlain.reason, close: true)
            return
        }
        countTunnelRefused(client)
        weft_reset_on_close(client.pointee.fd)
        close(client)
    }

    /// Decides between HTTP and opaque bytes once enough has come.
    mutating func detect(_ client: Conn) {
        guard let input = client.pointee.input else { return }
        let bytes = input + Int(client.pointee.inputStart)
        switch FirstBytes.look(at: bytes, client.pointee.inputCount, for: .http) {
        case .silence, .needMore: break
        case .http1, .http2:
            client.pointee.mode = .http
            setDeadline(client, after: clientGrant.head)
            request(client)
        default: startTunnel(client)
        }
    }

    func mutualTLS(port: UInt16) -> MutualTLS {
        guard let table, table.pointee.server != nil else { return .disabled }
        for place in 0..<table.pointee.arrays.pointee.modeCount
        where table.pointee.arrays.pointee.modes[place].port == port {
            return table.pointee.arrays.pointee.modes[place].mode
        }
        return table.pointee.arrays.pointee.defaultMode
    }

    func inboundPort(_ port: UInt16) -> InboundEntry? {
        guard let table else { return nil }
        for place in 0..<table.pointee.arrays.pointee.inboundCount
        where table.pointee.arrays.pointee.inbound[place].port == port {
            return table.pointee.arrays.pointee.inbound[place]
        }
        return nil
    }

    private func outboundProtocol(_ client: Conn) -> AppProtocol {
        guard let table else { return .tcp }
        let service = table.pointee.arrays.pointee.byAddress.find(
            client.pointee.originalAddress, client.pointee.originalPort)
        if service >= 0 { return table.pointee.arrays.pointee.services[Int(service)].appProtocol }
        let pod = table.pointee.arrays.pointee.byPod.find(client.pointee.originalAddress, client.pointee.originalPort)
        return pod >= 0 ? .unknown : .tcp
    }
}
