import Glibc
import Loop
import TLS
import Wire

extension Engine {
    /// CONNECT becomes a tunnel to the endpoint its route leads to. Only for routes that name the method: any other would make an open
    /// door of a gateway.
    mutating func connectThrough(_ client: Conn, _ choice: RouteChoice) -> Step {
        skipHead(client)
        guard choice.rule >= 0, let table = client.pointee.table, namesConnect(table.pointee.arrays, choice.rule) else {
            answer(client, status: 501, .clientProtocol, "connect_not_supported", close: true)
            return .over
        }
        if choice.status != 0 {
            answer(client, status: choice.status, choice.flag, choice.flag.reason, close: true)
            return .over
        }
        let slot = choice.endpoint >= 0 ? choice.endpoint : pickEndpoint(table, choice.backend, for: client)
        if slot < 0 {
            answer(client, status: 503, .noHealthyEndpoint, noEndpoint.reason, close: true)
            return .over
        }
        client.pointee.attempts &+= 1
        guard case .ready(let upstream) = dial(for: client, slot, .opaque, table, mayWait: false) else {
            noteAttempt(client, slot, nil)
            answer(client, status: 503, .connectFailure, ResponseFlag.connectFailure.reason, close: true)
            return .over
        }
        noteAttempt(client, slot, upstream)
        client.pointee.peerLabels = endpoints[Int(slot)].labels
        client.pointee.secure = upstream.pointee.isSecured ? .mutualTLS : .none
        client.pointee.endpoint = slot
        endpoints[Int(slot)].active &+= 1
        client.pointee.peer = upstream
        upstream.pointee.peer = client
        upstream.pointee.mode = .opaque
        upstream.pointee.phase = .tunnel
        client.pointee.phase = .tunnel
        client.pointee.isPaused = true
        setDeadline(client, after: Limits.idleTunnel)
        return .over
    }

    private func namesConnect(_ arrays: TableView, _ rule: Int32) -> Bool {
        let matches = arrays.pointee.rules[Int(rule)].matches
        for place in Int(matches.start)..<Int(matches.start &+ matches.count) {
            let method = arrays.pointee.matches[place].method
            if same(arrays.pointee.text + Int(method.offset), Int(method.count), "CONNECT") { return true }
        }
        return false
    }

    /// The far end of a CONNECT is there: the client may speak.
    mutating func connectMade(_ client: Conn) {
        client.pointee.status = 200
        guard let out = room(client, 64) else {
            closePair(client, .overflow)
            return
        }
        var at = Int(client.pointee.outputEnd)
        put("HTTP/1.1 200 OK\r\n\r\n", out, &at)
        client.pointee.outputEnd = Int32(truncatingIfNeeded: at)
        if flush(client) == .failed {
            closePair(client, .clientGone)
            return
        }
        queue(client)
    }

    /// It could not be reached.
    mutating func connectFailed(_ upstream: Conn, _ client: Conn) {
        upstream.pointee.peer = nil
        client.pointee.peer = nil
        close(upstream)
        client.pointee.phase = .done
        client.pointee.isPaused = false
        noteOutcome(client, .connectFailure, status: 0)
        answer(client, status: 503, .connectFailure, ResponseFlag.connectFailure.reason, close: true)
    }
}
