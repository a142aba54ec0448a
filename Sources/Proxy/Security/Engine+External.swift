import Glibc
import Loop
import ProxyResources
import Wire

/// A service asked about requests, compiled.
struct AuthorizerEntry {
    /// -1 when the proxy was not told of it.
    var backend: Int32
    var timeout: UInt64
    var failsOpen: Bool
    var statusOnError: Int
    var pathPrefix: TextRange
    /// Runs of `AccessTable.patterns`, over names of headers.
    var shown: Run
    var onAllow: Run
    var onDeny: Run
    /// `name: value\r\n`, whole.
    var added: TextRange
    var isGRPC: Bool
}

/// What a request has heard from its authorizer.
enum ExternalVerdict: UInt8 { case none, allowed, failed }

enum ExternalLimits {
    /// Questions in flight in one loop.
    static let errands = 4096
    /// Bytes of an answer with its body.
    static let answer = 65536
}

extension Engine {
    /// Asks a policy's authorizer about the request, which waits; or goes on from what it said.
    mutating func askAuthorizer(
        _ client: Conn, _ bytes: UnsafePointer<UInt8>, _ access: UnsafePointer<AccessTable>, _ policy: Int32
    ) -> Step {
        let entry = access.pointee.authorizers[Int(access.pointee.policies[Int(policy)].authorizer)]
        client.pointee.askedPolicy = policy
        switch client.pointee.external {
        case .allowed: return .go
        case .failed: return authorizerFailed(client, access, policy, entry)
        case .none: break
        }
        guard startErrand(client, bytes, access, entry) else { return authorizerFailed(client, access, policy, entry) }
        // The errand's own failure comes by this deadline too.
        return park(client, for: .authorization, atMost: entry.timeout)
    }

    private mutating func authorizerFailed(
        _ client: Conn, _ access: UnsafePointer<AccessTable>, _ policy: Int32, _ entry: AuthorizerEntry
    ) -> Step {
        if entry.failsOpen {
            client.pointee.external = .allowed
            return .go
        }
        count(access, policy, .denied)
        draft(client).pointee.verdict = .denied
        draft(client).pointee.policy = access.pointee.policies[Int(policy)].label
        skipHead(client)
        answer(
            client, status: entry.statusOnError, .authorizerError, ResponseFlag.authorizerError.reason, close: false)
        return .over
    }

    /// No answer in time, or none at all.
    mutating func authorizationTimedOut(_ client: Conn) {
        if client.pointee.external == .none { client.pointee.external = .failed }
        unpark(client)
    }

    // MARK: asking

    /// Sends a request of our own; its client is a connection to nowhere that keeps the answer. False when it cannot be sent.
    private mutating func startErrand(
        _ client: Conn, _ bytes: UnsafePointer<UInt8>, _ access: UnsafePointer<AccessTable>, _ entry: AuthorizerEntry
    ) -> Bool {
        guard entry.backend >= 0, !entry.isGRPC, let table = client.pointee.table,
            counts.errands < ExternalLimits.errands
        else { return false }
        let size = parser.head.length + Int(entry.pathPrefix.count) + Int(entry.added.count) + 512
        guard let sizeClass = BufferPool.sizeClass(for: size), let errand = open(Connection.nowhere, .client) else {
            return false
        }
        let output = buffers.take(sizeClass)
        let length = writeQuestion(client, bytes, access, entry, output)
        counts.clients += 1
        counts.shadows += 1
        counts.errands += 1
        counts.exchanges += 1
        errand.pointee.isShadow = true
        errand.pointee.asker = key(client)
        errand.pointee.isDrained = true
        errand.pointee.inExchange = true
        errand.pointee.side = .outbound
        errand.pointee.listener = client.pointee.listener
        errand.pointee.remoteAddress = client.pointee.remoteAddress
        errand.pointee.mode = .http
        errand.pointee.phase = .done
        errand.pointee.stage = .send
        errand.pointee.startedAt = now
        errand.pointee.isHead = parser.head.isHead
        errand.pointee.requestBytes = length
        errand.pointee.backend = entry.backend
        errand.pointee.choice.backend = entry.backend
        errand.pointee.service = table.pointee.arrays.backends[Int(entry.backend)].label
        errand.pointee.table = table
        table.pointee.users += 1
        errand.pointee.input = buffers.take(2)
        errand.pointee.inputClass = 2
        blankDraft(errand)
        let generation = errand.pointee.generation
        let slot = pickEndpoint(table, entry.backend, for: errand)
        guard slot >= 0, let upstream = acquire(errand, slot, fresh: false) else {
            buffers.give(output, sizeClass)
            if errand.pointee.generation == generation {
                errand.pointee.asker = 0
                counts.errands -= 1
                endShadow(errand)
            }
            return false
        }
        errand.pointee.peerLabels = endpoints[Int(upstream.pointee.endpoint)].labels
        upstream.pointee.output = output
        upstream.pointee.outputClass = sizeClass
        upstream.pointee.outputStart = 0
        upstream.pointee.outputEnd = Int32(truncatingIfNeeded: length)
        errand.pointee.hasTimeout = true
        setDeadline(errand, after: entry.timeout)
        _ = pump(errand, upstream)
        return true
    }

