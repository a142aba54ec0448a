import Glibc
import Synchronization

/// What loops read of an endpoint's health without a lock.
struct HealthRecord: ~Copyable {
    /// Not to be used before (nanoseconds); `.max` while active checks fail.
    let awayUntil = Atomic<UInt64>(0)
    /// Its slow start begins there.
    let since = Atomic<UInt64>(0)
    /// A success would change something.
    let isTroubled = Atomic<Bool>(false)
    let causeWord = Atomic<UInt8>(0)
    let ejections = Atomic<UInt32>(0)
    /// Percent of the last interval with enough requests; -1 before.
    let successPercent = Atomic<Int8>(-1)
}

/// The health of the endpoints that some backend keeps watch over, shared by all loops. An endpoint has a place here while a routing
/// table names it.
///
/// Loops read records without a lock. Changes are made under one: a failure, or the first success after one.
/// `@unchecked Sendable`: `healths`, `references`, `ejectionTotals` and the free list are touched under the lock only.
final class HealthBoard: @unchecked Sendable {
    static let capacity = Limits.tableEndpoints * 2

    let records: UnsafeMutablePointer<HealthRecord>
    /// Counts changes of who may be used.
    let epoch: UnsafeMutablePointer<Atomic<UInt64>>
    private let healths: UnsafeMutablePointer<EndpointHealth>
    private let references: UnsafeMutablePointer<UInt32>
    private let guardian = Mutex(Free())
    /// By cause, since the start; touched under the lock.
    private var ejectionTotals = [UInt64](repeating: 0, count: EjectionCause.allCases.count)

    private struct Free {
        var places: [Int32] = []
        var top: Int32 = 0
    }

    init() {
        records = Self.zeroed()
        healths = Self.zeroed()
        references = Self.zeroed()
        epoch = .allocate(capacity: 1)
        epoch.initialize(to: Atomic(1))
    }

    /// Memory that costs nothing until it is touched.
    private static func zeroed<Entry: ~Copyable>() -> UnsafeMutablePointer<Entry> {
        let size = capacity * MemoryLayout<Entry>.stride
        let memory = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let memory, memory != MAP_FAILED else { StartFault.end(reserving: size, for: "the health of endpoints") }
        return memory.bindMemory(to: Entry.self, capacity: capacity)
    }

    deinit {
        munmap(records, Self.capacity * MemoryLayout<HealthRecord>.stride)
        munmap(healths, Self.capacity * MemoryLayout<EndpointHealth>.stride)
        munmap(references, Self.capacity * MemoryLayout<UInt32>.stride)
        epoch.deinitialize(count: 1)
        epoch.deallocate()
    }

    // MARK: places

    /// A place for an endpoint first seen now; -1 when there are no more. It is kept by `hold`.
    func newPlace(at now: UInt64) -> Int32 {
        guardian.withLock { free in
            var place = free.places.popLast() ?? -1
            if place < 0 {
                if Int(free.top) >= Self.capacity { return -1 }
                place = free.top
                free.top += 1
                (records + Int(place)).initialize(to: HealthRecord())
            }
            healths[Int(place)] = EndpointHealth(since: now)
            publish(place)
            return place
        }
    }

    /// A routing table names these places.
    func hold(_ places: [Int32]) {
        guardian.withLock { _ in
            for place in places { references[Int(place)] += 1 }
        }
    }

    /// That table is gone.
    func release(_ places: [Int32]) {
        guardian.withLock { free in
            for place in places {
                references[Int(place)] -= 1
                if references[Int(place)] == 0 { free.places.append(place) }
            }
        }
    }

    /// How often endpoints have been put out, by why.
    func ejections() -> [(cause: EjectionCause, count: UInt64)] {
        guardian.withLock { _ in EjectionCause.allCases.map { ($0, ejectionTotals[Int($0.rawValue)]) } }
    }

    // MARK: events

