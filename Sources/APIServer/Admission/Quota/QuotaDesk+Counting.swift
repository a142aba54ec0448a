import KubeClient
import KubeTypes
import Logging
import Store
import Wire

extension QuotaDesk {
    /// How long changes are gathered before what is used is added up anew.
    private static let gathering = Duration.milliseconds(50)
    /// Kubernetes' own.
    private static let resyncInterval = Duration.seconds(300)

    // MARK: Counting

    func isCounted(_ namespace: String) -> Bool {
        guard let space = spaces[namespace], space.isFollowed else { return false }
        return space.followers.keys.allSatisfy { space.counted[$0] ?? nil != nil }
    }

    /// What the namespace holds; `nil` while that is not known here.
    private func counted(_ quota: ResourceQuota, _ namespace: String) -> ResourceAmounts? {
        guard isCounted(namespace), let space = spaces[namespace] else { return nil }
        return quota.total(space.counted.values.lazy.compactMap { $0 }.flatMap(\.values))
    }

    /// Brings the status of all quotas to what the namespace holds.
    func correct(_ namespace: String) async {
        do throws(APIFailure) {
            let quotas = try quotas(namespace)
            if registry.isShared { spaces[namespace]?.returns.share(among: quotas) }
            for quota in quotas {
                if registry.isShared {
                    try await correctShared(quota, namespace)
                } else {
                    try await correctAlone(quota, namespace)
                }
            }
        } catch {
            if error.isNotFound || error.isServerClosing { return }
            logger.warning("quota not brought up to date", metadata: ["namespace": "\(namespace)", "why": "\(error)"])
            // Another server was faster, or the quota changed: with its next event it is looked at again.
            if error.isConflict {
                spaces[namespace]?.isStale = true
            } else if registry.isShared {
                correctAtRest(namespace)
            }
        }
    }

    /// A server alone knows all that is taken: what is there, and what is on its way.
    private func correctAlone(_ quota: ResourceQuota, _ namespace: String) async throws(APIFailure) {
        guard var used = counted(quota, namespace), let space = spaces[namespace] else { return }
        for (name, more) in quota.total(space.flights.values.map(\.usage)) {
            used[name] = (used[name] ?? .zero) + more
        }
        if used == quota.used, quota.wanted == quota.hard { return }
        try await writeStatus(quota, used)
    }

    /// What other servers have taken for objects on their way, nobody here knows: see `QuotaReturns`.
    private func correctShared(_ quota: ResourceQuota, _ namespace: String) async throws(APIFailure) {
        let name = quota.key.name
        let counted = counted(quota, namespace)
        let now = ContinuousClock.now
        let isAtRest = spaces[namespace]?.returns.isAtRest(quota, at: now) ?? false
        let returned = spaces[namespace]?.returns.take(name) ?? [:]
        let used = quota.used(less: returned, counted: counted, isAtRest: isAtRest)
        if let counted, used != counted { correctAtRest(namespace) }
        do throws(APIFailure) {
            if counted == nil {
                var changed = quota
                changed.used = used
                if used != quota.used { try await write(changed) }
            } else if used != quota.used || quota.wanted != quota.hard {
                try await writeStatus(quota, used)
            }
        } catch {
            spaces[namespace]?.returns.add([name: returned])
            throw error
        }
    }

    private func writeStatus(_ quota: ResourceQuota, _ used: ResourceAmounts) async throws(APIFailure) {
        try await changeStatus(of: quota) {
            $0.json["status"] = ["hard": $0.spec["hard"] ?? [:], "used": PodResources.json(used)]
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
        // Another may do it from now on.
        for namespace in spaces.keys {
            guard var space = spaces[namespace] else { continue }
            for task in space.followers.values { task.cancel() }
            space.followers = [:]
            space.counted = [:]
            space.isFollowed = false
            spaces[namespace] = space
            forgetIdle(namespace)
        }
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
        space.isFollowed = true
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
        if registry.isShared, let before { spaces[namespace]?.returns.note(before, became: usage) }
        let landed = land(type, name, namespace)
        // A new object that was taken account of when it was asked for.
        if before == nil, landed.count == 1, landed.first == usage { return false }
        return !landed.isEmpty || before != usage
    }

    /// What was in flight is in the store.
    private func land(_ type: ResourceType, _ name: String, _ namespace: String) -> [QuotaUsage] {
        // Where others share the store, an object of that name may be theirs.
        guard !registry.isShared, let flights = spaces[namespace]?.flights, !flights.isEmpty else { return [] }
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

    /// Looks again when nothing can be on its way any more.
    private func correctAtRest(_ namespace: String) {
        guard let space = spaces[namespace], !space.returns.isRestAwaited else { return }
        spaces[namespace]?.returns.isRestAwaited = true
        Task {
            try? await Task.sleep(for: QuotaReturns.rest + .milliseconds(100))
            spaces[namespace]?.returns.isRestAwaited = false
            correctNow(namespace)
        }
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
