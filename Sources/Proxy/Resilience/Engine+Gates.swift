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

    /// A place at a gate has been given to a request that waits here; one that has gone gives it back.
    mutating func admitted(_ gate: Gate, _ connection: UInt64) {
        guard let client = find(connection), client.pointee.parking == .slot, client.pointee.hasEffort,
            efforts[Int(client.pointee.index)].waitsAt?._withUnsafeGuaranteedRef({ $0 === gate }) == true
        else {
            gate.leave()
            return
        }
        let effort = efforts + Int(client.pointee.index)
        effort.pointee.held.insert(effort.pointee.waitsFor)
        effort.pointee.waitsAt = nil
        unpark(client)
    }

    /// A request has waited for a place for as long as it may.
    mutating func slotWaitEnded(_ client: Conn) {
        leaveQueue(client)
        client.pointee.parking = .none
        answer(client, status: 503, .overflow, "pending_timeout", close: true)
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
        client.pointee.hasEffort = false
    }

    /// One of our idle connections makes room for a request that waits, here or at another loop.
    mutating func yieldIdle(_ gate: Gate) {}

    /// The time before the next try has passed.
    mutating func sendAgain(_ client: Conn) {}
}
