import Glibc

extension Engine {
    /// Counts an exchange or tunnel that is over, and lets go of what it held. Harmless when there is none.
    mutating func endExchange(_ client: Conn) {
        guard client.pointee.inExchange else { return }
        client.pointee.inExchange = false
        if client.pointee.hasEffort { settle(client) }
        client.pointee.stage = .head
        client.pointee.parking = .none
        counts.exchanges -= 1
        finishDraft(client)
        if client.pointee.mode == .opaque {
            if client.pointee.series >= 0 { series.closed(client.pointee.series) }
            client.pointee.series = -1
        } else {
            let key = SeriesKey(
                kind: .http, isDestination: client.pointee.side == .inbound, peer: client.pointee.peerLabels,
                service: client.pointee.service, security: client.pointee.secure, flag: client.pointee.flag,
                status: client.pointee.status)
            series.countRequest(
                key, nanoseconds: now &- client.pointee.startedAt, requestBytes: client.pointee.requestBytes,
                responseBytes: client.pointee.responseBytes)
        }
        if client.pointee.endpoint >= 0 {
            endpoints[Int(client.pointee.endpoint)].active &-= 1
            observeOutcome(client, client.pointee.endpoint, client.pointee.flag)
            freeIfGone(client.pointee.endpoint)
            client.pointee.endpoint = -1
        }
        if let table = client.pointee.table {
            client.pointee.table = nil
            leave(table)
        }
        dropReplay(client)
        client.pointee.startedAt = 0
        if client.pointee.side != .inbound {
            client.pointee.peerLabels = 0
            client.pointee.secure = .none
        }
    }

    func tunnelKey(_ client: Conn) -> SeriesKey {
        SeriesKey(
            kind: .tcp, isDestination: client.pointee.side == .inbound, peer: client.pointee.peerLabels,
            service: client.pointee.service,
            security: client.pointee.secure, flag: .none, status: 0)
    }

    /// An opaque connection a strict port turned away.
    mutating func countTunnelRefused(_ client: Conn, _ flag: ResponseFlag = .refusedPlain) {
        let key = SeriesKey(
            kind: .tcp, isDestination: true, peer: client.pointee.peerLabels, service: client.pointee.service,
            security: client.pointee.secure, flag: flag, status: 0)
        series.closed(series.opened(key))
    }
}
