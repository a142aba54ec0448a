import KubeTypes
import NIOHTTP1
import Synchronization
import Transport
import Wire

/// The requests being worked on, without watches and streams: counted, and given up when they take too long.
final class RequestsInFlight: Sendable {
    struct Ticket: Sendable {
        fileprivate let place: Int
        fileprivate let number: UInt64
        fileprivate let isMutating: Bool
    }
    struct Counts: Sendable {
        var reading = 0
        var mutating = 0
    }
    private struct Entry {
        let number: UInt64
        let responder: HTTPResponder
        let id: String
        let until: ContinuousClock.Instant
    }
    private struct State {
        var entries: [Entry?] = []
        /// Places among the entries that nobody has.
        var free: [Int] = []
        var last: UInt64 = 0
        var counts = Counts()
        var isWatched = false

        mutating func put(_ entry: Entry) -> Int {
            guard let place = free.popLast() else {
                entries.append(entry)
                return entries.count - 1
            }
            entries[place] = entry
            return place
        }

        mutating func remove(_ place: Int) {
            entries[place] = nil
            free.append(place)
        }
    }

    private let limit: Duration
    private let state = Mutex(State())

    init(limit: Duration = .seconds(60)) { self.limit = limit }

    var counts: Counts { state.withLock(\.counts) }

    func begin(_ responder: HTTPResponder, isMutating: Bool, _ id: String) -> Ticket {
        let (ticket, startsWatch) = state.withLock { state -> (Ticket, Bool) in
            state.last += 1
            if isMutating { state.counts.mutating += 1 } else { state.counts.reading += 1 }
            let place = state.put(Entry(number: state.last, responder: responder, id: id, until: .now + limit))
            let starts = !state.isWatched
            state.isWatched = true
            return (Ticket(place: place, number: state.last, isMutating: isMutating), starts)
        }
        if startsWatch { Task.detached { await self.watch() } }
        return ticket
    }

    func end(_ ticket: Ticket) {
        state.withLock { state in
            // One that took too long has lost its place already, perhaps to another.
            if state.entries[ticket.place]?.number == ticket.number { state.remove(ticket.place) }
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
                if state.free.count == state.entries.count {
                    state.isWatched = false
                    return nil
                }
                return state.entries.indices.compactMap { place in
                    guard let entry = state.entries[place], entry.until < now else { return nil }
                    state.remove(place)
                    return entry
                }
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
