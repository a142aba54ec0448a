import CKernel
import COpenSSL
import Glibc
import Loop
import TLS
import Wire

extension Engine {
    /// Relays opaque bytes to where the client wanted to go.
    ///
    /// - Parameter serverName: asked for in TLS that is passed on.
    mutating func startTunnel(_ client: Conn, serverName: ByteView = .none) {
        if !authorizeTunnel(client, serverName) { return }
        client.pointee.mode = .opaque
        client.pointee.phase = .tunnel
        client.pointee.startedAt = now
        client.pointee.inExchange = true
        client.pointee.isPaused = true
        counts.exchanges += 1
        beginTunnelDraft(client)
        connectTunnel(client)
    }

    /// Dials the tunnel's far end; again when a connection could not be made and there are others.
    private mutating func connectTunnel(_ client: Conn, not excluded: Int32 = -1) {
        client.pointee.attempts &+= 1
        var found: Upstream = .failed
        if client.pointee.side == .inbound {
            let slot = localEndpoint(client.pointee.originalAddress, client.pointee.originalPort)
            client.pointee.service = inboundPort(client.pointee.originalPort)?.label ?? 0
            found = dial(slot, .opaque, table)
            client.pointee.endpoint = slot
        } else {
            let target = tunnelTarget(client, not: excluded)
            if target.isKnown {
                if target.slot >= 0 {
                    found = dial(for: client, target.slot, .opaque, client.pointee.table, mayWait: false)
                    if case .overflow = found { client.pointee.flag = .overflow }
                    client.pointee.endpoint = target.slot
                    client.pointee.peerLabels = endpoints[Int(target.slot)].labels
                    if case .ready(let upstream) = found {
                        client.pointee.secure = speaksMesh(upstream) ? .mutualTLS : .none
                    }
                } else {
                    client.pointee.flag = .noHealthyEndpoint
                }
            } else if client.pointee.unresolved != .none {
                client.pointee.flag = .unresolved
                draft(client).pointee.reason = client.pointee.unresolved.reason
            } else {
                client.pointee.service = table?.pointee.arrays.pointee.passthroughLabel ?? 0
                if let upstream = dial(address: client.pointee.originalAddress, port: client.pointee.originalPort) {
                    found = .ready(upstream)
                }
            }
        }
        if client.pointee.series < 0 { client.pointee.series = series.opened(tunnelKey(client), now: now) }
        guard case .ready(let upstream) = found else {
            client.pointee.endpoint = -1
            if client.pointee.flag == .none { client.pointee.flag = .connectFailure }
            weft_reset_on_close(client.pointee.fd)
            closePair(client)
            return
        }
        if client.pointee.endpoint >= 0 {
            endpoints[Int(client.pointee.endpoint)].active &+= 1
            noteAttempt(client, client.pointee.endpoint, upstream)
        }
        upstream.pointee.phase = .tunnel
        upstream.pointee.mode = .opaque
        upstream.pointee.peer = client
        client.pointee.peer = upstream
        setDeadline(client, after: tunnelPatience(client))
        queue(client)
    }

    private mutating func tunnelTarget(_ client: Conn, not excluded: Int32) -> (isKnown: Bool, slot: Int32) {
        if client.pointee.connectionRule >= 0, let table = client.pointee.table {
            let arrays = table.pointee.arrays
            let backend = pickBackend(arrays, arrays.pointee.rules[Int(client.pointee.connectionRule)]).backend
            return (true, endpoint(of: backend, client, table, not: excluded))
        }
        guard let table else { return (false, -1) }
        let arrays = table.pointee.arrays
        if client.pointee.table == nil {
            client.pointee.table = table
            table.pointee.users += 1
        }
        let service = arrays.pointee.byAddress.find(client.pointee.originalAddress, client.pointee.originalPort)
        if service < 0 {
            let pod = arrays.pointee.byPod.find(client.pointee.originalAddress, client.pointee.originalPort)
            if pod < 0 { return (false, -1) }
            client.pointee.service = arrays.pointee.endpoints[Int(pod)].label
            return (true, table.pointee.slots[Int(pod)])
        }
        let entry = arrays.pointee.services[Int(service)]
        client.pointee.service = entry.label
        if entry.tunnelRule >= 0 {
            let backend = pickBackend(arrays, arrays.pointee.rules[Int(entry.tunnelRule)]).backend
            return (true, endpoint(of: backend, client, table, not: excluded))
        }
        var backend = entry.defaultBackend
        for place in Int(entry.rules.start)..<Int(entry.rules.start &+ entry.rules.count)
        where arrays.pointee.rules[place].matches.count == 0 {
            let picked = pickBackend(arrays, arrays.pointee.rules[place])
            if picked.backend >= 0 { backend = picked.backend }
            break
        }
        return (true, endpoint(of: backend, client, table, not: excluded))
    }

