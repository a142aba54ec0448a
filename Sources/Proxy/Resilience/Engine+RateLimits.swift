import Glibc
import Loop
import ProxyResources
import Wire

extension Engine {
    func hasInboundRates(_ client: Conn, _ arrays: TableArrays) -> Bool {
        if arrays.resilience.workloadRates.count > 0 { return true }
        return (inboundPort(client.pointee.originalPort)?.rates.count ?? 0) > 0
    }

    /// Takes a token of each limit that applies. False when the client has its 429.
    mutating func takeRates(_ client: Conn, _ arrays: TableArrays, _ entry: Int32, _ bytes: UnsafePointer<UInt8>)
        -> Bool
    {
        if client.pointee.side == .inbound {
            if !take(client, arrays, arrays.resilience.workloadRates, bytes) { return false }
            return take(client, arrays, inboundPort(client.pointee.originalPort)?.rates ?? Run(), bytes)
        }
        return entry < 0 || take(client, arrays, arrays.resilience.efforts[Int(entry)].rates, bytes)
    }

    private mutating func take(_ client: Conn, _ arrays: TableArrays, _ run: Run, _ bytes: UnsafePointer<UInt8>) -> Bool
    {
        for place in Int(run.start)..<Int(run.start &+ run.count) {
            let limit = arrays.resilience.rates[place]
            let verdict = limit.table._withUnsafeGuaranteedRef { table in
                table.take(rateKey(client, arrays, limit, bytes, seed: table.seed), limit.bucket, now: now)
            }
            if !verdict.isAdmitted {
                limited(client, limit, verdict)
                return false
            }
        }
        return true
    }

    /// What the request is counted by: a hash of bytes, or a number that tells as much.
    private func rateKey(
        _ client: Conn, _ arrays: TableArrays, _ limit: RateEntry, _ bytes: UnsafePointer<UInt8>, seed: UInt64
    ) -> UInt64 {
        switch limit.kind {
        case .none: return 1
        case .address: return UInt64(client.pointee.remoteAddress) | 1 << 40
        case .principal: return UInt64(client.pointee.principalLabels) | 1 << 40
        case .path:
            let path = bytes + parser.head.pathOffset
            var length = parser.head.pathLength
            if let query = memchr(path, 63, length) {
                length = UnsafeRawPointer(path).distance(to: UnsafeRawPointer(query))
            }
            return hash(path, length, seed)
        case .header:
            guard let found = findLine(bytes, arrays.text + Int(limit.header.offset), Int(limit.header.count)) else {
                return 1
            }
            let line = parser.lines[found]
            return hash(bytes + Int(line.valueOffset), Int(line.valueLength), seed)
        }
    }

    /// FNV-1a from a start that peers do not know, mixed at the end.
    private func hash(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ seed: UInt64) -> UInt64 {
        var hash = 0xCBF2_9CE4_8422_2325 ^ seed
        for place in 0..<count { hash = (hash ^ UInt64(bytes[place])) &* 0x100_0000_01B3 }
        hash ^= hash >> 32
        hash = hash &* 0xD6E8_FEB8_6659_FD93
        return hash ^ hash >> 29
    }

    private mutating func limited(_ client: Conn, _ limit: RateEntry, _ verdict: RateBucket.Verdict) {
        let space = buffers.take(0)
        defer { buffers.give(space, 0) }
        var at = 0
        let seconds = max(1, Int(clamping: (verdict.wait &+ 999_999_999) / 1_000_000_000))
        put("retry-after: ", space, &at)
        putNumber(seconds, space, &at)
        put("\r\nx-ratelimit-limit: ", space, &at)
        putNumber(Int(clamping: limit.bucket.burst), space, &at)
        put("\r\nx-ratelimit-remaining: 0\r\nx-ratelimit-reset: ", space, &at)
        putNumber(seconds, space, &at)
        put("\r\n", space, &at)
        answerLines.append(contentsOf: UnsafeBufferPointer(start: space, count: at))
        skipHead(client)
        answer(client, status: 429, .rateLimited, ResponseFlag.rateLimited.reason, close: false)
    }
}
