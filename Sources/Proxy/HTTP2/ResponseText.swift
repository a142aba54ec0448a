import Glibc
import Wire

/// What the request makes of its response.
struct ResponseContext {
    var isHead = false
    /// The client speaks HTTP/1.0: it knows no chunks.
    var oldClient = false
    var isGRPC = false
    /// A WebSocket opening was translated: 200 means 101.
    var isWebSocket = false
    var isTunnel = false
}

/// A response's header block as an HTTP/1.1 head.
struct ResponseText {
    var length = 0
    var status = 0
    var framing = TextFraming.done
    var expected = -1

    static func room(_ list: FieldList) -> Int { list.bytes + list.count * 4 + 256 }

    /// Checks a block (RFC 9113 §8.3.2) and writes its text to `out`, which has `room`.
    init(
        _ list: FieldList, ends: Bool, _ context: ResponseContext, accept: UnsafePointer<UInt8>, into out: Bytes
    ) throws(MessageFault) {
        var length = -1
        var announcesTrailers = false
        for place in 0..<list.count {
            if list.nameLength(place) > 0 && list.name(place)[0] == 58 {
                if place > 0 {
                    throw list.isNamed(place, ":status") ? .repeatedPseudo : .unknownPseudo
                }
                guard list.isNamed(place, ":status") else { throw .unknownPseudo }
                guard list.valueLength(place) == 3, let number = list.number(place), number >= 100 else {
                    throw .badStatus
                }
                status = number
                continue
            }
            if place == 0 { throw .missingPseudo }
            try list.check(place)
            if list.nameLength(place) == 14 && list.isNamed(place, "content-length") {
                guard length < 0, let number = list.number(place) else { throw .badLength }
                length = place
                expected = number
            } else if list.nameLength(place) == 7 && list.isNamed(place, "trailer") {
                announcesTrailers = true
            }
        }
        if status == 0 { throw .missingPseudo }
        // RFC 9113 §8.6: 101 does not exist here; an interim response does not end the stream.
        if status == 101 || (status < 200 && ends) { throw .badStatus }
        let switches = context.isWebSocket && status >= 200 && status < 300
        frame(ends: ends, announcesTrailers: announcesTrailers, context, switches: switches)
        var at = 0
        put("HTTP/1.1 ", out, &at)
        putStatus(switches ? 101 : status, out, &at)
        put(" ", out, &at)
        put(reasonPhrase(switches ? 101 : status), out, &at)
        put("\r\n", out, &at)
        for place in 1..<max(1, list.count) {
            if place == length && (framing == .chunked || framing == .raw) { continue }
            copy(list.name(place), list.nameLength(place))
            put(": ", out, &at)
            copy(list.value(place), list.valueLength(place))
            put("\r\n", out, &at)
        }
        if switches {
            put("upgrade: websocket\r\nsec-websocket-accept: ", out, &at)
            copy(accept, 28)
            put("\r\nconnection: upgrade\r\n", out, &at)
        } else if framing == .chunked {
            put("transfer-encoding: chunked\r\n", out, &at)
        } else if framing == .done && length < 0 && status >= 200 && status != 204 && status != 304 && !context.isHead {
            put("content-length: 0\r\n", out, &at)
        }
        put("\r\n", out, &at)
        self.length = at

        func copy(_ bytes: UnsafePointer<UInt8>, _ count: Int) {
            memcpy(out + at, bytes, count)
            at &+= count
        }
    }

    private mutating func frame(ends: Bool, announcesTrailers: Bool, _ context: ResponseContext, switches: Bool) {
        if status < 200 {
            framing = .head
        } else if switches || (context.isTunnel && status < 300) {
            framing = .raw
        } else if ends || context.isHead || status == 204 || status == 304 {
            framing = .done
        } else if context.oldClient {
            framing = expected >= 0 ? .length : .raw
        } else if expected >= 0 && !context.isGRPC && !announcesTrailers {
            framing = .length
        } else {
            framing = .chunked
        }
    }

    private func putStatus(_ number: Int, _ out: Bytes, _ at: inout Int) {
        out[at] = UInt8(truncatingIfNeeded: number / 100 % 10 + 48)
        out[at &+ 1] = UInt8(truncatingIfNeeded: number / 10 % 10 + 48)
        out[at &+ 2] = UInt8(truncatingIfNeeded: number % 10 + 48)
        at &+= 3
    }
}
