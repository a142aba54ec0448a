import CKernel
import Loop
import ProxyResources
import Synchronization
import TLS

extension Engine {
    private func connectionGuard(_ client: Conn) -> GuardEntry? {
        guard client.pointee.backend >= 0, let arrays = client.pointee.table?.pointee.arrays else { return nil }
        let place = arrays.pointee.backends[Int(client.pointee.backend)].guardPlace
        return place < 0 ? nil : arrays.pointee.resilience.guards[Int(place)]
    }

    /// Whether connections to the client's backend are limited in number.
    func limitsConnections(_ client: Conn) -> Bool { connectionGuard(client)?.connections != nil }

    /// How long nothing may move in a client's tunnel.
    @inline(__always)
    func tunnelPatience(_ client: Conn) -> UInt64 {
        guard let guarded = connectionGuard(client), guarded.tunnelIdle > 0 else { return Limits.idleTunnel }
        return guarded.tunnelIdle
    }

    /// Whether others wait for a connection of this backend, so that the client must not take an idle one before them.
    @inline(__always)
    func mustQueue(_ client: Conn) -> Bool {
        guard let gate = connectionGuard(client)?.connections else { return false }
        if client.pointee.hasEffort && !efforts[Int(client.pointee.index)].held.isDisjoint(with: [.turn, .connection]) {
            return false
        }
        return gate._withUnsafeGuaranteedRef { $0.hasWaiters }
    }

    /// A new connection to the endpoint within the limits of the client's backend.
    ///
    /// - Parameter mayWait: a tunnel does not.
    mutating func dial(
        for client: Conn, _ slot: Int32, _ alpn: ApplicationProtocol, _ table: UnsafeMutablePointer<LiveTable>?,
        mayWait: Bool = true
    ) -> Upstream {
        guard let guarded = connectionGuard(client) else { return dial(slot, alpn, table) }
        if let gate = guarded.connections, !takeConnection(client, gate),
            let refused = queueForConnection(client, gate, guarded, mayWait: mayWait)
        {
            return refused
        }
        let found = dial(slot, alpn, table)
        guard case .ready(let upstream) = found else {
            guarded.connections?._withUnsafeGuaranteedRef { $0.leave() }
            return found
        }
        if guarded.connections != nil || guarded.requestsPerConnection > 0 || guarded.idleTime > 0 {
            let effort = effort(upstream)
            effort.pointee.gate = guarded.connections?.retain()
            effort.pointee.mostServed = guarded.requestsPerConnection
            effort.pointee.idle = guarded.idleTime > 0 ? guarded.idleTime : Limits.idleUpstream
        }
        if let wanted = guarded.keepAlive {
            weft_keep_alive(
                upstream.pointee.fd, Int32(wanted.timeSeconds), Int32(wanted.intervalSeconds), Int32(wanted.probes))
        }
        if guarded.connectTime > 0 { setDeadline(upstream, after: guarded.connectTime) }
        return found
    }

    /// A place among the backend's connections: the one granted, a free one, or that of a connection of ours that is idle.
    private mutating func takeConnection(_ client: Conn, _ gate: Unmanaged<Gate>) -> Bool {
        var isTurn = false
        if client.pointee.hasEffort {
            let effort = efforts + Int(client.pointee.index)
            if effort.pointee.held.contains(.connection) {
                effort.pointee.held.remove(.connection)
                return true
            }
            isTurn = effort.pointee.held.contains(.turn)
            effort.pointee.held.remove(.turn)
        }
        let gate = gate.takeUnretainedValue()
        if isTurn ? gate.take() : gate.enter() { return true }
        if !isTurn && gate.hasWaiters { return false }
        guard let idle = findIdle(of: gate) else { return false }
        // Its place stays taken: it is the new connection's.
        let effort = efforts + Int(idle.pointee.index)
        if idle.pointee.isIdle { gate.idle.subtract(1, ordering: .relaxed) }
        effort.pointee.gate?.release()
        effort.pointee.gate = nil
        close(idle)
        return true
    }

    /// The client waits for a connection. Nil when it has a place after all.
    private mutating func queueForConnection(
        _ client: Conn, _ gate: Unmanaged<Gate>, _ guarded: GuardEntry, mayWait: Bool
    ) -> Upstream? {
        if !mayWait {
            gate._withUnsafeGuaranteedRef { $0.refuse() }
            return .overflow("backend_connections_limit")
        }
        switch ask(client, gate, .connection, most: guarded.mostPending, within: guarded.pendingTime) {
        case .entered:
            efforts[Int(client.pointee.index)].held.remove(.connection)
            return nil
        case .full: return .overflow(guarded.mostPending == 0 ? "backend_connections_limit" : "backend_pending_limit")
        case .waits:
            let gate = gate.takeUnretainedValue()
            for loop in loops { loop.post(.yield(gate)) }
            return .waits
        }
    }

    /// Others wait for a connection of the client's backend: it stands behind them. Nil when it need not.
    mutating func queueBehind(_ client: Conn) -> Upstream? {
        guard let guarded = connectionGuard(client), let gate = guarded.connections else { return nil }
        let waits = queueForConnection(client, gate, guarded, mayWait: true)
        if waits == nil { efforts[Int(client.pointee.index)].held.insert(.connection) }
        return waits
    }

