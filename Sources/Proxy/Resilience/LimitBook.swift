import Loop
import ProxyResources
import Synchronization

/// Keeps gates, buckets and shares by name, so that a new configuration goes on with the counts of the old one. What no table
/// uses any more goes with the last connection that holds a place in it.
final class LimitBook: Sendable {
    private struct Kept<Object: AnyObject & Sendable>: Sendable {
        weak var object: Object?
    }
    private struct Pages {
        var gates: [String: Kept<Gate>] = [:]
        var rates: [String: Kept<RateTable>] = [:]
        var shares: [String: Kept<LoopShares>] = [:]
        var leases: [String: Kept<LeaseTable>] = [:]
        /// Begins to lease tokens, when first there is a limit that needs some.
        var beginLeasing: (@Sendable () -> Void)?
    }
    private let pages = Mutex(Pages())
    let loops: Int
    let clock = LeaseClock()

    init(loops: Int) { self.loops = max(1, loops) }

    func gate(_ name: String, limit: Int) -> Gate {
        let known = pages.withLock { pages -> Gate in
            if let gate = pages.gates[name]?.object { return gate }
            let gate = Gate(name, limit: limit)
            pages.gates[name] = Kept(object: gate)
            return gate
        }
        known.set(limit: limit)
        return known
    }

    /// A change of key or size starts anew.
    func rates(_ name: String, keys: Int) -> RateTable {
        pages.withLock { pages in
            let spelled = "\(name)/\(keys)"
            if let table = pages.rates[spelled]?.object { return table }
            let table = RateTable(name: name, keys: keys)
            pages.rates[spelled] = Kept(object: table)
            return table
        }
    }

    func shares(_ name: String, _ adaptive: AdaptiveConcurrency?) -> LoopShares {
        pages.withLock { pages in
            if let shares = pages.shares[name]?.object, shares.adaptive == adaptive { return shares }
            let shares = LoopShares(name, adaptive: adaptive, loops: loops, now: Clock.monotonic)
            pages.shares[name] = Kept(object: shares)
            return shares
        }
    }

    /// A change of what the limit says starts anew.
    func leases(_ limit: RateLimit, _ quota: GlobalQuota) -> LeaseTable {
        let terms = QuotaTerms(limit)
        let (table, begin) = pages.withLock { pages -> (LeaseTable, (@Sendable () -> Void)?) in
            if let table = pages.leases[quota.budget]?.object, table.terms == terms, table.whenLost == quota.whenLost {
                return (table, nil)
            }
            let table = LeaseTable(budget: quota.budget, terms, whenLost: quota.whenLost, clock: clock)
            pages.leases[quota.budget] = Kept(object: table)
            let begin = pages.beginLeasing
            pages.beginLeasing = nil
            return (table, begin)
        }
        begin?()
        return table
    }

    /// Leases are had from the control plane by what `begin` starts; at once, if there is a limit that needs some already.
    func whenLeasing(_ begin: @escaping @Sendable () -> Void) {
        let isLate = pages.withLock { pages in
            if !pages.leases.isEmpty { return true }
            pages.beginLeasing = begin
            return false
        }
        if isLate { begin() }
    }

    var leaseTables: [LeaseTable] { pages.withLock { $0.leases.values.compactMap(\.object) } }

    var leases: [QuotaGauge] { leaseTables.map(\.gauge).sorted { $0.budget < $1.budget } }

    /// Leaves out what is gone; after each configuration.
    func tidy() {
        pages.withLock { pages in
            pages.gates = pages.gates.filter { $0.value.object != nil }
            pages.rates = pages.rates.filter { $0.value.object != nil }
            pages.shares = pages.shares.filter { $0.value.object != nil }
            pages.leases = pages.leases.filter { $0.value.object != nil }
        }
    }

    var gates: [GateGauge] {
        let all = pages.withLock { pages in pages.gates.values.compactMap(\.object) }
        return all.map(\.gauge).sorted { $0.name < $1.name }
    }

    var rates: [RateGauge] {
        let all = pages.withLock { pages in pages.rates.values.compactMap(\.object) }
        return all.map(\.gauge).sorted { $0.name < $1.name }
    }
}
