import Glibc
import Loop

/// Some of a loop's series, and all of its counts.
struct SeriesSlice: Sendable {
    var series: [Series]
    /// Where the next slice begins; nil at the end.
    var next: Int?
    var counts: LoopCounts
}

extension Engine {
    /// Counts an exchange or tunnel that is over, and lets go of what it held. Harmless when there is none.
    mutating func endExchange(_ client: Conn) {
        guard client.pointee.inExchange else { return }
        client.pointee.inExchange = false
        if client.pointee.isGRPC { noteCall(client, draft(client)) }
        if client.pointee.hasEffort { settle(client) }
        client.pointee.stage = .head
        client.pointee.parking = .none
        counts.exchanges -= 1
        finishDraft(client)
        if client.pointee.mode == .opaque {
            if client.pointee.series >= 0 { series.closed(client.pointee.series, now: now) }
            client.pointee.series = -1
        } else {
            let draft = draft(client)
            let key = SeriesKey(
                kind: draft.pointee.kind, isDestination: client.pointee.side == .inbound,
                peer: client.pointee.peerLabels,
                service: client.pointee.service, security: client.pointee.secure, flag: client.pointee.flag,
                status: client.pointee.status, grpcStatus: draft.pointee.grpcStatus)
            let place = series.countRequest(
                key, nanoseconds: now &- client.pointee.startedAt, requestBytes: client.pointee.requestBytes,
                responseBytes: client.pointee.responseBytes, now: now)
            if draft.pointee.isSampled || draft.pointee.kind == .grpc { series.addDetail(place, draft) }
        }
        if client.pointee.endpoint >= 0 {
            endpoints[Int(client.pointee.endpoint)].active &-= 1
            observeSize(client, client.pointee.endpoint)
            observeOutcome(client, client.pointee.endpoint, client.pointee.flag)
            freeIfGone(client.pointee.endpoint)
            client.pointee.endpoint = -1
        }
        if let table = client.pointee.table {
            client.pointee.table = nil
            leave(table)
        }
        dropReplay(client)
        if client.pointee.extras != nil { dropExtras(client) }
        if client.pointee.grants != nil { dropGrants(client) }
        if client.pointee.asker != 0 && !client.pointee.isShadow { dropQuestion(client) }
        client.pointee.external = .none
        client.pointee.startedAt = 0
        if client.pointee.side != .inbound {
            client.pointee.peerLabels = 0
            client.pointee.secure = .none
        }
    }

    /// Part of the series, and the counts, for a reader.
    func slice(from place: Int, most: Int) -> SeriesSlice {
        let (found, next) = series.copy(from: place, most: most)
        var counts = counts
        counts.series = series.count
        counts.guards = guardCounts()
        counts.asking = asking.count
        counts.bufferBytes = buffers.bytesInUse
        if isDraining { counts.unfinished = unfinishedClients() }
        return SeriesSlice(series: found, next: next, counts: counts)
    }

    /// Ten seconds' part of what keeps metrics bounded.
    mutating func sweep() {
        sweepsAt = now &+ 10 * Limits.second
        series.expire(now: now)
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
        series.closed(series.opened(key, now: now), now: now)
    }
}