    /// The client's method and path, and of its headers the host, the authorization and those that are to be shown.
    private func writeQuestion(
        _ client: Conn, _ bytes: UnsafePointer<UInt8>, _ access: UnsafePointer<AccessTable>, _ entry: AuthorizerEntry,
        _ out: Bytes
    ) -> Int {
        var at = 0
        put(bytes, parser.head.methodLength, out, &at)
        put(" ", out, &at)
        put(access.pointee.text + Int(entry.pathPrefix.offset), Int(entry.pathPrefix.count), out, &at)
        if parser.head.pathLength == 0 { put("/", out, &at) }
        put(bytes + parser.head.pathOffset, parser.head.pathLength, out, &at)
        put(" HTTP/1.1\r\nhost: ", out, &at)
        put(bytes + parser.head.hostOffset, parser.head.hostLength, out, &at)
        put("\r\ncontent-length: 0\r\n", out, &at)
        for place in 0..<parser.head.lineCount {
            let line = parser.lines[place]
            let name = bytes + Int(line.offset)
            let isAuthorization =
                line.nameLength == 13 && sameName(name, StaticText.authorization.utf8Start, 13)
            guard isAuthorization || access.pointee.names(entry.shown, name, Int(line.nameLength)),
                !Self.isFraming(name, Int(line.nameLength))
            else { continue }
            put(name, Int(line.length), out, &at)
        }
        put(access.pointee.text + Int(entry.added.offset), Int(entry.added.count), out, &at)
        put("\r\n", out, &at)
        return at
    }

    /// Lines that say where a message ends or belong to one connection, and the host, which is there already.
    private static func isFraming(_ name: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        func isNamed(_ word: StaticString) -> Bool {
            word.utf8CodeUnitCount == count && sameName(name, word.utf8Start, count)
        }
        return isNamed("host") || isNamed("content-length") || isNamed("transfer-encoding") || isNamed("connection")
            || isNamed("keep-alive") || isNamed("te") || isNamed("trailer") || isNamed("upgrade") || isNamed("expect")
            || isNamed("proxy-connection") || isNamed("x-weft-peer") || isNamed("x-weft-reason") || isNamed("date")
            || isNamed("x-forwarded-client-cert")
    }

    // MARK: the answer

    /// Keeps what an errand's answer brings; too much of it spoils the answer.
    func keepAnswer(_ errand: Conn, _ from: UnsafePointer<UInt8>, _ count: Int) {
        guard errand.pointee.asker != 0, let input = errand.pointee.input else { return }
        let end = Int(errand.pointee.inputEnd)
        if end + count > ExternalLimits.answer {
            errand.pointee.hangup = true
            return
        }
        memcpy(input + end, from, count)
        errand.pointee.inputEnd = Int32(end + count)
    }

    /// The errand's response is whole: its asker goes on with it.
    mutating func errandAnswered(_ errand: Conn) {
        let asker = errand.pointee.asker
        let length = Int(errand.pointee.inputEnd)
        let isSpoiled = errand.pointee.hangup
        guard let captured = errand.pointee.input else { return }
        errand.pointee.input = nil
        errand.pointee.asker = 0
        counts.errands -= 1
        close(errand)
        defer { buffers.give(captured, 2) }
        guard let client = find(asker), client.pointee.parking == .authorization, let table = client.pointee.table,
            let access = table.pointee.arrays.access
        else { return }
        // The table is the request's own, so the policy that asked is where it was.
        guard let entry = askedAuthorizer(client, access), !isSpoiled,
            parser.response(captured, length) == .complete, parser.head.status >= 200
        else {
            authorizationTimedOut(client)
            return
        }
        if parser.head.status == 200 {
            grantAnswered(client, access, entry, captured)
            client.pointee.external = .allowed
            unpark(client)
        } else if parser.head.status >= 500 {
            authorizationTimedOut(client)
        } else {
            refuseAsAnswered(client, access, entry, captured, length)
        }
    }

