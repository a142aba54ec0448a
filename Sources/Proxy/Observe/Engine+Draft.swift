import Glibc
import Loop
import Wire

extension Engine {
    /// The record of the exchange a client connection, or stream, is in. Parts of the relay add what they know as it happens.
    @inline(__always)
    func draft(_ client: Conn) -> RecordPointer { drafts + Int(client.pointee.index) }

    /// A head has come: who asks for what.
    mutating func beginDraft(_ client: Conn, _ bytes: UnsafePointer<UInt8>) {
        let draft = blankDraft(client)
        draft.pointee.headReceived = now
        draft.pointee.minorVersion = UInt8(truncatingIfNeeded: parser.head.minorVersion)
        if parser.head.requestIDLine >= 0 {
            let line = parser.lines[parser.head.requestIDLine]
            draft.pointee.requestID = draft.keep(bytes + Int(line.valueOffset), Int(line.valueLength), most: 64)
        } else {
            writeRequestID(draft)
        }
        draft.pointee.method = draft.keep(bytes, parser.head.methodLength, most: 16)
        draft.pointee.host = draft.keep(bytes + parser.head.hostOffset, parser.head.hostLength, most: 96)
        draft.pointee.path = draft.keep(bytes + parser.head.pathOffset, parser.head.pathLength, most: 192)
        if parser.head.contentTypeLine >= 0 && isGRPC(bytes) { draft.pointee.kind = .grpc }
        beginTrace(client, bytes, draft)
        if let settings = telemetry(client) {
            let count = settings.pointee.requestCaptures
            if count > 0 { capture(client, bytes, draft, from: 0, count) }
        }
    }

    /// A record of an exchange of which nothing is known yet.
    @inline(__always) @discardableResult
    func blankDraft(_ client: Conn) -> RecordPointer {
        let draft = draft(client)
        memset(draft, 0, RecordPointer.textOffset)
        draft.pointee.grpcStatus = .max
        draft.pointee.reason = ""
        draft.pointee.majorVersion = client.pointee.fd < 0 ? 2 : 1
        draft.pointee.loop = loopNumber
        draft.pointee.started = client.pointee.startedAt
        draft.pointee.side = client.pointee.side
        draft.pointee.remoteAddress = client.pointee.remoteAddress
        draft.pointee.originalAddress = client.pointee.originalAddress
        draft.pointee.originalPort = client.pointee.originalPort
        draft.pointee.settings = telemetry(client)?.pointee.number ?? 0
        return draft
    }

    /// The settings an exchange follows: those it began under, or the newest.
    @inline(__always)
    func telemetry(_ client: Conn) -> UnsafeMutablePointer<TelemetryEntry>? {
        (client.pointee.table ?? table)?.pointee.arrays.pointee.telemetry
    }

    /// An opaque connection begins.
    mutating func beginTunnelDraft(_ client: Conn) {
        let draft = blankDraft(client)
        draft.pointee.kind = .tcp
        draft.pointee.headReceived = now
    }

    private func isGRPC(_ bytes: UnsafePointer<UInt8>) -> Bool {
        let line = parser.lines[parser.head.contentTypeLine]
        let name = StaticText.grpc
        let count = name.utf8CodeUnitCount
        return Int(line.valueLength) >= count && memcmp(bytes + Int(line.valueOffset), name.utf8Start, count) == 0
    }

    /// Keeps the values of headers the settings ask for.
    func capture(_ client: Conn, _ bytes: UnsafePointer<UInt8>, _ draft: RecordPointer, from first: Int, _ count: Int) {
        guard let arrays = client.pointee.table?.pointee.arrays else { return }
        for place in first..<min(first + count, RequestRecord.mostCaptures) {
            let name = arrays.pointee.telemetry.pointee.captures[place]
            guard let found = findLine(bytes, arrays.pointee.text + Int(name.offset), Int(name.count)) else { continue }
            let line = parser.lines[found]
            draft.pointee.captures[place] = draft.keep(
                bytes + Int(line.valueOffset), Int(line.valueLength), most: 128)
        }
    }

