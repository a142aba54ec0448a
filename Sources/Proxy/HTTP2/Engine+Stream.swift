import Glibc
import Loop
import Wire

extension Engine {
    @inline(__always)
    func state(_ stream: Conn) -> UnsafeMutablePointer<StreamState> { states + Int(stream.pointee.index) }

    /// A connection without a socket, for a stream of a session.
    mutating func openStream(_ role: Role, on carrier: Conn) -> Conn? {
        guard let stream = open(-1, role) else { return nil }
        state(stream).initialize(to: StreamState())
        stream.pointee.carrier = carrier
        stream.pointee.mode = .http
        return stream
    }

    /// A stream's turn: frames have come for it, a window has opened, or what it waits for is there.
    mutating func resumeStream(_ stream: Conn) {
        if stream.pointee.isConnecting { return }
        let generation = stream.pointee.generation
        if state(stream).pointee.isReset {
            streamReset(stream)
            return
        }
        if let fault = state(stream).pointee.fault, stream.pointee.role == .client, stream.pointee.phase == .head {
            counts.malformedStreams += 1
            state(stream).pointee.resetCode = .protocolError
            answer(stream, status: fault.status, .clientProtocol, fault.word, close: true)
            return
        }
        stream.pointee.isPaused = false
        if !streamWritable(stream) || stream.pointee.generation != generation { return }
        if stream.pointee.inputCount > 0 {
            process(stream)
            if stream.pointee.generation != generation { return }
        }
        if state(stream).pointee.receivedEnd && stream.pointee.inputCount == 0 {
            dropInput(stream)
            state(stream).pointee.chunkPlace = -1
            if stream.pointee.phase == .tunnel {
                stream.pointee.endOfInput = true
                inputEnded(stream)
                if stream.pointee.generation != generation { return }
            } else if stream.pointee.phase == .untilClose, let client = stream.pointee.peer {
                stream.pointee.phase = .done
                finishExchange(stream, client)
                return
            }
        }
        credit(stream)
    }

    /// Writes what a stream has left, and wakes who waits for that. False when the stream has ended.
    mutating func streamWritable(_ stream: Conn) -> Bool {
        let waits = stream.pointee.hasOutput || stream.pointee.phase == .flushing
        if waits || stream.pointee.peer?.pointee.isPaused == true {
            if !writable(stream) { return false }
        }
        if state(stream).pointee.writes == .done && !state(stream).pointee.sentEnd && state(stream).pointee.id != 0 {
            _ = endStream(stream)
        }
        return true
    }

    /// One side has reset the stream.
    private mutating func streamReset(_ stream: Conn) {
        let isFault = state(stream).pointee.fault != nil
        if stream.pointee.role == .client {
            closePair(stream, isFault ? .clientProtocol : .clientGone)
            return
        }
        guard let client = stream.pointee.peer else {
            close(stream)
            return
        }
        if state(stream).pointee.receivedEnd && !isFault {
            // The response is whole: only the rest of the request is not wanted (RFC 9113 §8.1).
            if stream.pointee.inputCount > 0 { process(stream) }
            return
        }
        if state(stream).pointee.resetCode == .refusedStream && client.pointee.status == 0 {
            retry(stream, client, .upstreamEnded, status: 503, isRefused: true)
        } else {
            failExchange(stream, client, isFault ? .upstreamProtocol : .upstreamEnded, status: 502)
        }
    }

    /// The session under a stream of ours has gone.
    ///
    /// - Parameter untouched: the peer has not worked on it, by what it said or by what we had sent.
    mutating func streamLost(_ stream: Conn, untouched: Bool, _ hasServed: Bool) {
        stream.pointee.carrier = nil
        guard let client = stream.pointee.peer else {
            close(stream)
            return
        }
        if state(stream).pointee.receivedEnd && state(stream).pointee.fault == nil {
            state(stream).pointee.isReset = true
            queue(stream)
        } else if !isStopped && client.pointee.status == 0 && (untouched || (client.pointee.isIdempotent && hasServed))
        {
            retry(stream, client, .upstreamEnded, status: untouched ? 503 : 502, isRefused: untouched)
        } else {
            failExchange(stream, client, .upstreamEnded, status: 502)
        }
    }

    /// The whole response is in the client's stream: it ends.
    mutating func streamResponded(_ client: Conn) {
        if !endStream(client) {
            client.pointee.phase = .flushing
            return
        }
        close(client)
    }

