import Glibc
import Loop
import Wire

extension Engine {
    /// Takes whole frames from what a session has read. What they mean for a stream is done at the stream's own turn.
    mutating func readFrames(_ connection: Conn) {
        guard let session = connection.pointee.session else { return }
        // Without streams, bytes that become no frame keep nothing alive.
        if session.pointee.open > 0 { session.pointee.lastFrameAt = now }
        if session.pointee.isServer && !session.pointee.sawPreface {
            guard let input = connection.pointee.input else { return }
            let count = connection.pointee.inputCount
            let start = input + Int(connection.pointee.inputStart)
            if memcmp(start, Frames.preface.utf8Start, min(count, Frames.prefaceLength)) != 0 {
                failSession(connection, .badPreface)
                return
            }
            if count < Frames.prefaceLength { return }
            connection.pointee.inputStart &+= Int32(Frames.prefaceLength)
            session.pointee.sawPreface = true
        }
        while connection.pointee.inputCount >= FrameHeader.size, let input = connection.pointee.input {
            let start = UnsafePointer(input + Int(connection.pointee.inputStart))
            let length = Frames.length(start)
            if length > StreamLimits.frameSize {
                failSession(connection, .badFrameSize)
                return
            }
            let whole = FrameHeader.size &+ length
            if connection.pointee.inputCount < whole {
                if session.pointee.partialSince == 0 { notePartial(connection, session, start[3]) }
                return
            }
            session.pointee.partialSince = 0
            session.pointee.lastFrameAt = now
            connection.pointee.inputStart &+= Int32(truncatingIfNeeded: whole)
            let id = Frames.word(start + 5) & 0x7FFF_FFFF
            if let fault = frame(connection, session, start[3], start[4], id, start + FrameHeader.size, length) {
                failSession(connection, fault)
                return
            }
        }
    }

    /// A client has begun a frame: it has as long as for a head of HTTP/1.1, unless its request sets the pace.
    private mutating func notePartial(
        _ connection: Conn, _ session: UnsafeMutablePointer<Session>, _ kind: UInt8
    ) {
        if kind == FrameKind.data.rawValue || !session.pointee.isServer || session.pointee.goingAway != .no { return }
        session.pointee.partialSince = now
        if connection.pointee.deadline > now &+ clientGrant.head { setDeadline(connection, after: clientGrant.head) }
    }

    private mutating func frame(
        _ connection: Conn, _ session: UnsafeMutablePointer<Session>, _ kind: UInt8, _ flags: UInt8, _ id: UInt32,
        _ payload: UnsafePointer<UInt8>, _ length: Int
    ) -> SessionFault? {
        let kind = FrameKind(rawValue: kind)
        if !session.pointee.sawSettings && (kind != .settings || flags & FrameFlag.acknowledged != 0) {
            return .noSettings
        }
        // A header block is not interrupted (RFC 9113 §6.10).
        if session.pointee.block != nil && kind != .continuation { return .brokenHeaderBlock }
        switch kind {
        case .data: return dataFrame(connection, session, flags, id, payload, length)
        case .headers: return headersFrame(connection, session, flags, id, payload, length)
        case .continuation: return continuationFrame(connection, session, flags, id, payload, length)
        case .settings: return settingsFrame(connection, session, flags, id, payload, length)
        case .ping: return pingFrame(connection, session, flags, id, payload, length)
        case .windowUpdate: return windowFrame(connection, session, id, payload, length)
        case .resetStream: return resetFrame(connection, session, id, payload, length)
        case .goAway:
            if id != 0 { return .badStream }
            return goAwayFrame(connection, session, payload, length)
        case .pushPromise: return .pushPromise
        case .priority:
            if id == 0 { return .badStream }
            if length != 5 { return .badFrameSize }
            // Priorities are not followed (RFC 9113 §5.3.2), so one that depends on itself means nothing either.
            return session.pointee.flood.spend(.control, now: now) ? nil : .controlFlood
        case nil: return session.pointee.flood.spend(.control, now: now) ? nil : .controlFlood
        }
    }

    /// The stream of a number, if it is open.
    @inline(__always)
    func stream(_ session: UnsafeMutablePointer<Session>, _ id: UInt32) -> Conn? {
        let place = session.pointee.streams.find(id)
        return place < 0 ? nil : slab + Int(place)
    }

    /// Whether a number has not been used yet by the side that may use it.
    @inline(__always)
    func isUnused(_ session: UnsafeMutablePointer<Session>, _ id: UInt32) -> Bool {
        if session.pointee.isServer { return id & 1 == 0 || id > session.pointee.lastPeerStream }
        return id & 1 == 0 || id >= session.pointee.nextStream
    }