    /// -1 when there is no backend, or it has no endpoint to try.
    private mutating func endpoint(
        of backend: Int32, _ client: Conn, _ table: UnsafeMutablePointer<LiveTable>, not excluded: Int32
    ) -> Int32 {
        if backend < 0 { return -1 }
        client.pointee.backend = backend
        client.pointee.service = table.pointee.arrays.pointee.backends[Int(backend)].label
        if excluded < 0 { client.pointee.affinity = tunnelAffinity(client, backend) }
        return pickEndpoint(table, backend, for: client, not: excluded)
    }

    /// A tunnel's far end could not be reached: another endpoint, or the end.
    mutating func tunnelFailed(_ upstream: Conn, _ client: Conn) {
        let slot = upstream.pointee.endpoint
        noteOutcome(client, .connectFailure, status: 0)
        upstream.pointee.peer = nil
        client.pointee.peer = nil
        if client.pointee.endpoint >= 0 {
            endpoints[Int(client.pointee.endpoint)].active &-= 1
            observeOutcome(client, client.pointee.endpoint, .connectFailure)
        }
        client.pointee.endpoint = -1
        close(upstream)
        if client.pointee.backend >= 0 && client.pointee.attempts < Limits.attempts && client.pointee.side != .inbound {
            connectTunnel(client, not: slot)
            return
        }
        client.pointee.flag = .connectFailure
        weft_reset_on_close(client.pointee.fd)
        closePair(client)
    }

    /// Nothing more will be written to this side of a tunnel. When both sides are at their end, the tunnel is over.
    mutating func endWriting(_ sink: Conn) {
        if sink.pointee.hasOutput || !sink.pointee.canWrite { return }
        if !sink.pointee.writeEnded {
            sink.pointee.writeEnded = true
            if sink.pointee.fd < 0 {
                _ = endStream(sink)
            } else if let ssl = sink.pointee.ssl {
                SSL_shutdown(ssl)
            } else {
                weft_shutdown_write(sink.pointee.fd)
            }
        }
        if sink.pointee.endOfInput { closePair(sink) }
    }

    /// A connection will send no more.
    mutating func inputEnded(_ connection: Conn) {
        if connection.pointee.phase == .tunnel {
            guard let peer = connection.pointee.peer else {
                closePair(connection)
                return
            }
            if connection.pointee.inputCount == 0 { endWriting(peer) }
            return
        }
        if connection.pointee.role == .upstream {
            upstreamEnded(connection)
            return
        }
        switch connection.pointee.phase {
        case .head where connection.pointee.peer == nil:
            if connection.pointee.mode == .detecting && connection.pointee.inputCount > 0 {
                startTunnel(connection)
            } else {
                close(connection)
            }
        case .flushing: break
        case .lingering: close(connection)
        default: closePair(connection, .clientGone)
        }
    }

    private mutating func upstreamEnded(_ upstream: Conn) {
        guard let client = upstream.pointee.peer else {
            close(upstream)
            return
        }
        switch upstream.pointee.phase {
        case .untilClose:
            upstream.pointee.phase = .done
            finishExchange(upstream, client)
        case .head where client.pointee.status == 0:
            if upstream.pointee.sawResponse {
                failExchange(upstream, client, .upstreamProtocol, status: 502)
            } else if wasNotRead(upstream)
                || (upstream.pointee.isReused && (client.pointee.isIdempotent || isUnsent(upstream)))
            {
                retry(upstream, client, .upstreamEnded, status: 502)
            } else {
                failExchange(upstream, client, .upstreamEnded, status: 502)
            }
        default: closePair(client, .upstreamEnded)
        }
    }

    /// Nothing of the request has left: it is safe to send it elsewhere, whatever it does.
    private func isUnsent(_ upstream: Conn) -> Bool {
        upstream.pointee.output != nil && upstream.pointee.outputStart == 0
    }

    /// No connection could be made, so nothing was sent.
    mutating func upstreamFailed(_ upstream: Conn) {
        guard let client = upstream.pointee.peer else {
            close(upstream)
            return
        }
        if upstream.pointee.endpoint >= 0 {
            endpoints[Int(upstream.pointee.endpoint)].avoidedUntil = now &+ Limits.avoid
        }
        if client.pointee.phase == .tunnel {
            if client.pointee.mode == .http { connectFailed(upstream, client) } else { tunnelFailed(upstream, client) }
        } else {
            retry(upstream, client, .connectFailure, status: 503)
        }
    }
}
