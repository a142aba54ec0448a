import Glibc
import Loop
import ProxyResources
import Wire

extension Engine {
    /// An upstream has sent something of its response, or its client can take more of it.
    mutating func response(_ upstream: Conn, _ client: Conn) {
        while upstream.pointee.phase == .head {
            guard let input = upstream.pointee.input else { return }
            let count = upstream.pointee.inputCount
            if count == 0 { return }
            upstream.pointee.sawResponse = true
            let bytes = UnsafePointer(input + Int(upstream.pointee.inputStart))
            switch parser.response(bytes, count) {
            case .incomplete: return
            case .refused(let fault):
                failExchange(upstream, client, .upstreamProtocol, status: 502, reason: fault.word)
                return
            case .complete: break
            }
            let isInterim = parser.head.status < 200
            let mayBeAnswer = parser.head.status == 503 || client.pointee.isGRPC
            if mayBeAnswer && client.pointee.canReplay && upstream.pointee.isMutual && neverReachedApp(bytes) {
                if upstream.pointee.endpoint >= 0 {
                    endpoints[Int(upstream.pointee.endpoint)].avoidedUntil = now &+ Limits.avoid
                }
                retry(upstream, client, .connectFailure, status: 503)
                return
            }
            if !isInterim {
                if parser.head.status == 503 || parser.head.status == 429 { noteRetryAfter(client, bytes) }
                if client.pointee.hasEffort && repeatsResponse(upstream, client, bytes) { return }
                if client.pointee.canReplay { dropReplay(client) }
                noteResponse(client, bytes)
            }
            if parser.head.status == 101 {
                dropReplay(client)
                if !client.pointee.isUpgrade {
                    failExchange(upstream, client, .upstreamProtocol, status: 502, reason: "upgrade_not_asked_for")
                    return
                }
                switchProtocols(upstream, client, bytes)
                return
            }
            if isInterim {
                client.pointee.interims &+= 1
                if client.pointee.interims > Limits.interims {
                    let reason: StaticString = "too_many_interim_responses"
                    failExchange(upstream, client, .upstreamProtocol, status: 502, reason: reason)
                    return
                }
            }
            if isInterim || parser.head.status == 204 { dropFraming(bytes) }
            if isInterim && client.pointee.oldClient {
                upstream.pointee.inputStart &+= Int32(truncatingIfNeeded: parser.head.length)
                continue
            }
            if !isInterim && !frameResponse(upstream, client) {
                failExchange(upstream, client, .upstreamProtocol, status: 502, reason: "chunked_for_http_1_0")
                return
            }
            guard composeResponse(client, bytes, isInterim: isInterim) else {
                closePair(client, .overflow)
                return
            }
            upstream.pointee.inputStart &+= Int32(truncatingIfNeeded: parser.head.length)
            if isInterim {
                upstream.pointee.phase = .head
                if flush(client) == .failed {
                    closePair(client, .clientGone)
                    return
                }
            }
        }
        if upstream.pointee.phase == .head { return }
        if !pump(upstream, client) { return }
        if upstream.pointee.phase == .done { finishExchange(upstream, client) }
    }

    /// Whether the other sidecar says that its app never saw the request. Sidecars take that header from their apps' own responses.
    private func neverReachedApp(_ bytes: UnsafePointer<UInt8>) -> Bool {
        if parser.head.reasonLine < 0 { return false }
        let line = parser.lines[parser.head.reasonLine]
        for flag in [ResponseFlag.connectFailure, .overflow] {
            let word = flag.reason
            let isSame = Int(line.valueLength) == word.utf8CodeUnitCount
            if isSame && memcmp(bytes + Int(line.valueOffset), word.utf8Start, word.utf8CodeUnitCount) == 0 {
                return true
            }
        }
        return false
    }

