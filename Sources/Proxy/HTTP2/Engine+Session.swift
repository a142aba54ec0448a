import CKernel
import COpenSSL
import Glibc
import Loop
import TLS
import Wire

extension Engine {
    /// A client has sent the preface of HTTP/2: its connection carries streams from now on.
    mutating func startSession(_ client: Conn) {
        client.pointee.startedAt = 0
        client.pointee.mode = .session
        client.pointee.session = newSession(isServer: true)
        guard let session = client.pointee.session else { return }
        session.pointee.isReady = true
        session.pointee.creditsAtOnce = client.pointee.isMutual
        putSettings(client, session)
        if isDraining { announceGoAway(client, session) }
        setDeadline(client, after: Limits.head)
        readFrames(client)
    }

    func newSession(isServer: Bool) -> UnsafeMutablePointer<Session> {
        let session = UnsafeMutablePointer<Session>.allocate(capacity: 1)
        session.initialize(to: Session(isServer: isServer, now: now))
        return session
    }

    /// A connection we made for streams is there: what waits for it goes out.
    mutating func sessionReady(_ connection: Conn, _ session: UnsafeMutablePointer<Session>) {
        session.pointee.isReady = true
        session.pointee.creditsAtOnce = connection.pointee.isMutual
        session.pointee.lastFrameAt = now
        guard let out = frameRoom(connection, 128, limit: StreamLimits.outputForHeads) else { return }
        var at = Int(connection.pointee.outputEnd)
        put(Frames.preface, out, &at)
        connection.pointee.outputEnd = Int32(truncatingIfNeeded: at)
        putSettings(connection, session)
        setDeadline(connection, after: StreamLimits.silence)
        let pending = session.pointee.pending
        session.pointee.pending = []
        for key in pending {
            guard let stream = find(key) else { continue }
            stream.pointee.isConnecting = false
            stream.pointee.isMutual = connection.pointee.isMutual
            queue(stream)
        }
        queue(connection)
    }

    private mutating func putSettings(_ connection: Conn, _ session: UnsafeMutablePointer<Session>) {
        guard let out = frameRoom(connection, 64, limit: BufferPool.size(3)) else { return }
        var at = Int(connection.pointee.outputEnd)
        if session.pointee.isServer {
            Frames.putHeader(18, .settings, 0, 0, out, &at)
            Frames.putSetting(Setting.concurrentStreams, UInt32(StreamLimits.streams), out, &at)
            Frames.putSetting(Setting.headerListSize, UInt32(StreamLimits.headerList), out, &at)
            Frames.putSetting(Setting.connectProtocol, 1, out, &at)
        } else {
            Frames.putHeader(12, .settings, 0, 0, out, &at)
            Frames.putSetting(Setting.enablePush, 0, out, &at)
            Frames.putSetting(Setting.headerListSize, UInt32(StreamLimits.headerList), out, &at)
        }
        Frames.putHeader(4, .windowUpdate, 0, 0, out, &at)
        Frames.putWord(UInt32(StreamLimits.connectionWindow) - 65535, out, &at)
        connection.pointee.outputEnd = Int32(truncatingIfNeeded: at)
        queue(connection)
    }

    // MARK: output

    /// A place for `needed` bytes in a session's output; nil when `limit` bytes would wait there.
    @inline(__always)
    mutating func frameRoom(_ connection: Conn, _ needed: Int, limit: Int) -> Bytes? {
        if let output = connection.pointee.output {
            let start = Int(connection.pointee.outputStart)
            let pending = Int(connection.pointee.outputEnd) &- start
            if pending &+ needed > limit { return nil }
            if start > 0 && BufferPool.size(connection.pointee.outputClass) &- start &- pending < needed {
                memmove(output, output + start, pending)
                connection.pointee.outputStart = 0
                connection.pointee.outputEnd = Int32(truncatingIfNeeded: pending)
                connection.pointee.session?.pointee.frameStart = -1
            }
        } else {
            connection.pointee.session?.pointee.frameStart = -1
        }
        return room(connection, needed)
    }

    /// Writes a frame of a few bytes. A peer that lets these pile up is not reading and keeps on asking.
    mutating func putControl(
        _ connection: Conn, _ kind: FrameKind, _ flags: UInt8, _ id: UInt32, _ first: UInt32, _ second: UInt32,
        _ count: Int
    ) {
        guard let session = connection.pointee.session, session.pointee.isReady else { return }
        guard let out = frameRoom(connection, 9 + 4 * count, limit: BufferPool.size(3)) else {
            session.pointee.isStuck = true
            queue(connection)
            return
        }
        var at = Int(connection.pointee.outputEnd)
        Frames.putHeader(4 * count, kind, flags, id, out, &at)
        if count > 0 { Frames.putWord(first, out, &at) }
        if count > 1 { Frames.putWord(second, out, &at) }
        connection.pointee.outputEnd = Int32(truncatingIfNeeded: at)
        queue(connection)
    }

