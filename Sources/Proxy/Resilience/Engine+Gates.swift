import Loop
import ProxyResources

extension Engine {
    /// The connection's effort, begun when it has none yet.
    mutating func effort(_ connection: Conn) -> UnsafeMutablePointer<Effort> {
        let effort = efforts + Int(connection.pointee.index)
        if !connection.pointee.hasEffort {
            connection.pointee.hasEffort = true
            effort.initialize(to: Effort())
        }
        return effort
    }

    /// A client that is parked at this gate.
    func waits(_ connection: UInt64, at gate: Gate) -> Conn? {
        guard let client = find(connection), client.pointee.parking == .slot, client.pointee.hasEffort,
            efforts[Int(client.pointee.index)].waitsAt?._withUnsafeGuaranteedRef({ $0 === gate }) == true
        else { return nil }
        return client
    }

    /// A place at a gate has been given to a request that waits here; one that has gone gives it back.
    mutating func admitted(_ gate: Gate, _ connection: UInt64) {
        guard let client = waits(connection, at: gate) else {
            gate.leave()
            return
        }
        let effort = efforts + Int(client.pointee.index)
        effort.pointee.held.insert(effort.pointee.waitsFor)
        effort.pointee.waitsAt = nil
        unpark(client)
    }

    /// Leaves the queue at a gate, if it stands in one.
    mutating func leaveQueue(_ client: Conn) {
        let effort = efforts + Int(client.pointee.index)
        guard let gate = effort.pointee.waitsAt else { return }
        effort.pointee.waitsAt = nil
        // When it is no longer in the queue, the place comes by message and `admitted` gives it back.
        _ = gate._withUnsafeGuaranteedRef { $0.forget(key(client), mailbox) }
    }

    /// The exchange is over: gives back what it holds.
    mutating func settle(_ client: Conn) {
        leaveQueue(client)
        let effort = efforts + Int(client.pointee.index)
        let held = effort.pointee.held
        if !held.isEmpty, let arrays = client.pointee.table?.pointee.arrays {
            if effort.pointee.entry >= 0 {
                let route = arrays.pointee.resilience.efforts[Int(effort.pointee.entry)]
                if held.contains(.routeRequest) { route.requests?._withUnsafeGuaranteedRef { $0.leave() } }
                if held.contains(.routeRetry) { route.retries?._withUnsafeGuaranteedRef { $0.leave() } }
            }
            if effort.pointee.guardPlace >= 0 {
                let guarded = arrays.pointee.resilience.guards[Int(effort.pointee.guardPlace)]
                if held.contains(.backendRequest) { guarded.requests?._withUnsafeGuaranteedRef { $0.leave() } }
                if held.contains(.backendRetry) { guarded.retries?._withUnsafeGuaranteedRef { $0.leave() } }
                if held.contains(.connection) { guarded.connections?._withUnsafeGuaranteedRef { $0.leave() } }
                if held.contains(.adaptive) { settleAdaptive(client, guarded.shares + Int(loopNumber)) }
            }
        }
        client.pointee.hasEffort = false
    }

    private mutating func settleAdaptive(_ client: Conn, _ share: UnsafeMutablePointer<LoopShare>) {
        share.pointee.active -= 1
        let (sent, answered) = (client.pointee.attemptAt, client.pointee.answeredAt)
        if answered == 0 || answered < sent { return }
        share.pointee.adaptive?.sample(answered &- sent, now: now, chance: chance.next())
    }
}
