/// The most recent events in order, bounded in number and in bytes. One revision may have several: they are never parted.
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
        precondition(
            event.revision >= events.last?.revision ?? horizon + 1, "events come in the order of their revisions")
        events.append(event)
        bytes += Self.size(event)
        if events.count > limit.decoded { events[events.count - limit.decoded - 1].forgetPast() }
        if events.count > limit.events + limit.events / 4 || bytes > limit.bytes + limit.bytes / 4 { trim() }
    }

    private static func size(_ event: StoreEvent) -> Int { event.record.value.count + 200 }

    private mutating func trim() {
        var gone = 0
        var left = bytes
        while events.count - gone > limit.events || (left > limit.bytes && events.count - gone > 1) {
            left -= Self.size(events[gone])
            gone += 1
        }
        for event in take(first: gone) { event.forgetDecoded() }
    }

    /// Takes out the oldest events up to a revision, `limit` at a time (more where one revision has several).
    ///
    /// - Returns: none when the history begins after the revision now.
    mutating func compact(to revision: Int64, limit: Int) -> [StoreEvent] {
        if revision <= horizon { return [] }
        let end = place(after: revision)
        let gone = take(first: min(end, limit))
        if gone.count == end { horizon = revision }
        return gone
    }

    private mutating func take(first count: Int) -> [StoreEvent] {
        var end = count
        while end > 0, end < events.count, events[end].revision == events[end - 1].revision { end += 1 }
        if end == 0 { return [] }
        let gone = Array(events[..<end])
        for event in gone { bytes -= Self.size(event) }
        horizon = events[end - 1].revision
        events.removeFirst(end)
        return gone
    }

    /// The place of the first event after a revision.
    private func place(after revision: Int64) -> Int {
        var low = 0
        var high = events.count
        while low < high {
            let middle = (low + high) / 2
            if events[middle].revision <= revision { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Up to `limit` events after a revision in a scope (more where one revision has several), and the revision up to which they
    /// are complete; `nil` for the latter when there are no more at all.
    func events(after revision: Int64, in scope: String, limit: Int) -> (events: [StoreEvent], through: Int64?) {
        var found: [StoreEvent] = []
        var place = place(after: revision)
        while place < events.count {
            let event = events[place]
            if found.count >= limit, event.revision != events[place - 1].revision {
                return (found, events[place - 1].revision)
            }
            if Self.covers(scope, event.record.key) { found.append(event) }
            place += 1
        }
        return (found, nil)
    }

    /// `scope`: a prefix that ends in a slash, or one whole key.
    private static func covers(_ scope: String, _ key: String) -> Bool {
        key.hasPrefix(scope) && (scope.utf8.last == UInt8(ascii: "/") || key.utf8.count == scope.utf8.count)
    }

    /// What one write did to a key.
    func event(at revision: Int64, of key: String) -> StoreEvent? {
        var place = place(after: revision - 1)
        while place < events.count, events[place].revision == revision {
            if events[place].record.key == key { return events[place] }
            place += 1
        }
        return nil
    }

    /// The latest deletion of a key after a revision.
    func deletion(of key: String, after revision: Int64) -> StoreEvent? {
        events[place(after: revision)...].last { $0.kind == .deleted && $0.record.key == key }
    }

    /// Takes back, in an index that is up to date, what was written after a revision.
    func undo(after revision: Int64, in index: inout OrderedIndex) {
        for event in events[place(after: revision)...].reversed() {
            if let previous = event.previous { index.put(previous) } else { index.remove(event.record.key) }
        }
    }
}
