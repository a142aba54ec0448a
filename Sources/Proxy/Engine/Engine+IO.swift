import CKernel
import COpenSSL
import Glibc
import Loop
import Wire

/// What reading or writing came to, beside a count of bytes.
enum IO {
    static let wouldBlock = -1
    static let failed = -2
    static let end = 0
}

enum FlushOutcome { case done, blocked, failed }

extension Engine {
    /// Bytes read, `IO.end`, `IO.wouldBlock` or `IO.failed`.
    @inline(__always)
    func receive(_ connection: Conn, _ into: Bytes, _ count: Int) -> Int {
        if let ssl = connection.pointee.ssl {
            let read = SSL_read(ssl, into, Int32(truncatingIfNeeded: count))
            if read > 0 { return Int(read) }
            let reason = SSL_get_error(ssl, read)
            if reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE { return IO.wouldBlock }
            ERR_clear_error()
            if reason == SSL_ERROR_ZERO_RETURN || connection.pointee.endOfInput { return IO.end }
            return IO.failed
        }
        if connection.pointee.isDrained { return IO.wouldBlock }
        let read = weft_tcp_receive(connection.pointee.fd, into, count)
        if read > 0 {
            // A short read empties the socket, unless an end is queued behind the bytes.
            if read < count && !connection.pointee.hangup { connection.pointee.isDrained = true }
            return read
        }
        if read == 0 { return IO.end }
        if read == -Int(EAGAIN) {
            connection.pointee.isDrained = true
            return IO.wouldBlock
        }
        return read == -Int(EINTR) ? IO.wouldBlock : IO.failed
    }

    @inline(__always)
    mutating func transmit(_ connection: Conn, _ from: UnsafePointer<UInt8>, _ count: Int) -> Int {
        if let ssl = connection.pointee.ssl {
            let written = SSL_write(ssl, from, Int32(truncatingIfNeeded: min(count, 1 << 24)))
            if written > 0 { return Int(written) }
            let reason = SSL_get_error(ssl, written)
            if reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE { return IO.wouldBlock }
            ERR_clear_error()
            return IO.failed
        }
        if connection.pointee.fd < 0 { return transmitStream(connection, from, count) }
        let written = weft_tcp_send(connection.pointee.fd, from, count)
        if written >= 0 { return written }
        if connection.pointee.isShadow {
            return keepAnswer(connection, from, count) ? count : IO.failed
        }
        return written == -Int(EAGAIN) || written == -Int(EINTR) ? IO.wouldBlock : IO.failed
    }

    /// Writes what waits. An upstream's first bytes are kept for a second try while no response has come.
    @inline(__always)
    mutating func flush(_ connection: Conn) -> FlushOutcome {
        guard let output = connection.pointee.output else { return .done }
        if !connection.pointee.canWrite { return .blocked }
        while connection.pointee.outputStart < connection.pointee.outputEnd {
            let start = connection.pointee.outputStart
            let written = transmit(connection, output + Int(start), Int(connection.pointee.outputEnd &- start))
            if written == IO.wouldBlock { return .blocked }
            if written < 0 { return .failed }
            connection.pointee.outputStart &+= Int32(truncatingIfNeeded: written)
        }
        if connection.pointee.role == .upstream, let client = connection.pointee.peer, client.pointee.canReplay {
            draft(client).pointee.sent = now
            client.pointee.replay = output
            client.pointee.replayEnd = connection.pointee.outputEnd
            client.pointee.replayClass = connection.pointee.outputClass
            connection.pointee.output = nil
            connection.pointee.outputStart = 0
            connection.pointee.outputEnd = 0
            return .done
        }
        dropOutput(connection)
        return .done
    }

