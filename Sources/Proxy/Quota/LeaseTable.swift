import Glibc
import Loop
import ProxyResources
import Synchronization

/// What a limit says of a request.
struct QuotaVerdict {
    enum Outcome {
        case admitted
        case refused
        /// Tokens may come within a moment.
        case wait
        /// There is no lease, and the limit is closed without one.
        case lost
    }
    var outcome: Outcome
    var remaining: UInt64 = 0
    /// How long until there may be a token, in nanoseconds.
    var wait: UInt64 = 0
}

/// A proxy's leases of one global limit, for all its loops: sets of eight places, found by the key's hash, as in `RateTable`.
///
/// The table never grows. A key that finds its set full takes the place of the one not used for longest; what was held of that is lost.
final class LeaseTable: Sendable {
    /// Safe to share: a set's places are touched only by who holds its latch.
    private struct Memory: @unchecked Sendable {
        var places: UnsafeMutablePointer<Lease>
        var latches: UnsafeMutablePointer<Atomic<Bool>>
        /// A bit for each set with something to report.
        var news: UnsafeMutablePointer<Atomic<UInt64>>
    }

    private static let ways = 8
    private let memory: Memory
    private let sets: Int
    let budget: String
    /// Where hashes of keys start: the same in all proxies.
    let seed: UInt64
    let terms: QuotaTerms
    let whenLost: GlobalQuota.Loss
    private let clock: LeaseClock
    private let made: UInt64
    /// Proxies that share the limit, as last heard: for keys nothing is known of.
    private let company = Atomic<UInt32>(0)
    /// The control plane says that the budget is not this proxy's.
    private let isRefused = Atomic<Bool>(false)
    private let admitted = Atomic<Int>(0)
    private let limited = Atomic<Int>(0)
    private let waits = Atomic<Int>(0)
    private let unleased = Atomic<Int>(0)

    init(budget: String, _ terms: QuotaTerms, whenLost: GlobalQuota.Loss, clock: LeaseClock) {
        self.budget = budget
        var seed = StableHash(seed: 0)
        seed.add(budget)
        self.seed = seed.mixed
        self.terms = terms
        self.whenLost = whenLost
        self.clock = clock
        made = Clock.monotonic
        var sets = 1
        while sets * Self.ways < terms.keys { sets *= 2 }
        self.sets = sets
        let places = UnsafeMutablePointer<Lease>.allocate(capacity: sets * Self.ways)
        places.initialize(repeating: Lease(key: 0, tokens: 0, now: 0), count: sets * Self.ways)
        let latches = UnsafeMutablePointer<Atomic<Bool>>.allocate(capacity: sets)
        for set in 0..<sets { (latches + set).initialize(to: Atomic(false)) }
        let words = (sets + 63) / 64
        let news = UnsafeMutablePointer<Atomic<UInt64>>.allocate(capacity: words)
        for word in 0..<words { (news + word).initialize(to: Atomic(0)) }
        memory = Memory(places: places, latches: latches, news: news)
    }

    deinit {
        memory.latches.deinitialize(count: sets)
        memory.latches.deallocate()
        memory.news.deinitialize(count: (sets + 63) / 64)
        memory.news.deallocate()
        memory.places.deallocate()
    }

    // MARK: loops

