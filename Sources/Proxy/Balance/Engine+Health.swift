import Glibc
import Loop
import ProxyResources
import Synchronization
import Wire

extension Engine {
    /// An attempt on an endpoint is over: answered, or cut off for the reason in `flag`. What was not the endpoint's doing does not count.
    mutating func observeOutcome(_ client: Conn, _ slot: Int32, _ flag: ResponseFlag) {
        guard client.pointee.backend >= 0, slot >= 0, let table = client.pointee.table else { return }
        let place = table.pointee.arrays.pointee.backends[Int(client.pointee.backend)].balance
        if place < 0 { return }
        let status = client.pointee.status
        let outcome: AttemptOutcome
        switch flag {
        case .none:
            if status < 100 { return }
            let code = client.pointee.grpcStatus
            let isCall = client.pointee.isGRPC && status == 200 && code != Connection.noGRPCStatus
            outcome = isCall ? AttemptOutcome(grpcStatus: code) : AttemptOutcome(status: status)
        case .connectFailure, .upstreamEnded, .timeout, .upstreamProtocol: outcome = .localFailure
        default: return
        }
        let entry = table.pointee.arrays.pointee.balance.entries + Int(place)
        let endpoint = endpoints + Int(slot)
        endpoint.pointee.attempts &+= 1
        if outcome != .success { endpoint.pointee.failures &+= 1 }
        if entry.pointee.algorithm == .peakEWMA { addLatency(client, endpoint, entry, outcome) }
        if !entry.pointee.rules.isOn || endpoint.pointee.place < 0 { return }
        if outcome == .success {
            endpoint.pointee.newlySucceeded &+= 1
            if !records[Int(endpoint.pointee.place)].isTroubled.load(ordering: .relaxed) { return }
        } else {
            endpoint.pointee.newlyFailed &+= 1
        }
        report(endpoint, outcome, table, entry)
    }

    private func report(
        _ endpoint: UnsafeMutablePointer<LiveEndpoint>, _ outcome: AttemptOutcome,
        _ table: UnsafeMutablePointer<LiveTable>, _ entry: UnsafeMutablePointer<BalanceEntry>
    ) {
        let cause = board.note(
            endpoint.pointee.place, outcome, entry.pointee.rules, members: members(table, entry), at: now)
        if cause != .none {
            log("endpoint \(IPv4(endpoint.pointee.address)):\(endpoint.pointee.port) is ejected: \(cause.word)")
        }
    }

    func members(_ table: UnsafeMutablePointer<LiveTable>, _ entry: UnsafeMutablePointer<BalanceEntry>)
        -> UnsafeBufferPointer<BalanceMember>
    {
        let run = entry.pointee.members
        return UnsafeBufferPointer(
            start: table.pointee.arrays.pointee.balance.members + Int(run.start), count: Int(run.count))
    }

    private func addLatency(
        _ client: Conn, _ endpoint: UnsafeMutablePointer<LiveEndpoint>, _ entry: UnsafeMutablePointer<BalanceEntry>,
        _ outcome: AttemptOutcome
    ) {
        let end = client.pointee.answeredAt > 0 ? client.pointee.answeredAt : now
        var latency = Double(end &- min(end, client.pointee.attemptAt))
        if outcome != .success || client.pointee.status == 429 {
            let asked = Double(client.pointee.retryAfter) * 1e9
            latency = max(latency, entry.pointee.penalty, asked)
        }
        endpoint.pointee.latency.add(latency, at: now, decay: entry.pointee.decay)
    }

    /// How long a response asks not to be sent more (RFC 9110 §10.2.3), five minutes at most.
    func noteRetryAfter(_ client: Conn, _ bytes: UnsafePointer<UInt8>) {
        client.pointee.retryAfter = 0
        if parser.head.retryAfterLine < 0 { return }
        let line = parser.lines[parser.head.retryAfterLine]
        let asked =
            DeadlineText.retryAfter(bytes + Int(line.valueOffset), Int(line.valueLength), wall: Clock.wall) ?? 0
        client.pointee.retryAfter = UInt16(min(300, asked / Limits.second))
    }

    /// A connection to an endpoint was made.
    mutating func observeConnected(_ upstream: Conn) {
        let endpoint = endpoints + Int(upstream.pointee.endpoint)
        endpoint.pointee.avoidedUntil = 0
        let place = endpoint.pointee.place
        if place >= 0 && records[Int(place)].isTroubled.load(ordering: .relaxed) { board.noteConnected(place) }
        if upstream.pointee.isProbe { probeConnected(upstream) }
    }

    // MARK: the clock

    /// A new table is in force: its checks are taken up, and the clock ticks while something needs it.
    mutating func followHealth() {
        guard let table else { return }
        if loopNumber == 0 { planProbes(table) }
        let period = table.pointee.arrays.pointee.balance.tick
        if period == 0 { return }
        if clock == nil { clock = open(-1, .clock) }
        guard let clock, clock.pointee.deadline > now &+ period else { return }
        setDeadline(clock, after: period)
    }

    mutating func tick() {
        guard let table, let clock else { return }
        let period = table.pointee.arrays.pointee.balance.tick
        // Without a period it stops; the next table that needs it starts it again.
        if period == 0 { return }
        setDeadline(clock, after: period)
        let balance = table.pointee.arrays.pointee.balance
        for place in 0..<balance.entryCount {
            let entry = balance.entries + place
            if entry.pointee.rules.looksAtRates { handOver(members(table, entry), table) }
        }
        if loopNumber == 0 {
            judge(table)
            startProbes(table)
        }
        lastTick = now
    }

    /// Adds what this loop has counted to what all have.
    private func handOver(
        _ members: UnsafeBufferPointer<BalanceMember>, _ table: UnsafeMutablePointer<LiveTable>
    ) {
        for member in members where member.place >= 0 {
            let endpoint = endpoints + Int(table.pointee.slots[Int(member.endpoint)])
            if endpoint.pointee.newlySucceeded == 0 && endpoint.pointee.newlyFailed == 0 { continue }
            board.add(
                member.place, succeeded: endpoint.pointee.newlySucceeded, failed: endpoint.pointee.newlyFailed)
            endpoint.pointee.newlySucceeded = 0
            endpoint.pointee.newlyFailed = 0
        }
    }

    /// Backends whose interval is over. An endpoint can be in several of them, so all are judged before counts start again.
    private func judge(_ table: UnsafeMutablePointer<LiveTable>) {
        let balance = table.pointee.arrays.pointee.balance
        func isDue(_ entry: UnsafeMutablePointer<BalanceEntry>) -> Bool {
            let rules = entry.pointee.rules
            return rules.looksAtRates && now / rules.interval != lastTick / rules.interval
        }
        for place in 0..<balance.entryCount where isDue(balance.entries + place) {
            let entry = balance.entries + place
            board.judge(members(table, entry), entry.pointee.rules, at: now)
        }
        for place in 0..<balance.entryCount where isDue(balance.entries + place) {
            board.forget(members(table, balance.entries + place))
        }
    }
}
