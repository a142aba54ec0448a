import KubeTypes
import Wire

/// How many of the pods a budget covers may be taken away now.
struct DisruptionPlan: Equatable {
    /// How long an eviction that was allowed may take to become a deletion, before its pod counts as healthy again.
    static let evictionTime: Duration = .seconds(120)

    private(set) var expected = 0
    private(set) var desired = 0
    private(set) var healthy = 0
    private(set) var allowed = 0
    /// Pods whose eviction was allowed and that are still to be deleted, by name: since when.
    private(set) var disrupted: [String: Timestamp] = [:]
    /// When the first of them is no longer believed to go.
    private(set) var lookAgain: Timestamp?

    /// - Parameters:
    ///   - pods: those the budget selects, alive or ending.
    ///   - replicas: what their controllers want together.
    init(budget: KubeObject, pods: [KubeObject], replicas: Int, now: Timestamp) {
        let alive = pods.filter { !$0.isPodFinished }
        keepDisrupted(of: budget, pods, now)
        healthy = alive.count { pod in
            pod.isPodReady && pod.deletionTimestamp == nil && disrupted[pod.name] == nil
        }
        if let share = budget.spec["maxUnavailable"] {
            expected = replicas
            desired = max(0, replicas - Self.count(share, of: replicas))
        } else if let share = budget.spec["minAvailable"] {
            // A number needs no controller to be counted against.
            expected = share.int == nil ? replicas : pods.count
            desired = Self.count(share, of: replicas)
        }
        allowed = expected > 0 ? max(0, healthy - desired) : 0
    }

    private mutating func keepDisrupted(of budget: KubeObject, _ pods: [KubeObject], _ now: Timestamp) {
        for (name, since) in budget.status["disruptedPods"]?.stringMap ?? [:] {
            guard let since = Timestamp(since),
                pods.contains(where: { $0.name == name && $0.deletionTimestamp == nil })
            else { continue }
            let end = since + Self.evictionTime
            if end <= now { continue }
            disrupted[name] = since
            lookAgain = min(lookAgain ?? end, end)
        }
    }

    /// A number, or a percentage of the whole, rounded up.
    private static func count(_ share: JSON, of whole: Int) -> Int {
        // Of what was stored before it was bounded.
        if let number = share.int { return min(number, Int(Int32.max)) }
        guard let text = share.string, text.hasSuffix("%"), let percent = Int(text.dropLast()) else { return 0 }
        return (whole * min(percent, 100) + 99) / 100
    }

    /// Whether the controllers of the pods must be asked for what they want.
    static func needsReplicas(_ budget: KubeObject) -> Bool {
        budget.spec["maxUnavailable"] != nil || budget.spec["minAvailable"]?.string != nil
    }

    func status(of budget: KubeObject, now: Timestamp) -> JSON {
        var status = budget.status
        status["expectedPods"] = .int(Int64(expected))
        status["desiredHealthy"] = .int(Int64(desired))
        status["currentHealthy"] = .int(Int64(healthy))
        status["disruptionsAllowed"] = .int(Int64(allowed))
        status["observedGeneration"] = .int(Int64(budget.generation))
        status["disruptedPods"] = disrupted.isEmpty ? nil : JSON(disrupted.mapValues(\.description))
        Self.tell(allowed > 0, allowed > 0 ? "SufficientPods" : "InsufficientPods", "", budget, now, in: &status)
        return status
    }

    /// Nothing may go while nobody knows how many there should be.
    static func failed(_ why: String, of budget: KubeObject, now: Timestamp) -> JSON {
        var status = budget.status
        status["disruptionsAllowed"] = 0
        for field in ["expectedPods", "desiredHealthy", "currentHealthy"] where status[field] == nil {
            status[field] = 0
        }
        status["observedGeneration"] = .int(Int64(budget.generation))
        tell(false, "SyncFailed", why, budget, now, in: &status)
        return status
    }

    private static func tell(
        _ isAllowed: Bool, _ reason: String, _ message: String, _ budget: KubeObject, _ now: Timestamp,
        in status: inout JSON
    ) {
        var conditions = Conditions(status["conditions"]?.array ?? [])
        conditions.set(
            "DisruptionAllowed", isAllowed ? "True" : "False", reason: reason, message: message, now: now)
        var list = conditions.list
        for place in list.indices where list[place]["type"]?.string == "DisruptionAllowed" {
            list[place]["observedGeneration"] = .int(Int64(budget.generation))
        }
        status["conditions"] = .array(list)
    }
}
