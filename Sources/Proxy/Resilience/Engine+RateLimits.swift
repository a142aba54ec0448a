import Glibc
import Loop
import ProxyResources
import Wire

/// What a request is counted by: a hash, and the bytes it was made from, for records.
struct RateKey {
    var hash: UInt64
    var text: UnsafePointer<UInt8>? = nil
    var count = 0
}

extension Engine {
    func hasInboundRates(_ client: Conn, _ arrays: TableView) -> Bool {
        if arrays.pointee.resilience.workloadRates.count > 0 { return true }
        return (inboundPort(client.pointee.originalPort)?.rates.count ?? 0) > 0
    }

    /// Takes a token of each limit that applies, of none twice. `over` when the client has its 429.
    mutating func takeRates(
        _ client: Conn, _ effort: UnsafeMutablePointer<Effort>, _ arrays: TableView, _ entry: Int32,
        _ bytes: UnsafePointer<UInt8>
    ) -> Step {
        if client.pointee.side == .inbound {
            let own = arrays.pointee.resilience.workloadRates
            let step = take(client, effort, arrays, own, after: 0, bytes)
            if step != .go { return step }
            let ports = inboundPort(client.pointee.originalPort)?.rates ?? Run()
            return take(client, effort, arrays, ports, after: own.count, bytes)
        }
        if entry < 0 { return .go }
        return take(client, effort, arrays, arrays.pointee.resilience.efforts[Int(entry)].rates, after: 0, bytes)
    }

    /// - Parameter earlier: limits before the first of these.
    private mutating func take(
        _ client: Conn, _ effort: UnsafeMutablePointer<Effort>, _ arrays: TableView, _ run: Run, after earlier: Int32,
        _ bytes: UnsafePointer<UInt8>
    ) -> Step {
        for place in 0..<Int(run.count) where Int(earlier) &+ place >= Int(effort.pointee.ratesPassed) {
            let limit = arrays.pointee.resilience.rates[Int(run.start) &+ place]
            if let leases = limit.leases {
                let step = lease(client, effort, arrays, limit, leases, bytes)
                if step != .go { return step }
            } else if let table = limit.table {
                let seed = table._withUnsafeGuaranteedRef { $0.seed }
                let key = rateKey(client, arrays, limit, bytes, seed: seed)
                let verdict = table._withUnsafeGuaranteedRef { $0.take(key.hash, limit.bucket, now: now) }
                if !verdict.isAdmitted {
                    limited(client, limit, key, wait: verdict.wait, ResponseFlag.rateLimited.reason)
                    return .over
                }
                if limit.tellsAlways { tell(client, limit, verdict.remaining) }
            }
            if effort.pointee.ratesPassed < .max { effort.pointee.ratesPassed &+= 1 }
            effort.pointee.rateWaits = 0
        }
        return .go
    }

    /// Takes a token that was leased, or waits for one on its way.
    private mutating func lease(
        _ client: Conn, _ effort: UnsafeMutablePointer<Effort>, _ arrays: TableView, _ limit: RateEntry,
        _ leases: Unmanaged<LeaseTable>, _ bytes: UnsafePointer<UInt8>
    ) -> Step {
        let seed = leases._withUnsafeGuaranteedRef { $0.seed }
        let key =
            limit.kind == .principal
            ? principalKey(client, seed: seed) : rateKey(client, arrays, limit, bytes, seed: seed)
        let waited = effort.pointee.rateWaits
        let verdict = leases._withUnsafeGuaranteedRef { $0.take(key.hash, now: now, waited: waited) }
        switch verdict.outcome {
        case .admitted:
            if limit.tellsAlways { tell(client, limit, verdict.remaining) }
            return .go
        case .wait:
            effort.pointee.rateWaits = waited &+ 1
            draft(client).pointee.limit = .queued
            return park(client, for: .delay, atMost: LeaseTable.pause)
        case .refused: limited(client, limit, key, wait: verdict.wait, ResponseFlag.rateLimited.reason)
        case .lost: limited(client, limit, key, wait: verdict.wait, "rate_lease_lost")
        }
        return .over
    }

