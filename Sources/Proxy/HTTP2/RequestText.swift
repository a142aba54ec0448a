import Glibc
import Wire

/// A request's header block as an HTTP/1.1 head, and what else it says.
struct RequestText {
    var length = 0
    var framing = TextFraming.done
    /// By content-length; -1 when not given.
    var expected = -1
    var isGRPC = false
    var isTunnel = false
    var isWebSocket = false
    var carriesHTTP1 = false

    /// The most a head takes beyond the bytes of its fields.
    static func room(_ list: FieldList) -> Int { list.bytes + list.count * 4 + 256 }

    /// Checks a block (RFC 9113 §8.3.1) and writes its text to `out`, which has `room`.
    ///
    /// - Parameters:
    ///   - ends: no body and no trailers follow.
    ///   - webSocketKey: what a translated WebSocket opening says it is; 24 bytes of base64.
    init(
        _ list: FieldList, ends: Bool, webSocketKey: UnsafePointer<UInt8>, into out: Bytes
    ) throws(MessageFault) {
        var seen = try RequestFields(list)
        isTunnel = list.isValue(seen.method, "CONNECT")
        isWebSocket = isTunnel && seen.scheme >= 0
        isGRPC = seen.isGRPC
        carriesHTTP1 = seen.carriesHTTP1
        var at = 0
        if seen.authority < 0 { seen.authority = seen.host }
        if isWebSocket { put("GET", out, &at) } else { copy(list.value(seen.method), list.valueLength(seen.method)) }
        put(" ", out, &at)
        let target = seen.path >= 0 ? seen.path : seen.authority
        copy(list.value(target), list.valueLength(target))
        put(" HTTP/1.1\r\n", out, &at)
        if seen.authority >= 0 {
            put("host: ", out, &at)
            copy(list.value(seen.authority), list.valueLength(seen.authority))
            put("\r\n", out, &at)
        }
        frame(list, seen, ends: ends)
        var wroteCookie = false
        for place in seen.first..<list.count where place != seen.host {
            if place == seen.length && framing == .chunked { continue }
            let isCookie = seen.cookies > 1 && list.isNamed(place, "cookie")
            if isCookie && wroteCookie { continue }
            if list.isNamed(place, "x-weft-protocol") { continue }
            copy(list.name(place), list.nameLength(place))
            put(": ", out, &at)
            copy(list.value(place), list.valueLength(place))
            if isCookie {
                // One line for all of them (RFC 9113 §8.2.3).
                wroteCookie = true
                for other in place + 1..<list.count where list.isNamed(other, "cookie") {
                    put("; ", out, &at)
                    copy(list.value(other), list.valueLength(other))
                }
            }
            put("\r\n", out, &at)
        }
        if framing == .chunked {
            put("transfer-encoding: chunked\r\n", out, &at)
        } else if isWebSocket {
            put("connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ", out, &at)
            copy(webSocketKey, 24)
            put("\r\n", out, &at)
        } else if ends && seen.length < 0 && !isTunnel && expectsLength(list, seen.method) {
            put("content-length: 0\r\n", out, &at)
        }
        put("\r\n", out, &at)
        length = at

        func copy(_ bytes: UnsafePointer<UInt8>, _ count: Int) {
            memcpy(out + at, bytes, count)
            at &+= count
        }
    }

    private mutating func frame(_ list: FieldList, _ seen: RequestFields, ends: Bool) {
        if seen.length >= 0 { expected = seen.contentLength }
        if isTunnel {
            framing = .raw
        } else if ends {
            framing = .done
        } else if expected >= 0 && !isGRPC && !seen.announcesTrailers {
            framing = .length
        } else {
            // Trailers may come: only chunks can carry them.
            framing = .chunked
        }
    }

    /// RFC 9110 §8.6: methods that mean a body say so when there is none.
    private func expectsLength(_ list: FieldList, _ method: Int) -> Bool {
        list.isValue(method, "POST") || list.isValue(method, "PUT") || list.isValue(method, "PATCH")
    }
}

