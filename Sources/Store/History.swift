/// The most recent events, one a revision without a gap, bounded in number and in bytes.
struct History {
    /// How much is kept at least; up to a quarter more before it is trimmed.
    struct Limit: Sendable {
        var events = 8192
        var bytes = 16 << 20
        /// How many keep what readers made of them: several times their bytes, and seldom asked for again.
        var decoded = 512
    }

    private let limit: Limit
    private var events: [StoreEvent] = []
    private var bytes = 0
    /// Events after this revision are here.
    private(set) var horizon: Int64

    init(limit: Limit, horizon: Int64) {
        self.limit = limit
        self.horizon = horizon
    }

    mutating func append(_ event: StoreEvent) {
        precondition(event.revision == horizon + Int64(events.count) + 1, "events come one a revision")
        events.append(event)
        bytes += event.record.value.count + 200
        if events.count > limit.decoded { events[events.count - limit.decoded - 1].forgetPast() }
        if events.count > limit.events + limit.events / 4 || bytes > limit.bytes + limit.bytes / 4 { trim() }
    }

    private mutating func trim() {
        var gone = 0
        while events.count - gone > limit.events || (bytes > limit.bytes && events.count - gone > 1) {
            bytes -= events[gone].record.value.count + 200
            events[gone].record.forgetDecoded()
            events[gone].previous?.forgetDecoded()
            gone += 1
        }
        events.removeFirst(gone)
        horizon += Int64(gone)
    }

    /// Up to `limit` events after a revision in a scope, and the revision up to which they are complete.
    func events(after revision: Int64, in scope: String, limit: Int) -> (events: [StoreEvent], through: Int64) {
        var found: [StoreEvent] = []
        var place = Int(max(0, revision - horizon))
        while place < events.count, found.count < limit {
            let event = events[place]
            if event.record.key.hasPrefix(scope) { found.append(event) }
            place += 1
        }
        return (found, max(revision, horizon + Int64(place)))
    }
}