    /// What the request is counted by: a hash of bytes, or a number that tells as much.
    private func rateKey(
        _ client: Conn, _ arrays: TableView, _ limit: RateEntry, _ bytes: UnsafePointer<UInt8>, seed: UInt64
    ) -> RateKey {
        switch limit.kind {
        case .none: return RateKey(hash: 1)
        case .address: return RateKey(hash: UInt64(client.pointee.remoteAddress) | 1 << 40)
        case .principal: return RateKey(hash: UInt64(client.pointee.principalLabels) | 1 << 40)
        case .path:
            let path = bytes + parser.head.pathOffset
            var length = parser.head.pathLength
            if let query = memchr(path, 63, length) {
                length = UnsafeRawPointer(path).distance(to: UnsafeRawPointer(query))
            }
            return RateKey(hash: hash(path, length, seed), text: path, count: length)
        case .header:
            guard let found = findLine(bytes, arrays.pointee.text + Int(limit.header.offset), Int(limit.header.count))
            else {
                return RateKey(hash: 1)
            }
            let value = bytes + Int(parser.lines[found].valueOffset)
            let length = Int(parser.lines[found].valueLength)
            return RateKey(hash: hash(value, length, seed), text: value, count: length)
        }
    }

    /// The caller's principal as all proxies know it: numbers of the label book are each proxy's own.
    private mutating func principalKey(_ client: Conn, seed: UInt64) -> RateKey {
        let number = Int(client.pointee.principalLabels)
        while principalHashes.count <= number {
            let peers = labels.contents().peers
            for peer in peers[min(principalHashes.count, peers.count)...] {
                var hash = StableHash(seed: 0)
                hash.add(peer.principal)
                principalHashes.append(hash.mixed)
            }
            if principalHashes.count <= number { principalHashes.append(0) }
        }
        return RateKey(hash: principalHashes[number] ^ seed)
    }

    /// FNV-1a from a start that peers do not know, mixed at the end.
    private func hash(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ seed: UInt64) -> UInt64 {
        var hash = 0xCBF2_9CE4_8422_2325 ^ seed
        for place in 0..<count { hash = (hash ^ UInt64(bytes[place])) &* 0x100_0000_01B3 }
        hash ^= hash >> 32
        hash = hash &* 0xD6E8_FEB8_6659_FD93
        return hash ^ hash >> 29
    }

    private mutating func limited(
        _ client: Conn, _ limit: RateEntry, _ key: RateKey, wait: UInt64, _ reason: StaticString
    ) {
        let draft = draft(client)
        draft.pointee.limit = .rateLimited
        draft.pointee.limitName = limit.name
        if let text = key.text { draft.pointee.limitKey = draft.keep(text, key.count, most: 64) }
        let space = buffers.take(0)
        defer { buffers.give(space, 0) }
        var at = 0
        let seconds = max(1, Int(clamping: (wait &+ 999_999_999) / 1_000_000_000))
        put("retry-after: ", space, &at)
        putNumber(seconds, space, &at)
        put("\r\n", space, &at)
        if limit.headers != .off { putLimit(limit, remaining: 0, seconds: seconds, space, &at) }
        answerLines.append(contentsOf: UnsafeBufferPointer(start: space, count: at))
        skipHead(client)
        answer(client, status: 429, .rateLimited, reason, close: false)
    }

    private func putLimit(_ limit: RateEntry, remaining: UInt64, seconds: Int, _ out: Bytes, _ at: inout Int) {
        let prefix: StaticString = limit.headers == .draft ? "ratelimit-" : "x-ratelimit-"
        put(prefix, out, &at)
        put("limit: ", out, &at)
        putNumber(Int(clamping: limit.bucket.burst), out, &at)
        put("\r\n", out, &at)
        put(prefix, out, &at)
        put("remaining: ", out, &at)
        putNumber(Int(clamping: remaining), out, &at)
        put("\r\n", out, &at)
        put(prefix, out, &at)
        put("reset: ", out, &at)
        putNumber(seconds, out, &at)
        put("\r\n", out, &at)
    }

    /// The answer shall say what is left: of all limits, of the one of which least is.
    private mutating func tell(_ client: Conn, _ limit: RateEntry, _ remaining: UInt64) {
        let extras = extras(client)
        if extras.pointee.limitStart >= 0 && extras.pointee.limitRemaining <= remaining { return }
        if extras.pointee.limitStart < 0 { extras.pointee.limitStart = extras.pointee.linesLength }
        var at = Int(extras.pointee.limitStart)
        // Three lines of less than 64 bytes each.
        if RouteExtras.linesSize - at < 192 { return }
        let left = min(remaining, limit.bucket.burst)
        // Until all of it is there again.
        let full = Double(limit.bucket.burst - left) * Double(limit.bucket.interval) / 1_000_000_000
        putLimit(limit, remaining: left, seconds: Int(min(full.rounded(.up), 1e9)), extras.lines, &at)
        extras.pointee.linesLength = Int32(truncatingIfNeeded: at)
        extras.pointee.limitRemaining = remaining
        client.pointee.editsResponse = true
    }
}
