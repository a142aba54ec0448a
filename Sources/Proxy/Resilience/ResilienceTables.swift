import ProxyResources

/// A route's part of resilience. Times in nanoseconds, 0 for none.
struct EffortEntry {
    var retry = RetryPlan()
    var retryHeaders = Run()  // among `routes.conditions`, for `headerHolds`
    var requests: Unmanaged<Gate>? = nil
    var retries: Unmanaged<Gate>? = nil
    var mostPending = 0
    var pendingTime: UInt64 = 0
    var rates = Run()
    var idle: UInt64 = 0
    var stream: UInt64 = 0
}

/// What guards a backend.
struct GuardEntry {
    var requests: Unmanaged<Gate>? = nil
    var connections: Unmanaged<Gate>? = nil
    var retries: Unmanaged<Gate>? = nil
    var mostPending = 0
    var pendingTime: UInt64 = 0
    var requestsPerConnection: UInt32 = 0
    var connectTime: UInt64 = 0
    var idleTime: UInt64 = 0
    var tunnelIdle: UInt64 = 0
    var keepAlive: TCPKeepAlive? = nil
    var budget = RetryBudget.default
    var isAdaptive = false
    /// One for each loop.
    var shares: UnsafeMutablePointer<LoopShare>
}

/// What one loop keeps about a backend; only that loop touches it.
struct LoopShare {
    var budget = RetryBudgetCount()
    var adaptive: Gradient?
    /// Requests counted by the adaptive limit.
    var active = 0
    var shed = 0
    var repetitions = 0
    var overBudget = 0
}

enum RateKeyKind: UInt8 { case none, header, principal, address, path }

struct RateEntry {
    var kind: RateKeyKind
    var header: TextRange
    var bucket: RateBucket
    /// One of both: a limit of this proxy, or one whose tokens are leased.
    var table: Unmanaged<RateTable>?
    var leases: Unmanaged<LeaseTable>? = nil
    /// In the label book.
    var name: UInt32
    var headers: RateLimit.Headers
    var tellsAlways: Bool
}

/// The same, as plain pointers.
struct ResilienceArrays {
    var efforts: UnsafeMutablePointer<EffortEntry>
    var guards: UnsafeMutablePointer<GuardEntry>
    var guardCount: Int
    var rates: UnsafeMutablePointer<RateEntry>
    /// Limits on all requests to the pod.
    var workloadRates: Run
}

/// A routing table's resilience, and all it points to.
///
/// `@unchecked Sendable`: written only before it is shared; shares are touched by their loops alone.
final class ResilienceTables: @unchecked Sendable {
    let arrays: ResilienceArrays
    let gates: [Gate]
    let rateTables: [RateTable]
    let shares: [LoopShares]
    private let leaseTables: [LeaseTable]

    init(
        _ arrays: ResilienceArrays, gates: [Gate], rateTables: [RateTable], shares: [LoopShares],
        leaseTables: [LeaseTable]
    ) {
        self.leaseTables = leaseTables
        self.arrays = arrays
        self.gates = gates
        self.rateTables = rateTables
        self.shares = shares
    }
}

/// A backend's shares, which outlive changes of configuration.
///
/// `@unchecked Sendable`: each share is touched by its loop alone.
final class LoopShares: @unchecked Sendable {
    let name: String
    let adaptive: AdaptiveConcurrency?
    let first: UnsafeMutablePointer<LoopShare>

    init(_ name: String, adaptive: AdaptiveConcurrency?, loops: Int, now: UInt64) {
        self.name = name
        self.adaptive = adaptive
        first = .allocate(capacity: max(1, loops))
        let share = LoopShare(adaptive: adaptive.map { Gradient($0, now: now) })
        first.initialize(repeating: share, count: max(1, loops))
    }

    deinit { first.deallocate() }
}
