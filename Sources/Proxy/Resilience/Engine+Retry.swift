import Glibc
import Loop
import ProxyResources
import Wire

extension Engine {
    /// Sends the request again at once over a new connection, if it is known not to have been worked on and its bytes are still here.
    /// That needs no policy; after a few such tries the policy decides.
    ///
    /// - Parameter isRefused: the peer says that it has not looked at the stream (RFC 9113 §8.7). That is no try: it has a bound of its own.
    mutating func retry(
        _ upstream: Conn, _ client: Conn, _ flag: ResponseFlag, status: Int, isRefused: Bool = false
    ) {
        let slot = client.pointee.endpoint
        let isAnswered = flag == .connectFailure && upstream.pointee.sawResponse
        let canTryAgain = client.pointee.backend >= 0 || flag == .upstreamEnded
        let isFree = isRefused && client.pointee.refusals < Limits.refusals
        let isAllowed = isFree || client.pointee.attempts < Limits.attempts
        guard canTryAgain, slot >= 0, isAllowed, hasBytes(upstream, client) else {
            let failed: TryOutcome = flag == .connectFailure ? .connectFailure : .reset(isSent: true)
            let outcome: TryOutcome = isRefused ? .refusedStream : failed
            if repeats(upstream, client, outcome, flag) { return }
            noteOutcome(client, flag, status: isAnswered ? 503 : 0)
            endTry(upstream, client, flag)
            answer(client, status: status, flag, flag.reason, close: false)
            return
        }
        noteOutcome(client, flag, status: isAnswered ? 503 : 0)
        keepBytes(upstream, client)
        endTry(upstream, client, flag)
        counts.retries += 1
        if isFree {
            client.pointee.refusals &+= 1
            client.pointee.attempts &-= 1
        }
        var next = slot
        if client.pointee.backend >= 0, let table = client.pointee.table {
            next = pickEndpoint(
                table, client.pointee.backend, for: client, not: flag == .connectFailure ? slot : -1)
        }
        resend(client, next, fresh: true)
    }

    /// A try has ended in a way a policy may speak of. True when the request is, or will be, sent again; the upstream is gone then.
    mutating func repeats(
        _ upstream: Conn, _ client: Conn, _ outcome: TryOutcome, _ flag: ResponseFlag, retryAfter: UInt64 = 0
    ) -> Bool {
        guard client.pointee.hasEffort, let arrays = client.pointee.table?.pointee.arrays else { return false }
        let effort = efforts + Int(client.pointee.index)
        if effort.pointee.entry < 0 { return false }
        let entry = arrays.pointee.resilience.efforts[Int(effort.pointee.entry)]
        if entry.retry.attempts == 0 { return false }
        let body = client.pointee.requestBytes - Int(effort.pointee.headBytes)
        let standing = RetryStanding(
            repetitions: Int(effort.pointee.repetitions), isIdempotent: client.pointee.isIdempotent,
            isUnprocessed: outcome == .connectFailure || outcome == .refusedStream,
            isKept: hasBytes(upstream, client) && body <= entry.retry.bodyBytes,
            outerRepeats: effort.pointee.outerRepeats)
        switch entry.retry.decide(outcome, standing) {
        case .accept: return false
        case .refuse(let why):
            effort.pointee.refusal = why
            return false
        case .again: break
        }
        let number = Int(effort.pointee.repetitions) + 1
        guard let delay = entry.retry.delay(before: number, chance: chance.next() >> 1, retryAfter: retryAfter) else {
            effort.pointee.refusal = .retryAfter
            return false
        }
        if effort.pointee.end != .max && now &+ delay >= effort.pointee.end {
            effort.pointee.refusal = .deadline
            return false
        }
        if let why = forbids(client, effort, entry, arrays) {
            effort.pointee.refusal = why
            return false
        }
        effort.pointee.repetitions &+= 1
        effort.pointee.refusal = .none
        counts.retries += 1
        var status = 0
        if case .response(let given, _, _) = outcome { status = given }
        noteOutcome(client, flag, status: status)
        keepBytes(upstream, client)
        // Whoever follows the endpoint's health sees the answer that the client does not.
        client.pointee.status = UInt16(truncatingIfNeeded: status)
        if status > 0 { endAnswered(upstream, client, flag) } else { endTry(upstream, client, flag) }
        client.pointee.status = 0
        client.pointee.grpcStatus = Connection.noGRPCStatus
        effort.pointee.isRepeating = true
        if delay == 0 { sendAgain(client) } else { _ = park(client, for: .retry, atMost: delay) }
        return true
    }

