import Glibc
import Loop
import Wire

extension Engine {
    /// Takes HTTP/1 text off a stream's message and writes it as frames into its session's output.
    ///
    /// - Returns: bytes taken; `IO.wouldBlock` when a window or the output is full, and the stream is woken when that changes.
    mutating func transmitStream(_ stream: Conn, _ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int {
        guard let carrier = stream.pointee.carrier, let session = carrier.pointee.session,
            !state(stream).pointee.isReset
        else { return IO.failed }
        if !session.pointee.isReady { return IO.wouldBlock }
        var taken = 0
        loop: while taken < count {
            switch state(stream).pointee.writes {
            case .head:
                let length = writeHead(stream, carrier, session, bytes + taken, count &- taken)
                if length == IO.failed { return IO.failed }
                if length == 0 { break loop }
                taken &+= length
            case .length:
                let wanted = min(count &- taken, state(stream).pointee.writesLeft)
                let written = writeData(stream, carrier, session, bytes + taken, wanted)
                if written == 0 { break loop }
                taken &+= written
                state(stream).pointee.writesLeft &-= written
                if state(stream).pointee.writesLeft == 0 && !endStream(stream) { break loop }
            case .raw:
                let written = writeData(stream, carrier, session, bytes + taken, count &- taken)
                if written == 0 { break loop }
                taken &+= written
            case .chunked:
                let moved = writeChunked(stream, carrier, session, bytes + taken, count &- taken)
                if moved < 0 { return IO.failed }
                if moved == 0 { break loop }
                taken &+= moved
            case .done: taken = count
            }
        }
        return taken == 0 ? IO.wouldBlock : taken
    }

    /// Takes the next run of a chunked body: data, or what frames it.
    private mutating func writeChunked(
        _ stream: Conn, _ carrier: Conn, _ session: UnsafeMutablePointer<Session>, _ bytes: UnsafePointer<UInt8>,
        _ count: Int
    ) -> Int {
        if state(stream).pointee.writeChunks.state == .data {
            let wanted = min(count, state(stream).pointee.writeChunks.remaining)
            let written = writeData(stream, carrier, session, bytes, wanted)
            if written > 0 { _ = state(stream).pointee.writeChunks.scan(bytes, written) }
            return written
        }
        var place = 0
        while place < count {
            let before = state(stream).pointee.writeChunks.state
            _ = state(stream).pointee.writeChunks.scan(bytes + place, 1)
            if state(stream).pointee.writeChunks.isBad { return IO.failed }
            if isTrailer(before) && !keepTrailer(stream, bytes[place]) { return IO.failed }
            place &+= 1
            if state(stream).pointee.writeChunks.isDone {
                // Its trailers, if any, are kept; they leave with the end of the stream, now or as soon as there is room.
                _ = endStream(stream)
                state(stream).pointee.writes = .done
                return place
            }
            if state(stream).pointee.writeChunks.state == .data { return place }
        }
        return place
    }

    @inline(__always)
    private func isTrailer(_ state: ChunkScanner.State) -> Bool {
        state == .trailerStart || state == .trailerName || state == .trailerText || state == .trailerLineFeed
    }

    private mutating func keepTrailer(_ stream: Conn, _ byte: UInt8) -> Bool {
        if state(stream).pointee.trailers == nil {
            if byte == 13 { return true }
            state(stream).pointee.trailers = buffers.take(1)
            state(stream).pointee.trailersLength = 0
        }
        guard let trailers = state(stream).pointee.trailers else { return false }
        if Int(state(stream).pointee.trailersLength) >= StreamLimits.trailers { return false }
        trailers[Int(state(stream).pointee.trailersLength)] = byte
        state(stream).pointee.trailersLength &+= 1
        return true
    }

    // MARK: DATA

    /// Writes as much as the windows and the stream's turn allow; joins the frame before it when that is its own.
    @inline(__always)
    private mutating func writeData(
        _ stream: Conn, _ carrier: Conn, _ session: UnsafeMutablePointer<Session>, _ bytes: UnsafePointer<UInt8>,
        _ wanted: Int
    ) -> Int {
        if state(stream).pointee.sendWindow <= 0 { return 0 }
        let pending = Int(carrier.pointee.outputEnd &- carrier.pointee.outputStart)
        var budget = min(wanted, Int(state(stream).pointee.sendWindow))
        budget = min(budget, session.pointee.sendWindow, StreamLimits.outputForData &- pending)
        if !session.pointee.waiting.isEmpty { budget = min(budget, Int(state(stream).pointee.turn)) }
        if budget <= 0 {
            wait(stream, carrier, session)
            return 0
        }
        let id = state(stream).pointee.id
        if joins(carrier, session, id), let output = carrier.pointee.output {
            let start = Int(session.pointee.frameStart)
            let length = Frames.length(output + start)
            let room = min(
                session.pointee.peerFrameSize &- length,
                BufferPool.size(carrier.pointee.outputClass) &- Int(carrier.pointee.outputEnd))
            if room > 0 && output[start &+ 3] == FrameKind.data.rawValue {
                let count = min(budget, room)
                memcpy(output + Int(carrier.pointee.outputEnd), bytes, count)
                carrier.pointee.outputEnd &+= Int32(truncatingIfNeeded: count)
                Frames.putLength(length &+ count, output + start)
                session.pointee.frameEnd = carrier.pointee.outputEnd
                return wrote(stream, carrier, session, count)
            }
        }
        let count = min(budget, session.pointee.peerFrameSize)
        guard let out = frameRoom(carrier, count &+ FrameHeader.size, limit: StreamLimits.outputForHeads) else {
            wait(stream, carrier, session)
            return 0
        }
        var at = Int(carrier.pointee.outputEnd)
        session.pointee.frameStart = carrier.pointee.outputEnd
        session.pointee.frameStream = id
        Frames.putHeader(count, .data, 0, id, out, &at)
        memcpy(out + at, bytes, count)
        carrier.pointee.outputEnd = Int32(truncatingIfNeeded: at &+ count)
        session.pointee.frameEnd = carrier.pointee.outputEnd
        return wrote(stream, carrier, session, count)
    }

    @inline(__always)
    private mutating func wrote(
        _ stream: Conn, _ carrier: Conn, _ session: UnsafeMutablePointer<Session>, _ count: Int
    ) -> Int {
        state(stream).pointee.sendWindow &-= Int32(truncatingIfNeeded: count)
        session.pointee.sendWindow &-= count
        session.pointee.flood.earnControl()
        state(stream).pointee.turn = max(0, state(stream).pointee.turn &- Int32(truncatingIfNeeded: count))
        queue(carrier)
        return count
    }

    /// Whether the last frame in the output is this stream's, and none of it has left.
    @inline(__always)
    private func joins(_ carrier: Conn, _ session: UnsafeMutablePointer<Session>, _ id: UInt32) -> Bool {
        session.pointee.frameStream == id && session.pointee.frameStart >= carrier.pointee.outputStart
            && session.pointee.frameStart >= 0 && session.pointee.frameEnd == carrier.pointee.outputEnd
            && carrier.pointee.output != nil
    }

    private mutating func wait(_ stream: Conn, _ carrier: Conn, _ session: UnsafeMutablePointer<Session>) {
        if state(stream).pointee.isWaiting { return }
        state(stream).pointee.isWaiting = true
        state(stream).pointee.turn = 0
        session.pointee.waiting.append(key(stream))
    }

    // MARK: the end

    /// Ends what goes out on a stream, with its trailers if it has some. False when there is no room for them yet.
    mutating func endStream(_ stream: Conn) -> Bool {
        if state(stream).pointee.sentEnd { return true }
        guard let carrier = stream.pointee.carrier, let session = carrier.pointee.session else { return true }
        state(stream).pointee.writes = .done
        let id = state(stream).pointee.id
        if state(stream).pointee.trailersLength > 0 && !state(stream).pointee.isWebSocket {
            guard writeTrailers(stream, carrier, session) else {
                wait(stream, carrier, session)
                return false
            }
        } else if joins(carrier, session, id), let output = carrier.pointee.output {
            output[Int(session.pointee.frameStart) &+ 4] |= FrameFlag.endStream
        } else {
            putControl(carrier, .data, FrameFlag.endStream, id, 0, 0, 0)
        }
        state(stream).pointee.sentEnd = true
        session.pointee.frameStart = -1
        return true
    }
}
