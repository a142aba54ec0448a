import Glibc
import Loop
import Wire

extension Engine {
    /// Moves what `source` has sent of its message, or of its tunnel, on to `sink`; stops reading when that is slow.
    ///
    /// - Returns: false when the pair has been closed.
    @inline(__always)
    mutating func pump(_ source: Conn, _ sink: Conn) -> Bool {
        while true {
            let available = source.pointee.inputCount
            if available == 0 || source.pointee.phase == .done || source.pointee.phase == .head {
                if sink.pointee.hasOutput && flush(sink) == .failed { return sinkFailed(sink) }
                if source.pointee.phase == .tunnel {
                    if source.pointee.endOfInput && available == 0 {
                        endWriting(sink)
                        return sink.pointee.role != .free
                    }
                    if sink.pointee.phase == .tunnel { considerSplice(source, sink) }
                }
                return true
            }
            guard let input = source.pointee.input else { return true }
            let bytes = input + Int(source.pointee.inputStart)
            if let output = sink.pointee.output {
                let room = BufferPool.size(sink.pointee.outputClass) &- Int(sink.pointee.outputEnd)
                if available > room {
                    switch flush(sink) {
                    case .failed: return sinkFailed(sink)
                    case .blocked:
                        pause(source, sink)
                        return true
                    case .done: continue
                    }
                }
                let taken = follow(source, bytes, available)
                if taken < 0 { return badBody(source) }
                memcpy(output + Int(sink.pointee.outputEnd), bytes, taken)
                if source.pointee.extras != nil { copyBody(source, bytes, taken) }
                sink.pointee.outputEnd &+= Int32(truncatingIfNeeded: taken)
                source.pointee.inputStart &+= Int32(truncatingIfNeeded: taken)
                count(source, taken)
            } else if !sink.pointee.canWrite {
                source.pointee.isPaused = true
                return true
            } else {
                let limit = framed(source, bytes, available)
                if limit <= 0 { return badBody(source) }
                let written = transmit(sink, bytes, limit)
                if written == IO.wouldBlock {
                    pause(source, sink)
                    return true
                }
                if written < 0 { return sinkFailed(sink) }
                _ = follow(source, bytes, written)
                if source.pointee.extras != nil { copyBody(source, bytes, written) }
                source.pointee.inputStart &+= Int32(truncatingIfNeeded: written)
                if sink.pointee.role == .upstream { keepSent(source, bytes, written) }
                count(source, written)
            }
        }
    }

    /// Stops reading until the sink has taken what it has. A client that has to take a response gets a window for it.
    private mutating func pause(_ source: Conn, _ sink: Conn) {
        source.pointee.isPaused = true
        if sink.pointee.role == .client && sink.pointee.phase != .tunnel && sink.pointee.windowEnd == .max {
            openWindow(sink)
        }
    }

    /// Counts moved bytes, and that something moved.
    @inline(__always)
    mutating func count(_ source: Conn, _ moved: Int) {
        let isRequest = source.pointee.role == .client
        guard let client = isRequest ? source : source.pointee.peer else { return }
        if client.pointee.phase == .tunnel && client.pointee.series >= 0 {
            series.moved(client.pointee.series, sent: isRequest ? 0 : moved, received: isRequest ? moved : 0)
            let draft = draft(client)
            if isRequest {
                draft.pointee.requestBytes &+= UInt64(moved)
            } else {
                draft.pointee.responseBytes &+= UInt64(moved)
            }
            client.pointee.deadline = now &+ tunnelPatience(client)
            if client.pointee.hasEffort { pushDeadline(client) }
            if client.pointee.lesson != .none { learn(client, fromServer: !isRequest) }
            return
        }
        if isRequest { client.pointee.requestBytes &+= moved } else { client.pointee.responseBytes &+= moved }
        if !client.pointee.hasTimeout {
            client.pointee.deadline = min(now &+ Limits.idleExchange, client.pointee.windowEnd)
        } else if client.pointee.hasEffort {
            pushDeadline(client)
        }
    }

    private mutating func sinkFailed(_ sink: Conn) -> Bool {
        let generation = sink.pointee.generation
        writeFailed(sink)
        return sink.pointee.generation == generation
    }

    /// The sender breaks its own framing: nothing more of it goes on, and a client that has no response yet hears why.
    private mutating func badBody(_ source: Conn) -> Bool {
        guard source.pointee.role == .client, source.pointee.status == 0, let upstream = source.pointee.peer else {
            closePair(source, source.pointee.role == .client ? .clientProtocol : .upstreamProtocol)
            return false
        }
        let fault = source.pointee.badChunk
        cutRequest(source, upstream, status: fault == .bodyTooLong ? 413 : 400, .clientProtocol, fault.word)
        return false
    }

    /// Ends an exchange whose request cannot be gone on with. The upstream has part of it, so its connection ends too.
    mutating func cutRequest(
        _ client: Conn, _ upstream: Conn, status: Int, _ flag: ResponseFlag, _ reason: StaticString
    ) {
        upstream.pointee.peer = nil
        client.pointee.peer = nil
        close(upstream)
        answer(client, status: status, flag, reason, close: true)
    }

    /// How many of these bytes belong to the message; 0 when its framing is broken.
    @inline(__always)
    private func framed(_ source: Conn, _ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int {
        switch source.pointee.phase {
        case .length: return min(count, source.pointee.remaining)
        case .chunked:
            var scanner = source.pointee.chunks
            let taken = scanner.scan(bytes, count)
            if scanner.isBad {
                source.pointee.badChunk = scanner.fault
                return 0
            }
            if source.pointee.role == .client && source.pointee.requestBytes &+ taken > clientGrant.bodyBytes {
                source.pointee.badChunk = .bodyTooLong
                return 0
            }
            return taken
        default: return count
        }
    }

    /// Takes bytes off the message; -1 when its framing is broken.
    @inline(__always)
    private func follow(_ source: Conn, _ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int {
        switch source.pointee.phase {
        case .length:
            let taken = min(count, source.pointee.remaining)
            source.pointee.remaining &-= taken
            if source.pointee.remaining == 0 { source.pointee.phase = .done }
            return taken
        case .chunked:
            let taken = source.pointee.chunks.scan(bytes, count)
            if source.pointee.chunks.isBad {
                source.pointee.badChunk = source.pointee.chunks.fault
                return -1
            }
            if source.pointee.role == .client && source.pointee.requestBytes &+ taken > clientGrant.bodyBytes {
                source.pointee.badChunk = .bodyTooLong
                return -1
            }
            if source.pointee.chunks.isDone { source.pointee.phase = .done }
            return taken
        default: return count
        }
    }
}
