import COpenSSL
import Glibc
import Loop
import Wire

extension Engine {
    static let fieldTextSize = 69632

    /// A client opens a stream: its head becomes text, and the stream takes its turn as a connection with a request.
    mutating func openRequest(
        _ connection: Conn, _ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ list: FieldList, ends: Bool,
        isTooLarge: Bool
    ) -> SessionFault? {
        guard Int(session.pointee.open) < StreamLimits.streams, !buffers.isShort,
            let stream = openStream(.client, on: connection)
        else {
            putControl(connection, .resetStream, 0, id, FrameError.refusedStream.rawValue, 0, 1)
            session.pointee.closed.note(id, isOurs: true)
            return session.pointee.flood.spend(.reset, now: now) ? nil : .resetFlood
        }
        inherit(stream, from: connection)
        state(stream).pointee.id = id
        state(stream).pointee.sendWindow = session.pointee.peerWindow
        session.pointee.streams.insert(id, stream.pointee.index)
        session.pointee.open += 1
        session.pointee.hasServed = true
        queue(stream)
        let needed = RequestText.room(list)
        guard !isTooLarge, let sizeClass = BufferPool.sizeClass(for: needed) else {
            refuse(stream, .tooLarge)
            return nil
        }
        let input = buffers.take(sizeClass)
        stream.pointee.input = input
        stream.pointee.inputClass = sizeClass
        do throws(MessageFault) {
            let text = try RequestText(list, ends: ends, webSocketKey: webSocketKey, into: input)
            if text.isWebSocket { renewWebSocketKey() }
            stream.pointee.inputEnd = Int32(truncatingIfNeeded: text.length)
            stream.pointee.isGRPC = text.isGRPC
            state(stream).pointee.reads = text.framing
            state(stream).pointee.expected = text.expected
            state(stream).pointee.isTunnel = text.isTunnel
            state(stream).pointee.isWebSocket = text.isWebSocket
            state(stream).pointee.carriesHTTP1 = text.carriesHTTP1 && connection.pointee.isMutual
            if ends { try endInput(stream) }
        } catch { refuse(stream, error) }
        return nil
    }

    /// What a stream has from its connection: who is at its other end, and where it came in.
    private func inherit(_ stream: Conn, from connection: Conn) {
        stream.pointee.side = connection.pointee.side
        stream.pointee.listener = connection.pointee.listener
        stream.pointee.remoteAddress = connection.pointee.remoteAddress
        stream.pointee.peerAddress = connection.pointee.peerAddress
        stream.pointee.originalAddress = connection.pointee.originalAddress
        stream.pointee.originalPort = connection.pointee.originalPort
        stream.pointee.unresolved = connection.pointee.unresolved
        stream.pointee.isMutual = connection.pointee.isMutual
        stream.pointee.isSecured = connection.pointee.isSecured
        stream.pointee.secure = connection.pointee.secure
        stream.pointee.principalLabels = connection.pointee.principalLabels
        stream.pointee.peerLabels = connection.pointee.peerLabels
        stream.pointee.peerHash = connection.pointee.peerHash
        stream.pointee.certificateLine = connection.pointee.certificateLine
        stream.pointee.certificateLineLength = connection.pointee.certificateLineLength
        stream.pointee.principalStart = connection.pointee.principalStart
    }

    /// A malformed request: an answer, then the reset (RFC 9113 §8.1.1). Both at the stream's turn.
    private mutating func refuse(_ stream: Conn, _ fault: MessageFault) {
        dropInput(stream)
        state(stream).pointee.reads = .done
        state(stream).pointee.fault = fault
    }

    /// The message of a stream breaks the rules: what is there is of no use.
    mutating func spoil(_ stream: Conn, _ fault: MessageFault) -> SessionFault? {
        counts.malformedStreams += 1
        state(stream).pointee.fault = fault
        return breakStream(stream, .protocolError)
    }

    // MARK: responses