    /// Takes a token of the key. A request may be told to wait a moment and ask again; `waited` says how often it has.
    func take(_ key: UInt64, now: UInt64, waited: UInt8) -> QuotaVerdict {
        let key = key == 0 ? 1 : key
        let set = Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> 32) & (sets - 1)
        let latch = memory.latches + set
        while latch.pointee.exchange(true, ordering: .acquiring) { sched_yield() }
        defer { latch.pointee.store(false, ordering: .releasing) }
        let lease = find(key, memory.places + set * Self.ways, now)
        lease.pointee.usedAt = now
        // Who clears the bit looks at the set afterwards, so one that is there need not be set again.
        let bit: UInt64 = 1 << UInt64(set & 63)
        if memory.news[set >> 6].load(ordering: .relaxed) & bit == 0 {
            memory.news[set >> 6].bitwiseOr(bit, ordering: .releasing)
        }
        let until = clock.until.load(ordering: .relaxed)
        // At its start a proxy waits a moment for its first lease.
        let isLeased = now < until || (until == 0 && now < made &+ Self.firstLease)
        if isLeased && !isRefused.load(ordering: .relaxed) {
            if lease.pointee.tokens > 0 {
                lease.pointee.tokens -= 1
                lease.pointee.taken += 1
                admitted.add(1, ordering: .relaxed)
                return QuotaVerdict(
                    outcome: .admitted, remaining: UInt64(max(0, lease.pointee.tokens + max(0, lease.pointee.level))))
            }
            if waited == 0 { lease.pointee.missed += 1 }
            if lease.pointee.isDry(terms, now: now) {
                limited.add(1, ordering: .relaxed)
                return QuotaVerdict(outcome: .refused, wait: timeToToken(lease.pointee.holders))
            }
            if waited < Self.mostWaits {
                if waited == 0 { waits.add(1, ordering: .relaxed) }
                clock.ring()
                return QuotaVerdict(outcome: .wait)
            }
        }
        return takeWithoutLease(lease, now)
    }

    private func takeWithoutLease(_ lease: UnsafeMutablePointer<Lease>, _ now: UInt64) -> QuotaVerdict {
        unleased.add(1, ordering: .relaxed)
        switch whenLost {
        case .open:
            admitted.add(1, ordering: .relaxed)
            return QuotaVerdict(outcome: .admitted)
        case .closed:
            limited.add(1, ordering: .relaxed)
            return QuotaVerdict(outcome: .lost, wait: 1_000_000_000)
        case .share:
            if lease.pointee.holders == 0 {
                let company = company.load(ordering: .relaxed)
                lease.pointee.holders = company > 0 ? company : Self.unknownCompany
            }
            let part = RateBucket(terms, part: lease.pointee.holders)
            if lease.pointee.fullAt == 0 {
                let level = lease.pointee.level(terms, now: now)
                let missing = level < 0 ? 0 : (terms.burst - level) / Double(lease.pointee.holders)
                lease.pointee.fullAt = max(1, now &+ UInt64(missing * Double(part.interval)))
            }
            let verdict = part.take(fullAt: lease.pointee.fullAt, now: now)
            lease.pointee.fullAt = max(1, verdict.fullAt)
            if verdict.isAdmitted { admitted.add(1, ordering: .relaxed) } else { limited.add(1, ordering: .relaxed) }
            return QuotaVerdict(
                outcome: verdict.isAdmitted ? .admitted : .refused, remaining: verdict.remaining, wait: verdict.wait)
        }
    }

    private func find(_ key: UInt64, _ places: UnsafeMutablePointer<Lease>, _ now: UInt64) -> UnsafeMutablePointer<
        Lease
    > {
        var chosen = places
        for place in 0..<Self.ways {
            let lease = places + place
            if lease.pointee.key == key {
                if !lease.pointee.isJoined { lease.pointee.begin(terms, now: now) }
                return lease
            }
            if lease.pointee.key == 0 {
                if chosen.pointee.key != 0 { chosen = lease }
            } else if chosen.pointee.key != 0 && lease.pointee.usedAt < chosen.pointee.usedAt {
                chosen = lease
            }
        }
        chosen.pointee = Lease(key: key, tokens: terms.allowance, now: now)
        clock.ring()
        return chosen
    }

    private func timeToToken(_ holders: UInt32) -> UInt64 {
        terms.rate > 0 ? UInt64(min(Double(max(1, holders)) / terms.rate, 3.6e12)) : 1_000_000_000
    }

    /// A request waits so often for so long before it is decided without a lease.
    static let mostWaits: UInt8 = 25
    static let pause: UInt64 = 4_000_000
    /// The wait for a first lease after the limit was made known.
    private static let firstLease: UInt64 = 1_000_000_000
    /// Proxies that may share a limit of which this one has never heard.
    private static let unknownCompany: UInt32 = 10

    // MARK: the thread that reports

    private func each(_ set: Int, _ body: (UnsafeMutablePointer<Lease>) -> Void) {
        let latch = memory.latches + set
        while latch.pointee.exchange(true, ordering: .acquiring) { sched_yield() }
        for place in 0..<Self.ways where memory.places[set * Self.ways + place].key != 0 {
            body(memory.places + set * Self.ways + place)
        }
        latch.pointee.store(false, ordering: .releasing)
    }

    private func noteNews(_ set: Int) {
        memory.news[set >> 6].bitwiseOr(1 << UInt64(set & 63), ordering: .relaxed)
    }

    /// What there is to report, at most so many lines; the rest comes the next time.
    func report(now: UInt64, most: Int) -> [QuotaReport.Line] {
        var lines: [QuotaReport.Line] = []
        for word in 0..<(sets + 63) / 64 {
            if lines.count + Self.ways > most { break }
            if memory.news[word].load(ordering: .relaxed) == 0 { continue }
            var bits = memory.news[word].exchange(0, ordering: .acquiring)
            while bits != 0 {
                let set = word * 64 + bits.trailingZeroBitCount
                bits &= bits - 1
                if lines.count + Self.ways > most {
                    noteNews(set)
                    continue
                }
                var goesOn = false
                each(set) { lease in
                    if let line = lease.pointee.report(terms, now: now) { lines.append(line) }
                    if lease.pointee.isJoined || lease.pointee.taken > 0 {
                        goesOn = true
                    } else if lease.pointee.level(terms, now: now) >= terms.burst {
                        // A full bucket needs no memory.
                        lease.pointee.key = 0
                    }
                }
                if goesOn { noteNews(set) }
            }
        }
        return lines
    }

    /// A new stream: all that was held on the last one is given up, and what is known of each key is to be told.
    func restart(now: UInt64) {
        isRefused.store(false, ordering: .relaxed)
        for set in 0..<sets {
            var isUsed = false
            each(set) { lease in
                // What was admitted ahead is still to be told.
                if lease.pointee.isJoined { lease.pointee.restart() }
                _ = lease.pointee.settle(terms, now: now)
                isUsed = true
            }
            if isUsed { noteNews(set) }
        }
    }

    func take(_ lines: [QuotaGrants.Line], now: UInt64) {
        for line in lines {
            company.store(line.holders, ordering: .relaxed)
            let set = Int(truncatingIfNeeded: (line.key &* 0x9E37_79B9_7F4A_7C15) >> 32) & (sets - 1)
            each(set) { lease in
                if lease.pointee.key == line.key { lease.pointee.take(line, now: now) }
            }
        }
    }

    func refuse() { isRefused.store(true, ordering: .relaxed) }

    var gauge: QuotaGauge {
        QuotaGauge(
            budget: budget, admitted: admitted.load(ordering: .relaxed), limited: limited.load(ordering: .relaxed),
            waited: waits.load(ordering: .relaxed), unleased: unleased.load(ordering: .relaxed))
    }
}

struct QuotaGauge: Sendable, Equatable {
    var budget: String
    var admitted: Int
    var limited: Int
    /// Requests that waited for tokens to come.
    var waited: Int
    /// Requests decided without the control plane.
    var unleased: Int
}