    /// Why budget or limits do not let the request be repeated; nil when they do, and it is counted.
    private mutating func forbids(
        _ client: Conn, _ effort: UnsafeMutablePointer<Effort>, _ entry: EffortEntry, _ arrays: TableView
    ) -> RetryRefusal? {
        var share: UnsafeMutablePointer<LoopShare>? = nil
        if effort.pointee.guardPlace >= 0 {
            let guarded = arrays.pointee.resilience.guards[Int(effort.pointee.guardPlace)]
            share = guarded.shares + Int(loopNumber)
            if let gate = guarded.retries, !effort.pointee.held.contains(.backendRetry) {
                if !gate._withUnsafeGuaranteedRef({ $0.enterOrRefuse() }) { return .limit }
                effort.pointee.held.insert(.backendRetry)
            }
            if share?.pointee.budget.take(guarded.budget, now: now) == false {
                share?.pointee.overBudget += 1
                return .budget
            }
        }
        if let gate = entry.retries, !effort.pointee.held.contains(.routeRetry) {
            if !gate._withUnsafeGuaranteedRef({ $0.enterOrRefuse() }) { return .limit }
            effort.pointee.held.insert(.routeRetry)
        }
        share?.pointee.repetitions += 1
        return nil
    }

    /// A response's head has come, just parsed: whether the policy holds it back and sends the request again.
    mutating func repeatsResponse(_ upstream: Conn, _ client: Conn, _ bytes: UnsafePointer<UInt8>) -> Bool {
        let effort = efforts + Int(client.pointee.index)
        guard effort.pointee.entry >= 0, let arrays = client.pointee.table?.pointee.arrays else { return false }
        let entry = arrays.pointee.resilience.efforts[Int(effort.pointee.entry)]
        if entry.retry.attempts == 0 { return false }
        var grpcStatus = -1
        if parser.head.grpcStatusLine >= 0 {
            let line = parser.lines[parser.head.grpcStatusLine]
            grpcStatus = 0
            for place in 0..<min(3, Int(line.valueLength)) {
                grpcStatus = grpcStatus * 10 + Int(bytes[Int(line.valueOffset) + place]) - 48
            }
        }
        let outcome = TryOutcome.response(
            status: parser.head.status, grpcStatus: grpcStatus, namedHeader: namesHeader(arrays, entry, bytes))
        if !entry.retry.wants(outcome) { return false }
        var retryAfter: UInt64 = 0
        if parser.head.retryAfterLine >= 0 {
            let line = parser.lines[parser.head.retryAfterLine]
            retryAfter =
                DeadlineText.retryAfter(bytes + Int(line.valueOffset), Int(line.valueLength), wall: Clock.wall) ?? 0
        }
        return repeats(upstream, client, outcome, .none, retryAfter: retryAfter)
    }

    private mutating func namesHeader(_ arrays: TableView, _ entry: EffortEntry, _ bytes: UnsafePointer<UInt8>)
        -> Bool
    {
        let run = entry.retryHeaders
        for place in Int(run.start)..<Int(run.start &+ run.count)
        where headerHolds(arrays, arrays.pointee.routes.conditions[place], bytes) {
            return true
        }
        return false
    }

    /// The time of one try has passed without an answer.
    mutating func repeatsTimedOut(_ upstream: Conn, _ client: Conn) -> Bool {
        guard client.pointee.hasEffort else { return false }
        let effort = efforts + Int(client.pointee.index)
        if effort.pointee.tryEnd > now || effort.pointee.end <= now { return false }
        return repeats(upstream, client, .tryTimedOut, .timeout)
    }

    /// The time before the next try has passed, or a connection for it is there.
    mutating func sendAgain(_ client: Conn) {
        client.pointee.parking = .none
        let effort = efforts + Int(client.pointee.index)
        if effort.pointee.end <= now {
            answer(client, status: 504, .timeout, timeoutReason(client), close: false)
            return
        }
        var slot = client.pointee.choice.endpoint
        if client.pointee.side == .inbound {
            slot = localEndpoint(client.pointee.originalAddress, client.pointee.originalPort)
        } else if client.pointee.backend >= 0, let table = client.pointee.table {
            slot = pickAnother(client, table, effort)
        }
        resend(client, slot, fresh: false)
    }

    /// An endpoint, if possible one not tried before.
    private mutating func pickAnother(
        _ client: Conn, _ table: UnsafeMutablePointer<LiveTable>, _ effort: UnsafeMutablePointer<Effort>
    ) -> Int32 {
        let arrays = table.pointee.arrays
        let avoids =
            effort.pointee.entry >= 0 && arrays.pointee.resilience.efforts[Int(effort.pointee.entry)].retry.avoidsTried
        let last = avoids ? effort.pointee.tried[3] : -1
        var slot = pickEndpoint(table, client.pointee.backend, for: client, not: last)
        if !avoids { return slot }
        var draws = 0
        while slot >= 0, effort.pointee.wasTried(slot), draws < 8 {
            draws += 1
            slot = pickEndpoint(table, client.pointee.backend, for: client, not: slot)
        }
        return slot
    }

