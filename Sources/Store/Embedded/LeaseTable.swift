/// The leases there are, and the keys that go with each.
struct LeaseTable {
    typealias Instant = ContinuousClock.Instant

    private struct Lease {
        var seconds: Int64
        var deadline: Instant
        var keys: Set<String> = []
    }

    private var leases: [Int64: Lease] = [:]

    var isEmpty: Bool { leases.isEmpty }
    func contains(_ id: Int64) -> Bool { leases[id] != nil }
    func keys(of id: Int64) -> Set<String> { leases[id]?.keys ?? [] }

    mutating func grant(_ lease: StoreLease, at now: Instant) {
        leases[lease.id] = Lease(seconds: lease.seconds, deadline: now + .seconds(lease.seconds))
    }

    /// - Returns: `nil` for a lease that is gone.
    mutating func renew(_ id: Int64, at now: Instant) -> StoreLease? {
        guard let seconds = leases[id]?.seconds else { return nil }
        leases[id]?.deadline = now + .seconds(seconds)
        return StoreLease(id: id, seconds: seconds)
    }

    mutating func remove(_ id: Int64) { leases[id] = nil }

    /// Learns which lease the key of an event goes with now.
    mutating func note(_ event: StoreEvent) {
        let before = event.previous?.lease ?? 0
        let after = event.kind == .deleted ? 0 : event.record.lease
        if before == after { return }
        if before != 0 { leases[before]?.keys.remove(event.record.key) }
        if after != 0 { leases[after]?.keys.insert(event.record.key) }
    }

    /// Leases that were not renewed in time, those that ran out first at the front.
    func expired(at now: Instant) -> [Int64] {
        leases.filter { $0.value.deadline <= now }.sorted { $0.value.deadline < $1.value.deadline }.map(\.key)
    }

    var nextDeadline: Instant? { leases.values.map(\.deadline).min() }
}