    /// Takes a stream out of its session, with a reset when its messages are not both whole.
    mutating func closeStream(_ stream: Conn) {
        if let carrier = stream.pointee.carrier, let session = carrier.pointee.session {
            let id = state(stream).pointee.id
            if id != 0 { session.pointee.streams.remove(id) }
            session.pointee.open -= 1
            if carrier.pointee.hasEffort { noteRoom(carrier) }
            if id != 0 && !state(stream).pointee.isReset { resetUnfinished(stream, carrier) }
            creditSession(carrier, session, taken: Int(state(stream).pointee.owed))
            if session.pointee.isServer {
                let isEnded = state(stream).pointee.receivedEnd || state(stream).pointee.isPeerReset
                session.pointee.closed.note(id, isOurs: !isEnded)
                carrier.pointee.peerHash = stream.pointee.peerHash
                if carrier.pointee.side == .inbound { carrier.pointee.peerLabels = stream.pointee.peerLabels }
            }
            if session.pointee.open == 0 && session.pointee.isOver { queue(carrier) }
        }
        if stream.pointee.asker != 0 { questionEnded(stream) }
        dropInput(stream)
        dropOutput(stream)
        dropReplay(stream)
        dropGrants(stream)
        if let trailers = state(stream).pointee.trailers { buffers.give(trailers, 1) }
        state(stream).pointee.trailers = nil
        stream.pointee.role = .free
        stream.pointee.generation &+= 1
        stream.pointee.peer = nil
        stream.pointee.carrier = nil
        stream.pointee.certificateLine = nil
        stream.pointee.next = freeHead
        freeHead = stream.pointee.index
    }

    private mutating func resetUnfinished(_ stream: Conn, _ carrier: Conn) {
        var code = state(stream).pointee.resetCode
        if state(stream).pointee.sentEnd {
            carrier.pointee.session?.pointee.flood.earnReset()
            // By its length the message is whole; its END_STREAM may come alone.
            if state(stream).pointee.receivedEnd || (state(stream).pointee.expected == 0 && code == .none) { return }
        }
        if stream.pointee.role == .upstream {
            if code == .none { code = .cancel }
        } else if !state(stream).pointee.sentEnd && code == .none {
            code = .internalError
        }
        putControl(carrier, .resetStream, 0, state(stream).pointee.id, code.rawValue, 0, 1)
    }

    // MARK: windows

    /// Gives back the window of bytes that have been taken; more of it while the reader keeps up.
    mutating func credit(_ stream: Conn) {
        guard state(stream).pointee.owed > 0, let carrier = stream.pointee.carrier,
            let session = carrier.pointee.session
        else { return }
        // A body that is waited for counts as taken, or streams that wait would use up their session's window.
        let held = stream.pointee.parking == .body ? 0 : Int32(stream.pointee.inputCount)
        let taken = state(stream).pointee.owed - min(state(stream).pointee.owed, held)
        if taken == 0 { return }
        state(stream).pointee.owed -= taken
        creditSession(carrier, session, taken: Int(taken))
        if state(stream).pointee.receivedEnd || state(stream).pointee.isReset { return }
        state(stream).pointee.returned += taken
        let size = state(stream).pointee.windowSize
        if state(stream).pointee.returned < size / 2 { return }
        var increment = state(stream).pointee.returned
        if stream.pointee.inputCount == 0 && size < StreamLimits.largestWindow {
            let bigger = min(size * 2, StreamLimits.largestWindow)
            increment += bigger - size
            state(stream).pointee.windowSize = bigger
        }
        state(stream).pointee.returned = 0
        state(stream).pointee.receiveWindow += increment
        putControl(carrier, .windowUpdate, 0, state(stream).pointee.id, UInt32(increment), 0, 1)
    }

    /// Bytes of streams have been taken, which gives back the connection's window unless that was done when they came.
    @inline(__always)
    mutating func creditSession(_ carrier: Conn, _ session: UnsafeMutablePointer<Session>, taken: Int) {
        if session.pointee.creditsAtOnce { return }
        session.pointee.owed &+= taken
        creditSession(carrier, session)
    }

    mutating func creditSession(_ carrier: Conn, _ session: UnsafeMutablePointer<Session>) {
        if session.pointee.owed < Int(StreamLimits.connectionWindow) / 4 { return }
        putControl(carrier, .windowUpdate, 0, 0, UInt32(session.pointee.owed), 0, 1)
        session.pointee.receiveWindow += session.pointee.owed
        session.pointee.owed = 0
    }
}
