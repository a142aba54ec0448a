import COpenSSL
import Glibc
import Loop
import ProxyResources
import Wire

/// What the lines of a head say that becomes a header block.
private struct HeadSurvey {
    var length = 0
    var lines = 0
    var startLine = 0
    var hostPlace = 0
    var hostLength = -1
    var contentLength = -1
    var isChunked = false
    var isHTTPS = false
    var upgrades = false
}

extension Engine {
    /// Writes a head, which stands whole at `bytes`, as HEADERS. Returns its length, 0 while there is no room, or `IO.failed`.
    mutating func writeHead(
        _ stream: Conn, _ carrier: Conn, _ session: UnsafeMutablePointer<Session>, _ bytes: UnsafePointer<UInt8>,
        _ count: Int
    ) -> Int {
        guard let survey = survey(bytes, count) else { return IO.failed }
        let most = survey.length &+ survey.lines &* 18 &+ 256
        let frames = most / StreamLimits.frameSize &+ 1
        guard let out = frameRoom(carrier, most &+ frames &* FrameHeader.size, limit: StreamLimits.outputForHeads)
        else {
            wait(stream, carrier)
            return 0
        }
        let isRequest = stream.pointee.role == .upstream
        if isRequest && state(stream).pointee.id == 0 { number(stream, session) }
        let start = Int(carrier.pointee.outputEnd)
        var at = start &+ FrameHeader.size
        session.pointee.encoder.begin(out, &at)
        let lines = Bytes(mutating: bytes)
        if isRequest {
            putRequestFields(stream, session, survey, lines, out, &at)
        } else {
            putStatus(stream, session, lines, out, &at)
        }
        putLines(stream, session, survey, lines, out, &at)
        if isRequest && marksHTTP1(stream, carrier) {
            append(session, "x-weft-protocol", "http/1.1", out, &at)
        }
        let ends = frameOutput(stream, survey, lines)
        let flags = ends ? FrameFlag.endStream : 0
        finishBlock(carrier, session, state(stream).pointee.id, flags, start, at, out)
        if ends {
            state(stream).pointee.sentEnd = true
            session.pointee.frameStart = -1
        }
        queue(carrier)
        return survey.length
    }

    private mutating func wait(_ stream: Conn, _ carrier: Conn) {
        if state(stream).pointee.isWaiting { return }
        state(stream).pointee.isWaiting = true
        carrier.pointee.session?.pointee.waiting.append(key(stream))
    }

    /// Gives a stream of ours its number. Numbers rise in the order of the HEADERS.
    private func number(_ stream: Conn, _ session: UnsafeMutablePointer<Session>) {
        state(stream).pointee.id = session.pointee.nextStream
        session.pointee.nextStream &+= 2
        session.pointee.streams.insert(state(stream).pointee.id, stream.pointee.index)
        state(stream).pointee.sendWindow = session.pointee.peerWindow
    }

    /// Another sidecar must know that what it gets over HTTP/2 was HTTP/1, to speak that to its app.
    private func marksHTTP1(_ stream: Conn, _ carrier: Conn) -> Bool {
        guard carrier.pointee.isSecured, let client = stream.pointee.peer else { return false }
        if client.pointee.isShadow && client.pointee.isGRPC { return false }
        if !client.pointee.isStream || state(client).pointee.carriesHTTP1 { return true }
        // A gateway's client says nothing of the app.
        return client.pointee.side == .gateway
            && endpoints[Int(stream.pointee.endpoint)].appProtocol == .unknown
    }

    // MARK: lines