/// Where a request's block has the fields that matter here; -1 when absent.
private struct RequestFields {
    var method = -1
    var scheme = -1
    var authority = -1
    var path = -1
    var proto = -1
    var host = -1
    var length = -1
    var contentLength = -1
    var cookies = 0
    /// The first regular field.
    var first = 0
    var isGRPC = false
    var announcesTrailers = false
    var carriesHTTP1 = false

    init(_ list: FieldList) throws(MessageFault) {
        var place = 0
        while place < list.count, list.nameLength(place) > 0, list.name(place)[0] == 58 {
            try pseudo(list, place)
            place += 1
        }
        first = place
        while place < list.count {
            if list.nameLength(place) > 0 && list.name(place)[0] == 58 { throw .pseudoAfterField }
            try list.check(place)
            try regular(list, place)
            place += 1
        }
        try complete(list)
    }

    private mutating func pseudo(_ list: FieldList, _ place: Int) throws(MessageFault) {
        try list.checkValue(place)
        switch list.nameLength(place) {
        case 5 where list.isNamed(place, ":path"): try set(&path, place)
        case 7 where list.isNamed(place, ":method"): try set(&method, place)
        case 7 where list.isNamed(place, ":scheme"): try set(&scheme, place)
        case 9 where list.isNamed(place, ":protocol"): try set(&proto, place)
        case 10 where list.isNamed(place, ":authority"): try set(&authority, place)
        default: throw .unknownPseudo
        }
    }

    private func set(_ field: inout Int, _ place: Int) throws(MessageFault) {
        if field >= 0 { throw .repeatedPseudo }
        field = place
    }

    private mutating func regular(_ list: FieldList, _ place: Int) throws(MessageFault) {
        switch list.nameLength(place) {
        case 4 where list.isNamed(place, "host"):
            if host >= 0 { throw .badAuthority }
            host = place
        case 6 where list.isNamed(place, "cookie"): cookies += 1
        case 7 where list.isNamed(place, "trailer"): announcesTrailers = true
        case 12 where list.isNamed(place, "content-type"): isGRPC = list.isGRPC(place)
        case 14 where list.isNamed(place, "content-length"):
            guard length < 0, let number = list.number(place) else { throw .badLength }
            length = place
            contentLength = number
        case 15 where list.isNamed(place, "x-weft-protocol"): carriesHTTP1 = list.isValue(place, "http/1.1")
        default: break
        }
    }

    private func complete(_ list: FieldList) throws(MessageFault) {
        if method < 0 { throw .missingPseudo }
        let verb = list.value(method)
        if list.valueLength(method) == 0 { throw .badMethod }
        for offset in 0..<list.valueLength(method) where verb[offset] <= 32 || verb[offset] >= 127 {
            throw .badMethod
        }
        let isConnect = list.isValue(method, "CONNECT")
        if isConnect && proto < 0 {
            // RFC 9113 §8.5.
            if scheme >= 0 || path >= 0 { throw .notAllowedHere }
            if authority < 0 || list.valueLength(authority) == 0 { throw .missingPseudo }
            return
        }
        if proto >= 0 && !(isConnect && list.isValue(proto, "websocket")) { throw .notAllowedHere }
        if scheme < 0 || path < 0 { throw .missingPseudo }
        if !list.isValue(scheme, "http") && !list.isValue(scheme, "https") { throw .badScheme }
        let isStar = list.isValue(path, "*") && list.isValue(method, "OPTIONS")
        if list.valueLength(path) == 0 || (list.value(path)[0] != 47 && !isStar) { throw .badPath }
        if authority >= 0 && host >= 0 {
            let length = list.valueLength(authority)
            guard length == list.valueLength(host),
                strncasecmp(text(list.value(authority)), text(list.value(host)), length) == 0
            else { throw .badAuthority }
        }
    }

    private func text(_ bytes: UnsafePointer<UInt8>) -> UnsafePointer<CChar> {
        UnsafeRawPointer(bytes).assumingMemoryBound(to: CChar.self)
    }
}

@inline(__always)
func put(_ text: StaticString, _ out: Bytes, _ at: inout Int) {
    memcpy(out + at, text.utf8Start, text.utf8CodeUnitCount)
    at &+= text.utf8CodeUnitCount
}
