import KubeClient
import KubeTypes
import Logging
import Store
import Wire

/// Where quotas are taken from and given back: one queue for each namespace that has any.
///
/// What is used stands in the quota's status, changed with compare-and-swap, so that servers sharing a store cannot exceed it
/// together. The desk also follows the namespace's objects and sets the status right when something went away; of servers that
/// share a store, one does that.
actor QuotaDesk {
    struct Pending {
        var request: AdmissionRequest
        var usage: QuotaUsage
        var growth: ResourceAmounts
        var answer: CheckedContinuation<Result<QuotaCharge?, APIFailure>, Never>
    }
    /// Taken, but not yet seen in the store; where others share it, not yet answered by it.
    struct Flight {
        var type: ResourceType
        var name: String
        var usage: QuotaUsage
        /// Of each quota, by its name; where nobody shares the store, everything is counted anew instead.
        var taken: [String: ResourceAmounts]
    }
    struct Space {
        var pending: [Pending] = []
        var isServing = false
        var isStale = true
        /// A correction is to come in a moment.
        var isScheduled = false
        /// Somebody has looked what the quotas count.
        var isFollowed = false
        /// What is counted, by kind; `nil` until the kind was listed.
        var counted: [ResourceType: [String: QuotaUsage]?] = [:]
        var followers: [ResourceType: Task<Void, Never>] = [:]
        var flights: [Int: Flight] = [:]
        /// Where others share the store: what is to be taken off the statuses.
        var returns = QuotaReturns()
    }

    /// Requests decided with one write of the status.
    private static let mostInBatch = 256
    private static let mostAttempts = 16
    /// Requests that may wait in one namespace.
    private static let mostPending = 4096

    let registry: Registry
    let logger: Logger
    var spaces: [String: Space] = [:]
    private var nextNumber = 0

    init(_ registry: Registry, logger: Logger) {
        self.registry = registry
        self.logger = logger
    }

    // MARK: Requests

    func take(
        _ request: AdmissionRequest, _ usage: QuotaUsage, _ growth: ResourceAmounts
    ) async throws(APIFailure) -> QuotaCharge? {
        let namespace = request.namespace
        if spaces[namespace]?.pending.count ?? 0 >= Self.mostPending {
            throw APIFailure(
                code: 429, reason: "TooManyRequests",
                message: "too many requests wait for the quotas of namespace \(namespace)",
                details: ["retryAfterSeconds": 1])
        }
        let result = await withCheckedContinuation { answer in
            spaces[namespace, default: Space()].pending.append(
                Pending(request: request, usage: usage, growth: growth, answer: answer))
            serve(namespace)
        }
        return try result.get()
    }

    func settle(_ namespace: String, _ number: Int, stored: Bool) {
        if registry.isShared {
            let flight = spaces[namespace]?.flights.removeValue(forKey: number)
            if let flight, !stored { giveBack(flight.taken, namespace) } else { forgetIdle(namespace) }
            return
        }
        // What is stored stays in flight until it was seen in the store.
        if stored { return }
        guard spaces[namespace]?.flights.removeValue(forKey: number) != nil else { return }
        spaces[namespace]?.isStale = true
        serve(namespace)
    }

    private func giveBack(_ taken: [String: ResourceAmounts], _ namespace: String) {
        spaces[namespace]?.returns.add(taken)
        spaces[namespace]?.isStale = true
        serve(namespace)
    }

    func serve(_ namespace: String) {
        guard let space = spaces[namespace], !space.isServing else { return }
        spaces[namespace]?.isServing = true
        Task { await work(namespace) }
    }

    /// One at a time for a namespace: sets the status right, then decides what waits.
    private func work(_ namespace: String) async {
        while let space = spaces[namespace] {
            if space.isStale, registry.isShared || isCounted(namespace) {
                spaces[namespace]?.isStale = false
                await correct(namespace)
                continue
            }
            if space.pending.isEmpty { break }
            let batch = Array(space.pending.prefix(Self.mostInBatch))
            spaces[namespace]?.pending.removeFirst(batch.count)
            await decide(batch, namespace)
        }
        spaces[namespace]?.isServing = false
        forgetIdle(namespace)
    }

    /// Where another server follows what is counted, nothing is kept of a namespace when all requests are answered.
    func forgetIdle(_ namespace: String) {
        guard let space = spaces[namespace], !space.isFollowed, !space.isServing else { return }
        if space.pending.isEmpty, space.flights.isEmpty, space.returns.isEmpty { spaces[namespace] = nil }
    }

    func quotas(_ namespace: String) throws(APIFailure) -> [ResourceQuota] {
        let definition = try registry.definition(of: AdmissionKind.resourceQuotas)
        return try registry.list(definition, namespace: namespace, .all).items.map(ResourceQuota.init)
    }

    private func decide(_ batch: [Pending], _ namespace: String) async {
        for attempt in 1...Self.mostAttempts {
            var outcomes: [Result<QuotaCharge?, APIFailure>] = []
            var numbers: [Int] = []
            var written: [String: ResourceAmounts] = [:]
            do throws(APIFailure) {
                var quotas = try quotas(namespace)
                let before = quotas.map(\.used)
                for pending in batch {
                    let held = quotas
                    if let failure = Self.refusal(pending, &quotas) {
                        outcomes.append(.failure(failure))
                        continue
                    }
                    if pending.request.isDryRun {
                        outcomes.append(.success(nil))
                        continue
                    }
                    nextNumber += 1
                    let charge = QuotaCharge(desk: self, namespace: namespace, number: nextNumber)
                    spaces[namespace]?.flights[nextNumber] = Flight(
                        type: pending.request.type, name: pending.request.name, usage: Self.flown(pending),
                        taken: registry.isShared ? QuotaReturns.taken(held, quotas) : [:])
                    numbers.append(nextNumber)
                    outcomes.append(.success(charge))
                }
                for (quota, old) in zip(quotas, before) where quota.used != old {
                    try await write(quota)
                    written[quota.key.name] = QuotaReturns.taken(old, quota.used)
                }
                for (pending, outcome) in zip(batch, outcomes) { pending.answer.resume(returning: outcome) }
                return
            } catch {
                for number in numbers { spaces[namespace]?.flights[number] = nil }
                // Of several quotas one may be written already: it is given back, or everything is counted anew.
                if registry.isShared { giveBack(written, namespace) }
                if error.isConflict, attempt < Self.mostAttempts {
                    if registry.isShared || isCounted(namespace) { await correct(namespace) }
                    continue
                }
                for pending in batch { pending.answer.resume(returning: .failure(error)) }
                return
            }
        }
    }

    /// Dry runs are checked against what others have, and take nothing.
    private static func refusal(_ pending: Pending, _ quotas: inout [ResourceQuota]) -> APIFailure? {
        var taken = quotas
        let request = pending.request
        let isPod = request.type == .pods && request.operation == .create
        for index in taken.indices {
            guard taken[index].concerns(pending.usage, request.type, in: taken[index].hard) else { continue }
            if let why = taken[index].take(
                pending.growth, pending.usage, request.type, spec: isPod ? request.object.spec : nil)
            {
                return .forbidden(request, why)
            }
        }
        if !request.isDryRun { quotas = taken }
        return nil
    }

    /// What counts until the store shows the object: of a change only what it adds.
    private static func flown(_ pending: Pending) -> QuotaUsage {
        var usage = pending.usage
        usage.amounts = pending.growth
        return usage
    }

    func write(_ quota: ResourceQuota) async throws(APIFailure) {
        try await changeStatus(of: quota) { fresh in
            var used = PodResources.amounts(of: fresh.status["used"])
            used.merge(quota.used) { _, new in new }
            fresh.json[path: ["status", "used"]] = PodResources.json(used)
        }
    }

    /// Compare-and-swap: whoever was faster makes it a conflict.
    func changeStatus(
        of quota: ResourceQuota, _ change: @escaping @Sendable (inout KubeObject) -> Void
    ) async throws(APIFailure) {
        let definition = try registry.definition(of: AdmissionKind.resourceQuotas)
        _ = try await registry.change(definition, quota.key, subresource: "status", Self.context) {
            old throws(APIFailure) in
            guard old.resourceVersion == quota.resourceVersion else {
                throw .conflict(AdmissionKind.resourceQuotas, quota.key.name, Registry.changedText)
            }
            var fresh = old
            change(&fresh)
            return fresh
        }
    }

    /// The server's own write: admitted as it is, and nobody's field.
    static var context: WriteContext {
        var context = WriteContext(user: .apiServer)
        context.isAdmitted = true
        return context
    }
}
