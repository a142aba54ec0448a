import KubeTypes
import Wire

/// The writes that bring a Deployment one step on. Each step is planned from what is there, so a lost step is planned again.
struct DeploymentPlan {
    struct Note: Hashable {
        var reason: String
        var message: String
    }

    /// To be created; at most one.
    var creation: KubeObject?
    /// Sets with another size or other annotations.
    var updates: [RevisionSet] = []
    var deletions: [RevisionSet] = []
    /// The Deployment's annotation `revision`, when it must change.
    var revision: String?
    var notes: [Note] = []
    var status: JSON = [:]
    /// When time alone changes the status: the progress deadline.
    var lookAgain: Duration?

    private let deployment: KubeObject
    private let rollout: Rollout
    private var sets: [RevisionSet]
    private let newName: String?

    /// - Parameters:
    ///   - sets: the sets the Deployment controls.
    ///   - oldPods: whether pods of old sets still exist, ended ones aside; Recreate waits for them.
    init(
        deployment: KubeObject, sets: [RevisionSet], oldPods: ([RevisionSet]) -> Bool, now: Timestamp
    ) throws(APIFailure) {
        self.deployment = deployment
        rollout = try Rollout(deployment)
        self.sets = sets.sorted { $0.isOlder(than: $1) }
        let template = TemplateHash.canonical(deployment[Deployment.template] ?? [:])
        newName = self.sets.first { TemplateHash.canonical($0.object[ReplicaSet.template] ?? [:]) == template }?.name
        if deployment.deletionTimestamp == nil { act(oldPods, now) }
        plannedStatus(now)
    }

    // MARK: Steps

    private var newSet: RevisionSet? { sets.first { $0.name == newName } }
    private var oldSets: [RevisionSet] { sets.filter { $0.name != newName } }

    private mutating func act(_ oldPods: ([RevisionSet]) -> Bool, _ now: Timestamp) {
        markRevision()
        // Recreate sizes its one set itself.
        let isResized =
            rollout.isRolling && sets.contains { $0.isActive && $0.desired != nil && $0.desired != rollout.replicas }
        if rollout.isPaused || isResized {
            scaleInProportion()
            if rollout.isPaused { trimHistory() }
            return
        }
        if rollout.isRolling { roll() } else { recreate(oldPods) }
        if isComplete(counts()) { trimHistory() }
    }

    /// The new set carries the highest revision, also when it is an old one come back by a rollback.
    private mutating func markRevision() {
        guard let newSet else { return }
        let highest = oldSets.map(\.revision).max() ?? 0
        var changed = newSet
        var annotations = changed.object.annotations
        for (key, value) in inheritedAnnotations() where annotations[key] != value { annotations[key] = value }
        if newSet.revision <= highest {
            let before = annotations[RevisionSet.revisionAnnotation] ?? ""
            if !before.isEmpty {
                let history = annotations[RevisionSet.historyAnnotation].map { $0 + "," } ?? ""
                annotations[RevisionSet.historyAnnotation] = history + before
            }
            annotations[RevisionSet.revisionAnnotation] = String(highest + 1)
        }
        if annotations != changed.object.annotations { changed.object.annotations = annotations }
        if (changed.object[ReplicaSet.minReadySeconds] ?? 0) != rollout.minReadySeconds {
            changed.object[ReplicaSet.minReadySeconds] = rollout.minReadySeconds
        }
        replace(changed)
        let revision = String(changed.revision)
        if deployment.annotations[RevisionSet.revisionAnnotation] != revision { self.revision = revision }
    }

    private mutating func roll() {
        guard let newSet else {
            create(replicas: newSetSize(current: 0))
            return
        }
        let size = newSetSize(current: newSet.replicas)
        if size != newSet.replicas {
            scale(newSet, to: size)
            return
        }
        scale(newSet, to: size)  // refreshes its annotations
        shrinkOld()
    }

