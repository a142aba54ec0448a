import Glibc
import Loop
import ProxyResources
import Wire

/// A question to an authorizer, written and not yet sent.
struct Question {
    var bytes: Bytes
    var length: Int
    var sizeClass: UInt8
}

/// An errand is an exchange of our own: its client is a connection to nowhere, which keeps the answer for the request that waits for it,
/// its asker. Each knows the other by its key, so that no answer reaches another request of the same connection.
extension Engine {
    /// Sends a question. What comes of it, an early failure too, reaches the asker by its deadline.
    ///
    /// - Returns: why it cannot be sent at all, or `nil`.
    mutating func startErrand(
        _ client: Conn, _ bytes: UnsafePointer<UInt8>, _ access: UnsafePointer<AccessTable>, _ entry: AuthorizerEntry,
        _ view: AccessView
    ) -> ExternalVerdict? {
        guard entry.backend >= 0, let table = client.pointee.table else { return .unreachable }
        guard counts.errands < ExternalLimits.errands, buffers.bytesInUse < Limits.keptBytes,
            let question = entry.isGRPC
                ? writeCheck(client, bytes, access, entry, view) : writeQuestion(client, bytes, access, entry)
        else { return .overloaded }
        guard let errand = open(Connection.nowhere, .client) else {
            buffers.give(question.bytes, question.sizeClass)
            return .overloaded
        }
        counts.clients += 1
        counts.shadows += 1
        counts.errands += 1
        counts.exchanges += 1
        errand.pointee.isShadow = true
        errand.pointee.asker = key(client)
        client.pointee.asker = key(errand)
        errand.pointee.isDrained = true
        errand.pointee.inExchange = true
        errand.pointee.side = .outbound
        errand.pointee.listener = client.pointee.listener
        errand.pointee.remoteAddress = client.pointee.remoteAddress
        errand.pointee.mode = .http
        errand.pointee.phase = .done
        errand.pointee.stage = .send
        errand.pointee.startedAt = now
        errand.pointee.isHead = parser.head.isHead && !entry.isGRPC
        errand.pointee.isGRPC = entry.isGRPC
        errand.pointee.isIdempotent = true
        errand.pointee.requestBytes = question.length
        errand.pointee.backend = entry.backend
        errand.pointee.choice.backend = entry.backend
        errand.pointee.service = table.pointee.arrays.pointee.backends[Int(entry.backend)].label
        errand.pointee.table = table
        table.pointee.users += 1
        blankDraft(errand)
        if entry.isGRPC { draft(errand).pointee.kind = .grpc }
        errand.pointee.replay = question.bytes
        errand.pointee.replayClass = question.sizeClass
        errand.pointee.replayEnd = Int32(truncatingIfNeeded: question.length)
        errand.pointee.canReplay = true
        let effort = effort(errand)
        effort.pointee.end = now &+ entry.timeout
        effort.pointee.isRepeating = true
        effort.pointee.guardPlace = table.pointee.arrays.pointee.backends[Int(entry.backend)].guardPlace
        sendErrand(errand, effort, table)
        return nil
    }

    /// Sends an errand when the limits of its backend let it, at once or as soon as they do.
    private mutating func sendErrand(
        _ errand: Conn, _ effort: UnsafeMutablePointer<Effort>, _ table: UnsafeMutablePointer<LiveTable>
    ) {
        if effort.pointee.guardPlace >= 0 {
            let guarded = table.pointee.arrays.pointee.resilience.guards[Int(effort.pointee.guardPlace)]
            if let gate = guarded.requests {
                switch ask(errand, gate, .backendRequest, most: guarded.mostPending, within: guarded.pendingTime) {
                case .entered: break
                case .waits: return
                case .full:
                    answer(errand, status: 503, .overflow, "backend_requests_limit", close: false)
                    return
                }
            }
        }
        sendAgain(errand)
    }

    /// Keeps what an errand's answer brings. False when it is too much.
    mutating func keepAnswer(_ errand: Conn, _ from: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        if errand.pointee.asker == 0 { return true }
        let end = Int(errand.pointee.inputEnd)
        guard end + count <= ExternalLimits.answer, !buffers.isShort,
            let sizeClass = BufferPool.sizeClass(for: end + count)
        else {
            // Tells `errandLost` why.
            errand.pointee.hangup = true
            return false
        }
        if errand.pointee.input == nil {
            errand.pointee.input = buffers.take(sizeClass)
            errand.pointee.inputClass = sizeClass
        } else if sizeClass > errand.pointee.inputClass, let input = errand.pointee.input {
            let bigger = buffers.take(sizeClass)
            memcpy(bigger, input, end)
            buffers.give(input, errand.pointee.inputClass)
            errand.pointee.input = bigger
            errand.pointee.inputClass = sizeClass
        }
        if let input = errand.pointee.input { memcpy(input + end, from, count) }
        errand.pointee.inputEnd = Int32(end + count)
        return true
    }

    // MARK: the end of an errand

    /// Parts an errand from its asker, once.
    mutating func takeAsker(_ errand: Conn) -> UInt64 {
        let asker = errand.pointee.asker
        errand.pointee.asker = 0
        if asker != 0 { counts.errands -= 1 }
        return asker
    }

