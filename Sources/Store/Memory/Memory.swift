import Synchronization

/// All the store knows, in memory: what reads and watches are answered from.
package final class Memory: Sendable {
    struct State {
        private(set) var index: OrderedIndex
        /// The same by their keys, for reads of one object. Snapshots copy the index; this is never copied.
        private(set) var records: [String: Record] = [:]
        /// Everything up to here is known.
        var revision: Int64
        var history: History
        /// Up to here history was given up by age or by wish.
        var compacted: Int64 = 0
        var isClosed = false
        /// How often what is known was replaced as a whole; watches do not go on across that.
        var epoch = 0
        /// Watchers with nothing to read, by scope.
        var parked: [String: [Int: Parked]] = [:]
        var nextWatcher = 0

        init(index: OrderedIndex, revision: Int64, history: History) {
            self.index = index
            self.revision = revision
            self.history = history
            noteRecords()
        }

        mutating func put(_ record: Record) {
            index.put(record)
            records[record.key] = record
        }

        mutating func remove(_ key: String) {
            index.remove(key)
            records[key] = nil
        }

        mutating func replace(_ index: OrderedIndex) {
            self.index = index
            noteRecords()
        }

        private mutating func noteRecords() {
            records = Dictionary(minimumCapacity: index.count)
            index.visit(under: "") { record in
                records[record.key] = record
                return true
            }
        }
    }

    /// How a parked watcher is woken.
    enum Wake: Sendable {
        /// An event in its scope has come; all before this revision is not in its scope.
        case event(Int64)
        case nudge(Int64)
        /// What is known was replaced.
        case replaced
        case closed
    }
    typealias Parked = UnsafeContinuation<Wake, Never>

    /// Events given up while nobody else can read.
    private static let compactionStep = 512

    let state: Mutex<State>

    init(history: History, index: OrderedIndex = OrderedIndex(), revision: Int64 = 0) {
        state = Mutex(State(index: index, revision: revision, history: history))
    }

    /// Makes committed events visible, in order, and wakes those who wait for them. All events of a revision come in one call.
    func publish(_ events: [StoreEvent]) {
        var woken: [(Parked, Int64)] = []
        state.withLock { state in
            for event in events {
                switch event.kind {
                case .created, .updated: state.put(event.record)
                case .deleted: state.remove(event.record.key)
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
        let bytes = key.utf8
        for place in bytes.indices where bytes[place] == UInt8(ascii: "/") { scopes.append(String(key[...place])) }
        return scopes
    }

    /// Puts another content in the place of what is known. Watches expire.
    func replace(_ index: OrderedIndex, revision: Int64, history: History) {
        let woken = state.withLock { state -> [Parked] in
            state.replace(index)
            state.revision = revision
            state.history = history
            state.epoch += 1
            return Self.unpark(&state)
        }
        for parked in woken { parked.resume(returning: .replaced) }
    }

    /// Gives up what happened up to a revision, as far as it is known; readers and the writer get their turns in between.
    func compact(to revision: Int64) {
        while true {
            let gone = state.withLock { state in
                let end = min(revision, state.revision)
                state.compacted = max(state.compacted, end)
                return state.history.compact(to: end, limit: Self.compactionStep)
            }
            if gone.isEmpty { return }
            // To let go of them takes longer than to take them out, and needs no lock.
            for event in gone { event.forgetDecoded() }
        }
    }

    func close() {
        let woken = state.withLock { state -> [Parked] in
            state.isClosed = true
            return Self.unpark(&state)
        }
        for parked in woken { parked.resume(returning: .closed) }
    }

    private static func unpark(_ state: inout State) -> [Parked] {
        let woken = state.parked.values.flatMap(\.values)
        state.parked = [:]
        return woken
    }
}

/// A store that reads from memory.
package protocol MemoryBacked: Store {
    var memory: Memory { get }
}

extension MemoryBacked {
    package var revision: Int64 { memory.state.withLock { $0.revision } }
    package var horizon: Int64 { memory.state.withLock { $0.history.horizon } }
    package var compacted: Int64 { memory.state.withLock { $0.compacted } }
    package var count: Int { memory.state.withLock { $0.records.count } }
    package func get(_ key: String) -> Record? { memory.state.withLock { $0.records[key] } }

    package func snapshot() -> StoreSnapshot {
        memory.state.withLock { StoreSnapshot(index: $0.index, revision: $0.revision) }
    }

    package func snapshot(at revision: Int64) throws(StoreFailure) -> StoreSnapshot {
        let (now, history) = memory.state.withLock {
            (StoreSnapshot(index: $0.index, revision: $0.revision), $0.history)
        }
        guard revision <= now.revision else { throw .future(asked: revision, latest: now.revision) }
        guard revision >= history.horizon else { throw .expired(asked: revision, oldest: history.horizon) }
        var index = now.index
        history.undo(after: revision, in: &index)
        return StoreSnapshot(index: index, revision: revision)
    }

    package func watch(_ scope: String) -> StoreWatch { StoreWatch(memory, scope: scope) }
    package func endWatches() { memory.close() }
}
