import KubeTypes
import NIOHTTP1
import Synchronization
import Transport
import Wire

/// The requests being worked on: counted, and given up when they take too long.
final class RequestsInFlight: Sendable {
    struct Ticket: Sendable {
        fileprivate let number: UInt64
        fileprivate let isLong: Bool
        fileprivate let isMutating: Bool
    }
    struct Counts: Sendable {
        var reading = 0
        var mutating = 0
    }
    private struct Entry {
        let responder: HTTPResponder
        let id: String
        let until: ContinuousClock.Instant
    }
    private struct State {
        var entries: [UInt64: Entry] = [:]
        var next: UInt64 = 0
        var counts = Counts()
        var isWatched = false
    }

    private let limit: Duration
    private let state = Mutex(State())

    init(limit: Duration = .seconds(60)) { self.limit = limit }

    var counts: Counts { state.withLock(\.counts) }

    func begin(_ responder: HTTPResponder, isLong: Bool, isMutating: Bool, _ id: String) -> Ticket {
        let (ticket, startsWatch) = state.withLock { state -> (Ticket, Bool) in
            state.next += 1
            if !isLong {
                if isMutating { state.counts.mutating += 1 } else { state.counts.reading += 1 }
                state.entries[state.next] = Entry(responder: responder, id: id, until: .now + limit)
            }
            let starts = !state.isWatched && !isLong
            if starts { state.isWatched = true }
            return (Ticket(number: state.next, isLong: isLong, isMutating: isMutating), starts)
        }
        if startsWatch { Task.detached { await self.watch() } }
        return ticket
    }

    func end(_ ticket: Ticket) {
        state.withLock { state in
            state.entries[ticket.number] = nil
            if ticket.isLong { return }
            if ticket.isMutating {
                state.counts.mutating -= 1
            } else {
                state.counts.reading -= 1
            }
        }
    }

    /// Looks once a second while there is anything to look at.
    private func watch() async {
        while true {
            try? await Task.sleep(for: .seconds(1))
            let now = ContinuousClock.now
            let late = state.withLock { state -> [Entry]? in
                if state.entries.isEmpty {
                    state.isWatched = false
                    return nil
                }
                let numbers = state.entries.filter { $0.value.until < now }.keys
                return numbers.compactMap { state.entries.removeValue(forKey: $0) }
            }
            guard let late else { return }
            for entry in late {
                let failure = APIFailure(
                    code: 504, reason: "Timeout",
                    message: "Timeout: request did not complete within the allotted timeout (request \(entry.id))",
                    details: [:])
                await entry.responder.giveUp(
                    .gatewayTimeout, ["content-type": "application/json", "audit-id": entry.id], failure.status.bytes)
            }
        }
    }
}