    /// A session's turn: writes what its streams have left, and reads on.
    mutating func resumeSession(_ connection: Conn) {
        guard let session = connection.pointee.session else { return }
        if session.pointee.isStuck {
            failSession(connection, .controlFlood)
            return
        }
        if connection.pointee.canWrite {
            let generation = connection.pointee.generation
            switch flush(connection) {
            case .failed:
                writeFailed(connection)
                return
            case .blocked: break
            case .done:
                serveWaiting(connection)
                if session.pointee.open == 0 && session.pointee.isOver { closeQuietly(connection) }
            }
            if connection.pointee.generation != generation { return }
        }
        if connection.pointee.phase != .head || connection.pointee.session == nil { return }
        if connection.pointee.canWrite && (!connection.pointee.isDrained || connection.pointee.ssl != nil) {
            readable(connection)
        }
    }

    /// Streams that waited for the connection's window, or for room in its output, take turns; each may write so much at its turn.
    mutating func serveWaiting(_ connection: Conn) {
        guard let session = connection.pointee.session, !session.pointee.waiting.isEmpty, !session.pointee.isServing
        else { return }
        session.pointee.isServing = true
        swap(&session.pointee.waiting, &session.pointee.serving)
        let pending = Int(connection.pointee.outputEnd &- connection.pointee.outputStart)
        var room = min(session.pointee.sendWindow, StreamLimits.outputForData - pending)
        var place = 0
        while place < session.pointee.serving.count, room > 0 {
            let key = session.pointee.serving[place]
            place += 1
            guard let stream = find(key), state(stream).pointee.isWaiting else { continue }
            state(stream).pointee.isWaiting = false
            state(stream).pointee.turn = Int32(StreamLimits.turn)
            room -= StreamLimits.turn
            _ = streamWritable(stream)
        }
        session.pointee.isServing = false
        if place < session.pointee.serving.count {
            // Those that had no turn come before those that had one.
            session.pointee.serving.removeFirst(place)
            session.pointee.serving += session.pointee.waiting
            swap(&session.pointee.waiting, &session.pointee.serving)
        }
        session.pointee.serving.removeAll(keepingCapacity: true)
        // A turn may go unused, since a source has nothing now: then it is the next one's.
        if !session.pointee.waiting.isEmpty && session.pointee.sendWindow > 0 { queue(connection) }
    }

    // MARK: the end

    /// We end a session for a fault of its peer's, and say which.
    mutating func failSession(_ connection: Conn, _ fault: SessionFault) {
        guard let session = connection.pointee.session else { return }
        counts.sessionFaults[Int(fault.rawValue)] += 1
        let last = session.pointee.lastPeerStream
        session.pointee.isStuck = false
        putControl(connection, .goAway, 0, 0, last, fault.code.rawValue, 2)
        let isServer = session.pointee.isServer
        endSession(connection)
        if connection.pointee.role == .free { return }
        if !isServer {
            if connection.pointee.canWrite { _ = flush(connection) }
            close(connection)
            return
        }
        closeQuietly(connection)
    }

    /// The session is over: what is in its output still goes out, then the connection ends.
    mutating func closeQuietly(_ connection: Conn) {
        endSession(connection)
        if connection.pointee.role == .upstream {
            if connection.pointee.canWrite { _ = flush(connection) }
            close(connection)
            return
        }
        connection.pointee.mode = .http
        connection.pointee.phase = .flushing
        connection.pointee.closesAfter = true
        dropInput(connection)
        if flush(connection) == .failed {
            close(connection)
            return
        }
        afterResponse(connection)
    }

    /// Ends a session's streams, each as it has earned; the connection itself is left to the caller. Harmless when there is none.
    mutating func endSession(_ connection: Conn) {
        guard let session = connection.pointee.session else { return }
        if !session.pointee.isServer { unlinkSession(connection) }
        connection.pointee.session = nil
        var keys = session.pointee.pending
        session.pointee.streams.forEach { _, place in keys.append(key(slab + Int(place))) }
        let wasReady = session.pointee.isReady
        let last = session.pointee.peerLast
        let hasServed = session.pointee.hasServed
        if let block = session.pointee.block { buffers.give(block, session.pointee.blockClass) }
        session.deinitialize(count: 1)
        session.deallocate()
        for key in keys {
            guard let stream = find(key), stream.pointee.carrier == connection else { continue }
            if stream.pointee.role == .client {
                closePair(stream, .clientGone)
            } else if !wasReady {
                upstreamFailed(stream)
            } else {
                streamLost(
                    stream, untouched: state(stream).pointee.id == 0 || state(stream).pointee.id > last, hasServed)
            }
        }
    }
}
