import Loop
import ProxyResources

/// Gathers the resilience of one configuration.
struct ResilienceBuilder {
    private let book: LimitBook
    private var efforts: [EffortEntry] = []
    private var guards: [GuardEntry] = []
    private var rates: [RateEntry] = []
    private var gates: [Gate] = []
    private var rateTables: [RateTable] = []
    /// By budget: limits that share one are as the first of them says.
    private var leaseTables: [String: LeaseTable] = [:]
    private var shares: [LoopShares] = []
    /// Backends some route repeats requests to.
    private var repeated: Set<String> = []

    init(_ book: LimitBook, _ configuration: ProxyConfiguration) {
        self.book = book
        for port in configuration.servicePorts.values { note(port.routes) }
        for listener in configuration.workload.gatewayListeners {
            for host in listener.routes { note(host.rules) }
        }
    }

    private mutating func note(_ rules: [RouteRule]) {
        for rule in rules where rule.resilience.retry != nil { repeated.formUnion(rule.backends.map(\.backend)) }
    }

    private mutating func gate(_ name: String, _ limit: Int?) -> Unmanaged<Gate>? {
        guard let limit else { return nil }
        let gate = book.gate(name, limit: limit)
        gates.append(gate)
        return .passUnretained(gate)
    }

    private func nanoseconds(_ milliseconds: Int?) -> UInt64 { UInt64(max(0, milliseconds ?? 0)) * 1_000_000 }

    /// - Returns: the place of the backend's guard; -1 when it needs none.
    mutating func add(_ backend: Backend) -> Int32 {
        let resilience = backend.resilience
        if resilience == .none && !repeated.contains(backend.name) { return -1 }
        let shares = book.shares(backend.name, resilience.adaptiveConcurrency)
        self.shares.append(shares)
        var entry = GuardEntry(shares: shares.first)
        if let limits = resilience.limits {
            entry.requests = gate("backend \(backend.name) requests", limits.maxRequests)
            entry.connections = gate("backend \(backend.name) connections", limits.maxConnections)
            entry.retries = gate("backend \(backend.name) retries", limits.maxRetries)
            entry.mostPending = limits.maxPending
            entry.pendingTime = nanoseconds(limits.pendingTimeoutMilliseconds)
            entry.requestsPerConnection = UInt32(clamping: limits.maxRequestsPerConnection ?? 0)
            entry.connectTime = nanoseconds(limits.connectTimeoutMilliseconds)
            entry.idleTime = nanoseconds(limits.idleTimeoutMilliseconds)
            entry.tunnelIdle = nanoseconds(limits.tunnelIdleTimeoutMilliseconds)
            entry.keepAlive = limits.keepAlive
        }
        entry.budget = resilience.retryBudget ?? .default
        entry.isAdaptive = resilience.adaptiveConcurrency != nil
        guards.append(entry)
        return Int32(guards.count - 1)
    }

    /// - Parameter scope: where the route stands, since names of rules may repeat.
    /// - Returns: the place of the route's entry; -1 when it asks for nothing.
    mutating func add(
        _ rule: RouteRule, in scope: String, headers: Run, rates: Run
    ) -> Int32 {
        let resilience = rule.resilience
        if resilience == .none { return -1 }
        var entry = EffortEntry()
        if let retry = resilience.retry {
            entry.retry = RetryPlan(retry)
            entry.retryHeaders = headers
        }
        let name = "route \(scope) \(rule.name)"
        if let limits = resilience.limits {
            entry.requests = gate("\(name) requests", limits.maxRequests)
            entry.retries = gate("\(name) retries", limits.maxRetries)
            entry.mostPending = limits.maxPending
            entry.pendingTime = nanoseconds(limits.pendingTimeoutMilliseconds)
        }
        entry.rates = rates
        entry.idle = nanoseconds(resilience.idleTimeoutMilliseconds)
        entry.stream = nanoseconds(resilience.streamTimeoutMilliseconds)
        efforts.append(entry)
        return Int32(efforts.count - 1)
    }

    /// - Parameter headers: the name of each limit's header, empty for those by another key.
    mutating func add(_ limits: [RateLimit], _ scope: String, _ headers: [TextRange], _ labels: LabelBook) -> Run {
        let start = Int32(rates.count)
        for (place, limit) in limits.enumerated() {
            var kind = RateKeyKind.none
            switch limit.key {
            case .none: break
            case .header: kind = .header
            case .principal: kind = .principal
            case .address: kind = .address
            case .path: kind = .path
            }
            let name = limit.name.isEmpty ? "\(scope) rate \(place)" : limit.name
            var entry = RateEntry(
                kind: kind, header: headers[place], bucket: RateBucket(limit),
                name: labels.number(ofName: limit.global?.budget ?? name), headers: limit.headers,
                tellsAlways: limit.headersAlways && limit.headers != .off)
            if let quota = limit.global {
                let table = leaseTables[quota.budget] ?? book.leases(limit, quota)
                leaseTables[quota.budget] = table
                entry.leases = .passUnretained(table)
            } else {
                // The scope too: names may repeat.
                let spelled = limit.name.isEmpty ? name : "\(scope) \(name)"
                let table = book.rates(spelled, keys: kind == .none ? 1 : limit.maxKeys)
                rateTables.append(table)
                entry.table = .passUnretained(table)
            }
            rates.append(entry)
        }
        return Run(start: start, count: Int32(rates.count) - start)
    }

    consuming func tables(workloadRates: Run, in memory: TableMemory) -> ResilienceTables {
        let arrays = ResilienceArrays(
            efforts: memory.keep(efforts), guards: memory.keep(guards), guardCount: guards.count,
            rates: memory.keep(rates),
            workloadRates: workloadRates)
        book.tidy()
        return ResilienceTables(
            arrays, gates: gates, rateTables: rateTables, shares: shares, leaseTables: Array(leaseTables.values))
    }
}
