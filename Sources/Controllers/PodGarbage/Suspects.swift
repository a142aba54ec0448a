import Synchronization

/// Uids seen at the look before: a pod may be in the cache a moment before its new node is.
final class Suspects: Sendable {
    private let last = Mutex<Set<String>>([])

    /// Those suspected now that were suspected at the last look, too.
    func confirm(_ uids: [String]) -> Set<String> {
        last.withLock { last in
            let now = Set(uids)
            defer { last = now }
            return now.intersection(last)
        }
    }
}
