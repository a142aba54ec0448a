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
    /// The lease the key goes with; 0 for none.
    package let lease: Int64
    private let decoded = Mutex<JSON?>(nil)

    init(key: String, value: [UInt8], revision: Int64, created: Int64, lease: Int64 = 0) {
        self.key = key
        self.value = value
        self.revision = revision
        self.created = created
        self.lease = lease
    }

    /// The same record with what its value was turned into for one reader.
    package func replacing(value: [UInt8]) -> Record {
        Record(key: key, value: value, revision: revision, created: created, lease: lease)
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

    /// Forgets what readers made of it.
    func forgetDecoded() {
        record.forgetDecoded()
        previous?.forgetDecoded()
    }

    /// Forgets what readers made of what is no more; what a key still holds is left for its next reader.
    func forgetPast() {
        previous?.forgetDecoded()
        if kind == .deleted { record.forgetDecoded() }
    }
}
