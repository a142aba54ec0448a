import CKernel
import Glibc
import Loop
import ProxyResources
import TLS
import Wire

// Active health checks: one loop runs them for all. A check is an upstream connection without a client.
extension Engine {
    /// Keeps the checks the table asks for: those that went on before keep their verdicts.
    mutating func planProbes(_ table: UnsafeMutablePointer<LiveTable>) {
        let balance = table.pointee.arrays.pointee.balance
        var planned: [UInt64: Probe] = [:]
        for place in 0..<balance.entryCount where balance.entries[place].check >= 0 {
            let entry = balance.entries[place]
            let check = balance.checks[Int(entry.check)]
            for index in Int(entry.members.start)..<Int(entry.members.start + entry.members.count) {
                let member = balance.members[index]
                let number = table.pointee.arrays.pointee.endpoints[Int(member.endpoint)].number
                if member.place < 0 || planned[number] != nil { continue }
                // The first checks come soon, but not all at once.
                let soon = check.interval / 10000 &* UInt64(chance.below(1000))
                var probe = probes.all[number] ?? Probe(slot: -1, place: -1, check: -1, nextAt: now &+ soon)
                probe.slot = table.pointee.slots[Int(member.endpoint)]
                probe.place = member.place
                probe.check = entry.check
                planned[number] = probe
            }
        }
        let gone = probes.all.filter { planned[$0.key] == nil }
        probes.all = planned
        for (_, probe) in gone {
            if probe.running != 0, let connection = find(probe.running), connection.pointee.isProbe {
                close(connection)
            }
            // Nobody asks any more, so nothing speaks against it.
            if !probe.verdicts.isWell { _ = board.noteChecked(probe.place, isWell: true, at: now) }
        }
    }

    mutating func startProbes(_ table: UnsafeMutablePointer<LiveTable>) {
        if probes.all.isEmpty { return }
        var due: [UInt64] = []
        for (number, probe) in probes.all where probe.running == 0 && probe.nextAt <= now { due.append(number) }
        for number in due where probes.running < ProbeList.mostRunning { start(number, table) }
    }

    private mutating func start(_ number: UInt64, _ table: UnsafeMutablePointer<LiveTable>) {
        guard let probe = probes.all[number] else { return }
        let arrays = table.pointee.arrays
        let check = arrays.pointee.balance.checks[Int(probe.check)]
        // A tenth either way, so that checks do not fall into step.
        let spread = check.interval / 5 / 1000 &* UInt64(chance.below(1000))
        probes.all[number]?.nextAt = now &+ check.interval &- check.interval / 10 &+ spread
        guard let upstream = dialProbe(probe.slot, check, table) else {
            settle(number, passed: false)
            return
        }
        upstream.pointee.isProbe = true
        upstream.pointee.remaining = Int(truncatingIfNeeded: number)
        let running = key(upstream)
        probes.all[number]?.running = running
        probes.all[number]?.isAnsweredWell = false
        probes.all[number]?.endsAt = now &+ check.timeout
        probes.running += 1
        if check.request.count > 0, let sizeClass = BufferPool.sizeClass(for: Int(check.request.count)) {
            let out = buffers.take(sizeClass)
            memcpy(out, arrays.pointee.text + Int(check.request.offset), Int(check.request.count))
            upstream.pointee.output = out
            upstream.pointee.outputClass = sizeClass
            upstream.pointee.outputStart = 0
            upstream.pointee.outputEnd = check.request.count
        }
        setDeadline(upstream, after: check.timeout)
    }

    private mutating func dialProbe(_ slot: Int32, _ check: CheckEntry, _ table: UnsafeMutablePointer<LiveTable>)
        -> Conn?
    {
        if check.port == 0 || check.port == endpoints[Int(slot)].port {
            guard case .ready(let upstream) = dial(slot, check.kind == .http ? .http : .opaque, table) else {
                return nil
            }
            return upstream
        }
        guard let upstream = dial(address: endpoints[Int(slot)].address, port: check.port) else { return nil }
        upstream.pointee.endpoint = slot
        endpoints[Int(slot)].connections &+= 1
        return upstream
    }

    /// The connection is there, and over TLS its peer is who it should be.
    mutating func probeConnected(_ upstream: Conn) {
        let number = UInt64(UInt(bitPattern: upstream.pointee.remaining))
        guard let table, let probe = probes.all[number] else { return }
        let check = table.pointee.arrays.pointee.balance.checks[Int(probe.check)]
        if check.kind == .tcp { probes.all[number]?.isAnsweredWell = true }
        // A TCP check is over, but the caller still looks at the connection.
        setDeadline(upstream, after: check.kind == .tcp || probe.endsAt <= now ? 1 : probe.endsAt &- now)
    }

