import ProxyResources

/// What all limits of a proxy say of themselves.
struct LimitGauges: Sendable {
    var gates: [GateGauge] = []
    var rates: [RateGauge] = []
    var leases: [QuotaGauge] = []
}

struct RateGauge: Sendable, Equatable {
    var name: String
    var admitted: Int
    var limited: Int
}

/// One loop's part of a backend's guard.
struct GuardCount: Sendable, Equatable {
    var backend: String
    /// The adaptive limit; 0 without one.
    var limit = 0
    var active = 0
    var shed = 0
    var repetitions = 0
    var overBudget = 0
}

extension LimitBook {
    var gauges: LimitGauges { LimitGauges(gates: gates, rates: rates, leases: leases) }
}

extension Engine {
    /// What this loop keeps of the current table's backends.
    func guardCounts() -> [GuardCount] {
        guard let table else { return [] }
        return table.pointee.table.takeUnretainedValue().resilience.shares.map { shares in
            let share = shares.first + Int(loopNumber)
            return GuardCount(
                backend: shares.name, limit: share.pointee.adaptive?.limit ?? 0, active: share.pointee.active,
                shed: share.pointee.shed, repetitions: share.pointee.repetitions,
                overBudget: share.pointee.overBudget)
        }
    }
}

extension MetricsText {
    mutating func limits() {
        gateMetrics()
        rateMetrics()
        leaseMetrics()
        guardMetrics()
    }

    private mutating func gateMetrics() {
        let gates = snapshot.limits.gates
        if gates.isEmpty { return }
        let rows: [(name: String, kind: String, help: String, value: (GateGauge) -> Int)] = [
            ("weft_limit_capacity", "gauge", "Places a limit has.", { $0.limit }),
            ("weft_limit_used", "gauge", "Places that are taken.", { $0.held }),
            ("weft_limit_waiting", "gauge", "Requests that wait for a place.", { $0.waiting }),
            ("weft_limit_refused_total", "counter", "Requests a limit turned away.", { $0.refused }),
        ]
        for row in rows {
            family(row.name, row.kind, row.help)
            for gate in gates { line("\(row.name){limit=\"\(Self.quoted(gate.name))\"} \(row.value(gate))") }
        }
    }

    private mutating func rateMetrics() {
        let rates = snapshot.limits.rates
        if rates.isEmpty { return }
        family("weft_rate_admitted_total", "counter", "Requests within a rate limit.")
        for rate in rates { line("weft_rate_admitted_total{limit=\"\(Self.quoted(rate.name))\"} \(rate.admitted)") }
        family("weft_rate_limited_total", "counter", "Requests beyond a rate limit.")
        for rate in rates { line("weft_rate_limited_total{limit=\"\(Self.quoted(rate.name))\"} \(rate.limited)") }
    }

    private mutating func leaseMetrics() {
        let leases = snapshot.limits.leases
        if leases.isEmpty { return }
        let rows: [(name: String, help: String, value: (QuotaGauge) -> Int)] = [
            ("weft_quota_admitted_total", "Requests within a global limit.", { $0.admitted }),
            ("weft_quota_limited_total", "Requests beyond a global limit.", { $0.limited }),
            ("weft_quota_waited_total", "Requests that waited a moment for tokens.", { $0.waited }),
            ("weft_quota_unleased_total", "Requests decided without the control plane.", { $0.unleased }),
        ]
        for row in rows {
            family(row.name, "counter", row.help)
            for lease in leases { line("\(row.name){budget=\"\(Self.quoted(lease.budget))\"} \(row.value(lease))") }
        }
    }

    private mutating func guardMetrics() {
        if snapshot.loops.allSatisfy({ $0.counts.guards.isEmpty }) { return }
        let rows: [(name: String, kind: String, help: String, value: (GuardCount) -> Int)] = [
            (
                "weft_adaptive_limit", "gauge", "Requests at once the adaptive limit admits; 0 without one.",
                { $0.limit }
            ),
            ("weft_adaptive_active", "gauge", "Requests the adaptive limit counts.", { $0.active }),
            ("weft_adaptive_shed_total", "counter", "Requests the adaptive limit turned away.", { $0.shed }),
            ("weft_backend_retries_total", "counter", "Tries after the first, by a policy.", { $0.repetitions }),
            ("weft_backend_retries_over_budget_total", "counter", "Tries the budget did not admit.", { $0.overBudget }),
        ]
        for row in rows {
            family(row.name, row.kind, row.help)
            for (place, loop) in snapshot.loops.enumerated() {
                for one in loop.counts.guards {
                    let backend = Self.quoted(one.backend)
                    line("\(row.name){backend=\"\(backend)\",loop=\"\(place)\"} \(row.value(one))")
                }
            }
        }
    }
}