    // MARK: header blocks

    private mutating func headersFrame(
        _ connection: Conn, _ session: UnsafeMutablePointer<Session>, _ flags: UInt8, _ id: UInt32,
        _ payload: UnsafePointer<UInt8>, _ length: Int
    ) -> SessionFault? {
        if id == 0 { return .badStream }
        var start = 0
        var end = length
        if flags & FrameFlag.padded != 0 {
            if length < 1 { return .badFrameSize }
            start = 1
            end -= Int(payload[0])
        }
        if flags & FrameFlag.priority != 0 { start += 5 }
        if start > end { return .brokenHeaderBlock }
        let ends = flags & FrameFlag.endStream != 0
        if flags & FrameFlag.endHeaders != 0 {
            return headerBlock(connection, session, id, ends, payload + start, end - start)
        }
        session.pointee.block = buffers.take(3)
        session.pointee.blockClass = 3
        session.pointee.blockLength = 0
        session.pointee.blockStream = id
        session.pointee.blockEnds = ends
        session.pointee.continuations = 0
        setDeadline(connection, after: Limits.head)
        return addToBlock(session, payload + start, end - start)
    }

    private mutating func continuationFrame(
        _ connection: Conn, _ session: UnsafeMutablePointer<Session>, _ flags: UInt8, _ id: UInt32,
        _ payload: UnsafePointer<UInt8>, _ length: Int
    ) -> SessionFault? {
        guard let block = session.pointee.block, id == session.pointee.blockStream else { return .brokenHeaderBlock }
        session.pointee.continuations &+= 1
        if session.pointee.continuations > StreamLimits.continuations { return .continuationFlood }
        if let fault = addToBlock(session, payload, length) { return fault }
        if flags & FrameFlag.endHeaders == 0 { return nil }
        let count = session.pointee.blockLength
        let ends = session.pointee.blockEnds
        session.pointee.block = nil
        let fault = headerBlock(connection, session, id, ends, block, count)
        buffers.give(block, session.pointee.blockClass)
        setDeadline(connection, after: StreamLimits.silence)
        return fault
    }

    private func addToBlock(
        _ session: UnsafeMutablePointer<Session>, _ bytes: UnsafePointer<UInt8>, _ count: Int
    ) -> SessionFault? {
        guard let block = session.pointee.block else { return .brokenHeaderBlock }
        if session.pointee.blockLength + count > StreamLimits.headerList { return .headerBlockTooLong }
        memcpy(block + session.pointee.blockLength, bytes, count)
        session.pointee.blockLength += count
        return nil
    }

    /// A whole header block: opens a stream, answers one, or ends one with trailers.
    private mutating func headerBlock(
        _ connection: Conn, _ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ ends: Bool,
        _ block: UnsafePointer<UInt8>, _ count: Int
    ) -> SessionFault? {
        let outcome: HeaderBlockDecoder.Outcome
        do throws(HPACKFault) {
            outcome = try session.pointee.decoder.decode(block, count, into: fieldText, Self.fieldTextSize)
        } catch { return .badHeaderBlock }
        let list = FieldList(
            text: UnsafePointer(fieldText), places: session.pointee.decoder.fields,
            count: session.pointee.decoder.fieldCount, bytes: session.pointee.decoder.byteCount)
        let isTooLarge = outcome == .tooLarge
        if let known = stream(session, id) {
            if session.pointee.isServer {
                if state(known).pointee.isPeerReset { return .closedStream }
                trailers(known, list, ends: ends, isTooLarge: isTooLarge)
            } else {
                responseBlock(known, list, ends: ends, isTooLarge: isTooLarge)
            }
            return nil
        }
        if session.pointee.isServer && id & 1 == 1 && id > session.pointee.lastPeerStream {
            session.pointee.lastPeerStream = id
            // Beyond the GOAWAY that was final: not ours any more.
            if session.pointee.goingAway == .final {
                session.pointee.closed.note(id, isOurs: true)
                return nil
            }
            return openRequest(connection, session, id, list, ends: ends, isTooLarge: isTooLarge)
        }
        return lateFrame(session, id)
    }

    /// A frame for a stream that is not open: what the peer sent before it knew, or what it must not send.
    func lateFrame(_ session: UnsafeMutablePointer<Session>, _ id: UInt32) -> SessionFault? {
        if isUnused(session, id) { return .badStream }
        if session.pointee.isServer {
            switch session.pointee.closed.verdict(id) {
            case .ended: return .closedStream
            case .never: return .badStream
            case .onItsWay, .forgotten: break
            }
        }
        return session.pointee.flood.spend(.control, now: now) ? nil : .controlFlood
    }
}