    /// What the new set may grow to: all wanted, but all sets together not beyond replicas + surge.
    private func newSetSize(current: Int) -> Int {
        let total = sets.map(\.replicas).reduce(0, +)
        let most = rollout.replicas + rollout.maxSurge
        if current > rollout.replicas { return rollout.replicas }
        if total >= most { return current }
        return min(current + most - total, rollout.replicas)
    }

    /// Takes from old sets what can go without falling below the available minimum: first pods that are not available anyhow.
    private mutating func shrinkOld() {
        guard let newSet else { return }
        let minimum = rollout.replicas - rollout.maxUnavailable
        let total = sets.map(\.replicas).reduce(0, +)
        let newMissing = newSet.replicas - newSet.available
        var spare = total - minimum - newMissing
        guard spare > 0 else { return }
        for old in oldSets where old.isActive && spare > 0 {
            let unhealthy = old.replicas - old.available
            let taken = min(spare, unhealthy)
            guard taken > 0 else { continue }
            scale(old, to: old.replicas - taken)
            spare -= taken
        }
        var free = sets.map { min($0.available, $0.replicas) }.reduce(0, +) - minimum
        for old in oldSets where old.isActive && free > 0 {
            let taken = min(free, old.replicas)
            scale(old, to: old.replicas - taken)
            free -= taken
        }
    }

    private mutating func recreate(_ oldPods: ([RevisionSet]) -> Bool) {
        let active = oldSets.filter(\.isActive)
        for old in active { scale(old, to: 0) }
        if !active.isEmpty || oldPods(oldSets) { return }
        if let newSet { scale(newSet, to: rollout.replicas) } else { create(replicas: rollout.replicas) }
    }

    /// Spreads a change of size over the sets in the middle of a rollout, so that a bad new version does not take it all.
    private mutating func scaleInProportion() {
        let active = sets.filter(\.isActive)
        if let only = active.count == 1 ? active.first : (active.isEmpty ? newSet ?? sets.last : nil) {
            if only.replicas != rollout.replicas || only.desired != rollout.replicas {
                scale(only, to: rollout.replicas)
            }
            return
        }
        if let newSet, newSet.replicas == rollout.replicas, newSet.available == rollout.replicas, newSet.isObserved {
            for old in active where old.name != newSet.name { scale(old, to: 0) }
            scale(newSet, to: rollout.replicas)
            return
        }
        guard rollout.isRolling, active.count > 1 else { return }
        let total = active.map(\.replicas).reduce(0, +)
        let allowed = rollout.replicas > 0 ? rollout.replicas + rollout.maxSurge : 0
        var left = allowed - total
        // Growing favours the larger and newer, shrinking the larger and older.
        let ordered = active.sorted { one, other in
            if one.replicas != other.replicas { return one.replicas > other.replicas }
            return left > 0 ? other.isOlder(than: one) : one.isOlder(than: other)
        }
        var sizes = ordered.map(\.replicas)
        for (place, set) in ordered.enumerated() where left != 0 {
            let before = max(set.maximum ?? total, 1)
            let share = Double(set.replicas) * Double(allowed) / Double(before)
            var change = Int(share.rounded()) - set.replicas
            change = left > 0 ? min(max(change, 0), left) : max(min(change, 0), left)
            sizes[place] = max(0, set.replicas + change)
            left -= sizes[place] - set.replicas
        }
        if let first = sizes.first, left != 0 { sizes[0] = max(0, first + left) }
        for (set, size) in zip(ordered, sizes) { scale(set, to: size) }
    }

    /// Old sets without pods beyond the history limit, oldest revisions first.
    private mutating func trimHistory() {
        let idle = oldSets.filter {
            $0.object.deletionTimestamp == nil && $0.replicas == 0 && $0.current == 0 && $0.isObserved
                && !updates.contains($0)
        }
        let excess = oldSets.count - rollout.historyLimit
        guard excess > 0 else { return }
        deletions = Array(idle.sorted { $0.revision < $1.revision }.prefix(excess))
    }

    // MARK: Writes

