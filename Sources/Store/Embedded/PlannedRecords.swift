import Synchronization

/// What the next write finds: memory, and over it what is written but not yet on the disk.
struct PlannedRecords {
    private let memory: Memory
    /// The latest write of each key that memory may not show yet; `nil` for a deletion.
    private var ahead: [String: (record: Record?, revision: Int64)] = [:]
    /// The same in the order of their revisions.
    private var order: [(revision: Int64, key: String)] = []
    private var first = 0
    private(set) var revision: Int64

    init(_ memory: Memory) {
        self.memory = memory
        revision = memory.state.withLock { $0.revision }
    }

    subscript(key: String) -> Record? {
        if !ahead.isEmpty, let planned = ahead[key] { return planned.record }
        return memory.state.withLock { $0.records[key] }
    }

    mutating func note(_ events: [StoreEvent]) {
        for event in events {
            let record = event.kind == .deleted ? nil : event.record
            ahead[event.record.key] = (record, event.revision)
            order.append((event.revision, event.record.key))
            revision = event.revision
        }
    }

    /// Leaves to memory what it shows by now.
    mutating func forgetPublished() {
        if first == order.count { return }
        let published = memory.state.withLock { $0.revision }
        while first < order.count, order[first].revision <= published {
            let (revision, key) = order[first]
            if ahead[key]?.revision == revision { ahead[key] = nil }
            first += 1
        }
        if first == order.count {
            order.removeAll(keepingCapacity: true)
            first = 0
        } else if first > 4096 {
            order.removeFirst(first)
            first = 0
        }
    }
}
