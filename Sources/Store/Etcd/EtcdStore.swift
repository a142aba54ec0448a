package import Logging
import Synchronization
import Wire

/// A store in an etcd cluster, which several servers may share. Reads and watches come from memory, which follows etcd's watch.
package final class EtcdStore: MemoryBacked {
    private static let transactionPath = "/etcdserverpb.KV/Txn"
    /// How long memory may need for a write that is done, before its writer is told that something is wrong.
    private static let reachLimit = Duration.seconds(10)
    /// Written by `catchUp` when the latest write of all was to a key that is not ours.
    private static let markKey = "weft.dev/progress"

    package let memory: Memory
    private let client: EtcdClient
    private let feed: EtcdFeed
    private let configuration: EtcdConfiguration
    private let compactor: Task<Void, Never>?
    private let catching = CatchUpQueue()

    private init(
        _ client: EtcdClient, _ feed: EtcdFeed, _ configuration: EtcdConfiguration, _ compactor: Task<Void, Never>?
    ) {
        self.client = client
        self.feed = feed
        self.configuration = configuration
        self.compactor = compactor
        memory = feed.memory
    }

    /// Reads everything under the prefix, and follows it from then on.
    package static func open(
        _ configuration: EtcdConfiguration, logger: Logger = Logger(label: "store")
    ) async throws(StoreFailure) -> EtcdStore {
        let client = EtcdClient(configuration)
        do throws(StoreFailure) {
            let feed = try await EtcdFeed.start(client, configuration, logger)
            let compactor = configuration.historyAge.map { age in
                Task { await EtcdCompactor(client: client, memory: feed.memory, logger: logger).run(age) }
            }
            return EtcdStore(client, feed, configuration, compactor)
        } catch {
            client.close()
            throw error
        }
    }

    package func close() {
        memory.close()
        compactor?.cancel()
        feed.close()
        client.close()
    }

    deinit { close() }

    package var isShared: Bool { true }

    package func catchUp() async throws(StoreFailure) {
        try await catching.join { [self] () async throws(StoreFailure) in
            let latest = try await feed.latestRevision()
            if memory.state.withLock({ $0.revision }) >= latest { return }
            do throws(StoreFailure) {
                try await feed.reach(latest, within: .milliseconds(200))
            } catch {
                guard case .unavailable = error else { throw error }
                // The write we wait for may be of a key outside of the watch: one inside that comes after it will do.
                let mark = EtcdRequest.put(key: Array("\(configuration.prefix)\(Self.markKey)".utf8), value: [])
                let answer = try await client.ask("/etcdserverpb.KV/Put", mark)
                let revision = try EtcdFeed.decoded { () throws(ProtobufFault) in
                    try EtcdRangeResponse(answer.bytes).revision
                }
                try await feed.reach(revision, within: Self.reachLimit)
            }
        }
    }

    // MARK: Writes

    package func create(_ key: String, _ value: [UInt8], lease: Int64) async throws(StoreFailure) -> Record {
        try await put(key, value, .absent, lease)
    }

    package func update(
        _ key: String, _ value: [UInt8], _ expectation: Expectation, lease: Int64
    ) async throws(StoreFailure) -> Record {
        try await put(key, value, expectation, lease)
    }

    private func put(
        _ key: String, _ value: [UInt8], _ expectation: Expectation, _ lease: Int64
    ) async throws(StoreFailure) -> Record {
        let bytes = Array(key.utf8)
        let (response, isRepeated) = try await commit(
            key, expectation, .put(key: bytes, value: value, lease: lease), lease: lease)
        if response.succeeded {
            try await feed.reach(response.revision, within: Self.reachLimit)
            let event = memory.state.withLock { $0.history.event(at: response.revision, of: key) }
            return event?.record
                ?? Record(key: key, value: value, revision: response.revision, created: response.revision, lease: lease)
        }
        // An attempt whose answer got lost may have been done: then what is there is ours.
        if isRepeated, let current = response.current, current.value == value, current.lease == lease {
            try await feed.reach(current.modified, within: Self.reachLimit)
            let event = memory.state.withLock { $0.history.event(at: current.modified, of: key) }
            if let event, Self.fulfils(event, expectation) { return event.record }
        }
        throw try await refusal(key, expectation, response)
    }

    package func delete(_ key: String, _ expectation: Expectation) async throws(StoreFailure) -> Record {
        let known = memory.state.withLock { $0.revision }
        let (response, isRepeated) = try await commit(key, expectation, .delete(key: Array(key.utf8)), lease: 0)
        if response.succeeded {
            try await feed.reach(response.revision, within: Self.reachLimit)
            let event = memory.state.withLock { $0.history.event(at: response.revision, of: key) }
            return event?.record ?? Record(key: key, value: [], revision: response.revision, created: 0)
        }
        if isRepeated, response.current == nil {
            try await catchUp()
            let event = memory.state.withLock { $0.history.deletion(of: key, after: known) }
            if let event, Self.fulfils(event, expectation) { return event.record }
        }
        throw try await refusal(key, expectation, response)
    }

    /// Whether a write did to its key what one with this expectation would have done.
    private static func fulfils(_ event: StoreEvent, _ expectation: Expectation) -> Bool {
        switch expectation {
        case .absent: event.previous == nil
        case .present: event.previous != nil
        case .revision(let revision): event.previous?.revision == revision
        }
    }

    private func commit(
        _ key: String, _ expectation: Expectation, _ operation: EtcdRequest.Operation, lease: Int64
    ) async throws(StoreFailure) -> (EtcdTransactionResponse, isRepeated: Bool) {
        guard key.hasPrefix(configuration.prefix) else {
            throw .unusable("key \(key) is not under \(configuration.prefix)")
        }
        let bytes = Array(key.utf8)
        let condition: EtcdRequest.Condition =
            switch expectation {
            case .absent: .modified(0)
            case .revision(let revision): .modified(revision)
            case .present: .present
            }
        let transaction = EtcdRequest.Transaction(
            key: bytes, condition: condition, success: operation, failure: .range(.init(key: bytes)))
        do throws(StoreFailure) {
            let answer = try await client.ask(Self.transactionPath, transaction.bytes, patience: configuration.patience)
            let response = try EtcdFeed.decoded { () throws(ProtobufFault) in
                try EtcdTransactionResponse(answer.bytes)
            }
            return (response, answer.isRepeated)
        } catch {
            if case .leaseMissing = error { throw .leaseMissing(lease) }
            throw error
        }
    }

    /// Why a transaction was not done. Memory knows the reason before the writer does, so that it can start over from there.
    private func refusal(
        _ key: String, _ expectation: Expectation, _ response: EtcdTransactionResponse
    ) async throws(StoreFailure) -> StoreFailure {
        guard let current = response.current else {
            if memory.state.withLock({ $0.records[key] }) != nil { try await catchUp() }
            return .missing(key: key)
        }
        try await feed.reach(current.modified, within: Self.reachLimit)
        return expectation == .absent ? .exists(key: key) : .changed(key: key, revision: current.modified)
    }

    // MARK: Leases and compaction

    package func grantLease(seconds: Int64) async throws(StoreFailure) -> StoreLease {
        guard (1...9_000_000_000).contains(seconds) else {
            throw .unusable("a lease cannot last \(seconds) seconds: 1 to 9000000000")
        }
        return try await lease("LeaseGrant", EtcdRequest.leaseGrant(seconds: seconds))
    }

    package func renewLease(_ id: Int64) async throws(StoreFailure) -> StoreLease {
        let lease = try await lease("LeaseKeepAlive", EtcdRequest.lease(id))
        guard lease.seconds > 0 else { throw .leaseMissing(id) }
        return lease
    }

    package func revokeLease(_ id: Int64) async throws(StoreFailure) {
        do throws(StoreFailure) {
            let answer = try await client.ask("/etcdserverpb.Lease/LeaseRevoke", EtcdRequest.lease(id))
            _ = try EtcdFeed.decoded { () throws(ProtobufFault) in try EtcdRangeResponse(answer.bytes) }
            // A revocation of several keys is one revision of etcd; of none, it is none.
            try await catchUp()
        } catch {
            if case .leaseMissing = error { throw .leaseMissing(id) }
            throw error
        }
    }

    private func lease(_ call: String, _ message: [UInt8]) async throws(StoreFailure) -> StoreLease {
        let answer = try await client.ask("/etcdserverpb.Lease/\(call)", message)
        let response = try EtcdFeed.decoded { () throws(ProtobufFault) in try EtcdLeaseResponse(answer.bytes) }
        return StoreLease(id: response.id, seconds: response.seconds)
    }

    package func compact(to revision: Int64) async throws(StoreFailure) {
        do throws(StoreFailure) {
            _ = try await client.ask("/etcdserverpb.KV/Compact", EtcdRequest.compact(to: revision))
        } catch {
            switch error {
            case .expired: break  // Somebody compacted further already.
            case .future: throw .future(asked: revision, latest: memory.state.withLock { $0.revision })
            default: throw error
            }
        }
        memory.compact(to: revision)
    }
}

/// Lets many who want to be up to date at the same time ask once.
final class CatchUpQueue: Sendable {
    private struct State {
        var running: Task<Result<Void, StoreFailure>, Never>?
        var next: Task<Result<Void, StoreFailure>, Never>?
    }
    private let state = Mutex(State())

    /// Runs `body`, or waits for one that another caller will have run, begun after this call in either case.
    func join(_ body: @escaping @Sendable () async throws(StoreFailure) -> Void) async throws(StoreFailure) {
        let task = state.withLock { state -> Task<Result<Void, StoreFailure>, Never> in
            if let next = state.next { return next }
            let before = state.running
            let task = Task { () -> Result<Void, StoreFailure> in
                _ = await before?.value
                self.begin()
                do throws(StoreFailure) {
                    try await body()
                    return .success(())
                } catch {
                    return .failure(error)
                }
            }
            state.next = task
            return task
        }
        try await task.value.get()
    }

    /// The next one is under way: who comes now needs another.
    private func begin() {
        state.withLock { state in
            state.running = state.next
            state.next = nil
        }
    }
}
