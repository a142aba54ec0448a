import Glibc
import Loop
import TLS
import Wire

extension Engine {
    /// A client has sent at least part of a request's head; or a request that waited goes on where it stood.
    mutating func request(_ client: Conn) {
        guard let input = client.pointee.input else { return }
        // RFC 9112 §2.2: an empty line before a request is passed over.
        if client.pointee.inputCount >= 2, input[Int(client.pointee.inputStart)] == 13,
            input[Int(client.pointee.inputStart) + 1] == 10
        {
            client.pointee.inputStart &+= 2
        }
        let count = client.pointee.inputCount
        if count == 0 { return }
        let bytes = UnsafePointer(input + Int(client.pointee.inputStart))
        if client.pointee.startedAt == 0 { renew(client) }
        switch parser.request(bytes, count) {
        case .incomplete:
            if client.pointee.deadline > now &+ clientGrant.head { setDeadline(client, after: clientGrant.head) }
            return
        case .refused(let fault):
            // HTTP/2 by prior knowledge; over TLS it is agreed on in the handshake (RFC 9113 §3.2).
            if client.pointee.fd >= 0 && client.pointee.ssl == nil && count >= 14
                && memcmp(bytes, StaticText.preface.utf8Start, 14) == 0
            {
                startSession(client)
                return
            }
            answer(client, status: fault.status, .clientProtocol, fault.word, close: true)
            return
        case .complete: break
        }
        if client.pointee.stage == .head {
            if client.pointee.side != .outbound && normalizePath(client, bytes) { return }
            begin(client, bytes)
            client.pointee.stage = .authorize
            if isBodyTooLong(client) { return }
            if buffers.isShort, refuseShort(client) != .go { return }
            if client.pointee.side == .gateway && client.pointee.isSecured && isMisdirected(client, bytes) { return }
        } else if client.pointee.side == .inbound && parser.head.peerLine >= 0 {
            parser.lines[parser.head.peerLine].dropped = true
        }
        if client.pointee.stage == .authorize {
            if authorize(client, bytes) != .go { return }
            draft(client).pointee.authorized = now
            client.pointee.stage = .route
        }
        if client.pointee.stage == .route {
            if chooseRoute(client, bytes) != .go { return }
            client.pointee.stage = .admit
        }
        if client.pointee.stage == .admit {
            if admit(client, bytes) != .go { return }
            client.pointee.stage = .send
        }
        send(client, bytes, client.pointee.choice)
    }

    /// Forgets the exchange before.
    @inline(__always)
    func renew(_ client: Conn) {
        client.pointee.startedAt = now
        client.pointee.flag = .none
        client.pointee.status = 0
        client.pointee.attempts = 0
        client.pointee.refusals = 0
        client.pointee.requestBytes = 0
        client.pointee.responseBytes = 0
        client.pointee.backend = -1
        client.pointee.endpoint = -1
        client.pointee.service = 0
        client.pointee.isHead = false
        client.pointee.isUpgrade = false
        client.pointee.isAdmitted = false
        client.pointee.editsResponse = false
        client.pointee.stage = .head
    }

    /// A whole head has come: what it says of the exchange, its body and its sender.
    private mutating func begin(_ client: Conn, _ bytes: UnsafePointer<UInt8>) {
        client.pointee.inExchange = true
        counts.exchanges += 1
        client.pointee.isHead = parser.head.isHead
        client.pointee.isIdempotent = parser.head.isIdempotent
        client.pointee.oldClient = parser.head.minorVersion == 0
        client.pointee.closesAfter =
            parser.head.saysClose || (client.pointee.oldClient && !parser.head.saysKeepAlive) || isDraining
        client.pointee.interims = 0
        client.pointee.windowEnd = .max
        client.pointee.hasDoubtfulBody = hasDoubtfulBody(bytes)
        if client.pointee.hasDoubtfulBody && !client.pointee.isMutual && client.pointee.fd >= 0 {
            client.pointee.closesAfter = true
        }
        client.pointee.requestBytes = parser.head.length
        client.pointee.affinity = Affinity()
        client.pointee.answeredAt = 0
        client.pointee.retryAfter = 0
        frame(client)
        if let table {
            client.pointee.table = table
            table.pointee.users += 1
        }
        if client.pointee.side == .inbound {
            client.pointee.service = inboundPort(client.pointee.originalPort)?.label ?? 0
            identify(client, bytes)
        }
        beginDraft(client, bytes)
    }

    /// Whether the content the head announces is more than is taken.
    private mutating func isBodyTooLong(_ client: Conn) -> Bool {
        if parser.head.contentLength <= clientGrant.bodyBytes { return false }
        skipHead(client)
        answer(client, status: 413, .clientProtocol, "request_body_too_long", close: true)
        return true
    }

    private mutating func chooseRoute(_ client: Conn, _ bytes: UnsafePointer<UInt8>) -> Step {
        let choice = route(client, bytes)
        if choice.flag == .unresolved { return askDestination(client) }
        client.pointee.choice = choice
        client.pointee.service = choice.service
        client.pointee.backend = choice.backend
        if choice.backend >= 0 { noteAffinity(client, bytes) }
        let draft = draft(client)
        draft.pointee.routed = now
        if choice.rule >= 0, let arrays = client.pointee.table?.pointee.arrays {
            draft.pointee.rule = arrays.pointee.rules[Int(choice.rule)].name
        }
        if parser.head.isConnect { return connectThrough(client, choice) }
        if choice.status != 0 {
            skipHead(client)
            answer(client, status: choice.status, choice.flag, choice.flag.reason, close: false)
            return .over
        }
        return .go
    }