    /// Makes room to read into; false when the buffer is full of bytes nobody has taken, or when there is no memory for one.
    @inline(__always)
    mutating func makeRoom(_ connection: Conn) -> Bool {
        guard let input = connection.pointee.input else {
            let sizeClass = connection.pointee.wantedClass
            guard let fresh = buffers.takeIfAny(sizeClass) else { return false }
            connection.pointee.input = fresh
            connection.pointee.inputClass = sizeClass
            connection.pointee.inputStart = 0
            connection.pointee.inputEnd = 0
            return true
        }
        let size = Int32(truncatingIfNeeded: BufferPool.size(connection.pointee.inputClass))
        if connection.pointee.inputStart == connection.pointee.inputEnd {
            connection.pointee.inputStart = 0
            connection.pointee.inputEnd = 0
            if connection.pointee.wantedClass > connection.pointee.inputClass && !buffers.isShort {
                buffers.give(input, connection.pointee.inputClass)
                connection.pointee.inputClass = connection.pointee.wantedClass
                connection.pointee.input = buffers.take(connection.pointee.wantedClass)
            }
            return true
        }
        if connection.pointee.inputEnd < size { return true }
        if connection.pointee.inputStart > 0 {
            let count = connection.pointee.inputCount
            memmove(input, input + Int(connection.pointee.inputStart), count)
            connection.pointee.inputStart = 0
            connection.pointee.inputEnd = Int32(truncatingIfNeeded: count)
            return true
        }
        // A head too long for the buffer so far.
        if connection.pointee.phase == .head && connection.pointee.inputClass < 2 {
            guard let bigger = buffers.takeIfAny(2) else { return false }
            memcpy(bigger, input, Int(size))
            buffers.give(input, connection.pointee.inputClass)
            connection.pointee.input = bigger
            connection.pointee.inputClass = 2
            return true
        }
        return connection.pointee.parking == .body && growInput(connection)
    }

    /// Reads while there is something and somebody takes it, within bounds.
    mutating func readable(_ connection: Conn) {
        let generation = connection.pointee.generation
        var reads = 0
        while true {
            if connection.pointee.isIdle {
                idleSpoke(connection)
                return
            }
            if connection.pointee.phase == .lingering {
                discard(connection)
                return
            }
            if connection.pointee.mode == .sniffing {
                sniff(connection)
                return
            }
            if connection.pointee.mode == .introduced {
                introduced(connection)
                return
            }
            if connection.pointee.pipe >= 0 {
                splice(connection)
                return
            }
            guard makeRoom(connection), let input = connection.pointee.input else {
                if isStarved(connection) {
                    starve(connection)
                } else {
                    connection.pointee.isPaused = true
                }
                return
            }
            let end = Int(connection.pointee.inputEnd)
            let room = BufferPool.size(connection.pointee.inputClass) &- end
            let count = receive(connection, input + end, room)
            if count <= 0 {
                if connection.pointee.inputCount == 0 { dropInput(connection) }
                if count == IO.wouldBlock { return }
                connection.pointee.endOfInput = true
                inputEnded(connection)
                return
            }
            connection.pointee.inputEnd &+= Int32(truncatingIfNeeded: count)
            // Further records that have arrived already join the first, so that they leave in one write.
            if let ssl = connection.pointee.ssl, count >= 8192 {
                while BufferPool.size(connection.pointee.inputClass) &- Int(connection.pointee.inputEnd) >= 16384,
                    SSL_has_pending(ssl) != 0
                {
                    let place = Int(connection.pointee.inputEnd)
                    let more = receive(
                        connection, input + place, BufferPool.size(connection.pointee.inputClass) &- place)
                    if more <= 0 { break }
                    connection.pointee.inputEnd &+= Int32(truncatingIfNeeded: more)
                }
            }
            if count == room {
                if connection.pointee.wantedClass < 3 { connection.pointee.wantedClass &+= 1 }
            } else if count < 4096 && connection.pointee.wantedClass > 1 {
                connection.pointee.wantedClass = 1
            }
            process(connection)
            if connection.pointee.generation != generation || connection.pointee.isPaused { return }
            if connection.pointee.isDrained {
                guard let ssl = connection.pointee.ssl, SSL_has_pending(ssl) != 0 else {
                    if connection.pointee.inputCount == 0 && connection.pointee.input != nil { dropInput(connection) }
                    return
                }
            }
            reads &+= 1
            if reads >= Limits.readsAWake {
                queue(connection)
                return
            }
        }
    }

