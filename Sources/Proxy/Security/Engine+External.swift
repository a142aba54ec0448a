import Glibc
import Loop
import ProxyResources
import Wire

extension Engine {
    /// Asks a policy's authorizer about the request, which waits; or goes on from what it said.
    mutating func askAuthorizer(
        _ client: Conn, _ bytes: UnsafePointer<UInt8>, _ access: UnsafePointer<AccessTable>, _ policy: Int32,
        _ view: AccessView
    ) -> Step {
        let entry = access.pointee.authorizers[Int(access.pointee.policies[Int(policy)].authorizer)]
        client.pointee.askedPolicy = policy
        switch client.pointee.external {
        case .allowed: return .go
        case .none: break
        default: return authorizerFailed(client, access, policy, entry)
        }
        if entry.shownBody > 0 {
            let step = awaitBody(client, entry)
            if step != .go { return step }
        }
        // Parked first, since the question may fail at once.
        _ = park(client, for: .authorization, atMost: entry.timeout)
        if let failure = startErrand(client, bytes, access, entry, view) {
            client.pointee.parking = .none
            client.pointee.deadline = .max
            client.pointee.external = failure
            return authorizerFailed(client, access, policy, entry)
        }
        return .wait
    }

    private mutating func authorizerFailed(
        _ client: Conn, _ access: UnsafePointer<AccessTable>, _ policy: Int32, _ entry: AuthorizerEntry
    ) -> Step {
        let failure = client.pointee.external
        countCheck(entry, CheckCount.Outcome(failure))
        if entry.failsOpen {
            countCheck(entry, .passedUnasked)
            client.pointee.external = .allowed
            return .go
        }
        count(access, policy, .denied)
        draft(client).pointee.verdict = .denied
        draft(client).pointee.policy = access.pointee.policies[Int(policy)].label
        skipHead(client)
        answer(client, status: entry.statusOnError, .authorizerError, failure.reason, close: false)
        return .over
    }

    /// No answer in time, or none that can be followed.
    mutating func authorizationFailed(_ client: Conn, _ failure: ExternalVerdict) {
        if client.pointee.asker != 0 { dropQuestion(client) }
        if client.pointee.external == .none { client.pointee.external = failure }
        unpark(client)
    }

    mutating func countCheck(_ entry: AuthorizerEntry, _ outcome: CheckCount.Outcome) {
        counts.checks[CheckCount(authorizer: entry.label, outcome: outcome), default: 0] += 1
    }

    // MARK: the answer

    /// An errand's response is whole: its asker goes on with it.
    mutating func errandAnswered(_ errand: Conn) {
        let number = key(errand)
        let asker = takeAsker(errand)
        let length = Int(errand.pointee.inputEnd)
        let sizeClass = errand.pointee.inputClass
        let grpcStatus = errand.pointee.grpcStatus
        let captured = errand.pointee.input
        errand.pointee.input = nil
        close(errand)
        defer { if let captured { buffers.give(captured, sizeClass) } }
        guard let client = waitingAsker(asker, number), let access = client.pointee.table?.pointee.arrays.pointee.access
        else {
            return
        }
        client.pointee.asker = 0
        // The table is the request's own, so the policy that asked is where it was.
        guard let entry = askedAuthorizer(client, access), let captured,
            parser.response(captured, length) == .complete, parser.head.status >= 200
        else {
            authorizationFailed(client, .badAnswer)
            return
        }
        if entry.isGRPC {
            checkAnswered(client, access, entry, captured, length, grpcStatus)
        } else if parser.head.status == 200 {
            grantAnswered(client, access, entry, captured)
            allow(client, entry)
        } else if parser.head.status >= 500 {
            authorizationFailed(client, .failed)
        } else {
            refuseAsAnswered(client, access, entry, captured, length)
        }
    }

    private func askedAuthorizer(_ client: Conn, _ access: UnsafePointer<AccessTable>) -> AuthorizerEntry? {
        let place = Int(client.pointee.askedPolicy)
        guard place >= 0, place < access.pointee.policyCount else { return nil }
        let authorizer = Int(access.pointee.policies[place].authorizer)
        return authorizer >= 0 ? access.pointee.authorizers[authorizer] : nil
    }

    mutating func allow(_ client: Conn, _ entry: AuthorizerEntry) {
        countCheck(entry, .allowed)
        client.pointee.external = .allowed
        unpark(client)
    }

    private mutating func grantAnswered(
        _ client: Conn, _ access: UnsafePointer<AccessTable>, _ entry: AuthorizerEntry, _ captured: Bytes
    ) {
        for place in 0..<parser.head.lineCount {
            let line = parser.lines[place]
            let name = captured + Int(line.offset)
            let count = Int(line.nameLength)
            guard access.pointee.names(entry.onAllow, name, count), !OwnLines.areOurs(name, count) else { continue }
            addSet(client, name, count, Int(line.length))
        }
    }

