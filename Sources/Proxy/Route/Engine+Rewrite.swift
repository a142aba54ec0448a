import Glibc
import Wire

extension Engine {
    /// Bytes a rewritten target may have beyond the one that came.
    func rewriteRoom(_ client: Conn, _ actions: ActionsEntry) -> Int {
        Int(actions.path.text.count) + Int(actions.host.count) + 16
            + Int(max(0, client.pointee.extras?.pointee.pathLength ?? 0))
    }

    /// Writes the path as it becomes, with its query.
    func putPath(
        _ client: Conn, _ bytes: UnsafePointer<UInt8>, _ arrays: TableView, _ change: PathChangeEntry,
        _ out: Bytes, _ at: inout Int
    ) {
        let path = bytes + parser.head.pathOffset
        let length = pathLength(bytes)
        let text = arrays.pointee.text + Int(change.text.offset)
        let start = at
        switch change.kind {
        case .none: put(path, length, out, &at)
        case .full: put(text, Int(change.text.count), out, &at)
        case .prefix, .matched:
            let taken = matchedLength(client, arrays, change.kind, length)
            if change.text.count > 0 && text[0] != 47 { put("/", out, &at) }
            put(text, Int(change.text.count), out, &at)
            if change.text.count == 0 && taken < length && path[taken] != 47 { put("/", out, &at) }
            put(path + taken, length &- taken, out, &at)
        case .regex:
            if let extras = client.pointee.extras, extras.pointee.pathLength >= 0 {
                put(extras.path, Int(extras.pointee.pathLength), out, &at)
            }
        }
        if at == start { put("/", out, &at) }
        put(path + length, parser.head.pathLength &- length, out, &at)
    }

    /// How much of the path the match names.
    private func matchedLength(_ client: Conn, _ arrays: TableView, _ kind: PathChange, _ length: Int) -> Int {
        let place = client.pointee.choice.match
        let match = place < 0 ? MatchEntry(pathKind: .any) : arrays.pointee.matches[Int(place)]
        return switch match.pathKind {
        case .elements, .text: min(length, Int(match.path.count))
        case .exact, .regex: length
        // `/` and everything are the same prefix: as elements it names nothing, as text its one character.
        case .any: kind == .matched ? min(1, length) : 0
        }
    }

    /// Rewrites by an expression, beforehand: only here can it be refused.
    mutating func rewriteByPattern(
        _ client: Conn, _ bytes: UnsafePointer<UInt8>, _ arrays: TableView, _ change: PathChangeEntry
    ) -> Step {
        let extras = extras(client)
        let out = extras.path
        let made = arrays.pointee.routes.patterns[Int(change.pattern)].replace(
            bytes + parser.head.pathOffset, pathLength(bytes), with: arrays.pointee.text + Int(change.text.offset),
            Int(change.text.count), into: out + 1, limit: RouteExtras.pathSize - 1, &matching.scratch)
        if made < 0 {
            skipHead(client)
            answer(client, status: 414, .clientProtocol, "rewritten_path_too_long", close: false)
            return .over
        }
        if made > 0 && out[1] == 47 {
            memmove(out, out + 1, made)
            extras.pointee.pathLength = Int32(truncatingIfNeeded: made)
        } else {
            out[0] = 47
            extras.pointee.pathLength = Int32(truncatingIfNeeded: made + 1)
        }
        return .go
    }

    // MARK: redirects

    mutating func redirect(
        _ client: Conn, _ bytes: UnsafePointer<UInt8>, _ arrays: TableView, _ actions: ActionsEntry
    ) {
        let redirect = arrays.pointee.routes.redirects[Int(actions.redirect)]
        if redirect.path.kind == .regex && rewriteByPattern(client, bytes, arrays, redirect.path) != .go { return }
        let room =
            parser.head.pathLength + parser.head.hostLength + Int(redirect.path.text.count)
            + Int(redirect.host.count) + Int(actions.response.bytes) + RouteExtras.pathSize
        guard let out = beginReply(client, status: Int(redirect.status), .none, "redirect", room: room) else { return }
        var at = Int(client.pointee.outputEnd)
        put("location: ", out, &at)
        putLocation(client, bytes, arrays, redirect, out, &at)
        put("\r\n", out, &at)
        putEdits(arrays, actions.response.set, out, &at)
        putEdits(arrays, actions.response.add, out, &at)
        skipHead(client)
        finishReply(client, out, &at, nil, 0)
    }

    private func putLocation(
        _ client: Conn, _ bytes: UnsafePointer<UInt8>, _ arrays: TableView, _ redirect: RedirectEntry,
        _ out: Bytes, _ at: inout Int
    ) {
        var isSecure = isSecure(client)
        if redirect.scheme.count > 0 { isSecure = redirect.scheme.count == 5 }
        put(isSecure ? "https://" : "http://", out, &at)
        var port = redirect.port
        if redirect.host.count > 0 {
            put(arrays.pointee.text + Int(redirect.host.offset), Int(redirect.host.count), out, &at)
        } else {
            let host = bytes + parser.head.hostOffset
            let split = portPlace(host, parser.head.hostLength)
            put(host, split, out, &at)
            if port < 0 && redirect.scheme.count == 0 && split < parser.head.hostLength {
                port = 0
                for place in (split + 1)..<parser.head.hostLength { port = port &* 10 &+ Int32(host[place]) &- 48 }
            }
        }
        if port > 0 && port != (isSecure ? 443 : 80) {
            put(":", out, &at)
            putNumber(Int(port), out, &at)
        }
        putPath(client, bytes, arrays, redirect.path, out, &at)
    }

    /// Where the colon before the port stands; the length when there is none.
    private func portPlace(_ host: UnsafePointer<UInt8>, _ length: Int) -> Int {
        var place = length
        while place > 0, host[place - 1] >= 48, host[place - 1] <= 57, length - place < 5 { place -= 1 }
        return place > 0 && place < length && host[place - 1] == 58 ? place - 1 : length
    }

    /// Whether the client's connection, or the one that carries its stream, is TLS.
    func isSecure(_ client: Conn) -> Bool {
        client.pointee.ssl != nil || client.pointee.carrier?.pointee.ssl != nil
    }
}