    mutating func responseBlock(_ stream: Conn, _ list: FieldList, ends: Bool, isTooLarge: Bool) {
        if state(stream).pointee.isReset { return }
        stream.pointee.carrier?.pointee.session?.pointee.hasServed = true
        if state(stream).pointee.reads != .head || state(stream).pointee.receivedEnd {
            trailers(stream, list, ends: ends, isTooLarge: isTooLarge)
            return
        }
        guard let client = stream.pointee.peer else { return }
        guard !isTooLarge, let input = inputRoom(stream, ResponseText.room(list)) else {
            _ = spoil(stream, .tooLarge)
            return
        }
        var context = ResponseContext()
        context.isHead = client.pointee.isHead
        context.oldClient = client.pointee.oldClient
        context.isGRPC = client.pointee.isGRPC
        context.isWebSocket = state(stream).pointee.isWebSocket
        context.isTunnel = state(stream).pointee.isTunnel
        do throws(MessageFault) {
            let place = Int(stream.pointee.inputEnd)
            let accept = UnsafePointer(state(stream).pointee.trailers ?? webSocketKey)
            let text = try ResponseText(list, ends: ends, context, accept: accept, into: input + place)
            stream.pointee.inputEnd &+= Int32(truncatingIfNeeded: text.length)
            if text.status >= 200 {
                stream.pointee.isGRPC = client.pointee.isGRPC
                state(stream).pointee.reads = text.framing
                state(stream).pointee.expected = context.isHead || text.status == 304 ? -1 : text.expected
                if ends { noteGRPC(client, list) }
            }
            if ends { try endInput(stream) }
            queue(stream)
        } catch { _ = spoil(stream, error) }
    }

    private func noteGRPC(_ client: Conn, _ list: FieldList) {
        if let status = list.grpcStatus() { client.pointee.grpcStatus = status }
    }

    // MARK: bodies

    mutating func dataFrame(
        _ connection: Conn, _ session: UnsafeMutablePointer<Session>, _ flags: UInt8, _ id: UInt32,
        _ payload: UnsafePointer<UInt8>, _ length: Int
    ) -> SessionFault? {
        if id == 0 { return .badStream }
        session.pointee.receiveWindow -= length
        if session.pointee.receiveWindow < 0 { return .dataBeyondWindow }
        if session.pointee.creditsAtOnce {
            session.pointee.owed &+= length
            creditSession(connection, session)
        }
        var body = payload
        var count = length
        if flags & FrameFlag.padded != 0 {
            if length < 1 { return .badFrameSize }
            body += 1
            count -= 1 + Int(payload[0])
            if count < 0 { return .unexpectedFrame }
        }
        let ends = flags & FrameFlag.endStream != 0
        if count == 0 && !ends && !session.pointee.flood.spend(.emptyFrame, now: now) { return .emptyFrameFlood }
        guard let stream = stream(session, id) else {
            creditSession(connection, session, taken: length)
            return lateFrame(session, id)
        }
        if state(stream).pointee.isReset {
            creditSession(connection, session, taken: length)
            if session.pointee.isServer && state(stream).pointee.isPeerReset { return .closedStream }
            return session.pointee.flood.spend(.control, now: now) ? nil : .controlFlood
        }
        state(stream).pointee.receiveWindow -= Int32(truncatingIfNeeded: length)
        state(stream).pointee.owed += Int32(truncatingIfNeeded: length)
        if state(stream).pointee.receiveWindow < 0 { return breakStream(stream, .flowControl) }
        if state(stream).pointee.receivedEnd { return breakStream(stream, .streamClosed) }
        queue(stream)
        // Already answered: the rest of the request is not wanted.
        if state(stream).pointee.fault != nil || stream.pointee.phase == .flushing {
            if ends { state(stream).pointee.receivedEnd = true }
            return nil
        }
        do throws(MessageFault) {
            try append(stream, body, count)
            if ends { try endInput(stream) }
        } catch { return spoil(stream, error) }
        return nil
    }

    /// Adds DATA to a stream's input, in the framing its head has told of.
    private mutating func append(_ stream: Conn, _ bytes: UnsafePointer<UInt8>, _ count: Int) throws(MessageFault) {
        if count == 0 { return }
        if stream.pointee.isGRPC { state(stream).pointee.messages.take(bytes, count) }
        if state(stream).pointee.expected >= 0 {
            state(stream).pointee.expected -= count
            if state(stream).pointee.expected < 0 { throw .lengthMismatch }
        }
        switch state(stream).pointee.reads {
        case .head: throw .dataBeforeHead
        case .done: throw .dataWithoutBody
        case .length, .raw:
            guard let input = inputRoom(stream, count) else { throw .tooLarge }
            memcpy(input + Int(stream.pointee.inputEnd), bytes, count)
            stream.pointee.inputEnd &+= Int32(truncatingIfNeeded: count)
        case .chunked: try appendChunk(stream, bytes, count)
        }
    }