    /// The client has an idle connection, so it needs no place for another.
    mutating func tookIdle(_ client: Conn) {
        let effort = efforts + Int(client.pointee.index)
        effort.pointee.held.remove(.turn)
        if !effort.pointee.held.contains(.connection) { return }
        effort.pointee.held.remove(.connection)
        connectionGuard(client)?.connections?._withUnsafeGuaranteedRef { $0.leave() }
    }

    /// An upstream is to serve a request.
    @inline(__always)
    func noteServed(_ client: Conn, _ upstream: Conn) {
        if upstream.pointee.hasEffort { efforts[Int(upstream.pointee.index)].served &+= 1 }
        if client.pointee.hasEffort { efforts[Int(client.pointee.index)].note(tried: upstream.pointee.endpoint) }
    }

    /// Whether an upstream has served as many requests as it may.
    @inline(__always)
    func isWornOut(_ upstream: Conn) -> Bool {
        guard upstream.pointee.hasEffort else { return false }
        let effort = efforts + Int(upstream.pointee.index)
        return effort.pointee.mostServed > 0 && effort.pointee.served >= effort.pointee.mostServed
    }

    /// An upstream has become idle: for how long it may be. Who waits for it hears of it.
    func noteIdle(_ upstream: Conn) -> UInt64 {
        guard upstream.pointee.hasEffort else { return Limits.idleUpstream }
        let effort = efforts + Int(upstream.pointee.index)
        if let gate = effort.pointee.gate?.takeUnretainedValue() {
            gate.idle.add(1, ordering: .sequentiallyConsistent)
            if gate.hasWaiters { mailbox.post(.yield(gate)) }
        }
        return effort.pointee.idle
    }

    func noteBusy(_ upstream: Conn) {
        guard upstream.pointee.hasEffort else { return }
        efforts[Int(upstream.pointee.index)].gate?._withUnsafeGuaranteedRef {
            _ = $0.idle.subtract(1, ordering: .relaxed)
        }
    }

    /// An upstream ends: its place is another's.
    mutating func leaveConnection(_ upstream: Conn) {
        upstream.pointee.hasEffort = false
        let effort = efforts + Int(upstream.pointee.index)
        guard let held = effort.pointee.gate else { return }
        effort.pointee.gate = nil
        held.takeRetainedValue().leave()
    }

    /// A stream has left a session: who waits for a connection of its backend may have its room.
    func noteRoom(_ carrier: Conn) {
        guard let gate = efforts[Int(carrier.pointee.index)].gate?.takeUnretainedValue() else { return }
        if gate.hasWaiters { mailbox.post(.yield(gate)) }
    }

    /// A connection of ours is idle, or has room for a stream, while somebody waits for one: the first who waits has it if it is
    /// here; otherwise an idle one is closed, so that its place goes to the first. Nobody is asked twice.
    mutating func yieldIdle(_ gate: Gate) {
        var left = gate.gauge.waiting
        while left > 0 {
            left -= 1
            let idle = findIdle(of: gate)
            if idle == nil && !hasRoom(gate) { return }
            guard let connection = gate.handOver(to: mailbox) else {
                guard let idle else { return }
                close(idle)
                continue
            }
            guard let client = waits(connection, at: gate) else { continue }
            let effort = efforts + Int(client.pointee.index)
            effort.pointee.held.insert(.turn)
            effort.pointee.waitsAt = nil
            unpark(client)
        }
    }

    private func holds(_ upstream: Conn, _ gate: Gate) -> Bool {
        guard upstream.pointee.hasEffort, let held = efforts[Int(upstream.pointee.index)].gate else { return false }
        return held._withUnsafeGuaranteedRef { $0 === gate }
    }

    /// One of our connections that hold a place at the gate and serve nobody.
    private func findIdle(of gate: Gate) -> Conn? {
        let hasIdle = gate.idle.load(ordering: .sequentiallyConsistent) > 0
        for slot in 0..<Int(topEndpoint) {
            var place = hasIdle ? endpoints[slot].idleHead : -1
            while place >= 0 {
                if holds(slab + Int(place), gate) { return slab + Int(place) }
                place = slab[Int(place)].next
            }
            place = endpoints[slot].sessionHead
            while place >= 0 {
                let carrier = slab + Int(place)
                if carrier.pointee.session?.pointee.open == 0 && holds(carrier, gate) { return carrier }
                place = carrier.pointee.next
            }
        }
        return nil
    }

    /// Whether one of our sessions that hold a place at the gate takes another stream.
    private func hasRoom(_ gate: Gate) -> Bool {
        for slot in 0..<Int(topEndpoint) {
            var place = endpoints[slot].sessionHead
            while place >= 0 {
                let carrier = slab + Int(place)
                if carrier.pointee.session?.pointee.hasRoom == true && holds(carrier, gate) { return true }
                place = carrier.pointee.next
            }
        }
        return false
    }
}