    /// A response without a body has no length either (RFC 9112 §6.1, RFC 9110 §8.6); a client might wait for what it says.
    private func dropFraming(_ bytes: UnsafePointer<UInt8>) {
        if !parser.head.isChunked && parser.head.contentLength < 0 { return }
        for place in 0..<parser.head.lineCount {
            let line = bytes + Int(parser.lines[place].offset)
            let isFraming =
                switch parser.lines[place].nameLength {
                case 14: sameName(line, StaticText.contentLength.utf8Start, 14)
                case 17: sameName(line, StaticText.transferEncoding.utf8Start, 17)
                default: false
                }
            if isFraming { parser.lines[place].dropped = true }
        }
    }

    /// How the response's body ends, and whether both connections can serve again. False when we cannot pass it on.
    private func frameResponse(_ upstream: Conn, _ client: Conn) -> Bool {
        let hasBody = !client.pointee.isHead && parser.head.status != 204 && parser.head.status != 304
        if hasBody && parser.head.isChunked && client.pointee.oldClient { return false }
        client.pointee.status = UInt16(truncatingIfNeeded: parser.head.status)
        client.pointee.responseBytes = parser.head.length
        client.pointee.answeredAt = now
        if client.pointee.hasEffort { effortAnswered(client) }
        if parser.head.saysClose || (parser.head.minorVersion == 0 && !parser.head.saysKeepAlive) {
            upstream.pointee.closesAfter = true
        }
        if !hasBody {
            upstream.pointee.phase = .done
        } else if parser.head.isChunked {
            upstream.pointee.phase = .chunked
            upstream.pointee.chunks = ChunkScanner()
        } else if parser.head.contentLength >= 0 {
            upstream.pointee.remaining = parser.head.contentLength
            upstream.pointee.phase = parser.head.contentLength == 0 ? .done : .length
        } else {
            upstream.pointee.phase = .untilClose
            client.pointee.closesAfter = true
            upstream.pointee.closesAfter = true
        }
        // The request's body may never come now; nothing may follow it on this connection.
        if client.pointee.phase != .done || isDraining { client.pointee.closesAfter = true }
        return true
    }

    private mutating func composeResponse(_ client: Conn, _ bytes: UnsafePointer<UInt8>, isInterim: Bool) -> Bool {
        var needed = parser.head.length &+ 112 &+ affinityRoom(client)
        let edits = client.pointee.editsResponse && !isInterim ? responseEdits(client) : nil
        if let edits { needed &+= edits.room }
        guard let out = room(client, needed) else { return false }
        var at = Int(client.pointee.outputEnd)
        memcpy(out + at, bytes, parser.head.startLineLength)
        // Whatever the upstream speaks, we speak 1.1.
        out[at &+ 7] = 49
        at &+= parser.head.startLineLength
        if client.pointee.side == .inbound && parser.head.reasonLine >= 0 {
            parser.lines[parser.head.reasonLine].dropped = true
        }
        if let edits { dropEdited(client, edits, bytes) }
        copyLines(bytes, out, &at)
        if let edits { putEdits(client, edits, out, &at) }
        if !isInterim {
            if client.pointee.affinity.carrier >= 0 { putAffinity(client, out, &at) }
            if client.pointee.hasEffort { putRefusal(client, out, &at) }
            if client.pointee.closesAfter {
                put("connection: close\r\n", out, &at)
            } else if client.pointee.oldClient {
                put("connection: keep-alive\r\n", out, &at)
            }
        }
        put("\r\n", out, &at)
        client.pointee.outputEnd = Int32(truncatingIfNeeded: at)
        return true
    }