    /// Joins the last chunk while nobody has begun to take it, so that small frames do not become as many chunks.
    private mutating func appendChunk(_ stream: Conn, _ bytes: UnsafePointer<UInt8>, _ count: Int) throws(MessageFault)
    {
        guard let input = inputRoom(stream, count + 16) else { throw .tooLarge }
        var at = Int(stream.pointee.inputEnd)
        var place = Int(state(stream).pointee.chunkPlace)
        if place >= Int(stream.pointee.inputStart) && place >= 0 {
            at -= 2
        } else {
            place = at
            state(stream).pointee.chunkPlace = Int32(truncatingIfNeeded: place)
            at += 7
        }
        memcpy(input + at, bytes, count)
        at += count
        var size = at - place - 7
        for digit in 0..<5 {
            let value = UInt8(truncatingIfNeeded: size & 15)
            input[place + 4 - digit] = value < 10 ? value + 48 : value + 87
            size >>= 4
        }
        input[place + 5] = 13
        input[place + 6] = 10
        input[at] = 13
        input[at + 1] = 10
        stream.pointee.inputEnd = Int32(truncatingIfNeeded: at + 2)
    }

    /// The message is complete, but for trailers that were taken before.
    private mutating func endInput(_ stream: Conn, _ list: FieldList? = nil) throws(MessageFault) {
        state(stream).pointee.receivedEnd = true
        if state(stream).pointee.expected > 0 { throw .lengthMismatch }
        guard state(stream).pointee.reads == .chunked else { return }
        let needed = list.map { ResponseText.room($0) } ?? 16
        guard let input = inputRoom(stream, needed) else { throw .tooLarge }
        var at = Int(stream.pointee.inputEnd)
        put("0\r\n", input, &at)
        if let list { try putTrailers(list, input, &at) }
        put("\r\n", input, &at)
        stream.pointee.inputEnd = Int32(truncatingIfNeeded: at)
        state(stream).pointee.chunkPlace = -1
        state(stream).pointee.reads = .done
    }

    // MARK: trailers

    mutating func trailers(_ stream: Conn, _ list: FieldList, ends: Bool, isTooLarge: Bool) {
        if state(stream).pointee.isReset || state(stream).pointee.fault != nil { return }
        if state(stream).pointee.receivedEnd {
            _ = breakStream(stream, .streamClosed)
            return
        }
        queue(stream)
        do throws(MessageFault) {
            if isTooLarge { throw .tooLarge }
            if !ends { throw .badTrailers }
            for place in 0..<list.count {
                if list.nameLength(place) > 0 && list.name(place)[0] == 58 { throw .badTrailers }
                try list.check(place)
            }
            if stream.pointee.role == .upstream, let client = stream.pointee.peer { noteGRPC(client, list) }
            try endInput(stream, list)
        } catch { _ = spoil(stream, error) }
    }

    private func putTrailers(_ list: FieldList, _ input: Bytes, _ at: inout Int) throws(MessageFault) {
        let start = at
        for place in 0..<list.count {
            // What frames or routes a message has no place after it (RFC 9110 §6.5.1).
            if ChunkScanner.forbids(trailer: list.name(place), list.nameLength(place)) { continue }
            let length = list.nameLength(place) + list.valueLength(place) + 4
            if at - start + length > StreamLimits.trailers - 512 { throw .tooLarge }
            put(list.name(place), list.nameLength(place), input, &at)
            put(": ", input, &at)
            put(list.value(place), list.valueLength(place), input, &at)
            put("\r\n", input, &at)
        }
    }

    /// Room for more at the end of a stream's input.
    private mutating func inputRoom(_ stream: Conn, _ needed: Int) -> Bytes? {
        guard let input = stream.pointee.input else {
            guard let sizeClass = BufferPool.sizeClass(for: needed), let input = buffers.takeIfAny(sizeClass) else {
                return nil
            }
            stream.pointee.inputClass = sizeClass
            stream.pointee.input = input
            stream.pointee.inputStart = 0
            stream.pointee.inputEnd = 0
            state(stream).pointee.chunkPlace = -1
            return stream.pointee.input
        }
        let size = BufferPool.size(stream.pointee.inputClass)
        if size - Int(stream.pointee.inputEnd) >= needed { return input }
        let start = Int(stream.pointee.inputStart)
        let held = stream.pointee.inputCount
        state(stream).pointee.chunkPlace =
            Int(state(stream).pointee.chunkPlace) >= start ? state(stream).pointee.chunkPlace - Int32(start) : -1
        stream.pointee.inputStart = 0
        stream.pointee.inputEnd = Int32(truncatingIfNeeded: held)
        if size - held >= needed {
            memmove(input, input + start, held)
            return input
        }
        guard let sizeClass = BufferPool.sizeClass(for: held + needed), let bigger = buffers.takeIfAny(sizeClass) else {
            return nil
        }
        memcpy(bigger, input + start, held)
        buffers.give(input, stream.pointee.inputClass)
        stream.pointee.input = bigger
        stream.pointee.inputClass = sizeClass
        return bigger
    }
}
