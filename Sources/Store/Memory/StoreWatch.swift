import Synchronization

/// The events in a scope after a revision, in order and without a gap, read at the reader's own speed.
///
/// Nothing is queued for a watcher: it reads the common history. One that falls behind the history's horizon gets `expired`.
package final class StoreWatch: Sendable {
    package enum Step: Sendable {
        case events([StoreEvent])
        /// Somebody called `nudge`; nothing in the scope happened up to this revision.
        case idle(Int64)
    }

    private let memory: Memory
    private let scope: String
    private let id: Int
    private let epoch: Int

    /// `scope`: a prefix that ends in a slash, or one whole key.
    init(_ memory: Memory, scope: String) {
        self.memory = memory
        self.scope = scope
        (id, epoch) = memory.state.withLock { state in
            state.nextWatcher += 1
            return (state.nextWatcher, state.epoch)
        }
    }

    /// What happened after `revision`; waits until something did. One reader at a time.
    ///
    /// `revision`: read up to here; afterwards, up to where it is read now.
    /// - Throws: `expired`, `closed`, or `CancellationError`.
    package func next(after revision: inout Int64) async throws -> Step {
        while true {
            try Task.checkCancellation()
            let found = try read(after: revision)
            revision = found.through
            if !found.events.isEmpty { return .events(found.events) }
            let from = revision
            let wake = await withTaskCancellationHandler {
                await withUnsafeContinuation { park($0, from: from) }
            } onCancel: {
                nudge()
            }
            switch wake {
            case .event(let event): revision = max(revision, event - 1)
            case .nudge(let now):
                revision = max(revision, now)
                try Task.checkCancellation()
                return .idle(revision)
            case .replaced: continue
            case .closed: throw StoreFailure.closed
            }
        }
    }

    /// What has happened after `revision`, up to now or to where there is more; nothing when nothing has.
    ///
    /// - Throws: `expired`, `closed`.
    package func poll(after revision: inout Int64) throws(StoreFailure) -> [StoreEvent] {
        let found = try read(after: revision)
        revision = found.through
        return found.events
    }

    /// Up to where a reader that waits knows that nothing happened in the scope; `nil` while none does.
    package var quietThrough: Int64? {
        memory.state.withLock { $0.parked[scope]?[id] == nil ? nil : $0.revision }
    }

    private func read(after revision: Int64) throws(StoreFailure) -> (events: [StoreEvent], through: Int64) {
        try memory.state.withLock { state throws(StoreFailure) in
            guard !state.isClosed else { throw .closed }
            guard revision >= state.history.horizon, epoch == state.epoch else {
                throw .expired(asked: revision, oldest: state.history.horizon)
            }
            let found = state.history.events(after: revision, in: scope, limit: 256)
            return (found.events, found.through ?? max(revision, state.revision))
        }
    }

    private func park(_ continuation: Memory.Parked, from revision: Int64) {
        let now = memory.state.withLock { state -> Memory.Wake? in
            if state.isClosed { return .closed }
            if state.epoch != epoch { return .replaced }
            // Something was published since the reader looked; it looks again.
            if state.revision > revision { return .event(revision + 1) }
            // A cancellation before this point found nobody parked.
            if Task.isCancelled { return .nudge(state.revision) }
            state.parked[scope, default: [:]][id] = continuation
            return nil
        }
        if let now { continuation.resume(returning: now) }
    }

    /// Makes a waiting reader return `idle`.
    package func nudge() {
        let parked = memory.state.withLock { state -> (Memory.Parked, Int64)? in
            guard let parked = state.parked[scope]?.removeValue(forKey: id) else { return nil }
            if state.parked[scope]?.isEmpty == true { state.parked[scope] = nil }
            return (parked, state.revision)
        }
        if let (parked, revision) = parked { parked.resume(returning: .nudge(revision)) }
    }
}