    private mutating func create(replicas: Int) {
        let collisions = deployment[Deployment.collisionCount] ?? 0
        let template = deployment[Deployment.template] ?? [:]
        let hash = TemplateHash.hash(of: template, collisions: collisions)
        let name = String(deployment.name.prefix(252 - hash.utf8.count)) + "-" + hash
        var set = KubeObject(apiVersion: "apps/v1", kind: "ReplicaSet", namespace: deployment.namespace, name: name)
        var labels = deployment[Deployment.templateLabels] ?? [:]
        labels[TemplateHash.label] = hash
        set.labels = labels
        let revision = String((sets.map(\.revision).max() ?? 0) + 1)
        var annotations = inheritedAnnotations()
        annotations[RevisionSet.revisionAnnotation] = revision
        set.annotations = annotations
        set.ownerReferences = [OwnerReference(controlledBy: deployment)]
        var selector = deployment[Deployment.selector] ?? [:]
        selector[path: ["matchLabels", TemplateHash.label]] = .string(hash)
        set.spec = ["replicas": .int(Int64(replicas)), "selector": selector]
        if rollout.minReadySeconds > 0 { set[ReplicaSet.minReadySeconds] = rollout.minReadySeconds }
        var labelled = template
        labelled[path: ["metadata", "labels", TemplateHash.label]] = .string(hash)
        set[ReplicaSet.template] = labelled
        creation = RevisionSet(set).scaled(to: replicas, for: rollout).object
        if deployment.annotations[RevisionSet.revisionAnnotation] != revision { self.revision = revision }
        notes.append(Note(reason: "ScalingReplicaSet", message: "Scaled up replica set \(name) from 0 to \(replicas)"))
    }

    private mutating func scale(_ set: RevisionSet, to count: Int) {
        let changed = set.scaled(to: count, for: rollout)
        guard changed != set else { return }
        if count != set.replicas {
            let direction = count > set.replicas ? "up" : "down"
            notes.append(
                Note(
                    reason: "ScalingReplicaSet",
                    message: "Scaled \(direction) replica set \(set.name) from \(set.replicas) to \(count)"))
        }
        replace(changed)
    }

    private mutating func replace(_ set: RevisionSet) {
        guard let place = sets.firstIndex(where: { $0.name == set.name }), sets[place] != set else { return }
        sets[place] = set
        updates.removeAll { $0.name == set.name }
        updates.append(set)
    }

    /// The Deployment's annotations a set takes over; not those that are about the Deployment itself.
    private func inheritedAnnotations() -> [String: String] {
        deployment.annotations.filter { key, _ in
            key != "kubectl.kubernetes.io/last-applied-configuration" && !key.hasPrefix("deployment.kubernetes.io/")
                && key != "deprecated.deployment.rollback.to"
        }
    }

    // MARK: Status

    struct Counts: Hashable {
        var replicas = 0
        var updated = 0
        var ready = 0
        var available = 0
    }

    private func counts() -> Counts {
        var counts = Counts()
        for set in sets {
            counts.replicas += set.current
            counts.ready += set.ready
            counts.available += set.available
        }
        counts.updated = newSet?.current ?? 0
        return counts
    }

    private func isComplete(_ counts: Counts) -> Bool {
        counts.updated == rollout.replicas && counts.replicas == rollout.replicas
            && counts.available == rollout.replicas
            && creation == nil && (newSet?.isObserved ?? false)
    }

