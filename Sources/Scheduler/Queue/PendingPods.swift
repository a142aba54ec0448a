package import KubeTypes

/// The pods without a node, and when each is to be tried: now, after its back-off, or when something changes. A value; time is given.
package struct PendingPods: Sendable {
    private struct Entry: Sendable {
        var priority: Int
        var sequence: Int
        var attempts = 0
        var place = Place.active
    }
    private enum Place: Sendable, Equatable {
        case active
        case backingOff(until: Duration)
        /// Waits for a change in the cluster.
        case unschedulable(since: Duration)
        /// A worker has it. What changes meanwhile is remembered, since it may be just what the pod needs.
        case trying(sawChange: Bool)
    }
    private struct Turn: Sendable {
        var priority: Int
        var sequence: Int
        var key: ObjectKey

        func comes(before other: Turn) -> Bool {
            priority != other.priority ? priority > other.priority : sequence < other.sequence
        }
    }

    private static let firstDelay = Duration.seconds(1)
    private static let mostDelay = Duration.seconds(10)
    /// After so long a pod is tried again even if nothing seems to have changed.
    private static let longest = Duration.seconds(300)

    private var entries: [ObjectKey: Entry] = [:]
    /// A binary heap; turns whose entry is no longer active are skipped.
    private var turns: [Turn] = []
    private var lastSequence = 0

    package init() {}

    package var count: Int { entries.count }

    /// A new pod, or one whose specification changed: it is tried now.
    package mutating func add(_ key: ObjectKey, priority: Int) {
        if var entry = entries[key] {
            entry.priority = priority
            if case .trying = entry.place {
                entry.place = .trying(sawChange: true)
                entries[key] = entry
                return
            }
            let wasActive = entry.place == .active
            entries[key] = entry
            if !wasActive { activate(key) }
            return
        }
        lastSequence += 1
        entries[key] = Entry(priority: priority, sequence: lastSequence)
        activate(key)
    }

    package mutating func remove(_ key: ObjectKey) { entries[key] = nil }

    /// The pod whose turn it is: the highest priority first, then the one that waits longest.
    package mutating func next() -> ObjectKey? {
        while let turn = popTurn() {
            guard var entry = entries[turn.key], entry.place == .active, entry.sequence == turn.sequence else {
                continue
            }
            entry.place = .trying(sawChange: false)
            entry.attempts += 1
            entries[turn.key] = entry
            return turn.key
        }
        return nil
    }

    /// No node fitted: the pod waits for a change, or only for its back-off if one came while it was tried.
    package mutating func noNodeFits(_ key: ObjectKey, now: Duration) {
        guard var entry = entries[key] else { return }
        entry.place =
            entry.place == .trying(sawChange: true)
            ? .backingOff(until: now + Self.delay(entry.attempts)) : .unschedulable(since: now)
        entries[key] = entry
    }

    /// The attempt failed for a reason that is not the pod's: it is tried again after its back-off.
    package mutating func failed(_ key: ObjectKey, now: Duration) {
        let attempts = entries[key]?.attempts ?? 1
        entries[key]?.place = .backingOff(until: now + Self.delay(attempts))
    }

    /// Something changed that may make room. Pods that waited for it are tried after what is left of their back-off.
    package mutating func clusterChanged() {
        for (key, entry) in entries {
            switch entry.place {
            case .unschedulable(let since):
                entries[key]?.place = .backingOff(until: since + Self.delay(entry.attempts))
            case .trying: entries[key]?.place = .trying(sawChange: true)
            case .active, .backingOff: break
            }
        }
    }

    /// Activates pods whose time has come.
    package mutating func wake(now: Duration) {
        for (key, entry) in entries {
            if let due = Self.due(entry), due <= now { activate(key) }
        }
    }

    /// When the next waiting pod's time comes.
    package var nextDue: Duration? { entries.values.compactMap(Self.due).min() }

    private static func due(_ entry: Entry) -> Duration? {
        switch entry.place {
        case .backingOff(let until): until
        case .unschedulable(let since): since + longest
        case .active, .trying: nil
        }
    }

    package static func delay(_ attempts: Int) -> Duration {
        var delay = firstDelay
        for _ in 1..<max(attempts, 1) where delay < mostDelay { delay *= 2 }
        return min(delay, mostDelay)
    }

    // MARK: The heap

    private mutating func activate(_ key: ObjectKey) {
        guard let entry = entries[key] else { return }
        entries[key]?.place = .active
        turns.append(Turn(priority: entry.priority, sequence: entry.sequence, key: key))
        var child = turns.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard turns[child].comes(before: turns[parent]) else { break }
            turns.swapAt(child, parent)
            child = parent
        }
    }

    private mutating func popTurn() -> Turn? {
        guard let first = turns.first else { return nil }
        let last = turns.removeLast()
        guard !turns.isEmpty else { return first }
        turns[0] = last
        var parent = 0
        while true {
            var best = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < turns.count && turns[child].comes(before: turns[best]) {
                best = child
            }
            if best == parent { return first }
            turns.swapAt(parent, best)
            parent = best
        }
    }
}