    /// A random UUID (RFC 9562 §5.4).
    @inline(__always)
    private mutating func writeRequestID(_ draft: RecordPointer) {
        let out = draft.textStart
        let high = chance.next() & 0xFFFF_FFFF_FFFF_0FFF | 0x4000
        let low = chance.next() & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
        Hex.write(high >> 32, 8, out)
        Hex.write(high >> 16, 4, out + 9)
        Hex.write(high, 4, out + 14)
        Hex.write(low >> 48, 4, out + 19)
        Hex.write(low, 12, out + 24)
        out[8] = 45
        out[13] = 45
        out[18] = 45
        out[23] = 45
        draft.pointee.requestID = TextPiece(offset: 0, count: 36)
        draft.pointee.textCount = 36
    }

    /// A line that says which record explains an answer made here.
    func putAnswerID(_ client: Conn, _ out: Bytes, _ at: inout Int) {
        let draft = draft(client)
        if draft.pointee.requestID.count == 0 { return }
        put("\r\nx-request-id: ", out, &at)
        put(draft.textStart + Int(draft.pointee.requestID.offset), Int(draft.pointee.requestID.count), out, &at)
    }

    // MARK: attempts

    /// A request has been given to an endpoint; `upstream` is nil when no connection could be had.
    mutating func noteAttempt(_ client: Conn, _ slot: Int32, _ upstream: Conn?) {
        let draft = draft(client)
        let place = Int(draft.pointee.attemptCount)
        draft.pointee.chosen = now
        if draft.pointee.attemptCount < .max { draft.pointee.attemptCount &+= 1 }
        if place >= RequestRecord.mostAttempts || slot < 0 { return }
        var attempt = AttemptRecord()
        attempt.startedAfter = microseconds(since: draft.pointee.started)
        attempt.address = endpoints[Int(slot)].address
        attempt.port = endpoints[Int(slot)].port
        attempt.peer = endpoints[Int(slot)].labels
        if let upstream {
            attempt.isReused = upstream.pointee.isReused
            if attempt.isReused { draft.pointee.connected = now }
        } else {
            attempt.flag = .connectFailure
        }
        draft.pointee.attempts[place] = attempt
    }

    /// What came of the last attempt. An attempt that was noted before keeps what was said first.
    func noteOutcome(_ client: Conn, _ flag: ResponseFlag, status: Int) {
        let draft = draft(client)
        let place = Int(draft.pointee.attemptCount) &- 1
        if place < 0 || place >= RequestRecord.mostAttempts { return }
        if draft.pointee.attempts[place].lasted != 0 { return }
        draft.pointee.attempts[place].flag = flag
        draft.pointee.attempts[place].status = UInt16(truncatingIfNeeded: status)
        let started = draft.pointee.attempts[place].startedAfter
        draft.pointee.attempts[place].lasted = max(1, microseconds(since: draft.pointee.started) &- started)
    }

    @inline(__always)
    private func microseconds(since start: UInt64) -> UInt32 { UInt32(clamping: (now &- start) / 1000) }

    /// The head of the answer has come.
    @inline(__always)
    func noteResponse(_ client: Conn, _ bytes: UnsafePointer<UInt8>) {
        let draft = draft(client)
        draft.pointee.responded = now
        if draft.pointee.kind == .grpc && parser.head.grpcStatusLine >= 0 {
            let line = parser.lines[parser.head.grpcStatusLine]
            draft.pointee.grpcStatus = Self.grpcStatus(bytes + Int(line.valueOffset), Int(line.valueLength))
        }
        noteOutcome(client, .none, status: parser.head.status)
        if parser.head.reasonLine >= 0 && parser.head.status >= 400 { noteRefusal(client, bytes) }
        if let settings = client.pointee.table?.pointee.arrays.pointee.telemetry, settings.pointee.responseCaptures > 0
        {
            capture(
                client, bytes, draft, from: settings.pointee.requestCaptures, settings.pointee.responseCaptures)
        }
    }

    /// The next hop's proxy made the answer and says why: sidecars take the header from their apps' own responses.
    private func noteRefusal(_ client: Conn, _ bytes: UnsafePointer<UInt8>) {
        guard client.pointee.peer?.pointee.isMutual == true else { return }
        let line = parser.lines[parser.head.reasonLine]
        if let word = Reason.text(bytes + Int(line.valueOffset), Int(line.valueLength)) {
            draft(client).pointee.reason = word
        }
    }