    /// An errand ended without an answer; its asker hears of it at its turn.
    mutating func errandLost(_ errand: Conn) {
        let asker = errand.pointee.asker
        errand.pointee.asker = 0
        counts.errands -= 1
        guard let client = find(asker), client.pointee.parking == .authorization else { return }
        setDeadline(client, after: 0)
    }

    private func askedAuthorizer(_ client: Conn, _ access: UnsafePointer<AccessTable>) -> AuthorizerEntry? {
        let place = Int(client.pointee.askedPolicy)
        guard place >= 0, place < access.pointee.policyCount else { return nil }
        let authorizer = Int(access.pointee.policies[place].authorizer)
        return authorizer >= 0 ? access.pointee.authorizers[authorizer] : nil
    }

    private mutating func grantAnswered(
        _ client: Conn, _ access: UnsafePointer<AccessTable>, _ entry: AuthorizerEntry, _ captured: Bytes
    ) {
        for place in 0..<parser.head.lineCount {
            let line = parser.lines[place]
            let name = captured + Int(line.offset)
            let count = Int(line.nameLength)
            guard access.pointee.names(entry.onAllow, name, count), !Self.isFraming(name, count) else { continue }
            addSet(client, name, count, Int(line.length))
        }
    }

    /// The authorizer's own answer goes to the client.
    private mutating func refuseAsAnswered(
        _ client: Conn, _ access: UnsafePointer<AccessTable>, _ entry: AuthorizerEntry, _ captured: Bytes, _ length: Int
    ) {
        let status = parser.head.status
        var body = ByteView(start: captured + parser.head.length, count: length - parser.head.length)
        if parser.head.isChunked { body.count = Self.unchunk(captured + parser.head.length, body.count) }
        var lines: [UInt8] = []
        for place in 0..<parser.head.lineCount {
            let line = parser.lines[place]
            let name = captured + Int(line.offset)
            let count = Int(line.nameLength)
            let isAboutBody = count == 12 && sameName(name, StaticText.contentType.utf8Start, 12)
            let isWanted = isAboutBody || entry.onDeny.count == 0 || access.pointee.names(entry.onDeny, name, count)
            guard isWanted, !Self.isFraming(name, count) else { continue }
            lines += UnsafeBufferPointer(start: name, count: Int(line.length))
        }
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
        guard let out = room(client, 256 + lines.count + body.count) else {
            closePair(client, flag)
            return
        }
        var at = Int(client.pointee.outputEnd)
        let start = at
        put("HTTP/1.1 ", out, &at)
        putNumber(status, out, &at)
        put(" ", out, &at)
        put(reasonPhrase(status), out, &at)
        put("\r\nx-weft-reason: ", out, &at)
        put(flag.reason, out, &at)
        put("\r\n", out, &at)
        lines.withUnsafeBufferPointer { lines in
            if let start = lines.baseAddress { put(start, lines.count, out, &at) }
        }
        put("content-length: ", out, &at)
        putNumber(body.count, out, &at)
        if client.pointee.closesAfter {
            put("\r\nconnection: close", out, &at)
        } else if client.pointee.oldClient {
            put("\r\nconnection: keep-alive", out, &at)
        }
        put("\r\n\r\n", out, &at)
        if !client.pointee.isHead { put(body.start, body.count, out, &at) }
        client.pointee.outputEnd = Int32(truncatingIfNeeded: at)
        client.pointee.responseBytes = at - start
        endExchange(client)
        if flush(client) == .failed {
            close(client)
            return
        }
        afterResponse(client)
    }

    /// Takes the framing out of a whole chunked body, in place.
    /// - Returns: the content's length.
    static func unchunk(_ bytes: Bytes, _ count: Int) -> Int {
        var length = 0
        var place = 0
        while place < count {
            var size = 0
            while place < count, bytes[place] != 13, bytes[place] != 59 {
                let byte = bytes[place]
                let digit = byte <= 57 ? Int(byte) - 48 : Int(byte | 0x20) - 87
                size = size << 4 | digit
                if size > count { return length }
                place += 1
            }
            while place < count, bytes[place] != 10 { place += 1 }
            place += 1
            if size == 0 || place + size > count { return length }
            memmove(bytes + length, bytes + place, size)
            length += size
            place += size + 2
        }
        return length
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
