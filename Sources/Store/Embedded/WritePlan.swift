/// Work for the writer, waiting for its turn.
struct PendingWork {
    enum Kind {
        case put(key: String, value: [UInt8], lease: Int64, Expectation)
        case delete(key: String, Expectation)
        case grant(StoreLease)
        case renew(Int64)
        case revoke(Int64)
        case compact(Int64)
    }
    enum Outcome { case record(Record), lease(StoreLease), done }
    typealias Answer = UnsafeContinuation<Result<Outcome, StoreFailure>, Never>

    let kind: Kind
    /// `nil` where nobody waits: a lease ran out.
    let answer: Answer?
}

/// What a batch of work comes to, each piece seeing those before it.
struct WritePlan {
    private let base: Int64
    private var changed: [String: Record?] = [:]
    private(set) var events: [StoreEvent] = []
    private(set) var granted: [StoreLease] = []
    private(set) var revoked: [Int64] = []
    /// The revision history shall be given up to.
    private(set) var compaction: Int64?

    /// - Parameter base: the latest revision before it.
    init(after base: Int64) { self.base = base }

    /// Whether anything must reach the disk.
    var isEmpty: Bool { events.isEmpty && granted.isEmpty && revoked.isEmpty }

    private var revision: Int64 { base + Int64(events.count) }

    /// - Parameters:
    ///   - records: what there was before the batch; the same at each call.
    ///   - table: likewise.
    mutating func add(
        _ work: PendingWork.Kind, over records: PlannedRecords, _ table: LeaseTable
    ) -> Result<PendingWork.Outcome, StoreFailure> {
        do throws(StoreFailure) {
            switch work {
            case .put(let key, let value, let lease, let expectation):
                if lease != 0, !exists(lease, table) { throw .leaseMissing(lease) }
                let current = try check(key, expectation, records)
                return .success(.record(put(key, value, lease, over: current)))
            case .delete(let key, let expectation):
                guard let current = try check(key, expectation, records) else { throw .missing(key: key) }
                return .success(.record(delete(current)))
            case .grant(let lease):
                granted.append(lease)
                return .success(.lease(lease))
            case .renew(let id):
                guard exists(id, table) else { throw .leaseMissing(id) }
                return .success(.done)
            case .revoke(let id):
                try revoke(id, records, table)
                return .success(.done)
            case .compact(let wanted):
                guard wanted <= revision else { throw .future(asked: wanted, latest: revision) }
                compaction = max(wanted, compaction ?? 0)
                return .success(.done)
            }
        } catch {
            return .failure(error)
        }
    }

    private func exists(_ lease: Int64, _ table: LeaseTable) -> Bool {
        if revoked.contains(lease) { return false }
        return table.contains(lease) || granted.contains { $0.id == lease }
    }

    private func current(_ key: String, _ records: PlannedRecords) -> Record? { changed[key] ?? records[key] }

    private func check(
        _ key: String, _ expectation: Expectation, _ records: PlannedRecords
    ) throws(StoreFailure) -> Record? {
        let current = current(key, records)
        switch (expectation, current) {
        case (.absent, .some): throw .exists(key: key)
        case (.absent, nil): return nil
        case (_, nil): throw .missing(key: key)
        case (.revision(let expected), let current?) where current.revision != expected:
            throw .changed(key: key, revision: current.revision)
        default: return current
        }
    }

    private mutating func put(_ key: String, _ value: [UInt8], _ lease: Int64, over current: Record?) -> Record {
        let revision = revision + 1
        let record = Record(
            key: key, value: value, revision: revision, created: current?.created ?? revision, lease: lease)
        events.append(StoreEvent(kind: current == nil ? .created : .updated, record: record, previous: current))
        changed[key] = .some(record)
        return record
    }

    private mutating func delete(_ current: Record) -> Record {
        let record = Record(
            key: current.key, value: current.value, revision: revision + 1, created: current.created,
            lease: current.lease)
        events.append(StoreEvent(kind: .deleted, record: record, previous: current))
        changed[current.key] = .some(nil)
        return record
    }

    private mutating func revoke(
        _ id: Int64, _ records: PlannedRecords, _ table: LeaseTable
    ) throws(StoreFailure) {
        guard exists(id, table) else { throw .leaseMissing(id) }
        var keys = table.keys(of: id)
        for case (let key, let record?) in changed where record.lease == id { keys.insert(key) }
        for key in keys.sorted() {
            if let current = current(key, records), current.lease == id { _ = delete(current) }
        }
        revoked.append(id)
    }
}
