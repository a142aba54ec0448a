import KubeTypes

/// Which events are told long enough: those older than an hour, and the oldest when there are too many.
func expiredEvents(_ events: [KubeObject], now: Timestamp, lifetime: Duration = .seconds(3600), most: Int = 2000)
    -> [KubeObject]
{
    let dated = events.map { (event: $0, last: lastTold($0) ?? now) }.sorted { $0.last < $1.last }
    let excess = dated.count - most
    return dated.enumerated().filter { $0.offset < excess || $0.element.last + lifetime <= now }.map(\.element.event)
}

private func lastTold(_ event: KubeObject) -> Timestamp? {
    event[Event.lastTimestamp] ?? event[Event.eventTime].flatMap(Timestamp.init)
        ?? event.creationTimestamp.flatMap(Timestamp.init)
}