    /// The request that still waits for this errand and no other.
    func waitingAsker(_ asker: UInt64, _ errand: UInt64) -> Conn? {
        guard let client = find(asker), client.pointee.parking == .authorization, client.pointee.asker == errand else {
            return nil
        }
        return client
    }

    /// One end of a question goes away.
    mutating func questionEnded(_ connection: Conn) {
        if connection.pointee.isShadow { errandLost(connection) } else { dropQuestion(connection) }
    }

    /// An errand ended without an answer; its asker hears of it at its turn.
    private mutating func errandLost(_ errand: Conn) {
        let number = key(errand)
        guard let client = waitingAsker(takeAsker(errand), number) else { return }
        client.pointee.asker = 0
        if errand.pointee.hangup {
            client.pointee.external = .badAnswer
        } else {
            switch errand.pointee.flag {
            case .timeout: client.pointee.external = .timedOut
            case .overflow: client.pointee.external = .overloaded
            case .upstreamProtocol: client.pointee.external = .badAnswer
            default: client.pointee.external = .unreachable
            }
        }
        setDeadline(client, after: 0)
    }

    /// The asker needs no answer any more.
    mutating func dropQuestion(_ client: Conn) {
        let asked = client.pointee.asker
        client.pointee.asker = 0
        guard let errand = find(asked), errand.pointee.isShadow, errand.pointee.asker == key(client) else { return }
        _ = takeAsker(errand)
        closePair(errand, .clientGone)
    }

    // MARK: the question over HTTP

    /// The client's method and path, and of its headers the host, the authorization and those that are to be shown; and its body, as
    /// far as that is shown.
    private func writeQuestion(
        _ client: Conn, _ bytes: UnsafePointer<UInt8>, _ access: UnsafePointer<AccessTable>, _ entry: AuthorizerEntry
    ) -> Question? {
        let body = shownBody(client, bytes, entry)
        let size = parser.head.length + Int(entry.pathPrefix.count) + Int(entry.added.count) + body.count + 512
        guard let sizeClass = BufferPool.sizeClass(for: size) else { return nil }
        let out = buffers.take(sizeClass)
        var at = 0
        put(bytes, parser.head.methodLength, out, &at)
        put(" ", out, &at)
        put(access.pointee.text + Int(entry.pathPrefix.offset), Int(entry.pathPrefix.count), out, &at)
        if parser.head.pathLength == 0 { put("/", out, &at) }
        put(bytes + parser.head.pathOffset, parser.head.pathLength, out, &at)
        put(" HTTP/1.1\r\nhost: ", out, &at)
        put(bytes + parser.head.hostOffset, parser.head.hostLength, out, &at)
        put("\r\ncontent-length: ", out, &at)
        putNumber(body.count, out, &at)
        put("\r\n", out, &at)
        if entry.shownBody > 0 { putPartialMark(body, out, &at) }
        for place in 0..<parser.head.lineCount {
            let line = parser.lines[place]
            let name = bytes + Int(line.offset)
            let isAuthorization =
                line.nameLength == 13 && sameName(name, StaticText.authorization.utf8Start, 13)
            guard isAuthorization || access.pointee.names(entry.shown, name, Int(line.nameLength)),
                !OwnLines.areOurs(name, Int(line.nameLength))
            else { continue }
            put(name, Int(line.length), out, &at)
        }
        put(access.pointee.text + Int(entry.added.offset), Int(entry.added.count), out, &at)
        put("\r\n", out, &at)
        body.copy(out + at)
        return Question(bytes: out, length: at + body.count, sizeClass: sizeClass)
    }

    /// Says whether the body shown is only a part of it.
    func putPartialMark(_ body: ShownBody, _ out: Bytes, _ at: inout Int) {
        put("x-envoy-auth-partial-body: ", out, &at)
        put(body.isWhole ? "false\r\n" : "true\r\n", out, &at)
    }

    /// What of the body that stands behind the head the authorizer is shown.
    func shownBody(_ client: Conn, _ bytes: UnsafePointer<UInt8>, _ entry: AuthorizerEntry) -> ShownBody {
        let text = bytes + parser.head.length
        let here = client.pointee.inputCount - parser.head.length
        guard entry.shownBody > 0 else { return ShownBody(text: text, textCount: 0, count: 0, isWhole: true) }
        switch client.pointee.phase {
        case .length:
            let whole = client.pointee.remaining
            let count = min(whole, entry.shownBody, here)
            return ShownBody(text: text, textCount: count, count: count, isWhole: count == whole)
        case .chunked:
            let content = ChunkedText.content(text, here, most: entry.shownBody, into: nil)
            return ShownBody(
                text: text, textCount: here, count: content.count, isWhole: content.isWhole, isChunked: true)
        default: return ShownBody(text: text, textCount: 0, count: 0, isWhole: true)
        }
    }
}

/// Content of a request's body, in place.
struct ShownBody {
    var text: UnsafePointer<UInt8>
    var textCount: Int
    /// Of content.
    var count: Int
    var isWhole: Bool
    var isChunked = false

    /// Writes the content, without its framing.
    func copy(_ out: Bytes) {
        if isChunked {
            _ = ChunkedText.content(text, textCount, most: count, into: out)
        } else {
            memcpy(out, text, count)
        }
    }
}