    private mutating func discard(_ connection: Conn) {
        let space = buffers.take(1)
        defer { buffers.give(space, 1) }
        var rounds = 0
        while rounds < 16 {
            let count = receive(connection, space, BufferPool.size(1))
            if count == IO.wouldBlock { return }
            if count <= 0 {
                close(connection)
                return
            }
            rounds += 1
        }
        queue(connection)
    }

    /// Bytes have come, or can move again.
    @inline(__always)
    mutating func process(_ connection: Conn) {
        if connection.pointee.role == .upstream {
            guard let client = connection.pointee.peer else {
                if connection.pointee.mode == .session { readFrames(connection) }
                if connection.pointee.isProbe { probeAnswered(connection) }
                return
            }
            if connection.pointee.phase == .tunnel {
                _ = pump(connection, client)
            } else {
                response(connection, client)
            }
            return
        }
        switch connection.pointee.phase {
        case .head:
            if connection.pointee.mode == .http {
                if connection.pointee.peer == nil { request(connection) }
            } else if connection.pointee.mode == .session {
                readFrames(connection)
            } else {
                detect(connection)
            }
        case .length, .chunked, .tunnel:
            if let upstream = connection.pointee.peer {
                _ = pump(connection, upstream)
            } else if connection.pointee.parking == .body {
                bodyCame(connection)
            }
        case .untilClose, .done, .flushing, .lingering: break
        }
    }

    /// Goes on with a connection that was paused or whose turn was over.
    mutating func resume(_ connection: Conn) {
        if connection.pointee.role == .free || connection.pointee.role == .listener { return }
        if connection.pointee.fd < 0 {
            resumeStream(connection)
            return
        }
        if connection.pointee.session != nil {
            resumeSession(connection)
            return
        }
        let generation = connection.pointee.generation
        connection.pointee.isPaused = false
        if connection.pointee.inputCount > 0 {
            process(connection)
            if connection.pointee.generation != generation || connection.pointee.isPaused { return }
        }
        if connection.pointee.canWrite { readable(connection) }
    }

    /// The socket takes bytes again, or a connection or handshake moves on. False when the connection ended.
    mutating func writable(_ connection: Conn) -> Bool {
        let generation = connection.pointee.generation
        if connection.pointee.isConnecting {
            if weft_socket_error(connection.pointee.fd) != 0 {
                upstreamFailed(connection)
                return false
            }
            connection.pointee.isConnecting = false
            if !introduce(connection) {
                upstreamFailed(connection)
                return false
            }
            if connection.pointee.tls == .none { connected(connection) }
        }
        if connection.pointee.tls == .handshaking {
            if !handshake(connection) { return false }
            if connection.pointee.tls == .handshaking { return true }
        }
        switch flush(connection) {
        case .blocked: return true
        case .failed:
            writeFailed(connection)
            return connection.pointee.generation == generation
        case .done: break
        }
        if connection.pointee.phase == .flushing {
            afterResponse(connection)
            return connection.pointee.generation == generation
        }
        if let peer = connection.pointee.peer {
            if peer.pointee.isPaused { queue(peer) }
            if peer.pointee.phase == .tunnel && peer.pointee.endOfInput && peer.pointee.inputCount == 0 {
                endWriting(connection)
            }
        } else if let session = connection.pointee.session {
            serveWaiting(connection)
            if session.pointee.isOver { queue(connection) }
        }
        return connection.pointee.generation == generation
    }

    /// A write was refused: the connection is broken. An upstream may have said why before, so its input is read first.
    mutating func writeFailed(_ connection: Conn) {
        if connection.pointee.role == .upstream, let client = connection.pointee.peer, client.pointee.phase != .tunnel {
            connection.pointee.hangup = true
            connection.pointee.isDrained = false
            client.pointee.isPaused = true
            queue(connection)
            return
        }
        if connection.pointee.role == .upstream && connection.pointee.session != nil && !connection.pointee.endOfInput {
            // A GOAWAY tells which streams may go elsewhere.
            dropOutput(connection)
            connection.pointee.hangup = true
            connection.pointee.isDrained = false
            queue(connection)
            return
        }
        closePair(connection, connection.pointee.role == .client ? .clientGone : .upstreamEnded)
    }
}
