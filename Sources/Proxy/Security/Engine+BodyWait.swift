import Glibc
import Loop
import Wire

/// How much of a request's body stands behind its head in `input`, while an authorizer is to be shown it. Beside the slab, since few
/// requests wait for their body.
struct BodyWait {
    /// Bytes of the head; of the text that has been looked at, with the head; and of content in it.
    var head: Int32
    var scanned: Int32
    var content = 0
    /// How much is shown, and whether a longer body is shown in part.
    var bound: Int
    var allowsPart: Bool
}

private enum BodyStanding {
    case short, enough, tooLong
    case broken(ChunkFault)
}

extension Engine {
    /// Whether as much of the body is here as the authorizer is shown. Otherwise the request waits for it in `input`, or was refused.
    mutating func awaitBody(_ client: Conn, _ entry: AuthorizerEntry) -> Step {
        guard client.pointee.phase == .length || client.pointee.phase == .chunked else { return .go }
        let head = Int32(truncatingIfNeeded: parser.head.length)
        let wait = bodyWaits + Int(client.pointee.index)
        wait.initialize(
            to: BodyWait(
                head: head, scanned: head, bound: entry.shownBody, allowsPart: entry.allowsPartialBody))
        client.pointee.chunks = ChunkScanner()
        switch standing(client, wait) {
        case .enough:
            client.pointee.chunks = ChunkScanner()
            return .go
        case .tooLong:
            refuseBody(client, wait, status: 413, "ext_authz_body_too_long")
            return .over
        case .broken(let fault):
            refuseBody(client, wait, status: 400, fault.word)
            return .over
        case .short: break
        }
        // Nobody else has been asked yet who could say it.
        if parser.head.expectsContinue && !client.pointee.oldClient && client.pointee.interims == 0 {
            if !sayContinue(client) { return .over }
        }
        return park(client, for: .body, atMost: clientGrant.head)
    }

    /// More of a body has come that is waited for.
    mutating func bodyCame(_ client: Conn) {
        let wait = bodyWaits + Int(client.pointee.index)
        switch standing(client, wait) {
        case .short: break
        case .enough:
            client.pointee.chunks = ChunkScanner()
            unpark(client)
        case .tooLong: refuseBody(client, wait, status: 413, "ext_authz_body_too_long")
        case .broken(let fault): refuseBody(client, wait, status: 400, fault.word)
        }
    }

    /// The body has taken as long as it may.
    mutating func bodyWaitEnded(_ client: Conn) {
        refuseBody(client, bodyWaits + Int(client.pointee.index), status: 408, "request_body_timeout")
    }

    private mutating func refuseBody(
        _ client: Conn, _ wait: UnsafeMutablePointer<BodyWait>, status: Int, _ reason: StaticString
    ) {
        client.pointee.parking = .none
        client.pointee.deadline = .max
        client.pointee.inputStart &+= wait.pointee.head
        answer(client, status: status, .clientProtocol, reason, close: true)
    }

    private func standing(_ client: Conn, _ wait: UnsafeMutablePointer<BodyWait>) -> BodyStanding {
        let bound = wait.pointee.bound
        guard client.pointee.phase == .chunked else {
            let whole = client.pointee.remaining
            if whole > bound && !wait.pointee.allowsPart { return .tooLong }
            return client.pointee.inputCount - Int(wait.pointee.head) >= min(whole, bound) ? .enough : .short
        }
        guard let input = client.pointee.input else { return .short }
        // What has been looked at stays: a stream's next DATA is a chunk of its own.
        if client.pointee.isStream { state(client).pointee.chunkPlace = -1 }
        let bytes = input + Int(client.pointee.inputStart)
        let count = client.pointee.inputCount
        var place = Int(wait.pointee.scanned)
        while place < count && !client.pointee.chunks.isDone {
            let isData = client.pointee.chunks.state == .data
            let run = isData ? min(client.pointee.chunks.remaining, count - place) : 1
            _ = client.pointee.chunks.scan(bytes + place, run)
            if client.pointee.chunks.isBad { return .broken(client.pointee.chunks.fault) }
            if isData { wait.pointee.content += run }
            place += run
        }
        wait.pointee.scanned = Int32(truncatingIfNeeded: place)
        if wait.pointee.content > bound { return wait.pointee.allowsPart ? .enough : .tooLong }
        if client.pointee.chunks.isDone || (wait.pointee.allowsPart && wait.pointee.content == bound) { return .enough }
        // Chunks so small that their framing fills the largest buffer.
        let isFull = client.pointee.inputClass == 3 && count >= BufferPool.size(3) - StreamLimits.frameSize
        if isFull { return wait.pointee.allowsPart ? .enough : .tooLong }
        return .short
    }

    /// Asks the client for the body it announced (RFC 9110 §10.1.1). False when its connection is gone.
    private mutating func sayContinue(_ client: Conn) -> Bool {
        guard let out = room(client, 32) else {
            closePair(client, .overflow)
            return false
        }
        var at = Int(client.pointee.outputEnd)
        put("HTTP/1.1 100 Continue\r\n\r\n", out, &at)
        client.pointee.outputEnd = Int32(truncatingIfNeeded: at)
        client.pointee.interims = 1
        if flush(client) != .failed { return true }
        closePair(client, .clientGone)
        return false
    }

    /// Makes the input of a client that waits for its body larger; false when it is as large as it gets.
    mutating func growInput(_ client: Conn) -> Bool {
        guard let input = client.pointee.input, client.pointee.inputClass < 3, buffers.bytesInUse < Limits.keptBytes,
            let bigger = buffers.takeIfAny(client.pointee.inputClass + 1)
        else { return false }
        memcpy(bigger, input, Int(client.pointee.inputEnd))
        buffers.give(input, client.pointee.inputClass)
        client.pointee.input = bigger
        client.pointee.inputClass += 1
        return true
    }
}
