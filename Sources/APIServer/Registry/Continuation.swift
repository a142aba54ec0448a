import Store
import Synchronization
import Wire

/// Where a list goes on: the revision it shows, and the last key of the page before.
struct Continuation: Hashable {
    let revision: Int64
    let after: String

    init(revision: Int64, after: String) {
        self.revision = revision
        self.after = after
    }

    var token: String { Base64.encodeForURL(Array("\(revision) \(after)".utf8)) }

    init?(token: String) {
        guard let bytes = Base64.decodeFromURL(token) else { return nil }
        let parts = String(decoding: bytes, as: UTF8.self).split(separator: " ", maxSplits: 1)
        guard parts.count == 2, let revision = Int64(parts[0]), parts[1].hasPrefix("/registry/") else { return nil }
        self.revision = revision
        after = String(parts[1])
    }
}

/// The store at the revisions of lists that are being paged through: the most recent, for some minutes after their last page, and
/// no longer than history is kept.
final class PageSnapshots: Sendable {
    private static let most = 32
    private static let age = Duration.seconds(300)
    private let kept = Mutex<[(snapshot: StoreSnapshot, since: ContinuousClock.Instant)]>([])

    /// - Parameter compacted: what was before is not to be shown any more.
    func keep(_ snapshot: StoreSnapshot, since compacted: Int64) {
        kept.withLock { kept in
            let now = ContinuousClock.now
            kept.removeAll {
                let revision = $0.snapshot.revision
                return revision == snapshot.revision || revision < compacted || now - $0.since > Self.age
            }
            kept.append((snapshot, now))
            if kept.count > Self.most { kept.removeFirst(kept.count - Self.most) }
        }
    }

    func snapshot(_ revision: Int64, since compacted: Int64) -> StoreSnapshot? {
        kept.withLock { kept in
            let now = ContinuousClock.now
            kept.removeAll { $0.snapshot.revision < compacted || now - $0.since > Self.age }
            return kept.first { $0.snapshot.revision == revision }?.snapshot
        }
    }
}
