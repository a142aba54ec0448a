import Glibc
import Loop
import Wire

extension Engine {
    /// What the chosen route asks for before the request is sent: `client.choice` is where it goes.
    @inline(__always)
    mutating func admit(_ client: Conn, _ bytes: UnsafePointer<UInt8>) -> Step {
        let rule = client.pointee.choice.rule
        if rule >= 0, let arrays = client.pointee.table?.pointee.arrays {
            if arrays.pointee.rules[Int(rule)].actions >= 0 {
                return act(client, bytes, arrays, arrays.pointee.rules[Int(rule)])
            }
            let status = arrays.pointee.rules[Int(rule)].directStatus
            if status > 0 { return answerDirectly(client, bytes, status: Int(status)) }
        }
        return admitEffort(client, bytes)
    }

    /// An answer of the route's own, within its limits.
    private mutating func answerDirectly(_ client: Conn, _ bytes: UnsafePointer<UInt8>, status: Int) -> Step {
        let step = admitEffort(client, bytes)
        if step != .go { return step }
        skipHead(client)
        answer(client, status: status, .none, ResponseFlag.none.reason, close: false)
        return .over
    }

    /// In order: permission of browsers, faults, limits, answers of the route's own, and what needs work before the head is written.
    /// What is before the limits is done once, however often the request has to wait.
    private mutating func act(
        _ client: Conn, _ bytes: UnsafePointer<UInt8>, _ arrays: TableView, _ rule: RuleEntry
    ) -> Step {
        let actions = arrays.pointee.routes.actions[Int(rule.actions)]
        if !client.pointee.isAdmitted {
            if actions.cors >= 0 {
                let step = checkOrigin(client, bytes, arrays, arrays.pointee.routes.cors[Int(actions.cors)])
                if step != .go { return step }
            }
            if actions.fault >= 0 {
                let step = injectFault(client, bytes, arrays, arrays.pointee.routes.faults[Int(actions.fault)])
                if step != .go { return step }
            }
            client.pointee.isAdmitted = true
        } else if client.pointee.choice.status != 0 {
            return abort(client)
        }
        let step = admitEffort(client, bytes)
        if step != .go { return step }
        if actions.redirect >= 0 {
            redirect(client, bytes, arrays, actions)
            return .over
        }
        if rule.directStatus > 0 {
            respond(client, arrays, actions, status: Int(rule.directStatus))
            return .over
        }
        if actions.path.kind == .regex { return rewriteByPattern(client, bytes, arrays, actions.path) }
        return .go
    }

    // MARK: faults

    private mutating func draws(_ millionths: UInt32) -> Bool {
        millionths >= 1_000_000 || (millionths > 0 && chance.below(1_000_000) < millionths)
    }

    /// Both are drawn before the delay, so that a request is drawn for once.
    private mutating func injectFault(
        _ client: Conn, _ bytes: UnsafePointer<UInt8>, _ arrays: TableView, _ fault: FaultEntry
    ) -> Step {
        var delay = UInt64(fault.delayMilliseconds)
        var status = Int(fault.abortStatus)
        if fault.isHeaderControlled {
            if let asked = number(in: "x-envoy-fault-delay-request", bytes) { delay = UInt64(min(asked, 3_600_000)) }
            if let asked = number(in: "x-envoy-fault-abort-request", bytes), (200...599).contains(asked) {
                status = asked
            }
        }
        if status > 0 && draws(fault.abortMillionths) { client.pointee.choice.status = status }
        if delay > 0 && draws(fault.delayMillionths) {
            client.pointee.isAdmitted = true
            client.pointee.flag = .faultDelay
            return park(client, for: .delay, atMost: delay * 1_000_000)
        }
        return client.pointee.choice.status > 0 ? abort(client) : .go
    }

    private mutating func abort(_ client: Conn) -> Step {
        let status = client.pointee.choice.status
        var code: Int32 = -1
        if let arrays = client.pointee.table?.pointee.arrays {
            let actions = arrays.pointee.routes.actions[
                Int(arrays.pointee.rules[Int(client.pointee.choice.rule)].actions)]
            code = arrays.pointee.routes.faults[Int(actions.fault)].abortGRPC
        }
        skipHead(client)
        if code < 0 || status != 200 {
            answer(client, status: status, .faultAbort, ResponseFlag.faultAbort.reason, close: false)
            return .over
        }
        // Trailers only: the head says how the call ended (gRPC over HTTP/2, "Responses").
        guard let out = beginReply(client, status: 200, .faultAbort, ResponseFlag.faultAbort.reason, room: 256) else {
            return .over
        }
        var at = Int(client.pointee.outputEnd)
        put("content-type: application/grpc\r\ngrpc-status: ", out, &at)
        putNumber(Int(code), out, &at)
        put("\r\ngrpc-message: ", out, &at)
        put(ResponseFlag.faultAbort.reason, out, &at)
        put("\r\n", out, &at)
        finishReply(client, out, &at, nil, 0)
        return .over
    }

    private func number(in name: StaticString, _ bytes: UnsafePointer<UInt8>) -> Int? {
        guard let place = findLine(bytes, name.utf8Start, name.utf8CodeUnitCount) else { return nil }
        let line = parser.lines[place]
        if line.valueLength == 0 || line.valueLength > 9 { return nil }
        var value = 0
        for index in 0..<Int(line.valueLength) {
            let digit = Int(bytes[Int(line.valueOffset) + index]) - 48
            if digit < 0 || digit > 9 { return nil }
            value = value * 10 + digit
        }
        return value
    }

    // MARK: direct responses

    private mutating func respond(_ client: Conn, _ arrays: TableView, _ actions: ActionsEntry, status: Int) {
        skipHead(client)
        let reason = ResponseFlag.none.reason
        if !actions.hasBody && client.pointee.extras == nil && actions.response.isEmpty {
            answer(client, status: status, .none, reason, close: false)
            return
        }
        let room = Int(actions.response.bytes &+ actions.contentType.count) + 32
        guard let out = beginReply(client, status: status, .none, reason, room: room) else { return }
        var at = Int(client.pointee.outputEnd)
        if actions.body.count > 0 {
            put("content-type: ", out, &at)
            put(arrays.pointee.text + Int(actions.contentType.offset), Int(actions.contentType.count), out, &at)
            put("\r\n", out, &at)
        }
        putEdits(arrays, actions.response.set, out, &at)
        putEdits(arrays, actions.response.add, out, &at)
        finishReply(client, out, &at, arrays.pointee.text + Int(actions.body.offset), Int(actions.body.count))
    }
}