    /// The endpoint has sent something.
    mutating func probeAnswered(_ upstream: Conn) {
        let number = UInt64(UInt(bitPattern: upstream.pointee.remaining))
        guard let table, let probe = probes.all[number], let input = upstream.pointee.input else {
            close(upstream)
            return
        }
        let arrays = table.pointee.arrays
        let check = arrays.pointee.balance.checks[Int(probe.check)]
        let bytes = UnsafePointer(input + Int(upstream.pointee.inputStart))
        let count = upstream.pointee.inputCount
        switch check.kind {
        case .tcp: upstream.pointee.inputStart = upstream.pointee.inputEnd
        case .http:
            switch parser.response(bytes, count) {
            case .incomplete: return
            case .refused: break
            case .complete:
                if parser.head.status < 200 {
                    upstream.pointee.inputStart &+= Int32(truncatingIfNeeded: parser.head.length)
                    return
                }
                let isWell = expects(check, parser.head.status, arrays.pointee.balance)
                probes.all[number]?.isAnsweredWell = isWell
            }
            close(upstream)
        case .grpc:
            switch GRPCHealth.read(UnsafeBufferPointer(start: bytes, count: count)) {
            case .needMore: return
            case .serving: probes.all[number]?.isAnsweredWell = true
            case .notServing: break
            }
            close(upstream)
        }
    }

    private func expects(_ check: CheckEntry, _ status: Int, _ balance: BalanceArrays) -> Bool {
        if check.statuses.count == 0 { return (200...299).contains(status) }
        for place in Int(check.statuses.start)..<Int(check.statuses.start + check.statuses.count)
        where Int(balance.checkStatuses[place]) == status {
            return true
        }
        return false
    }

    /// A check's connection is gone, whatever came of it.
    mutating func probeEnded(_ upstream: Conn) {
        let number = UInt64(UInt(bitPattern: upstream.pointee.remaining))
        upstream.pointee.isProbe = false
        probes.running -= 1
        guard let probe = probes.all[number], probe.running != 0 else { return }
        probes.all[number]?.running = 0
        settle(number, passed: probe.isAnsweredWell)
    }

    private mutating func settle(_ number: UInt64, passed: Bool) {
        guard let table, var probe = probes.all[number] else { return }
        let check = table.pointee.arrays.pointee.balance.checks[Int(probe.check)]
        let hasChanged = probe.verdicts.add(
            isWell: passed, healthyThreshold: check.healthyThreshold, unhealthyThreshold: check.unhealthyThreshold)
        probes.all[number] = probe
        if !hasChanged { return }
        _ = board.noteChecked(probe.place, isWell: probe.verdicts.isWell, at: now)
        let endpoint = endpoints[Int(probe.slot)]
        log(
            "endpoint \(IPv4(endpoint.address)):\(endpoint.port) \(probe.verdicts.isWell ? "passes" : "fails") its health checks"
        )
    }
}

/// Reads the answer to `grpc.health.v1.Health/Check` from HTTP/2 frames.
enum GRPCHealth: Equatable {
    case needMore, serving, notServing

    static func read(_ bytes: UnsafeBufferPointer<UInt8>) -> GRPCHealth {
        var at = 0
        var body: [UInt8] = []
        while bytes.count - at >= FrameHeader.size {
            let length = Int(bytes[at]) << 16 | Int(bytes[at + 1]) << 8 | Int(bytes[at + 2])
            let kind = bytes[at + 3]
            let flags = bytes[at + 4]
            if length > 16384 { return .notServing }
            if bytes.count - at < FrameHeader.size + length { return .needMore }
            let start = at + FrameHeader.size
            at = start + length
            switch FrameKind(rawValue: kind) {
            case .data:
                let isPadded = flags & FrameFlag.padded != 0 && length > 0
                let padding = isPadded ? Int(bytes[start]) + 1 : 0
                if padding > length { return .notServing }
                body += bytes[(start + (isPadded ? 1 : 0))..<(start + length - (isPadded ? padding - 1 : 0))]
                if let verdict = verdict(body) { return verdict }
                if flags & FrameFlag.endStream != 0 { return .notServing }
            case .headers: if flags & FrameFlag.endStream != 0 { return .notServing }
            case .resetStream, .goAway: return .notServing
            default: break
            }
        }
        return .needMore
    }

    /// Of a whole message: its field 1 is 1 when the service serves.
    private static func verdict(_ body: [UInt8]) -> GRPCHealth? {
        guard body.count >= 5 else { return nil }
        let length = body[1..<5].reduce(0) { $0 << 8 | Int($1) }
        if body[0] != 0 || length > 4096 { return .notServing }
        if body.count - 5 < length { return nil }
        var reader = ProtobufReader(Array(body[5..<5 + length]))
        while let tag = try? reader.nextTag() {
            if tag.field == 1 { return (try? reader.uint32(tag)) == 1 ? .serving : .notServing }
            if (try? reader.skip(tag)) == nil { return .notServing }
        }
        return .notServing
    }
}