    /// Gives the kept bytes to a connection to the endpoint.
    mutating func resend(_ client: Conn, _ slot: Int32, fresh: Bool) {
        guard let upstream = acquire(client, slot, fresh: fresh) else {
            if client.pointee.parking != .none { effort(client).pointee.isRepeating = true }
            return
        }
        guard let kept = client.pointee.replay else {
            closePair(client, .upstreamEnded)
            return
        }
        if client.pointee.side != .inbound {
            client.pointee.peerLabels = endpoints[Int(upstream.pointee.endpoint)].labels
        }
        client.pointee.replay = nil
        upstream.pointee.output = kept
        upstream.pointee.outputClass = client.pointee.replayClass
        upstream.pointee.outputStart = 0
        upstream.pointee.outputEnd = client.pointee.replayEnd
        if client.pointee.hasEffort {
            setTryDeadline(client)
            stampTry(client, kept)
        }
        let generation = client.pointee.generation
        if !pump(client, upstream) || client.pointee.generation != generation { return }
        if client.pointee.isPaused { queue(client) }
    }

    // MARK: what was sent

    private func hasBytes(_ upstream: Conn, _ client: Conn) -> Bool {
        client.pointee.canReplay && (upstream.pointee.output != nil || client.pointee.replay != nil)
    }

    /// Takes all that was given to the upstream back to the client.
    mutating func keepBytes(_ upstream: Conn, _ client: Conn) {
        guard let output = upstream.pointee.output else { return }
        if let old = client.pointee.replay { buffers.give(old, client.pointee.replayClass) }
        client.pointee.replay = output
        client.pointee.replayEnd = upstream.pointee.outputEnd
        client.pointee.replayClass = upstream.pointee.outputClass
        upstream.pointee.output = nil
        upstream.pointee.outputStart = 0
        upstream.pointee.outputEnd = 0
    }

    /// More of the body has left: it joins what is kept, within the policy's bound. Without a policy only the first bytes are kept.
    mutating func keepSent(_ client: Conn, _ bytes: UnsafePointer<UInt8>, _ count: Int) {
        guard client.pointee.canReplay, client.pointee.hasEffort, let replay = client.pointee.replay else {
            dropReplay(client)
            return
        }
        let effort = efforts + Int(client.pointee.index)
        let body = client.pointee.requestBytes - Int(effort.pointee.headBytes) + count
        let used = Int(client.pointee.replayEnd)
        guard effort.pointee.keepsBody, body <= Int(effort.pointee.bodyBytes), buffers.bytesInUse < Limits.keptBytes,
            !buffers.isShort, let sizeClass = BufferPool.sizeClass(for: used + count)
        else {
            dropReplay(client)
            return
        }
        var kept = replay
        if sizeClass > client.pointee.replayClass {
            kept = buffers.take(sizeClass)
            memcpy(kept, replay, used)
            buffers.give(replay, client.pointee.replayClass)
            client.pointee.replay = kept
            client.pointee.replayClass = sizeClass
        }
        memcpy(kept + used, bytes, count)
        client.pointee.replayEnd = Int32(truncatingIfNeeded: used + count)
    }

    // MARK: the upstream of a try that has ended

    private mutating func part(_ upstream: Conn, _ client: Conn, _ flag: ResponseFlag) {
        let slot = client.pointee.endpoint
        upstream.pointee.peer = nil
        client.pointee.peer = nil
        client.pointee.endpoint = -1
        if slot < 0 { return }
        endpoints[Int(slot)].active &-= 1
        observeOutcome(client, slot, flag)
    }

    private mutating func endTry(_ upstream: Conn, _ client: Conn, _ flag: ResponseFlag) {
        part(upstream, client, flag)
        close(upstream)
    }

    /// The upstream answered, and the answer is not passed on: it serves again when all of it is here.
    private mutating func endAnswered(_ upstream: Conn, _ client: Conn, _ flag: ResponseFlag) {
        let head = parser.head
        let body = client.pointee.isHead || head.status == 204 || head.status == 304 ? 0 : head.contentLength
        let isWhole = body >= 0 && !head.isChunked && upstream.pointee.inputCount == head.length + body
        let isUsable =
            isWhole && !head.saysClose && head.minorVersion == 1 && client.pointee.phase == .done
            && !upstream.pointee.closesAfter && !upstream.pointee.endOfInput && !upstream.pointee.hasOutput
        part(upstream, client, flag)
        if isUsable { release(upstream, isUsable: true) } else { close(upstream) }
    }

    /// Tells the client why its request was not sent again.
    func putRefusal(_ client: Conn, _ out: Bytes, _ at: inout Int) {
        let refusal = efforts[Int(client.pointee.index)].refusal
        if refusal == .none { return }
        put("x-weft-retry-refused: ", out, &at)
        put(refusal.word, out, &at)
        put("\r\n", out, &at)
    }
}
