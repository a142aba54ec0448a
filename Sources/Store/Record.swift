import Synchronization
package import Wire

/// A key with its value at one revision. Never changed: a write makes a new record.
package final class Record: Sendable {
    package let key: String
    package let value: [UInt8]
    /// The write that made this record; for a deletion, the deleting write (the value is then the last one).
    package let revision: Int64
    /// The write that made the key.
    package let created: Int64
    private let decoded = Mutex<JSON?>(nil)

    init(key: String, value: [UInt8], revision: Int64, created: Int64) {
        self.key = key
        self.value = value
        self.revision = revision
        self.created = created
    }

    /// What a reader makes of the value; made once for all watchers while the record is recent.
    package func decoded(keeping: Bool, _ decode: (Record) -> JSON) -> JSON {
        if let kept = decoded.withLock({ $0 }) { return kept }
        let fresh = decode(self)
        if keeping { decoded.withLock { $0 = fresh } }
        return fresh
    }

    func forgetDecoded() { decoded.withLock { $0 = nil } }
}

/// One write as watchers see it.
package struct StoreEvent: Sendable {
    package enum Kind: Sendable { case created, updated, deleted }
    package let kind: Kind
    package let record: Record
    /// What the key held before.
    package let previous: Record?
    package var revision: Int64 { record.revision }

    /// Forgets what readers made of what is no more; what a key still holds is left for its next reader.
    func forgetPast() {
        previous?.forgetDecoded()
        if kind == .deleted { record.forgetDecoded() }
    }
}

/// Why the store did not do what was asked.
package enum StoreFailure: Error, Sendable, Hashable, CustomStringConvertible {
    case exists(key: String)
    case missing(key: String)
    /// The key has another revision than the writer saw.
    case changed(key: String, revision: Int64)
    /// The history asked for is gone: read again and watch from there.
    case expired(asked: Int64, oldest: Int64)
    case diskFull(path: String)
    case unusable(String)
    case closed

    package var description: String {
        switch self {
        case .exists(let key): "key \(key) exists"
        case .missing(let key): "key \(key) not found"
        case .changed(let key, let revision): "key \(key) is at revision \(revision) now"
        case .expired(let asked, let oldest): "too old resource version: \(asked) (\(oldest))"
        case .diskFull(let path):
            "no space left on the disk of \(path): nothing was written, what was stored before is safe"
        case .unusable(let why): why
        case .closed: "the store is closed"
        }
    }
}

/// What a write expects to find.
package enum Expectation: Sendable, Hashable { case absent, revision(Int64), present }
