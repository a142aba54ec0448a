import Glibc
import Loop
import Wire

extension Engine {
    /// Writes the head as the next hop shall see it into the upstream's output.
    mutating func compose(_ client: Conn, _ upstream: Conn, _ bytes: UnsafePointer<UInt8>, _ rule: RuleEntry?) {
        let arrays = client.pointee.table?.pointee.arrays
        let edits = requestEdits(client, arrays, rule)
        var actions: ActionsEntry? = nil
        if let rule, let arrays, rule.actions >= 0 { actions = arrays.pointee.routes.actions[Int(rule.actions)] }
        var extra = 640 + Int(client.pointee.certificateLineLength) + Int(edits.bytes)
        extra += Int(client.pointee.grantsLength)
        if let actions { extra += rewriteRoom(client, actions) }
        if let arrays { extra += Int(arrays.pointee.peerLine.count) }
        if parser.head.forwardedForLine >= 0 { extra += Int(parser.lines[parser.head.forwardedForLine].length) }
        let sizeClass = BufferPool.sizeClass(for: parser.head.length + extra) ?? 3
        let out = buffers.take(sizeClass)
        upstream.pointee.output = out
        upstream.pointee.outputClass = sizeClass
        var at = 0
        if let actions, let arrays, actions.path.kind != .none, bytes[parser.head.targetOffset] != 42 {
            at = parser.head.methodLength &+ 1
            memcpy(out, bytes, at)
            putPath(client, bytes, arrays, actions.path, out, &at)
            put(parser.head.minorVersion == 1 ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n", out, &at)
        } else if parser.head.pathOffset == parser.head.targetOffset {
            memcpy(out, bytes, parser.head.startLineLength)
            at = parser.head.startLineLength
            // A version between the two we speak becomes ours (RFC 9110 §6.2).
            if parser.head.minorVersion == 1 { out[at &- 3] = 49 }
        } else {
            // Absolute form becomes origin form (RFC 9112 §3.2.2).
            at = parser.head.methodLength &+ 1
            memcpy(out, bytes, at)
            if parser.head.pathLength == 0 { put("/", out, &at) }
            memcpy(out + at, bytes + parser.head.pathOffset, parser.head.pathLength)
            at &+= parser.head.pathLength
            put(parser.head.minorVersion == 1 ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n", out, &at)
        }
        if let arrays, edits.set.count > 0 || edits.remove.count > 0 { dropEdited(arrays, edits, bytes) }
        if let actions, actions.host.count > 0 { dropLines(bytes, StaticText.hostName.utf8Start, 4) }
        if parser.head.expectsContinue { dropNeedlessExpect(client, bytes) }
        let upgrades = keepsUpgrade(bytes)
        client.pointee.isUpgrade = upgrades
        let isGateway = client.pointee.side == .gateway
        // What the client says of itself is believed only when trusted proxies are in front.
        let ownsProto = isGateway && (arrays?.pointee.access?.pointee.trustedProxies ?? 0) == 0
        if ownsProto && parser.head.forwardedProtoLine >= 0 {
            parser.lines[parser.head.forwardedProtoLine].dropped = true
        }
        if isGateway && parser.head.forwardedForLine >= 0 { parser.lines[parser.head.forwardedForLine].dropped = true }
        if client.pointee.side == .outbound && parser.head.peerLine >= 0 || isGateway && parser.head.peerLine >= 0 {
            parser.lines[parser.head.peerLine].dropped = true
        }
        dropTrace(client, bytes)
        dropEffort(client)
        if client.pointee.grants != nil { dropGranted(client, bytes) }
        copyLines(bytes, out, &at)
        if let arrays {
            if let actions, actions.host.count > 0 {
                put("host: ", out, &at)
                put(arrays.pointee.text + Int(actions.host.offset), Int(actions.host.count), out, &at)
                put("\r\n", out, &at)
            }
            putEdits(arrays, edits.set, out, &at)
            putEdits(arrays, edits.add, out, &at)
        }
        if client.pointee.grants != nil { putGranted(client, out, &at) }
        if upgrades { put("connection: upgrade\r\n", out, &at) }
        if parser.head.forwardedProtoLine < 0 || ownsProto {
            let isSecure = isGateway && (client.pointee.carrier ?? client).pointee.ssl != nil
            put(isSecure ? "x-forwarded-proto: https\r\n" : "x-forwarded-proto: http\r\n", out, &at)
        }
        if parser.head.requestIDLine < 0 { putRequestID(client, out, &at) }
        putTrace(client, out, &at)
        if client.pointee.hasEffort { putEffort(client, out, &at) }
        if isGateway { putForwardedFor(client, bytes, out, &at) }
        if let line = client.pointee.certificateLine {
            put(line, Int(client.pointee.certificateLineLength), out, &at)
        }
        if client.pointee.side != .inbound, let arrays, speaksMesh(upstream) {
            put(arrays.pointee.text + Int(arrays.pointee.peerLine.offset), Int(arrays.pointee.peerLine.count), out, &at)
        }
        put("\r\n", out, &at)
        upstream.pointee.outputStart = 0
        upstream.pointee.outputEnd = Int32(truncatingIfNeeded: at)
        if parser.head.minorVersion == 0 { upstream.pointee.closesAfter = true }
        if let actions, let arrays {
            if !actions.response.isEmpty { client.pointee.editsResponse = true }
            if actions.mirrors.count > 0 { beginMirrors(client, upstream, arrays, actions.mirrors) }
        }
    }

    /// Whether the request asks to change protocols to something we pass on; otherwise its Upgrade line goes no further.
    private func keepsUpgrade(_ bytes: UnsafePointer<UInt8>) -> Bool {
        for place in 0..<parser.head.lineCount where parser.lines[place].nameLength == 7 {
            let line = parser.lines[place]
            let isUpgrade = sameName(bytes + Int(line.offset), StaticText.upgrade.utf8Start, 7)
            if !isUpgrade { continue }
            let isHTTP2 = line.valueLength == 3 && sameName(bytes + Int(line.valueOffset), StaticText.h2c.utf8Start, 3)
            // HTTP/1.0 has no upgrade (RFC 9110 §7.8).
            let isOurs = parser.head.saysUpgrade && parser.head.minorVersion == 1
            if isOurs && !isHTTP2 && !line.dropped { return true }
            parser.lines[place].dropped = true
        }
        return false
    }

    /// A body that has come whole already needs nobody's leave: without the expectation there is one answer, not two.
    private func dropNeedlessExpect(_ client: Conn, _ bytes: UnsafePointer<UInt8>) {
        let isHere =
            parser.head.contentLength >= 0
            && client.pointee.inputCount &- parser.head.length >= parser.head.contentLength
        // Nor does one whose client has been told to go on.
        if !isHere && client.pointee.interims == 0 { return }
        for place in 0..<parser.head.lineCount where parser.lines[place].nameLength == 6 {
            let line = parser.lines[place]
            let isExpect = sameName(bytes + Int(line.offset), StaticText.expect.utf8Start, 6)
            let isPlain = line.valueLength == 12
            if isExpect && isPlain { parser.lines[place].dropped = true }
        }
    }

    @inline(__always)
    func put(_ text: StaticString, _ out: Bytes, _ at: inout Int) {
        memcpy(out + at, text.utf8Start, text.utf8CodeUnitCount)
        at &+= text.utf8CodeUnitCount
    }

    @inline(__always)
    func put(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ out: Bytes, _ at: inout Int) {
        memcpy(out + at, bytes, count)
        at &+= count
    }

    /// Copies the lines that go on; those that stand together in one piece.
    @inline(__always)
    func copyLines(_ bytes: UnsafePointer<UInt8>, _ out: Bytes, _ at: inout Int) {
        let lines = parser.lines
        let count = parser.head.lineCount
        var place = 0
        while place < count {
            if lines[place].dropped {
                place &+= 1
                continue
            }
            let start = Int(lines[place].offset)
            var end = start &+ Int(lines[place].length)
            place &+= 1
            while place < count && !lines[place].dropped {
                end &+= Int(lines[place].length)
                place &+= 1
            }
            memcpy(out + at, bytes + start, end &- start)
            at &+= end &- start
        }
    }

    /// The number the record of this exchange has.
    @inline(__always)
    private func putRequestID(_ client: Conn, _ out: Bytes, _ at: inout Int) {
        let draft = draft(client)
        put("x-request-id: ", out, &at)
        put(
            draft.textStart + Int(draft.pointee.requestID.offset), Int(draft.pointee.requestID.count), out, &at)
        put("\r\n", out, &at)
    }

    private func putForwardedFor(_ client: Conn, _ bytes: UnsafePointer<UInt8>, _ out: Bytes, _ at: inout Int) {
        put("x-forwarded-for: ", out, &at)
        if parser.head.forwardedForLine >= 0 {
            let line = parser.lines[parser.head.forwardedForLine]
            put(bytes + Int(line.valueOffset), Int(line.valueLength), out, &at)
            put(", ", out, &at)
        }
        var shift: UInt32 = 24
        while true {
            putNumber(Int(client.pointee.remoteAddress >> shift & 255), out, &at)
            if shift == 0 { break }
            put(".", out, &at)
            shift -= 8
        }
        put("\r\n", out, &at)
    }

    @inline(__always)
    func putNumber(_ number: Int, _ out: Bytes, _ at: inout Int) {
        var divisor = 1
        while number / divisor >= 10 { divisor *= 10 }
        var rest = number
        while divisor > 0 {
            out[at] = UInt8(truncatingIfNeeded: rest / divisor) &+ 48
            at &+= 1
            rest %= divisor
            divisor /= 10
        }
    }
}

enum StaticText {
    static var upgrade: StaticString { "upgrade" }
    static var expect: StaticString { "expect" }
    static var contentLength: StaticString { "content-length" }
    static var transferEncoding: StaticString { "transfer-encoding" }
    static var preface: StaticString { "PRI * HTTP/2.0" }
    static var h2c: StaticString { "h2c" }
    static var hostName: StaticString { "host:" }
    static var peerName: StaticString { "x-weft-peer:" }
    static var https: StaticString { "https" }
    static var slash: StaticString { "/" }
    static var cookie: StaticString { "cookie" }
    static var contentType: StaticString { "content-type" }
    static var authorization: StaticString { "authorization" }
    static var forwardedFor: StaticString { "x-forwarded-for" }
}