    /// GET and HEAD with content: "no generally defined semantics" (RFC 9110 §9.3.1), and some servers leave it unread.
    private func hasDoubtfulBody(_ bytes: UnsafePointer<UInt8>) -> Bool {
        if !parser.head.isChunked && parser.head.contentLength <= 0 { return false }
        return parser.head.isHead || (parser.head.methodLength == 3 && memcmp(bytes, "GET", 3) == 0)
    }

    /// The head has been used: what follows it in the input is the body, or the next request.
    func skipHead(_ client: Conn) {
        client.pointee.inputStart &+= Int32(truncatingIfNeeded: parser.head.length)
    }

    /// How the request's body ends.
    @inline(__always)
    private func frame(_ client: Conn) {
        if parser.head.isChunked {
            client.pointee.phase = .chunked
            client.pointee.chunks = ChunkScanner()
        } else if parser.head.contentLength > 0 {
            client.pointee.phase = .length
            client.pointee.remaining = parser.head.contentLength
        } else {
            client.pointee.phase = .done
        }
    }

    /// Inbound: who calls, from the certificate and, as far as it agrees with that, from the header.
    private mutating func identify(_ client: Conn, _ bytes: UnsafePointer<UInt8>) {
        if parser.head.peerLine < 0 { return }
        parser.lines[parser.head.peerLine].dropped = true
        guard client.pointee.isMutual else { return }
        let line = parser.lines[parser.head.peerLine]
        let value = UnsafeBufferPointer(start: bytes + Int(line.valueOffset), count: Int(line.valueLength))
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in value { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        if hash == client.pointee.peerHash { return }
        client.pointee.peerHash = hash
        client.pointee.peerLabels = peer(Array(value), client.pointee.principalLabels)
    }

    private mutating func peer(_ value: [UInt8], _ certificate: UInt32) -> UInt32 {
        var spelled = value
        withUnsafeBytes(of: certificate) { spelled += $0 }
        if let known = knownPeers[spelled] { return known }
        let principal = labels.contents().peers[Int(certificate)].principal
        let number = labels.number(of: PeerHeader.labels(String(decoding: value, as: UTF8.self), principal: principal))
        if knownPeers.count < LabelBook.limit { knownPeers[spelled] = number }
        return number
    }

    /// Picks an endpoint and sends the request on, trying others while no connection can be made.
    private mutating func send(_ client: Conn, _ bytes: UnsafePointer<UInt8>, _ choice: RouteChoice) {
        var slot = choice.endpoint
        if client.pointee.side == .inbound {
            slot = localEndpoint(client.pointee.originalAddress, client.pointee.originalPort)
        } else if slot < 0, let table = client.pointee.table {
            slot = pickEndpoint(table, client.pointee.backend, for: client)
        }
        if slot < 0 {
            skipHead(client)
            answer(client, status: 503, .noHealthyEndpoint, noEndpoint.reason, close: false)
            return
        }
        guard let upstream = acquire(client, slot, fresh: false) else {
            if client.pointee.parking == .none { skipHead(client) }
            return
        }
        if client.pointee.side != .inbound {
            client.pointee.peerLabels = endpoints[Int(upstream.pointee.endpoint)].labels
        }
        let rule = choice.rule >= 0 ? client.pointee.table?.pointee.arrays.pointee.rules[Int(choice.rule)] : nil
        compose(client, upstream, bytes, rule)
        skipHead(client)
        client.pointee.canReplay = true
        if client.pointee.hasEffort {
            setTryDeadline(client)
            if let output = upstream.pointee.output { stampTry(client, output) }
        } else {
            client.pointee.hasTimeout = false
            setDeadline(client, after: Limits.idleExchange)
        }
        if client.pointee.phase != .done { openWindow(client) }
        _ = pump(client, upstream)
    }

    /// A connection for the client's request, bound to it; nil when the client has had its answer.
    mutating func acquire(_ client: Conn, _ first: Int32, fresh: Bool) -> Conn? {
        var slot = first
        while true {
            if slot < 0 {
                answer(client, status: 503, .noHealthyEndpoint, noEndpoint.reason, close: false)
                return nil
            }
            client.pointee.attempts &+= 1
            let outcome: Upstream
            if wantsStream(client, slot, fresh: fresh) {
                outcome = openStream(client, slot, client.pointee.table)
            } else if fresh {
                outcome = dial(for: client, slot, .http, client.pointee.table)
            } else {
                outcome = upstream(for: client, slot, client.pointee.table)
            }
            switch outcome {
            case .ready(let upstream):
                noteAttempt(client, slot, upstream)
                client.pointee.peer = upstream
                client.pointee.endpoint = slot
                if client.pointee.side != .inbound {
                    client.pointee.secure = speaksMesh(upstream) ? .mutualTLS : .none
                }
                upstream.pointee.peer = client
                endpoints[Int(slot)].active &+= 1
                client.pointee.attemptAt = now
                noteServed(client, upstream)
                return upstream
            case .waits:
                client.pointee.attempts &-= 1
                return nil
            case .overflow(let reason):
                answer(client, status: 503, .overflow, reason, close: false)
                return nil
            case .full:
                answer(client, status: 503, .overflow, ResponseFlag.overflow.reason, close: false)
                return nil
            case .failed:
                noteAttempt(client, slot, nil)
                endpoints[Int(slot)].avoidedUntil = now &+ Limits.avoid
                observeOutcome(client, slot, .connectFailure)
                guard client.pointee.attempts < Limits.attempts, client.pointee.backend >= 0,
                    let table = client.pointee.table
                else {
                    answer(client, status: 503, .connectFailure, ResponseFlag.connectFailure.reason, close: false)
                    return nil
                }
                slot = pickEndpoint(table, client.pointee.backend, for: client, not: slot)
            }
        }
    }
}
