import KubeTypes
import Wire

/// A ReplicaSet as its Deployment sees it: one revision of the template, with so many pods.
struct RevisionSet: Sendable, Hashable {
    static let revisionAnnotation = "deployment.kubernetes.io/revision"
    static let historyAnnotation = "deployment.kubernetes.io/revision-history"
    static let desiredAnnotation = "deployment.kubernetes.io/desired-replicas"
    static let maxAnnotation = "deployment.kubernetes.io/max-replicas"

    var object: KubeObject

    init(_ object: KubeObject) { self.object = object }

    var name: String { object.name }
    var replicas: Int { object[ReplicaSet.replicas] ?? 0 }
    var current: Int { object[ReplicaSet.currentReplicas] ?? 0 }
    var ready: Int { object[ReplicaSet.readyReplicas] ?? 0 }
    var available: Int { object[ReplicaSet.availableReplicas] ?? 0 }
    /// Anybody may write the annotation; one more than the highest must still be a number.
    var revision: Int { min(object.annotations[Self.revisionAnnotation].flatMap(Int.init) ?? 0, Int.max - 1) }
    var desired: Int? { object.annotations[Self.desiredAnnotation].flatMap(Int.init) }
    var maximum: Int? { object.annotations[Self.maxAnnotation].flatMap(Int.init) }
    var isActive: Bool { replicas > 0 }
    /// Its controller has counted what the spec says now.
    var isObserved: Bool { (object[ReplicaSet.observedGeneration] ?? 0) >= object.generation }

    func isOlder(than other: RevisionSet) -> Bool {
        (object.creationTimestamp ?? "", name) < (other.object.creationTimestamp ?? "", other.name)
    }

    /// The same set with another size, and the sizes of the whole Deployment it was computed for.
    func scaled(to count: Int, for rollout: Rollout) -> RevisionSet {
        var set = self
        if set.replicas != count { set.object[ReplicaSet.replicas] = count }
        var annotations = set.object.annotations
        annotations[Self.desiredAnnotation] = String(rollout.replicas)
        annotations[Self.maxAnnotation] = String(rollout.replicas + rollout.maxSurge)
        if annotations != set.object.annotations { set.object.annotations = annotations }
        return set
    }
}

/// What a Deployment asks for, as numbers.
struct Rollout: Sendable, Hashable {
    let replicas: Int
    let isRolling: Bool
    let maxSurge: Int
    let maxUnavailable: Int
    let minReadySeconds: Int
    let isPaused: Bool
    /// Seconds; `nil` for no deadline.
    let deadline: Int?
    let historyLimit: Int

    init(_ deployment: KubeObject) throws(APIFailure) {
        replicas = deployment[Deployment.replicas] ?? 1
        isRolling = deployment[Deployment.strategyType] != "Recreate"
        minReadySeconds = deployment[Deployment.minReadySeconds] ?? 0
        isPaused = deployment[Deployment.paused] ?? false
        let seconds = deployment[Deployment.progressDeadlineSeconds] ?? 600
        deadline = seconds == Int(Int32.max) ? nil : seconds
        historyLimit = deployment[Deployment.revisionHistoryLimit] ?? 10
        guard isRolling else {
            maxSurge = 0
            maxUnavailable = 0
            return
        }
        let surge = try Self.count(
            deployment[Deployment.maxSurge] ?? "25%", of: replicas, up: true, field: "maxSurge", deployment)
        var missing = try Self.count(
            deployment[Deployment.maxUnavailable] ?? "25%", of: replicas, up: false, field: "maxUnavailable", deployment
        )
        // Both 0 would never move; rounding percentages can give that.
        if surge == 0, missing == 0 { missing = 1 }
        maxSurge = surge
        maxUnavailable = min(missing, replicas)
    }

    private static func count(
        _ value: JSON, of replicas: Int, up: Bool, field: String, _ deployment: KubeObject
    ) throws(APIFailure) -> Int {
        // A schema bounds numbers that may be texts not at all: what is beyond any number of pods is as good as the highest.
        let most = Int(Int32.max)
        if let number = value.int, number >= 0 { return min(number, most) }
        if let text = value.string {
            if text.hasSuffix("%"), let percent = Int(text.dropLast()), percent >= 0 {
                return min(most, (min(percent, most) * replicas + (up ? 99 : 0)) / 100)
            }
            if let number = Int(text), number >= 0 { return min(number, most) }
        }
        throw .badRequest(
            "\(deployment.label): spec.strategy.rollingUpdate.\(field) is \(value.text); expected a count such as 1 or a percentage such as \"25%\""
        )
    }
}
