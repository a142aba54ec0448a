import Glibc
import Loop
import ProxyResources
import TLS
import Wire

/// What a request's tokens came to.
enum TokenReading {
    case none
    case good(UnsafeMutablePointer<CachedToken>)
    case bad(TokenFault)
}

extension Engine {
    /// Looks for a token where the rules say, and checks what it finds. One good token is enough; a bad one without a good one is not
    /// the same as none.
    mutating func readToken(_ bytes: UnsafePointer<UInt8>, _ access: UnsafePointer<AccessTable>) -> TokenReading {
        var fault: TokenFault? = nil
        // Bounds the work one request can cause.
        var checks = 0
        for place in 0..<access.pointee.tokenPlaceCount {
            let here = access.pointee.tokenPlaces[place]
            var from = 0
            while checks < 8, let found = candidate(here, bytes, access, &from) {
                checks += 1
                switch check(found, here.rule, access) {
                case .good(let entry): return .good(entry)
                // Another issuer's token is told as such only when no rule knows better.
                case .bad(let reason): if fault == nil || fault == .issuer { fault = reason }
                case .none: break
                }
            }
        }
        return fault.map { .bad($0) } ?? .none
    }

    private mutating func check(
        _ found: ByteView, _ rule: Int, _ access: UnsafePointer<AccessTable>
    ) -> TokenReading {
        if found.count > TokenVerifier.longest { return .bad(.tooLong) }
        let entry = access.pointee.tokenRules[rule]
        let hash = TokenCache.hash(found.start, found.count, entry.number)
        if let known = tokens.find(hash, found.start, found.count, entry.number, now: now) { return .good(known) }
        let text = String(decoding: UnsafeBufferPointer(start: found.start, count: found.count), as: UTF8.self)
        let seconds = Double(Loop.Clock.wall) / 1000
        do throws(TokenFault) {
            let verifier = access.pointee.verifiers.takeUnretainedValue().all[rule]
            let good = try verifier.check(text, now: seconds)
            let rule = verifier.rule
            var left = UInt64.max
            if let expires = good.expires {
                let rest = max(0, expires + TokenVerifier.skew - seconds)
                left = rest > 1e9 ? .max : UInt64(rest * 1e9)
            }
            var grants: [UInt8] = []
            if !rule.payloadHeader.isEmpty { Grants.add(rule.payloadHeader, good.payload, to: &grants) }
            for output in rule.claimHeaders {
                if let value = TokenVerifier.text(of: good.claims, output.claim) {
                    Grants.add(output.header, value, to: &grants)
                }
            }
            let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: max(1, found.count))
            copy.update(from: found.start, count: found.count)
            return .good(
                tokens.keep(
                    CachedToken(
                        hash: hash, rule: entry.number, bytes: copy, count: found.count,
                        expires: left == .max ? .max : now &+ left, used: now, token: LiveToken(good.claims),
                        grants: plain(grants), grantsCount: grants.count)))
        } catch { return .bad(error) }
    }

    /// The next token at a place, from a line on; `nil` when there is none any more.
    private func candidate(
        _ place: TokenPlaceEntry, _ bytes: UnsafePointer<UInt8>, _ access: UnsafePointer<AccessTable>, _ from: inout Int
    ) -> ByteView? {
        let name = access.pointee.text + Int(place.name.offset)
        let count = Int(place.name.count)
        switch place.kind {
        case .header:
            while from < parser.head.lineCount {
                let line = parser.lines[from]
                from += 1
                guard Int(line.nameLength) == count, sameName(bytes + Int(line.offset), name, count) else { continue }
                let value = ByteView(start: bytes + Int(line.valueOffset), count: Int(line.valueLength))
                let prefix = access.pointee.text + Int(place.prefix.offset)
                let length = Int(place.prefix.count)
                guard value.count > length else { continue }
                // The usual scheme in any case (RFC 9110 §11.1), prefixes of one's own as they are written.
                let isSame =
                    place.isBearer ? sameName(value.start, prefix, length) : memcmp(value.start, prefix, length) == 0
                if isSame { return value.dropFirst(length) }
            }
            return nil
        case .cookie:
            while from < parser.head.lineCount {
                let line = parser.lines[from]
                from += 1
                guard line.nameLength == 6, sameName(bytes + Int(line.offset), StaticText.cookie.utf8Start, 6) else {
                    continue
                }
                let value = ByteView(start: bytes + Int(line.valueOffset), count: Int(line.valueLength))
                if let found = Self.member(value, name, count, separator: 59, skipsSpace: true) { return found }
            }
            return nil
        case .parameter:
            if from > 0 { return nil }
            from = 1
            let path = bytes + parser.head.pathOffset
            guard let query = memchr(path, 63, parser.head.pathLength) else { return nil }
            let start = UnsafeRawPointer(path).distance(to: UnsafeRawPointer(query)) + 1
            let value = ByteView(start: path + start, count: parser.head.pathLength - start)
            return Self.member(value, name, count, separator: 38, skipsSpace: false)
        }
    }

    /// The value of `name=value` among others.
    private static func member(
        _ list: ByteView, _ name: UnsafePointer<UInt8>, _ count: Int, separator: UInt8, skipsSpace: Bool
    ) -> ByteView? {
        var place = 0
        while place < list.count {
            while skipsSpace, place < list.count, list.start[place] == 32 { place += 1 }
            var end = place
            while end < list.count, list.start[end] != separator { end += 1 }
            if end - place > count, list.start[place + count] == 61, memcmp(list.start + place, name, count) == 0 {
                let value = ByteView(start: list.start + place + count + 1, count: end - place - count - 1)
                if value.count > 0 { return value }
            }
            place = end + 1
        }
        return nil
    }

    // MARK: what the next hop gets

    /// Keeps the changes a good token, or none, makes to the request until it is sent.
    mutating func grant(
        _ client: Conn, _ access: UnsafePointer<AccessTable>, _ token: UnsafeMutablePointer<CachedToken>?
    ) {
        // Headers that tell of a token come from here or not at all.
        addGrant(client, access.pointee.strippedGrants, access.pointee.strippedCount)
        guard let token else { return }
        addGrant(client, token.pointee.grants, token.pointee.grantsCount)
        for place in 0..<access.pointee.tokenPlaceCount {
            let entry = access.pointee.tokenPlaces[place]
            guard entry.kind == .header, access.pointee.tokenRules[entry.rule].number == token.pointee.rule,
                !access.pointee.tokenRules[entry.rule].forwardsToken
            else { continue }
            addDrop(client, access.pointee.text + Int(entry.name.offset), Int(entry.name.count))
        }
    }

    mutating func addDrop(_ client: Conn, _ name: UnsafePointer<UInt8>, _ count: Int) {
        guard let out = grantRoom(client, count + 5) else { return }
        let at = Int(client.pointee.grantsLength)
        putGrantHead(Grants.drop, count, count, out + at)
        memcpy(out + at + 5, name, count)
        client.pointee.grantsLength += Int32(count + 5)
    }

    /// A line whose name is given in any case.
    mutating func addSet(_ client: Conn, _ line: UnsafePointer<UInt8>, _ nameLength: Int, _ count: Int) {
        guard let out = grantRoom(client, count + 5) else { return }
        let at = Int(client.pointee.grantsLength)
        putGrantHead(Grants.set, nameLength, count, out + at)
        memcpy(out + at + 5, line, count)
        for index in 0..<nameLength where out[at + 5 + index] &- 65 < 26 { out[at + 5 + index] |= 0x20 }
        client.pointee.grantsLength += Int32(count + 5)
    }

    /// A line in its parts; the name in lower case.
    mutating func addLine(_ client: Conn, _ kind: UInt8, _ name: ByteView, _ value: ByteView) {
        let count = name.count + value.count + 4
        guard let out = grantRoom(client, count + 5) else { return }
        var at = Int(client.pointee.grantsLength)
        putGrantHead(kind, name.count, count, out + at)
        at += 5
        put(name.start, name.count, out, &at)
        put(": ", out, &at)
        put(value.start, value.count, out, &at)
        put("\r\n", out, &at)
        client.pointee.grantsLength = Int32(at)
    }

    mutating func addGrant(_ client: Conn, _ bytes: UnsafePointer<UInt8>, _ count: Int) {
        guard count > 0, let out = grantRoom(client, count) else { return }
        memcpy(out + Int(client.pointee.grantsLength), bytes, count)
        client.pointee.grantsLength += Int32(count)
    }

    @inline(__always)
    private func putGrantHead(_ kind: UInt8, _ name: Int, _ count: Int, _ out: Bytes) {
        out[0] = kind
        out[1] = UInt8(truncatingIfNeeded: name >> 8)
        out[2] = UInt8(truncatingIfNeeded: name)
        out[3] = UInt8(truncatingIfNeeded: count >> 8)
        out[4] = UInt8(truncatingIfNeeded: count)
    }

    private mutating func grantRoom(_ client: Conn, _ needed: Int) -> Bytes? {
        let used = Int(client.pointee.grantsLength)
        if client.pointee.grants == nil { client.pointee.grants = buffers.take(Self.grantClass) }
        return used + needed <= BufferPool.size(Self.grantClass) ? client.pointee.grants : nil
    }

    /// 16 KiB: all that `Grants.most` lets in.
    private static var grantClass: UInt8 { 1 }

    mutating func dropGrants(_ client: Conn) {
        if let grants = client.pointee.grants { buffers.give(grants, Self.grantClass) }
        client.pointee.grants = nil
        client.pointee.grantsLength = 0
    }

    /// Marks the lines that go: those named to go, and those that are set anew.
    func dropGranted(_ client: Conn, _ bytes: UnsafePointer<UInt8>) {
        eachGrant(client) { kind, text, nameLength, _ in
            if kind == Grants.join { return }
            for place in 0..<parser.head.lineCount where Int(parser.lines[place].nameLength) == nameLength {
                if sameName(bytes + Int(parser.lines[place].offset), text, nameLength) {
                    parser.lines[place].dropped = true
                }
            }
        }
    }

    func putGranted(_ client: Conn, _ out: Bytes, _ at: inout Int) {
        var place = at
        eachGrant(client) { kind, text, _, count in
            if kind != Grants.drop { put(text, count, out, &place) }
        }
        at = place
    }

    private func eachGrant(
        _ client: Conn, _ body: (_ kind: UInt8, _ text: UnsafePointer<UInt8>, _ name: Int, _ count: Int) -> Void
    ) {
        guard let grants = client.pointee.grants else { return }
        var place = 0
        while place + 5 <= Int(client.pointee.grantsLength) {
            let name = Int(grants[place + 1]) << 8 | Int(grants[place + 2])
            let count = Int(grants[place + 3]) << 8 | Int(grants[place + 4])
            body(grants[place], grants + place + 5, name, count)
            place += 5 + count
        }
    }
}
