import COpenSSL
import Glibc
import Loop
import Wire

extension Engine {
    /// Ends one connection. Its peer, if any, must know already.
    mutating func close(_ connection: Conn) {
        if connection.pointee.role == .free { return }
        if connection.pointee.fd < 0 {
            closeStream(connection)
            return
        }
        if connection.pointee.session != nil { endSession(connection) }
        if connection.pointee.asker != 0 { questionEnded(connection) }
        if connection.pointee.destination >= 0 { leaveDestination(connection) }
        if let ssl = connection.pointee.ssl {
            // A quiet end without close_notify would make the session unusable for resumption.
            if connection.pointee.tls == .established {
                if isBetweenRequests(connection) { SSL_shutdown(ssl) }
                SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN)
            }
            SSL_free(ssl)
            ERR_clear_error()
        }
        if !connection.pointee.isShadow { _ = Glibc.close(connection.pointee.fd) }
        dropInput(connection)
        dropOutput(connection)
        dropReplay(connection)
        if connection.pointee.pipe >= 0 { dropPipe(connection) }
        dropGrants(connection)
        if let line = connection.pointee.certificateLine { line.deallocate() }
        if connection.pointee.role == .upstream {
            counts.upstreams -= 1
            if connection.pointee.endpoint >= 0 {
                let endpoint = endpoints + Int(connection.pointee.endpoint)
                if connection.pointee.isIdle { unlinkIdle(connection, endpoint) }
                if connection.pointee.hasEffort { leaveConnection(connection) }
                endpoint.pointee.connections &-= 1
                freeIfGone(connection.pointee.endpoint)
            }
        } else if connection.pointee.role == .client {
            counts.clients -= 1
            if connection.pointee.isShadow { counts.shadows -= 1 }
            // What has no socket of its own did not count: a stream, a copy, a question.
            let hasSocket = connection.pointee.fd >= 0 && !connection.pointee.isShadow
            if connection.pointee.listener >= 0 && hasSocket {
                listeners[Int(connection.pointee.listener)].open &-= 1
            }
        }
        connection.pointee.role = .free
        connection.pointee.generation &+= 1
        let isProbe = connection.pointee.isProbe
        connection.pointee.peer = nil
        connection.pointee.ssl = nil
        connection.pointee.certificateLine = nil
        connection.pointee.next = freeHead
        freeHead = connection.pointee.index
        if isProbe { probeEnded(connection) }
    }

    /// Ends both sides of an exchange or tunnel, counting it first.
    mutating func closePair(_ connection: Conn, _ flag: ResponseFlag = .none) {
        let client = connection.pointee.role == .client ? connection : connection.pointee.peer
        let upstream = connection.pointee.role == .client ? connection.pointee.peer : connection
        if let client {
            if client.pointee.flag == .none { client.pointee.flag = flag }
            endExchange(client)
        }
        if let upstream {
            upstream.pointee.peer = nil
            close(upstream)
        }
        if let client {
            client.pointee.peer = nil
            close(client)
        }
    }

    mutating func dropInput(_ connection: Conn) {
        if let input = connection.pointee.input { buffers.give(input, connection.pointee.inputClass) }
        connection.pointee.input = nil
        connection.pointee.inputStart = 0
        connection.pointee.inputEnd = 0
    }

    mutating func dropOutput(_ connection: Conn) {
        if let output = connection.pointee.output { buffers.give(output, connection.pointee.outputClass) }
        connection.pointee.output = nil
        connection.pointee.outputStart = 0
        connection.pointee.outputEnd = 0
    }

    mutating func dropReplay(_ connection: Conn) {
        if let replay = connection.pointee.replay { buffers.give(replay, connection.pointee.replayClass) }
        connection.pointee.replay = nil
        connection.pointee.canReplay = false
    }

    /// Says goodbye: what was written reaches the client even if it still sends; then the connection ends.
    mutating func linger(_ client: Conn) {
        if client.pointee.endOfInput
            || (client.pointee.phase == .done && client.pointee.inputCount == 0 && !client.pointee.isPaused)
        {
            if let ssl = client.pointee.ssl { SSL_shutdown(ssl) }
            close(client)
            return
        }
        client.pointee.phase = .lingering
        client.pointee.isPaused = false
        if let ssl = client.pointee.ssl { SSL_shutdown(ssl) }
        shutdown(client.pointee.fd, Int32(SHUT_WR))
        client.pointee.writeEnded = true
        dropInput(client)
        setDeadline(client, after: Limits.linger)
        queue(client)
    }

    /// A connection's deadline has come; what that means follows from what it waits for.
    mutating func deadlinePassed(_ connection: Conn) {
        if let session = connection.pointee.session {
            sessionDeadline(connection, session)
            return
        }
        if connection.pointee.role == .clock {
            tick()
            return
        }
        if connection.pointee.role == .listener {
            resumeAccepting(connection)
            return
        }
        if connection.pointee.role == .upstream {
            if connection.pointee.isIdle {
                close(connection)
            } else if !connection.pointee.canWrite {
                upstreamFailed(connection)
            } else if connection.pointee.isProbe {
                close(connection)
            }
            return
        }
        if connection.pointee.tls == .handshaking {
            counts.handshakeFailures += 1
            close(connection)
            return
        }
        if connection.pointee.parking != .none {
            parkingEnded(connection)
            return
        }
        switch connection.pointee.phase {
        case .lingering: close(connection)
        case .flushing, .tunnel: closePair(connection, .timeout)
        case .head where connection.pointee.mode == .sniffing: sniffTimedOut(connection)
        case .head where connection.pointee.mode == .asking: destinationTimedOut(connection)
        case .head where connection.pointee.mode == .introduced:
            counts.badIntroductions += 1
            close(connection)
        case .head where connection.pointee.mode == .detecting:
            if connection.pointee.inputCount == 0 { noteSilence(connection) }
            startTunnel(connection)
        case .head where connection.pointee.peer == nil:
            if connection.pointee.inputCount > 0 {
                answer(connection, status: 408, .clientProtocol, "request_head_timeout", close: true)
            } else {
                close(connection)
            }
        case .head, .length, .chunked, .untilClose, .done:
            guard let upstream = connection.pointee.peer else {
                close(connection)
                return
            }
            if connection.pointee.windowEnd <= now {
                windowPassed(connection, upstream)
            } else if upstream.pointee.sawResponse {
                closePair(connection, .timeout)
            } else {
                if repeatsTimedOut(upstream, connection) { return }
                connection.pointee.peer = nil
                upstream.pointee.peer = nil
                close(upstream)
                answer(
                    connection, status: 504, .timeout, timeoutReason(connection),
                    close: connection.pointee.phase != .done)
            }
        }
    }
}
