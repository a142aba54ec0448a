/// A versioned key-value store, as an API server needs one.
///
/// Every write gets a revision greater than all before; a write is guarded by what its writer saw. Reads and watches are answered
/// from memory, which holds everything up to `revision`; a write shows in them before it is answered.
package protocol Store: AnyObject, Sendable {
    /// The revision up to which reads and watches know everything.
    var revision: Int64 { get }
    /// The oldest revision a watch may start from.
    var horizon: Int64 { get }
    /// Up to here history was given up for its age or by wish, not only for its size: what others still have of it is not to be shown.
    var compacted: Int64 { get }
    var count: Int { get }
    /// Whether others write to it too, so that a read must ask what is latest (`catchUp`).
    var isShared: Bool { get }

    func get(_ key: String) -> Record?
    /// The whole store as it is now; later writes do not show in it.
    func snapshot() -> StoreSnapshot
    /// The whole store as it was at a revision between the horizon and now.
    func snapshot(at revision: Int64) throws(StoreFailure) -> StoreSnapshot
    /// Waits until reads show every write that was answered, to anybody, before this call.
    func catchUp() async throws(StoreFailure)
    /// `scope`: a prefix that ends in a slash, or one whole key.
    func watch(_ scope: String) -> StoreWatch

    /// `lease`: the key goes with it; 0 for none.
    func create(_ key: String, _ value: [UInt8], lease: Int64) async throws(StoreFailure) -> Record
    func update(_ key: String, _ value: [UInt8], _ expectation: Expectation, lease: Int64) async throws(StoreFailure)
        -> Record
    /// - Returns: the last value, with the revision of the deletion.
    func delete(_ key: String, _ expectation: Expectation) async throws(StoreFailure) -> Record

    /// A lease whose keys are deleted when it has not been renewed for so many seconds (or a little more).
    func grantLease(seconds: Int64) async throws(StoreFailure) -> StoreLease
    /// Makes it last for its whole time again.
    func renewLease(_ id: Int64) async throws(StoreFailure) -> StoreLease
    /// Ends it and deletes its keys.
    func revokeLease(_ id: Int64) async throws(StoreFailure)

    /// Gives up what happened before a revision: watches from there, and reads at such revisions, expire.
    func compact(to revision: Int64) async throws(StoreFailure)

    /// Ends watches and refuses new ones; reads and writes go on.
    func endWatches()
    /// Ends watches, waits for the writes under way, and lets go of disk and network. Safe to repeat.
    func close()
}

/// A time for which keys live.
package struct StoreLease: Sendable, Hashable {
    /// Never 0.
    package let id: Int64
    /// What it lasts after each renewal; the store may grant more than was asked for.
    package let seconds: Int64
}

extension Store {
    package func create(_ key: String, _ value: [UInt8]) async throws(StoreFailure) -> Record {
        try await create(key, value, lease: 0)
    }
    package func update(_ key: String, _ value: [UInt8], _ expectation: Expectation) async throws(StoreFailure)
        -> Record
    {
        try await update(key, value, expectation, lease: 0)
    }

    /// How many keys begin with a prefix.
    package func count(under prefix: String) -> Int {
        var found = 0
        snapshot().index.visit(under: prefix) { _ in
            found += 1
            return true
        }
        return found
    }
}
