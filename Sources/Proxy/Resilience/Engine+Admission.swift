import Loop
import ProxyResources
import Wire

extension Engine {
    /// What limits and deadlines say before a request is sent; asked again after every wait.
    mutating func admitEffort(_ client: Conn, _ bytes: UnsafePointer<UInt8>) -> Step {
        guard let arrays = client.pointee.table?.pointee.arrays else { return .go }
        let rule = client.pointee.choice.rule
        let backend = client.pointee.backend
        let entry: Int32 = rule >= 0 ? arrays.pointee.rules[Int(rule)].effort : -1
        let limit: Int32 = rule >= 0 ? arrays.pointee.rules[Int(rule)].timeoutMilliseconds : 0
        let guardPlace: Int32 = backend >= 0 ? arrays.pointee.backends[Int(backend)].guardPlace : -1
        let isTimed = limit > 0 || parser.head.deadlineLine >= 0 || parser.head.grpcTimeoutLine >= 0
        let isRated = client.pointee.side == .inbound && hasInboundRates(client, arrays)
        if entry < 0 && guardPlace < 0 && !isTimed && !isRated { return .go }

        let effort = effort(client)
        if !effort.pointee.passed.contains(.deadline) {
            effort.pointee.passed.insert(.deadline)
            effort.pointee.entry = entry
            effort.pointee.guardPlace = guardPlace
            effort.pointee.headBytes = Int32(truncatingIfNeeded: client.pointee.requestBytes)
            setEnds(client, effort, UInt64(limit) * 1_000_000, bytes)
            if guardPlace >= 0 {
                let guarded = arrays.pointee.resilience.guards[Int(guardPlace)]
                guarded.shares[Int(loopNumber)].budget.requested(guarded.budget, now: now)
            }
        }
        if effort.pointee.end <= now { return tooLate(client) }
        if !effort.pointee.passed.contains(.rates) {
            let step = takeRates(client, effort, arrays, entry, bytes)
            if step != .go { return step }
            effort.pointee.passed.insert(.rates)
        }
        if entry >= 0 {
            let route = arrays.pointee.resilience.efforts[Int(entry)]
            if let gate = route.requests, !effort.pointee.held.contains(.routeRequest) {
                let step = enter(
                    client, gate, .routeRequest, most: route.mostPending, within: route.pendingTime,
                    full: "route_requests_limit", crowded: "route_pending_limit")
                if step != .go { return step }
            }
        }
        if guardPlace >= 0 {
            let guarded = arrays.pointee.resilience.guards[Int(guardPlace)]
            if let gate = guarded.requests, !effort.pointee.held.contains(.backendRequest) {
                let step = enter(
                    client, gate, .backendRequest, most: guarded.mostPending, within: guarded.pendingTime,
                    full: "backend_requests_limit", crowded: "backend_pending_limit")
                if step != .go { return step }
            }
            if guarded.isAdaptive && !effort.pointee.held.contains(.adaptive) {
                let share = guarded.shares + Int(loopNumber)
                if share.pointee.adaptive?.admits(active: share.pointee.active) == false {
                    share.pointee.shed += 1
                    draft(client).pointee.limit = .overloaded
                    return refuse(client, .overflow, 503, "concurrency_limit")
                }
                share.pointee.active += 1
                effort.pointee.held.insert(.adaptive)
            }
        }
        return .go
    }

    /// Answers a request whose head stands in `input`, and was just parsed.
    mutating func refuse(_ client: Conn, _ flag: ResponseFlag, _ status: Int, _ reason: StaticString) -> Step {
        skipHead(client)
        answer(client, status: status, flag, reason, close: false)
        return .over
    }

    private mutating func tooLate(_ client: Conn) -> Step {
        refuse(client, .timeout, 504, timeoutReason(client))
    }

    /// Takes a place at a gate, or waits for one.
    private mutating func enter(
        _ client: Conn, _ gate: Unmanaged<Gate>, _ place: Effort.Held, most: Int, within time: UInt64,
        full: StaticString, crowded: StaticString
    ) -> Step {
        switch ask(client, gate, place, most: most, within: time) {
        case .entered: return .go
        case .waits: return .wait
        case .full:
            draft(client).pointee.limit = most == 0 ? .tooManyRequests : .tooManyPending
            return refuse(client, .overflow, 503, most == 0 ? full : crowded)
        }
    }

    /// Takes a place at a gate. When there is none the client is parked, unless too many wait already.
    mutating func ask(
        _ client: Conn, _ gate: Unmanaged<Gate>, _ place: Effort.Held, most: Int, within time: UInt64
    ) -> Gate.Wait {
        let effort = effort(client)
        let outcome = gate._withUnsafeGuaranteedRef { gate in
            gate.enter() ? .entered : gate.wait(key(client), mailbox, most: most)
        }
        switch outcome {
        case .entered: effort.pointee.held.insert(place)
        case .waits:
            effort.pointee.waitsAt = gate
            effort.pointee.waitsFor = place
            draft(client).pointee.limit = .queued
            let end = effort.pointee.end
            _ = park(client, for: .slot, atMost: end == .max ? time : min(time, end &- min(end, now)))
        case .full: break
        }
        return outcome
    }

    /// A request has waited for a place for as long as it may.
    mutating func slotWaitEnded(_ client: Conn) {
        leaveQueue(client)
        client.pointee.parking = .none
        let isLate = efforts[Int(client.pointee.index)].end <= now
        let reason: StaticString = isLate ? timeoutReason(client) : "pending_timeout"
        skipParked(client)
        draft(client).pointee.limit = .tooManyPending
        answer(client, status: isLate ? 504 : 503, isLate ? .timeout : .overflow, reason, close: false)
    }

    /// The head of a request that waited, and is now answered, is done with. One that waits to be repeated has none in `input`.
    private mutating func skipParked(_ client: Conn) {
        if efforts[Int(client.pointee.index)].isRepeating { return }
        guard let input = client.pointee.input else { return }
        let bytes = UnsafePointer(input + Int(client.pointee.inputStart))
        if parser.request(bytes, client.pointee.inputCount) == .complete { skipHead(client) }
    }
}
