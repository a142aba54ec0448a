import Glibc
import Loop
import ProxyResources
import Wire

extension Engine {
    /// When the exchange must end: by its route's time, from now on, and by what is left of the time its caller gives it, from the moment
    /// its head began to come. The earlier holds.
    func setEnds(
        _ client: Conn, _ effort: UnsafeMutablePointer<Effort>, _ limit: UInt64, _ bytes: UnsafePointer<UInt8>
    ) {
        var given = UInt64.max
        if parser.head.deadlineLine >= 0 {
            let line = parser.lines[parser.head.deadlineLine]
            if let time = DeadlineText.milliseconds(bytes + Int(line.valueOffset), Int(line.valueLength)) {
                given = client.pointee.startedAt &+ time
            }
        }
        if parser.head.grpcTimeoutLine >= 0 {
            let line = parser.lines[parser.head.grpcTimeoutLine]
            if let time = DeadlineText.grpc(bytes + Int(line.valueOffset), Int(line.valueLength)) {
                given = min(given, client.pointee.startedAt &+ time)
            }
        }
        let own = limit > 0 ? now &+ limit : .max
        effort.pointee.end = min(own, given)
        effort.pointee.endIsGiven = given <= own && given != .max
        if effort.pointee.entry >= 0, let arrays = client.pointee.table?.pointee.arrays {
            let idle = arrays.pointee.resilience.efforts[Int(effort.pointee.entry)].idle
            if idle > 0 { effort.pointee.idle = idle }
        }
    }

    /// Why an exchange's time is over.
    func timeoutReason(_ client: Conn) -> StaticString {
        guard client.pointee.hasEffort else { return ResponseFlag.timeout.reason }
        let effort = efforts + Int(client.pointee.index)
        if effort.pointee.end > now { return effort.pointee.tryEnd <= now ? "per_try_timeout" : "idle_timeout" }
        return effort.pointee.endIsGiven ? "deadline_exceeded" : ResponseFlag.timeout.reason
    }

    /// Sets when to look at the exchange again, now that a try has been sent.
    mutating func setTryDeadline(_ client: Conn) {
        let effort = efforts + Int(client.pointee.index)
        client.pointee.hasTimeout = true
        effort.pointee.tryEnd = .max
        if effort.pointee.entry >= 0, let arrays = client.pointee.table?.pointee.arrays {
            let time = arrays.pointee.resilience.efforts[Int(effort.pointee.entry)].retry.tryTime
            if time > 0 { effort.pointee.tryEnd = now &+ time }
        }
        let deadline = min(effort.pointee.nextEnd, now &+ effort.pointee.idle)
        setDeadline(client, after: deadline &- min(deadline, now))
    }

    /// Something moved: the exchange's idle time starts anew.
    @inline(__always)
    func pushDeadline(_ client: Conn) {
        let effort = efforts + Int(client.pointee.index)
        client.pointee.deadline = min(effort.pointee.nextEnd, now &+ effort.pointee.idle)
    }

    /// The answer's head has come: a try's time no longer counts.
    func effortAnswered(_ client: Conn) {
        let effort = efforts + Int(client.pointee.index)
        effort.pointee.tryEnd = .max
        client.pointee.deadline = min(effort.pointee.end, now &+ effort.pointee.idle)
        if effort.pointee.refusal == .attempts { client.pointee.flag = .retriesExhausted }
    }

    /// Now a stream of bytes both ways, which the route's time does not end but its stream time does.
    mutating func effortStreams(_ client: Conn) {
        let effort = efforts + Int(client.pointee.index)
        var end = UInt64.max
        if effort.pointee.entry >= 0, let arrays = client.pointee.table?.pointee.arrays {
            let entry = arrays.pointee.resilience.efforts[Int(effort.pointee.entry)]
            if entry.stream > 0 { end = now &+ entry.stream }
            effort.pointee.idle = entry.idle > 0 ? entry.idle : Limits.idleTunnel
        } else {
            effort.pointee.idle = Limits.idleTunnel
        }
        effort.pointee.end = end
        effort.pointee.tryEnd = .max
        let deadline = min(end, now &+ effort.pointee.idle)
        setDeadline(client, after: deadline &- now)
    }
}
