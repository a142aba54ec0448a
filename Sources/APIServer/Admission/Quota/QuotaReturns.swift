import KubeTypes

/// What is to be taken off the statuses of a namespace's quotas, where several servers take from them.
///
/// A server that adds up what a namespace holds misses what another has taken for objects that are not in the store yet: to write
/// that sum would let both take the same once more. So what is taken is given back by the one who knows: the server whose request
/// failed, and, for objects that went away or shrank, the one that follows them. The sum counts where it is more than the status, and
/// when nobody has taken anything for so long that nothing can be on its way.
struct QuotaReturns {
    /// Longer than a request waits for the store after it has taken its share.
    static let rest = Duration.seconds(30)

    /// By quota.
    private var amounts: [String: ResourceAmounts] = [:]
    /// Objects that count for less than before, or, with `nil`, for nothing.
    private var shrunk: [(before: QuotaUsage, now: QuotaUsage?)] = []
    /// Since when each quota has been as it is.
    private var standing: [String: (version: String, since: ContinuousClock.Instant)] = [:]
    /// Somebody will look again.
    var isRestAwaited = false

    var isEmpty: Bool { amounts.isEmpty && shrunk.isEmpty }

    mutating func add(_ taken: [String: ResourceAmounts]) {
        for (name, more) in taken where !more.isEmpty { amounts[name, default: [:]].merge(more, uniquingKeysWith: +) }
    }

    mutating func note(_ before: QuotaUsage, became now: QuotaUsage?) {
        if before != now { shrunk.append((before, now)) }
    }

    /// What shrank is taken off those it counts for; what was to be taken off others has no meaning any more.
    mutating func share(among quotas: [ResourceQuota]) {
        let names = Set(quotas.map(\.key.name))
        amounts = amounts.filter { names.contains($0.key) }
        standing = standing.filter { names.contains($0.key) }
        for quota in quotas {
            for (before, now) in shrunk { add([quota.key.name: quota.lost(before, now)]) }
        }
        shrunk = []
    }

    mutating func take(_ quota: String) -> ResourceAmounts { amounts.removeValue(forKey: quota) ?? [:] }

    /// Whether nobody has written the quota for so long that all that was taken of it is stored, or given back.
    mutating func isAtRest(_ quota: ResourceQuota, at now: ContinuousClock.Instant) -> Bool {
        let name = quota.key.name
        guard let known = standing[name], known.version == quota.resourceVersion else {
            standing[name] = (quota.resourceVersion, now)
            return false
        }
        return now - known.since >= Self.rest
    }

    /// What one request has taken of each quota.
    static func taken(_ before: [ResourceQuota], _ after: [ResourceQuota]) -> [String: ResourceAmounts] {
        var taken: [String: ResourceAmounts] = [:]
        for (old, new) in zip(before, after) where old.used != new.used {
            taken[new.key.name] = Self.taken(old.used, new.used)
        }
        return taken
    }

    static func taken(_ before: ResourceAmounts, _ after: ResourceAmounts) -> ResourceAmounts {
        var taken: ResourceAmounts = [:]
        for (name, amount) in after where amount > before[name] ?? .zero {
            taken[name] = amount - (before[name] ?? .zero)
        }
        return taken
    }
}

extension ResourceQuota {
    /// What an object that has changed, or gone, leaves free.
    func lost(_ before: QuotaUsage, _ now: QuotaUsage?) -> ResourceAmounts {
        guard matchesScopes(before) else { return [:] }
        let left = now.flatMap { matchesScopes($0) ? $0.amounts : nil } ?? [:]
        return QuotaReturns.taken(left, before.amounts.filter { used[$0.key] != nil })
    }

    /// What the status should say is used.
    ///
    /// - Parameters:
    ///   - returned: what is given back.
    ///   - counted: what the namespace holds, with all names of the spec; `nil` when that is not known here.
    func used(less returned: ResourceAmounts, counted: ResourceAmounts?, isAtRest: Bool) -> ResourceAmounts {
        if let counted, isAtRest { return counted }
        var rest = used
        for (name, amount) in returned {
            if let now = rest[name] { rest[name] = max(now - amount, Quantity(0, now.form)) }
        }
        guard let counted else { return rest }
        return counted.merging(rest.filter { counted[$0.key] != nil }) { max($0, $1) }
    }
}