    /// How an attempt came out. When that breaks a rule, and not too many others are out, the endpoint is ejected.
    ///
    /// - Parameter members: the places of the backend's endpoints; those below 0 are not watched.
    /// - Returns: the rule it was ejected by.
    @discardableResult
    func note(
        _ place: Int32, _ outcome: AttemptOutcome, _ rules: EjectionRules, members: UnsafeBufferPointer<BalanceMember>,
        at now: UInt64
    ) -> EjectionCause {
        guardian.withLock { _ in
            let cause = healths[Int(place)].note(outcome, rules)
            defer { publish(place) }
            return cause != .none && eject(place, cause, rules, members, now) ? cause : .none
        }
    }

    /// A connection was made.
    func noteConnected(_ place: Int32) {
        guardian.withLock { _ in
            healths[Int(place)].noteConnected()
            publish(place)
        }
    }

    /// Active checks have a verdict. Returns whether it is a new one.
    func noteChecked(_ place: Int32, isWell: Bool, at now: UInt64) -> Bool {
        guardian.withLock { _ in
            let isNew = healths[Int(place)].checked(isWell: isWell, at: now)
            if isNew {
                publish(place)
                epoch.pointee.add(1, ordering: .releasing)
            }
            return isNew
        }
    }

    /// Adds what a loop has counted since it last did so.
    func add(_ place: Int32, succeeded: UInt32, failed: UInt32) {
        guardian.withLock { _ in
            healths[Int(place)].succeeded &+= succeeded
            healths[Int(place)].failed &+= failed
        }
    }

    /// The interval is over: those that answered worse than the others are ejected. `forget` starts the next interval.
    func judge(_ members: UnsafeBufferPointer<BalanceMember>, _ rules: EjectionRules, at now: UInt64) {
        guardian.withLock { _ in
            var watched: [Int32] = []
            var counts: [RateOutliers.Count] = []
            for member in members where member.place >= 0 {
                let health = healths[Int(member.place)]
                watched.append(member.place)
                counts.append(RateOutliers.Count(succeeded: health.succeeded, failed: health.failed))
            }
            for (place, cause) in RateOutliers.find(counts, rules) {
                _ = eject(watched[place], cause, rules, members, now)
                publish(watched[place])
            }
        }
    }

    func forget(_ members: UnsafeBufferPointer<BalanceMember>) {
        guardian.withLock { _ in
            for member in members where member.place >= 0 {
                let health = healths[Int(member.place)]
                let total = UInt64(health.succeeded) + UInt64(health.failed)
                if total == 0 { continue }
                healths[Int(member.place)].successPercent = Int8(UInt64(health.succeeded) * 100 / total)
                healths[Int(member.place)].succeeded = 0
                healths[Int(member.place)].failed = 0
                publish(member.place)
            }
        }
    }

    // MARK: under the lock

    private func eject(
        _ place: Int32, _ cause: EjectionCause, _ rules: EjectionRules, _ members: UnsafeBufferPointer<BalanceMember>,
        _ now: UInt64
    ) -> Bool {
        if healths[Int(place)].ejectedUntil > now { return false }
        var ejected = 0
        for member in members where member.place >= 0 && healths[Int(member.place)].ejectedUntil > now { ejected += 1 }
        guard rules.mayEject(ejected: ejected, of: members.count) else { return false }
        healths[Int(place)].eject(cause, rules, at: now)
        ejectionTotals[Int(cause.rawValue)] += 1
        epoch.pointee.add(1, ordering: .releasing)
        return true
    }

    private func publish(_ place: Int32) {
        let health = healths[Int(place)]
        let record = records + Int(place)
        record.pointee.awayUntil.store(health.awayUntil, ordering: .relaxed)
        record.pointee.since.store(health.since, ordering: .relaxed)
        record.pointee.isTroubled.store(health.isTroubled, ordering: .relaxed)
        record.pointee.causeWord.store(health.cause.rawValue, ordering: .relaxed)
        record.pointee.ejections.store(health.ejections, ordering: .relaxed)
        record.pointee.successPercent.store(health.successPercent, ordering: .relaxed)
    }
}