    /// A client's output with at least `needed` bytes free.
    mutating func room(_ client: Conn, _ needed: Int) -> Bytes? {
        guard let output = client.pointee.output else {
            // Room for a small body too, so that both leave in one write.
            guard let sizeClass = BufferPool.sizeClass(for: max(needed, 8192)) else { return nil }
            client.pointee.output = buffers.take(sizeClass)
            client.pointee.outputClass = sizeClass
            client.pointee.outputStart = 0
            client.pointee.outputEnd = 0
            return client.pointee.output
        }
        let used = Int(client.pointee.outputEnd)
        if BufferPool.size(client.pointee.outputClass) &- used >= needed { return output }
        guard let sizeClass = BufferPool.sizeClass(for: used &+ needed) else { return nil }
        let bigger = buffers.take(sizeClass)
        memcpy(bigger, output, used)
        buffers.give(output, client.pointee.outputClass)
        client.pointee.output = bigger
        client.pointee.outputClass = sizeClass
        return bigger
    }

    /// The whole response has been taken from the upstream.
    mutating func finishExchange(_ upstream: Conn, _ client: Conn) {
        endExchange(client)
        client.pointee.peer = nil
        let isUsable =
            !upstream.pointee.closesAfter && upstream.pointee.inputCount == 0 && client.pointee.phase == .done
            && !upstream.pointee.endOfInput && !upstream.pointee.hasOutput
            && (!client.pointee.hasDoubtfulBody || upstream.pointee.ssl != nil)
        release(upstream, isUsable: isUsable)
        afterResponse(client)
    }

    /// The response has been handed over; what is next for its client.
    mutating func afterResponse(_ client: Conn) {
        if client.pointee.isShadow {
            if client.pointee.asker != 0 { errandAnswered(client) } else { close(client) }
            return
        }
        if client.pointee.hasOutput {
            if client.pointee.phase != .done && client.pointee.phase != .flushing { client.pointee.isPaused = true }
            client.pointee.phase = .flushing
            setDeadline(client, after: Limits.idleExchange)
            return
        }
        if client.pointee.fd < 0 {
            streamResponded(client)
            return
        }
        if client.pointee.closesAfter {
            linger(client)
            return
        }
        client.pointee.phase = .head
        client.pointee.startedAt = 0
        setDeadline(client, after: idlePatience)
        if client.pointee.inputCount > 0 || client.pointee.isPaused {
            client.pointee.isPaused = false
            queue(client)
        } else {
            dropInput(client)
        }
    }

    /// The upstream cannot give a response. One that has begun is cut off; otherwise the client gets an answer of ours.
    mutating func failExchange(
        _ upstream: Conn, _ client: Conn, _ flag: ResponseFlag, status: Int, reason: StaticString? = nil
    ) {
        if client.pointee.status != 0 {
            closePair(client, flag)
            return
        }
        let isSent = client.pointee.phase == .done && !upstream.pointee.hasOutput
        if repeats(upstream, client, .reset(isSent: isSent), flag) { return }
        upstream.pointee.peer = nil
        client.pointee.peer = nil
        close(upstream)
        answer(client, status: status, flag, reason ?? flag.reason, close: false)
    }

    /// Upgrade: the head goes on, and then bytes of any kind, both ways.
    private mutating func switchProtocols(_ upstream: Conn, _ client: Conn, _ bytes: UnsafePointer<UInt8>) {
        let needed = parser.head.length &+ 64
        guard let out = room(client, needed) else {
            closePair(client, .overflow)
            return
        }
        var at = Int(client.pointee.outputEnd)
        memcpy(out + at, bytes, parser.head.startLineLength)
        at &+= parser.head.startLineLength
        copyLines(bytes, out, &at)
        put("connection: upgrade\r\n\r\n", out, &at)
        client.pointee.outputEnd = Int32(truncatingIfNeeded: at)
        client.pointee.status = 101
        upstream.pointee.inputStart &+= Int32(truncatingIfNeeded: parser.head.length)
        upstream.pointee.phase = .tunnel
        client.pointee.phase = .tunnel
        upstream.pointee.deadline = .max
        if client.pointee.hasEffort {
            effortStreams(client)
        } else {
            setDeadline(client, after: Limits.idleTunnel)
        }
        if pump(upstream, client), client.pointee.inputCount > 0 || client.pointee.isPaused {
            client.pointee.isPaused = false
            queue(client)
        }
    }
}
