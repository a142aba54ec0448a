import CKernel
import Glibc
import Loop
import ProxyResources
import TLS
import Wire

extension Engine {
    /// Whether the client's request goes to the endpoint as a stream.
    @inline(__always)
    func wantsStream(_ client: Conn, _ slot: Int32, fresh: Bool) -> Bool {
        let endpoint = endpoints + Int(slot)
        let mayBeText = client.pointee.fd >= 0 && !client.pointee.isGRPC
        if endpoint.pointee.appProtocol == .unknown && mayBeText && sharing == .never { return false }
        return prefersStream(client, endpoint, fresh: fresh)
    }

    private func prefersStream(_ client: Conn, _ endpoint: UnsafeMutablePointer<LiveEndpoint>, fresh: Bool) -> Bool {
        if endpoint.pointee.declinesUntil > now { return false }
        let isMesh = endpoint.pointee.principal != nil
        // At the first try its head has just been parsed; later it has been composed.
        let isComposed = fresh || client.pointee.attempts > 1 || client.pointee.isShadow
        let upgrades = isComposed ? client.pointee.isUpgrade : parser.head.saysUpgrade
        let speaksHTTP2 = appSpeaksHTTP2(client, endpoint.pointee.appProtocol)
        // An upgrade needs a peer that takes CONNECT with `:protocol`; sidecars are asked over HTTP/1.1.
        if upgrades { return speaksHTTP2 && !isMesh && takesProtocols(endpoint) }
        return speaksHTTP2 || (isMesh && sharesConnection(client, endpoint))
    }

    /// What is not declared is spoken as the client speaks; at a gateway it is HTTP/1.1.
    private func appSpeaksHTTP2(_ client: Conn, _ declared: AppProtocol) -> Bool {
        // A call of our own needs it whatever is declared.
        if client.pointee.isShadow && client.pointee.isGRPC && (declared == .unknown || client.pointee.asker != 0) {
            return true
        }
        switch declared {
        case .http2, .grpc: return true
        case .http, .tcp: return false
        case .unknown:
            return client.pointee.fd < 0 && !state(client).pointee.carriesHTTP1 && !state(client).pointee.isWebSocket
                && client.pointee.side != .gateway
        }
    }

    private func takesProtocols(_ endpoint: UnsafeMutablePointer<LiveEndpoint>) -> Bool {
        var place = endpoint.pointee.sessionHead
        while place >= 0 {
            if slab[Int(place)].session?.pointee.takesProtocols == true { return true }
            place = slab[Int(place)].next
        }
        return false
    }

    /// A new stream to the endpoint: on a session that has room for it, or on one that is being made.
    mutating func openStream(_ client: Conn, _ slot: Int32, _ table: UnsafeMutablePointer<LiveTable>?) -> Upstream {
        let endpoint = endpoints + Int(slot)
        // Where connections are limited, those that are there are filled.
        let spreads = endpoint.pointee.principal != nil && !limitsConnections(client)
        if let carrier = roomySession(endpoint, spreads: spreads), let session = carrier.pointee.session {
            return newStream(carrier, session, slot)
        }
        if endpoint.pointee.sessionCount >= StreamLimits.sessionsPerEndpoint { return .full }
        let outcome = dial(for: client, slot, .http2, table)
        guard case .ready(let carrier) = outcome else { return outcome }
        if endpoint.pointee.principal != nil && carrier.pointee.ssl == nil
            && !appSpeaksHTTP2(client, endpoint.pointee.appProtocol)
        {
            // The pod's own app, past its sidecar: no mesh to multiplex over.
            return outcome
        }
        carrier.pointee.mode = .session
        let session = newSession(isServer: false)
        carrier.pointee.session = session
        session.pointee.isPooled = true
        carrier.pointee.previous = -1
        carrier.pointee.next = endpoint.pointee.sessionHead
        if endpoint.pointee.sessionHead >= 0 {
            slab[Int(endpoint.pointee.sessionHead)].previous = carrier.pointee.index
        }
        endpoint.pointee.sessionHead = carrier.pointee.index
        endpoint.pointee.sessionCount &+= 1
        return newStream(carrier, session, slot)
    }

