import Synchronization

/// All the store knows, in memory: what reads and watches are answered from.
final class Memory: Sendable {
    struct State {
        var index = OrderedIndex()
        var revision: Int64 = 0
        var history: History
        var isClosed = false
        /// Watchers with nothing to read, by scope.
        var parked: [String: [Int: Parked]] = [:]
        var nextWatcher = 0
    }

    /// How a parked watcher is woken.
    enum Wake: Sendable {
        /// An event in its scope has come; all before this revision is not in its scope.
        case event(Int64)
        case nudge(Int64)
        case closed
    }
    typealias Parked = UnsafeContinuation<Wake, Never>

    let state: Mutex<State>

    init(history: History) { state = Mutex(State(history: history)) }

    /// Makes committed events visible, in order, and wakes those who wait for them.
    func publish(_ events: [StoreEvent]) {
        var woken: [(Parked, Int64)] = []
        state.withLock { state in
            for event in events {
                switch event.kind {
                case .created, .updated: state.index.put(event.record)
                case .deleted: state.index.remove(event.record.key)
                }
                state.history.append(event)
                state.revision = event.revision
                if state.parked.isEmpty { continue }
                for scope in Self.scopes(of: event.record.key) {
                    guard let waiting = state.parked.removeValue(forKey: scope) else { continue }
                    for parked in waiting.values { woken.append((parked, event.revision)) }
                }
            }
        }
        for (parked, revision) in woken { parked.resume(returning: .event(revision)) }
    }

    /// The key and every part of it up to a slash: the scopes a watcher of it may have.
    static func scopes(of key: String) -> [String] {
        var scopes = [key]
        var place = key.startIndex
        while let slash = key[place...].firstIndex(of: "/") {
            place = key.index(after: slash)
            scopes.append(String(key[..<place]))
        }
        return scopes
    }

    func close() {
        let woken = state.withLock { state -> [Parked] in
            state.isClosed = true
            let woken = state.parked.values.flatMap(\.values)
            state.parked = [:]
            return woken
        }
        for parked in woken { parked.resume(returning: .closed) }
    }
}