    private mutating func plannedStatus(_ now: Timestamp) {
        let counts = counts()
        var status = deployment.status
        func count(_ name: String, _ value: Int) { status[name] = value == 0 ? nil : .int(Int64(value)) }
        count("observedGeneration", deployment.generation)
        count("replicas", counts.replicas)
        count("updatedReplicas", counts.updated)
        count("readyReplicas", counts.ready)
        count("availableReplicas", counts.available)
        let total = sets.map(\.replicas).reduce(0, +)
        count("unavailableReplicas", max(0, total - counts.available))
        var conditions = Conditions(deployment[Deployment.conditions] ?? [])
        if counts.available >= rollout.replicas - rollout.maxUnavailable {
            conditions.set(
                "Available", "True", reason: "MinimumReplicasAvailable",
                message: "Deployment has minimum availability.",
                now: now, updates: true)
        } else {
            conditions.set(
                "Available", "False", reason: "MinimumReplicasUnavailable",
                message: "Deployment does not have minimum availability.", now: now, updates: true)
        }
        judgeProgress(counts, &conditions, now)
        let failed = sets.compactMap { $0.object.condition("ReplicaFailure") }.first { $0["status"] == "True" }
        if let failed {
            conditions.set(
                "ReplicaFailure", "True", reason: failed["reason"]?.string ?? "FailedCreate",
                message: failed["message"]?.string ?? "", now: now, updates: true)
        } else {
            conditions.remove("ReplicaFailure")
        }
        status["conditions"] = .array(conditions.list)
        self.status = status
    }

    /// `Progressing`, which `kubectl rollout status` waits on, and the deadline that ends the waiting.
    private mutating func judgeProgress(_ counts: Counts, _ conditions: inout Conditions, _ now: Timestamp) {
        let type = "Progressing"
        let old = conditions[type]
        let reason = old?["reason"]?.string
        let subject = "ReplicaSet \"\(creation?.name ?? newSet?.name ?? deployment.name)\""
        if rollout.isPaused {
            conditions.set(
                type, "Unknown", reason: "DeploymentPaused", message: "Deployment is paused", now: now, updates: true)
            return
        }
        guard rollout.deadline != nil else {
            conditions.remove(type)
            return
        }
        if reason == "DeploymentPaused" {
            conditions.set(
                type, "Unknown", reason: "DeploymentResumed", message: "Deployment is resumed", now: now, updates: true)
        }
        if let creation {
            conditions.set(
                type, "True", reason: "NewReplicaSetCreated", message: "Created new replica set \"\(creation.name)\"",
                now: now,
                updates: true, refresh: true)
            waitForDeadline(from: now, now)
            return
        }
        if isComplete(counts) {
            let message = "\(subject) has successfully progressed."
            let isOther = old?["message"]?.string != message
            conditions.set(
                type, "True", reason: "NewReplicaSetAvailable", message: message, now: now, updates: true,
                refresh: isOther)
            return
        }
        // Once complete, fewer ready pods are the sets' business, not a new rollout.
        if reason == "NewReplicaSetAvailable", counts.updated == counts.replicas, updates.isEmpty { return }
        let before = deployment.status
        let grewOld = (before["replicas"]?.int ?? 0) - (before["updatedReplicas"]?.int ?? 0)
        let isMoving =
            counts.updated > before["updatedReplicas"]?.int ?? 0 || counts.replicas - counts.updated < grewOld
            || counts.ready > before["readyReplicas"]?.int ?? 0
            || counts.available > before["availableReplicas"]?.int ?? 0
        if isMoving || old == nil || reason == "NewReplicaSetAvailable" || reason == "DeploymentPaused" {
            conditions.set(
                type, "True", reason: "ReplicaSetUpdated", message: "\(subject) is progressing.", now: now,
                updates: true,
                refresh: true)
            waitForDeadline(from: now, now)
            return
        }
        guard reason != "ProgressDeadlineExceeded" else { return }
        let since = old?[Condition.lastUpdateTime] ?? now
        if let deadline = rollout.deadline, since + .seconds(deadline) <= now {
            conditions.set(
                type, "False", reason: "ProgressDeadlineExceeded", message: "\(subject) has timed out progressing.",
                now: now,
                updates: true)
        } else {
            waitForDeadline(from: since, now)
        }
    }

    private mutating func waitForDeadline(from since: Timestamp, _ now: Timestamp) {
        guard let deadline = rollout.deadline else { return }
        lookAgain = max(.seconds(1), since + .seconds(deadline) - now + .seconds(1))
    }
}