    private func survey(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> HeadSurvey? {
        var found = HeadSurvey()
        var place = 0
        while place < count {
            guard let feed = memchr(bytes + place, 10, count &- place) else { return nil }
            let end = UnsafeRawPointer(bytes).distance(to: UnsafeRawPointer(feed))
            if found.startLine == 0 {
                found.startLine = end &+ 1
            } else if end == place &+ 1 {
                found.length = end &+ 1
                return found
            } else {
                look(bytes, place, end &- 1, &found)
            }
            found.lines &+= 1
            place = end &+ 1
        }
        return nil
    }

    @inline(__always)
    private func look(_ bytes: UnsafePointer<UInt8>, _ start: Int, _ end: Int, _ found: inout HeadSurvey) {
        let line = bytes + start
        let length = end &- start
        switch line[0] | 32 {
        case 99:
            if isLine(line, length, "content-length:") {
                let (value, count) = value(line, 15, length)
                var number = 0
                for place in 0..<count { number = number &* 10 &+ Int(value[place]) &- 48 }
                found.contentLength = number
            }
        case 104:
            if isLine(line, length, "host:") {
                let (value, count) = value(line, 5, length)
                found.hostPlace = bytes.distance(to: value)
                found.hostLength = count
            }
        case 116: if isLine(line, length, "transfer-encoding:") { found.isChunked = true }
        case 117: if isLine(line, length, "upgrade:") { found.upgrades = true }
        case 120:
            if isLine(line, length, "x-forwarded-proto:") {
                let (value, count) = value(line, 18, length)
                found.isHTTPS = count == 5 && sameName(value, StaticText.https.utf8Start, 5)
            }
        default: break
        }
    }

    @inline(__always)
    private func isLine(_ line: UnsafePointer<UInt8>, _ length: Int, _ name: StaticString) -> Bool {
        length >= name.utf8CodeUnitCount && sameName(line, name.utf8Start, name.utf8CodeUnitCount)
    }

    @inline(__always)
    private func value(_ line: UnsafePointer<UInt8>, _ from: Int, _ end: Int) -> (UnsafePointer<UInt8>, Int) {
        var start = from
        var end = end
        while start < end, line[start] == 32 || line[start] == 9 { start &+= 1 }
        while end > start, line[end &- 1] == 32 || line[end &- 1] == 9 { end &-= 1 }
        return (line + start, end &- start)
    }

    /// Writes the lines that are fields of HTTP/2 too. Names become lower case where they stand.
    private mutating func putLines(
        _ stream: Conn, _ session: UnsafeMutablePointer<Session>, _ survey: HeadSurvey, _ bytes: Bytes, _ out: Bytes,
        _ at: inout Int
    ) {
        var place = survey.startLine
        while place < survey.length &- 2 {
            guard let feed = memchr(bytes + place, 10, survey.length &- place) else { return }
            let end = UnsafeRawPointer(bytes).distance(to: UnsafeRawPointer(feed)) &- 1
            let line = bytes + place
            place = end &+ 2
            guard let colon = memchr(line, 58, bytes.distance(to: line).distance(to: end)) else { continue }
            let nameLength = UnsafeRawPointer(line).distance(to: UnsafeRawPointer(colon))
            HeaderBlockEncoder.lower(line, nameLength)
            if staysBehind(stream, line, nameLength) { continue }
            let (value, count) = value(line, nameLength &+ 1, bytes.distance(to: line).distance(to: end))
            if nameLength == 14 && count == 1 && value[0] == 48 && stream.pointee.isGRPC
                && same(line, nameLength, "content-length")
            {
                continue
            }
            session.pointee.encoder.append(line, nameLength, value, count, out, &at)
        }
    }

    /// Fields of a connection, and those that HTTP/2 says in another way (RFC 9113 §8.2.2).
    @inline(__always)
    private func staysBehind(_ stream: Conn, _ name: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        switch count {
        case 4: return same(name, count, "host")
        case 7: return same(name, count, "upgrade")
        case 10: return same(name, count, "connection") || same(name, count, "keep-alive")
        case 14: return same(name, count, "http2-settings")
        case 16: return same(name, count, "proxy-connection")
        case 17:
            return same(name, count, "transfer-encoding")
                || (state(stream).pointee.isWebSocket && same(name, count, "sec-websocket-key"))
        case 20: return state(stream).pointee.isWebSocket && same(name, count, "sec-websocket-accept")
        default: return false
        }
    }

    private func append(
        _ session: UnsafeMutablePointer<Session>, _ name: StaticString, _ value: StaticString, _ out: Bytes,
        _ at: inout Int
    ) {
        session.pointee.encoder.append(
            name.utf8Start, name.utf8CodeUnitCount, value.utf8Start, value.utf8CodeUnitCount, out, &at)
    }

    // MARK: pseudo-fields

    private mutating func putRequestFields(
        _ stream: Conn, _ session: UnsafeMutablePointer<Session>, _ survey: HeadSurvey, _ bytes: Bytes, _ out: Bytes,
        _ at: inout Int
    ) {
        guard let space = memchr(bytes, 32, survey.startLine) else { return }
        let method = UnsafeRawPointer(bytes).distance(to: UnsafeRawPointer(space))
        let target = bytes + method + 1
        // " HTTP/1.1\r\n" ends the line.
        let targetLength = survey.startLine &- method &- 12
        let encoder = session
        func field(_ name: StaticString, _ value: UnsafePointer<UInt8>, _ count: Int) {
            encoder.pointee.encoder.append(name.utf8Start, name.utf8CodeUnitCount, value, count, out, &at)
        }
        state(stream).pointee.isWebSocket = survey.upgrades
        let isConnect = same(bytes, method, "CONNECT")
        state(stream).pointee.isTunnel = isConnect
        if survey.upgrades {
            append(session, ":method", "CONNECT", out, &at)
            append(session, ":protocol", "websocket", out, &at)
            keepAccept(stream, bytes, survey)
        } else {
            field(":method", bytes, method)
        }
        if !isConnect {
            append(session, ":scheme", survey.isHTTPS ? "https" : "http", out, &at)
            field(":path", target, targetLength)
        }
        if survey.hostLength >= 0 { field(":authority", bytes + survey.hostPlace, survey.hostLength) }
    }

    private mutating func putStatus(
        _ stream: Conn, _ session: UnsafeMutablePointer<Session>, _ bytes: Bytes, _ out: Bytes, _ at: inout Int
    ) {
        if state(stream).pointee.isWebSocket && bytes[9] == 49 && bytes[11] == 49 {
            append(session, ":status", "200", out, &at)
            return
        }
        let name: StaticString = ":status"
        session.pointee.encoder.append(name.utf8Start, name.utf8CodeUnitCount, bytes + 9, 3, out, &at)
    }

    /// How what follows the head stands in the text; true when nothing does.
    private mutating func frameOutput(_ stream: Conn, _ survey: HeadSurvey, _ bytes: Bytes) -> Bool {
        state(stream).pointee.writesLeft = max(0, survey.contentLength)
        state(stream).pointee.writeChunks = ChunkScanner()
        if stream.pointee.role == .upstream {
            if state(stream).pointee.isTunnel || state(stream).pointee.isWebSocket {
                state(stream).pointee.writes = .raw
            } else if survey.isChunked {
                state(stream).pointee.writes = .chunked
            } else {
                state(stream).pointee.writes = survey.contentLength > 0 ? .length : .done
            }
            return state(stream).pointee.writes == .done
        }
        let status = Int(bytes[9] &- 48) &* 100 &+ Int(bytes[10] &- 48) &* 10 &+ Int(bytes[11] &- 48)
        if status == 101 || (state(stream).pointee.isTunnel && !state(stream).pointee.isWebSocket && status / 100 == 2)
        {
            state(stream).pointee.writes = .raw
            return false
        }
        if status < 200 { return false }
        if stream.pointee.isHead || status == 204 || status == 304 {
            state(stream).pointee.writes = .done
        } else if survey.isChunked {
            state(stream).pointee.writes = .chunked
        } else if survey.contentLength >= 0 {
            state(stream).pointee.writes = survey.contentLength > 0 ? .length : .done
        } else {
            state(stream).pointee.writes = .raw
        }
        return state(stream).pointee.writes == .done
    }

    // MARK: frames of a block

    /// Puts frame headers around a block that stands from `start` + 9 to `end`.
    private mutating func finishBlock(
        _ carrier: Conn, _ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ flags: UInt8, _ start: Int,
        _ end: Int, _ out: Bytes
    ) {
        let length = end &- start &- FrameHeader.size
        var place = start
        session.pointee.frameStart = Int32(truncatingIfNeeded: start)
        session.pointee.frameStream = id
        if length <= StreamLimits.frameSize {
            Frames.putHeader(length, .headers, flags | FrameFlag.endHeaders, id, out, &place)
            carrier.pointee.outputEnd = Int32(truncatingIfNeeded: end)
            session.pointee.frameEnd = carrier.pointee.outputEnd
            return
        }
        // Further frames, from the last on, so that nothing is overwritten.
        let extra = (length &- 1) / StreamLimits.frameSize
        let block = start &+ FrameHeader.size
        for frame in stride(from: extra, through: 1, by: -1) {
            let from = block &+ frame &* StreamLimits.frameSize
            let count = min(StreamLimits.frameSize, end &- from)
            memmove(out + from + frame * FrameHeader.size, out + from, count)
            var header = from &+ (frame &- 1) &* FrameHeader.size
            Frames.putHeader(
                count, .continuation, frame == extra ? FrameFlag.endHeaders : 0, id, out, &header)
        }
        Frames.putHeader(StreamLimits.frameSize, .headers, flags, id, out, &place)
        carrier.pointee.outputEnd = Int32(truncatingIfNeeded: end &+ extra &* FrameHeader.size)
        session.pointee.frameEnd = carrier.pointee.outputEnd
    }

    /// Writes the trailers kept from a chunked body as the block that ends the stream.
    mutating func writeTrailers(_ stream: Conn, _ carrier: Conn, _ session: UnsafeMutablePointer<Session>) -> Bool {
        guard let lines = state(stream).pointee.trailers else { return true }
        let count = Int(state(stream).pointee.trailersLength)
        let most = count &* 6 &+ 256
        guard let out = frameRoom(carrier, most, limit: StreamLimits.outputForHeads) else { return false }
        let start = Int(carrier.pointee.outputEnd)
        var at = start &+ FrameHeader.size
        session.pointee.encoder.begin(out, &at)
        var place = 0
        while place < count, let feed = memchr(lines + place, 10, count &- place) {
            let end = UnsafeRawPointer(lines).distance(to: UnsafeRawPointer(feed)) &- 1
            let line = lines + place
            let length = end &- place
            place = end &+ 2
            guard length > 0, let colon = memchr(line, 58, length) else { continue }
            let nameLength = UnsafeRawPointer(line).distance(to: UnsafeRawPointer(colon))
            HeaderBlockEncoder.lower(line, nameLength)
            if staysBehind(stream, line, nameLength) || same(line, nameLength, "content-length") { continue }
            let (value, valueLength) = value(line, nameLength &+ 1, length)
            session.pointee.encoder.append(line, nameLength, value, valueLength, out, &at)
        }
        finishBlock(carrier, session, state(stream).pointee.id, FrameFlag.endStream, start, at, out)
        session.pointee.frameStart = -1
        queue(carrier)
        return true
    }

    // MARK: WebSocket

    /// What the answer to a translated opening must say: SHA-1 over the client's key (RFC 6455 §4.2.2).
    private mutating func keepAccept(_ stream: Conn, _ bytes: Bytes, _ survey: HeadSurvey) {
        let kept = buffers.take(1)
        state(stream).pointee.trailers = kept
        memset(kept, 61, 28)
        var place = survey.startLine
        while place < survey.length, let feed = memchr(bytes + place, 10, survey.length &- place) {
            let end = UnsafeRawPointer(bytes).distance(to: UnsafeRawPointer(feed)) &- 1
            let line = bytes + place
            let length = end &- place
            place = end &+ 2
            guard isLine(line, length, "sec-websocket-key:") else { continue }
            let (value, count) = value(line, 18, length)
            if count > 64 { return }
            var at = 64
            put(value, count, kept, &at)
            put("258EAFA5-E914-47DA-95CA-C5AB0DC85B11", kept, &at)
            SHA1(kept + 64, at - 64, kept + 256)
            EVP_EncodeBlock(kept, kept + 256, 20)
            return
        }
    }

    /// A new random key for the next opening translated to HTTP/1.
    mutating func renewWebSocketKey() {
        var nonce = (chance.next(), chance.next())
        withUnsafeBytes(of: &nonce) { bytes in
            guard let start = bytes.baseAddress else { return }
            EVP_EncodeBlock(webSocketKey, start.assumingMemoryBound(to: UInt8.self), 16)
        }
    }
}