    // MARK: the end

    /// Completes the record of an exchange that is over and gives it to those who want it.
    @inline(__always)
    mutating func finishDraft(_ client: Conn) {
        let draft = draft(client)
        draft.pointee.ended = now
        draft.pointee.status = client.pointee.status
        draft.pointee.flag = client.pointee.flag
        draft.pointee.secure = client.pointee.secure
        draft.pointee.service = client.pointee.service
        draft.pointee.peer = client.pointee.peerLabels
        if draft.pointee.kind != .tcp {
            draft.pointee.requestBytes = UInt64(client.pointee.requestBytes)
            draft.pointee.responseBytes = UInt64(client.pointee.responseBytes)
        }
        if client.pointee.grpcStatus != Connection.noGRPCStatus {
            draft.pointee.grpcStatus = client.pointee.grpcStatus
        }
        if client.pointee.isStream { draft.pointee.majorVersion = 2 }
        if client.pointee.flag != .none {
            noteOutcome(client, client.pointee.flag, status: 0)
            counts.flags.add(client.pointee.flag)
        }
        if draft.pointee.attemptCount > 1 { countRepeated(draft) }
        let hasFailed = draft.hasFailed
        counts.records &+= 1
        draft.pointee.sequence = counts.records
        let settings = telemetry(client)
        let threshold = settings?.pointee.recordThreshold ?? TelemetryEntry.threshold(percent: 1)
        if hasFailed || Self.draws(&chance, threshold) { history.add(draft) }
        if let settings, settings.pointee.logCount > 0 { chooseLogs(settings, draft, hasFailed) }
        if draft.pointee.logs != 0 || draft.pointee.hasSpan || queue.isTapped { queue.push(draft) }
    }

    /// Why attempts that were followed by others had failed.
    private mutating func countRepeated(_ draft: RecordPointer) {
        for place in 0..<min(Int(draft.pointee.attemptCount), RequestRecord.mostAttempts) &- 1 {
            counts.repeated.add(draft.pointee.attempts[place].flag)
        }
    }

    /// 0 to 16, or 2, unknown, for what is no status.
    private static func grpcStatus(_ text: UnsafePointer<UInt8>, _ count: Int) -> UInt8 {
        var value = 0
        for place in 0..<min(count, 3) {
            let digit = Int(text[place]) &- 48
            if digit < 0 || digit > 9 { return 2 }
            value = value * 10 + digit
        }
        return count > 0 && value <= 16 ? UInt8(value) : 2
    }

    private mutating func chooseLogs(
        _ settings: UnsafeMutablePointer<TelemetryEntry>, _ draft: RecordPointer, _ hasFailed: Bool
    ) {
        for place in 0..<settings.pointee.logCount where settings.pointee.logs[place].takes(draft, hasFailed: hasFailed)
        {
            if Self.draws(&chance, settings.pointee.logs[place].threshold) { draft.pointee.logs |= 1 << UInt8(place) }
        }
    }
}

extension UnsafeMutablePointer where Pointee == RequestRecord {
    /// An answer of the server's fault, one cut short here, or one by which a proxy refuses the request.
    var hasFailed: Bool {
        if pointee.status >= 500 { return true }
        // Delayed on purpose is no failure.
        if pointee.flag != .none && pointee.flag != .faultDelay { return true }
        if pointee.status >= 400 && pointee.reason.utf8CodeUnitCount > 0 { return true }
        // Unknown, deadline exceeded, unimplemented, internal, unavailable, data loss.
        switch pointee.grpcStatus {
        case 2, 4, 12, 13, 14, 15: return true
        default: return false
        }
    }

    /// Appends to the record's text what fits of it.
    @inline(__always)
    func keep(_ bytes: UnsafePointer<UInt8>, _ count: Int, most: Int) -> TextPiece {
        let used = Int(pointee.textCount)
        let taken = min(count, most, RequestRecord.textSize &- used)
        memcpy(textStart + used, bytes, taken)
        pointee.textCount = UInt16(truncatingIfNeeded: used &+ taken)
        return TextPiece(offset: UInt16(truncatingIfNeeded: used), count: UInt16(truncatingIfNeeded: taken))
    }
}

extension StaticText {
    static var grpc: StaticString { "application/grpc" }
}