    /// The authorizer's own answer goes to the client.
    private mutating func refuseAsAnswered(
        _ client: Conn, _ access: UnsafePointer<AccessTable>, _ entry: AuthorizerEntry, _ captured: Bytes, _ length: Int
    ) {
        let status = parser.head.status
        var body = ByteView(start: captured + parser.head.length, count: length - parser.head.length)
        if parser.head.isChunked { body.count = ChunkedText.unframe(captured + parser.head.length, body.count) }
        var lines: [UInt8] = []
        for place in 0..<parser.head.lineCount {
            let line = parser.lines[place]
            let name = captured + Int(line.offset)
            let count = Int(line.nameLength)
            let isAboutBody = count == 12 && sameName(name, StaticText.contentType.utf8Start, 12)
            let isWanted = isAboutBody || entry.onDeny.count == 0 || access.pointee.names(entry.onDeny, name, count)
            guard isWanted, !OwnLines.areOurs(name, count) else { continue }
            lines += UnsafeBufferPointer(start: name, count: Int(line.length))
        }
        refuse(client, access, entry, status, lines, body)
    }

    /// Ends the request with an authorizer's refusal.
    mutating func refuse(
        _ client: Conn, _ access: UnsafePointer<AccessTable>, _ entry: AuthorizerEntry, _ status: Int, _ lines: [UInt8],
        _ body: ByteView
    ) {
        countCheck(entry, .denied)
        count(access, client.pointee.askedPolicy, .denied)
        draft(client).pointee.verdict = .denied
        draft(client).pointee.policy = access.pointee.policies[Int(client.pointee.askedPolicy)].label
        client.pointee.parking = .none
        client.pointee.deadline = .max
        guard let input = client.pointee.input,
            parser.request(input + Int(client.pointee.inputStart), client.pointee.inputCount) == .complete
        else {
            closePair(client, .authorizerDenied)
            return
        }
        skipHead(client)
        answer(client, status: status, .authorizerDenied, lines, body)
    }

    /// An answer with lines and a body of its own.
    private mutating func answer(
        _ client: Conn, status: Int, _ flag: ResponseFlag, _ lines: [UInt8], _ body: ByteView
    ) {
        client.pointee.status = UInt16(truncatingIfNeeded: status)
        client.pointee.flag = flag
        draft(client).pointee.reason = flag.reason
        if client.pointee.phase != .done || isDraining { client.pointee.closesAfter = true }
        guard let out = room(client, 1024 + lines.count + (client.pointee.isGRPC ? 0 : body.count)) else {
            closePair(client, flag)
            return
        }
        var at = Int(client.pointee.outputEnd)
        let start = at
        if client.pointee.isGRPC {
            answerLines = lines
            composeGRPCAnswer(client, status: status, flag.reason, out, &at)
            finishAnswer(client, start, at)
            return
        }
        put("HTTP/1.1 ", out, &at)
        putNumber(status, out, &at)
        put(" ", out, &at)
        put(reasonPhrase(status), out, &at)
        put("\r\nx-weft-reason: ", out, &at)
        put(flag.reason, out, &at)
        putAnswerID(client, out, &at)
        put("\r\n", out, &at)
        lines.withUnsafeBufferPointer { lines in
            if let start = lines.baseAddress { put(start, lines.count, out, &at) }
        }
        // RFC 9110 §6.4.1: these have no content.
        let hasBody = status != 204 && status != 304
        if hasBody {
            put("content-length: ", out, &at)
            putNumber(body.count, out, &at)
            put("\r\n", out, &at)
        }
        if client.pointee.closesAfter {
            put("connection: close\r\n", out, &at)
        } else if client.pointee.oldClient {
            put("connection: keep-alive\r\n", out, &at)
        }
        put("\r\n", out, &at)
        if hasBody && !client.pointee.isHead { put(body.start, body.count, out, &at) }
        finishAnswer(client, start, at)
    }
}

/// Header lines that frame a message, belong to one connection, or are written by the proxy itself: no authorizer changes them.
enum OwnLines {
    /// - Parameter name: in any case.
    static func areOurs(_ name: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        func isNamed(_ word: StaticString) -> Bool {
            word.utf8CodeUnitCount == count && sameName(name, word.utf8Start, count)
        }
        return isNamed("host") || isNamed("content-length") || isNamed("transfer-encoding") || isNamed("connection")
            || isNamed("keep-alive") || isNamed("te") || isNamed("trailer") || isNamed("upgrade") || isNamed("expect")
            || isNamed("proxy-connection") || isNamed("x-weft-peer") || isNamed("x-weft-reason") || isNamed("date")
            || isNamed("x-forwarded-client-cert") || isNamed("x-envoy-auth-partial-body")
    }

    /// Lines a check over gRPC does not show: those of one connection, and what the proxies say to each other.
    static func areHidden(_ name: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        func isNamed(_ word: StaticString) -> Bool {
            word.utf8CodeUnitCount == count && sameName(name, word.utf8Start, count)
        }
        return isNamed("host") || isNamed("transfer-encoding") || isNamed("connection") || isNamed("keep-alive")
            || isNamed("te") || isNamed("upgrade") || isNamed("proxy-connection") || isNamed("http2-settings")
            || isNamed("x-weft-peer") || isNamed("x-forwarded-client-cert") || isNamed("x-envoy-auth-partial-body")
    }
}

extension AccessTable {
    /// Whether a header's name, in any case, is among patterns.
    func names(_ run: Run, _ name: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        for place in Int(run.start)..<Int(run.start &+ run.count) {
            let pattern = patterns[place]
            let wanted = text + Int(pattern.text.offset)
            let length = Int(pattern.text.count)
            let fits = pattern.kind == .exact ? count == length : count >= length
            if fits && sameName(name, wanted, length) { return true }
        }
        return false
    }
}
