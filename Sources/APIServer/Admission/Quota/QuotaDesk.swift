import KubeClient
import KubeTypes
import Logging
import Store
import Wire

/// Where quotas are taken from and given back: one queue for each namespace that has any.
///
/// What is used stands in the quota's status, changed with compare-and-swap, so that servers sharing a store cannot exceed it
/// together. The desk also follows the namespace's objects and sets the status right when something went away.
actor QuotaDesk {
    private struct Pending {
        var request: AdmissionRequest
        var usage: QuotaUsage
        var growth: ResourceAmounts
        var answer: CheckedContinuation<Result<QuotaCharge?, APIFailure>, Never>
    }
    /// Taken, but not yet seen in the store.
    private struct Flight {
        var type: ResourceType
        var name: String
        var usage: QuotaUsage
    }
    private struct Space {
        var pending: [Pending] = []
        var isServing = false
        var isStale = true
        /// A correction is to come in a moment.
        var isScheduled = false
        /// What is counted, by kind; `nil` until the kind was listed.
        var counted: [ResourceType: [String: QuotaUsage]?] = [:]
        var followers: [ResourceType: Task<Void, Never>] = [:]
        var flights: [Int: Flight] = [:]
    }

    /// Requests decided with one write of the status.
    private static let mostInBatch = 256
    private static let mostAttempts = 16
    /// Requests that may wait in one namespace.
    private static let mostPending = 4096
    /// How long changes are gathered before what is used is added up anew.
    private static let gathering = Duration.milliseconds(50)
    /// Kubernetes' own.
    private static let resyncInterval = Duration.seconds(300)

    private let registry: Registry
    private let logger: Logger
    private var spaces: [String: Space] = [:]
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
        // What is stored stays in flight until it was seen in the store.
        if stored { return }
        guard spaces[namespace]?.flights.removeValue(forKey: number) != nil else { return }
        spaces[namespace]?.isStale = true
        serve(namespace)
    }

    private func serve(_ namespace: String) {
        guard let space = spaces[namespace], !space.isServing else { return }
        spaces[namespace]?.isServing = true
        Task { await work(namespace) }
    }

    /// One at a time for a namespace: sets the status right, then decides what waits.
    private func work(_ namespace: String) async {
        while let space = spaces[namespace] {
            if space.isStale, isCounted(namespace) {
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
    }

    private func quotas(_ namespace: String) throws(APIFailure) -> [ResourceQuota] {
        let definition = try registry.definition(of: AdmissionKind.resourceQuotas)
        return try registry.list(definition, namespace: namespace, .all).items.map(ResourceQuota.init)
    }

    private func decide(_ batch: [Pending], _ namespace: String) async {
        for attempt in 1...Self.mostAttempts {
            var outcomes: [Result<QuotaCharge?, APIFailure>] = []
            var numbers: [Int] = []
            do throws(APIFailure) {
                var quotas = try quotas(namespace)
                let before = quotas.map(\.used)
                for pending in batch {
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
                        type: pending.request.type, name: pending.request.name, usage: Self.flown(pending))
                    numbers.append(nextNumber)
                    outcomes.append(.success(charge))
                }
                for (quota, old) in zip(quotas, before) where quota.used != old {
                    try await write(quota)
                }
                for (pending, outcome) in zip(batch, outcomes) { pending.answer.resume(returning: outcome) }
                return
            } catch {
                for number in numbers { spaces[namespace]?.flights[number] = nil }
                if error.isConflict, attempt < Self.mostAttempts {
                    // Of several quotas one may be written already: first everything is counted anew.
                    if isCounted(namespace) { await correct(namespace) }
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

    private func write(_ quota: ResourceQuota) async throws(APIFailure) {
        let definition = try registry.definition(of: AdmissionKind.resourceQuotas)
        _ = try await registry.change(definition, quota.key, subresource: "status", Self.context) {
            old throws(APIFailure) in
            guard old.resourceVersion == quota.resourceVersion else {
                throw .conflict(AdmissionKind.resourceQuotas, quota.key.name, Registry.changedText)
            }
            var fresh = old
            var used = PodResources.amounts(of: old.status["used"])
            used.merge(quota.used) { _, new in new }
            fresh.json[path: ["status", "used"]] = PodResources.json(used)
            return fresh
        }
    }

    /// The server's own write: admitted as it is, and nobody's field.
    private static var context: WriteContext {
        var context = WriteContext(user: .apiServer)
        context.isAdmitted = true
        return context
    }

    // MARK: Counting

    private func isCounted(_ namespace: String) -> Bool {
        guard let space = spaces[namespace] else { return false }
        return space.followers.keys.allSatisfy { space.counted[$0] ?? nil != nil }
    }

    /// Brings the status of all quotas to what the namespace holds.
    private func correct(_ namespace: String) async {
        do throws(APIFailure) {
            for quota in try quotas(namespace) {
                guard let space = spaces[namespace] else { return }
                var used = quota.total(space.counted.values.lazy.compactMap { $0 }.flatMap(\.values))
                for (name, more) in quota.total(space.flights.values.map(\.usage)) {
                    used[name] = (used[name] ?? .zero) + more
                }
                if used == quota.used, quota.wanted == quota.hard { continue }
                try await writeStatus(quota, used)
            }
        } catch {
            if error.isNotFound || error.isServerClosing { return }
            logger.warning("quota not brought up to date", metadata: ["namespace": "\(namespace)", "why": "\(error)"])
            // Another server was faster, or the quota changed: with its next event it is looked at again.
            if error.isConflict { spaces[namespace]?.isStale = true }
        }
    }

    private func writeStatus(_ quota: ResourceQuota, _ used: ResourceAmounts) async throws(APIFailure) {
        let definition = try registry.definition(of: AdmissionKind.resourceQuotas)
        _ = try await registry.change(definition, quota.key, subresource: "status", Self.context) {
            old throws(APIFailure) in
            guard old.resourceVersion == quota.resourceVersion else {
                throw .conflict(AdmissionKind.resourceQuotas, quota.key.name, Registry.changedText)
            }
            var fresh = old
            fresh.json["status"] = ["hard": old.spec["hard"] ?? [:], "used": PodResources.json(used)]
            return fresh
        }
    }

    // MARK: Following the store

    /// Follows quotas and what they count, until cancelled.
    func run() async {
        let resync = Task { await self.resync() }
        defer { resync.cancel() }
        let scope = StorageKey.scope(AdmissionKind.resourceQuotas)
        while !Task.isCancelled {
            let snapshot = registry.store.snapshot()
            var revision = snapshot.revision
            var namespaces: Set<String> = []
            snapshot.index.visit(under: scope) { record in
                namespaces.insert(Self.namespace(record.key, scope))
                return true
            }
            for namespace in namespaces.union(spaces.keys) { follow(namespace) }
            let watch = registry.store.watch(scope)
            do {
                while true {
                    guard case .events(let events) = try await watch.next(after: &revision) else { continue }
                    let relevant = events.filter(changesWhatIsCounted)
                    for namespace in Set(relevant.map { Self.namespace($0.record.key, scope) }) { follow(namespace) }
                }
            } catch let failure as StoreFailure {
                guard case .expired = failure else { break }
            } catch {
                break
            }
        }
        for space in spaces.values { for task in space.followers.values { task.cancel() } }
    }

    /// Writes of the status, most of them our own, change nothing, but for those that do not say what the spec does.
    private func changesWhatIsCounted(_ event: StoreEvent) -> Bool {
        guard event.kind == .updated, let previous = event.previous,
            let definition = try? registry.definition(of: AdmissionKind.resourceQuotas)
        else { return true }
        let new = registry.object(event.record, as: definition, keeping: true)
        let quota = ResourceQuota(new)
        if quota.hard != quota.wanted || quota.used.count != quota.wanted.count { return true }
        return new.spec != registry.object(previous, as: definition, keeping: true).spec
    }

    /// Adds up anew from time to time whatever was written into a status from outside.
    private func resync() async {
        while (try? await Task.sleep(for: Self.resyncInterval)) != nil {
            for namespace in spaces.keys { correctNow(namespace) }
        }
    }

    private static func namespace(_ key: String, _ scope: String) -> String {
        String(key.dropFirst(scope.count).prefix { $0 != "/" })
    }

    /// Follows what the namespace's quotas count, and nothing else.
    private func follow(_ namespace: String) {
        guard let quotas = try? quotas(namespace) else { return }
        var types: Set<ResourceType> = []
        for quota in quotas { for name in quota.wanted.keys { if let type = counted(name) { types.insert(type) } } }
        var space = spaces[namespace] ?? Space()
        for (type, task) in space.followers where !types.contains(type) {
            task.cancel()
            space.followers[type] = nil
            space.counted[type] = nil
        }
        for type in types where space.followers[type] == nil {
            space.followers[type] = Task { await self.count(type, namespace) }
        }
        space.isStale = true
        spaces[namespace] = space
        if quotas.isEmpty, space.pending.isEmpty, !space.isServing {
            spaces[namespace] = nil
            return
        }
        serve(namespace)
    }

    private func counted(_ name: String) -> ResourceType? {
        let (group, resource) = QuotaUsage.counted(by: name)
        let found = registry.catalog.definitions.first {
            $0.type.group == group && $0.type.resource == resource && $0.type.isNamespaced && $0.isStored
        }
        return found?.storageType
    }

    /// Keeps count of one kind in one namespace, until cancelled.
    private func count(_ type: ResourceType, _ namespace: String) async {
        guard let definition = registry.catalog.definition(of: type) else { return }
        let scope = StorageKey.scope(type, namespace: namespace)
        while !Task.isCancelled {
            let snapshot = registry.store.snapshot()
            var revision = snapshot.revision
            var found: [String: QuotaUsage] = [:]
            snapshot.index.visit(under: scope) { record in
                found[String(record.key.dropFirst(scope.count))] = QuotaUsage(
                    registry.object(record, as: definition), type)
                return true
            }
            guard !Task.isCancelled, spaces[namespace]?.followers[type] != nil else { return }
            spaces[namespace]?.counted[type] = found
            for name in found.keys { _ = land(type, name, namespace) }
            correctNow(namespace)
            let watch = registry.store.watch(scope)
            do {
                while true {
                    guard case .events(let events) = try await watch.next(after: &revision) else { continue }
                    if Task.isCancelled { return }
                    var isChanged = false
                    for event in events {
                        if apply(event, definition, type, namespace, scope) { isChanged = true }
                    }
                    if isChanged { correctSoon(namespace) }
                }
            } catch let failure as StoreFailure {
                guard case .expired = failure else { return }
            } catch {
                return
            }
        }
    }

    /// - Returns: whether what is used has changed by it.
    private func apply(
        _ event: StoreEvent, _ definition: ResourceDefinition, _ type: ResourceType, _ namespace: String,
        _ scope: String
    ) -> Bool {
        let name = String(event.record.key.dropFirst(scope.count))
        var found = (spaces[namespace]?.counted[type] ?? nil) ?? [:]
        spaces[namespace]?.counted[type] = .some(nil)
        let before = found[name]
        let usage =
            event.kind == .deleted
            ? nil : QuotaUsage(registry.object(event.record, as: definition, keeping: true), type)
        found[name] = usage
        spaces[namespace]?.counted[type] = found
        let landed = land(type, name, namespace)
        // A new object that was taken account of when it was asked for.
        if before == nil, landed.count == 1, landed.first == usage { return false }
        return !landed.isEmpty || before != usage
    }

    /// What was in flight is in the store.
    private func land(_ type: ResourceType, _ name: String, _ namespace: String) -> [QuotaUsage] {
        guard let flights = spaces[namespace]?.flights, !flights.isEmpty else { return [] }
        var landed: [QuotaUsage] = []
        for (number, flight) in flights
        where flight.name == name && flight.type.resource == type.resource && flight.type.group == type.group {
            spaces[namespace]?.flights[number] = nil
            landed.append(flight.usage)
        }
        return landed
    }

    private func correctNow(_ namespace: String) {
        spaces[namespace]?.isStale = true
        serve(namespace)
    }

    /// Gathers what changes meanwhile: a namespace whose pods come and go is not added up for each of them.
    private func correctSoon(_ namespace: String) {
        guard let space = spaces[namespace], !space.isScheduled else { return }
        spaces[namespace]?.isScheduled = true
        Task {
            try? await Task.sleep(for: Self.gathering)
            spaces[namespace]?.isScheduled = false
            correctNow(namespace)
        }
    }
}