    private mutating func newStream(_ carrier: Conn, _ session: UnsafeMutablePointer<Session>, _ slot: Int32)
        -> Upstream
    {
        guard let stream = openStream(.upstream, on: carrier) else { return .full }
        stream.pointee.endpoint = slot
        stream.pointee.isReused = session.pointee.hasServed
        stream.pointee.isMutual = carrier.pointee.isMutual
        stream.pointee.isSecured = carrier.pointee.isSecured
        session.pointee.open += 1
        if carrier.pointee.hasEffort {
            efforts[Int(carrier.pointee.index)].served &+= 1
            if isWornOut(carrier) {
                unlinkSession(carrier)
                session.pointee.goingAway = .final
            }
        }
        if !session.pointee.isReady {
            stream.pointee.isConnecting = true
            session.pointee.pending.append(key(stream))
        }
        return .ready(stream)
    }

    /// Takes a session off its endpoint's list: no stream is opened on it any more.
    func unlinkSession(_ carrier: Conn) {
        guard let session = carrier.pointee.session, session.pointee.isPooled else { return }
        session.pointee.isPooled = false
        let endpoint = endpoints + Int(carrier.pointee.endpoint)
        let next = carrier.pointee.next
        let previous = carrier.pointee.previous
        if previous >= 0 { slab[Int(previous)].next = next } else { endpoint.pointee.sessionHead = next }
        if next >= 0 { slab[Int(next)].previous = previous }
        carrier.pointee.next = -1
        carrier.pointee.previous = -1
        endpoint.pointee.sessionCount &-= 1
    }

    /// The endpoint is going away: its sessions end with their last streams.
    mutating func retireSessions(_ endpoint: UnsafeMutablePointer<LiveEndpoint>) {
        while endpoint.pointee.sessionHead >= 0 {
            let carrier = slab + Int(endpoint.pointee.sessionHead)
            guard let session = carrier.pointee.session else { return }
            unlinkSession(carrier)
            session.pointee.goingAway = .final
            if session.pointee.open == 0 { close(carrier) }
        }
    }

    /// The connection made for streams is there. A peer that does not know them has chosen HTTP/1.1.
    mutating func sessionConnected(_ carrier: Conn, _ session: UnsafeMutablePointer<Session>) {
        if let ssl = carrier.pointee.ssl, !agreedOnStreams(carrier, ssl) {
            declineSession(carrier, session)
        } else {
            sessionReady(carrier, session)
        }
    }

    private func agreedOnStreams(_ carrier: Conn, _ ssl: OpaquePointer) -> Bool {
        if endpoints[Int(carrier.pointee.endpoint)].origination != nil { return agreedOnHTTP2(ssl) }
        return ApplicationProtocol.negotiated(ssl) != .http
    }

    private mutating func declineSession(_ carrier: Conn, _ session: UnsafeMutablePointer<Session>) {
        let slot = carrier.pointee.endpoint
        endpoints[Int(slot)].declinesUntil = now &+ SharingRule.declined
        unlinkSession(carrier)
        let pending = session.pointee.pending
        carrier.pointee.session = nil
        carrier.pointee.mode = .http
        session.deinitialize(count: 1)
        session.deallocate()
        release(carrier, isUsable: true)
        for key in pending {
            guard let stream = find(key), let client = stream.pointee.peer else { continue }
            keepBytes(stream, client)
            stream.pointee.peer = nil
            stream.pointee.carrier = nil
            client.pointee.peer = nil
            close(stream)
            endpoints[Int(slot)].active &-= 1
            client.pointee.endpoint = -1
            resend(client, slot, fresh: false)
        }
    }
}
