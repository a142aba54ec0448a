import KubeTypes
import Wire

/// What turns the pods a ReplicaSet has into those it should have.
struct ReplicaSetPlan {
    /// Pods created at once at most; the next look creates the rest.
    static let burst = 500

    var creations = 0
    /// Those we can best do without, first.
    var deletions: [KubeObject] = []
    /// When a pod becomes available by time alone.
    var lookAgain: Duration?

    /// - Parameters:
    ///   - pods: the set's own pods.
    ///   - neighbours: how many pods of the same Deployment stand on each node, to thin out the crowded ones first.
    init(set: KubeObject, pods: [KubeObject], neighbours: [String: Int] = [:], now: Timestamp) {
        let wanted = set[ReplicaSet.replicas] ?? 1
        let active = pods.filter(\.isPodActive)
        let minReady = set[ReplicaSet.minReadySeconds] ?? 0
        if set.deletionTimestamp == nil {
            if active.count < wanted {
                creations = min(wanted - active.count, Self.burst)
            } else if active.count > wanted {
                let ranked = active.map { PodRank($0, neighbours: neighbours) }.sorted { $0.goes(before: $1) }
                deletions = ranked.prefix(min(active.count - wanted, Self.burst)).map(\.pod)
            }
        }
        if minReady > 0 {
            let waits = active.compactMap(\.podReadySince).map { $0 + .seconds(minReady) }.filter { $0 > now }
            lookAgain = waits.min().map { $0 - now + .milliseconds(10) }
        }
    }
}

/// A pod with what decides which one goes first when a set shrinks.
private struct PodRank {
    let pod: KubeObject
    let isAssigned: Bool
    let phase: Int
    let readySince: Timestamp?
    let cost: Int
    let neighbours: Int
    let restarts: Int
    let created: Timestamp

    init(_ pod: KubeObject, neighbours: [String: Int]) {
        self.pod = pod
        let node = pod[Pod.nodeName] ?? ""
        isAssigned = !node.isEmpty
        phase =
            switch pod[Pod.phase] {
            case "Running": 2
            case "Unknown": 1
            default: 0
            }
        readySince = pod.podReadySince
        cost = pod.annotations["controller.kubernetes.io/pod-deletion-cost"].flatMap(Int.init) ?? 0
        self.neighbours = neighbours[node] ?? 0
        restarts = (pod[Pod.containerStatuses] ?? []).map { $0[ContainerStatusFields.restartCount] ?? 0 }.max() ?? 0
        created = pod.creationTimestamp.flatMap(Timestamp.init) ?? Timestamp(seconds: 0)
    }

    func goes(before other: PodRank) -> Bool {
        if isAssigned != other.isAssigned { return !isAssigned }
        if phase != other.phase { return phase < other.phase }
        if (readySince != nil) != (other.readySince != nil) { return readySince == nil }
        if cost != other.cost { return cost < other.cost }
        if neighbours != other.neighbours { return neighbours > other.neighbours }
        if let readySince, let otherSince = other.readySince, readySince != otherSince {
            return readySince > otherSince
        }
        if restarts != other.restarts { return restarts > other.restarts }
        if created != other.created { return created > other.created }
        return pod.name > other.pod.name
    }
}

/// The status of a ReplicaSet, counted from its pods. Counts that are 0 are left out, except `replicas`.
func replicaSetStatus(set: KubeObject, pods: [KubeObject], failure: APIFailure?, now: Timestamp) -> JSON {
    let active = pods.filter(\.isPodActive)
    let minReady = set[ReplicaSet.minReadySeconds] ?? 0
    let template = set[ReplicaSet.templateLabels] ?? [:]
    let labeled = active.count { pod in
        let labels = pod.labels
        return template.allSatisfy { labels[$0.key] == $0.value }
    }
    var status = set.status
    func count(_ name: String, _ value: Int, keepsZero: Bool = false) {
        status[name] = value == 0 && !keepsZero ? nil : .int(Int64(value))
    }
    count("replicas", active.count, keepsZero: true)
    count("fullyLabeledReplicas", labeled)
    count("readyReplicas", active.count(where: \.isPodReady))
    count("availableReplicas", active.count { $0.isPodAvailable(minReadySeconds: minReady, at: now) })
    count("observedGeneration", set.generation)
    var conditions = Conditions(set[ReplicaSet.conditions] ?? [])
    if let failure {
        conditions.set("ReplicaFailure", "True", reason: "FailedCreate", message: failure.message, now: now)
    } else {
        conditions.remove("ReplicaFailure")
    }
    status["conditions"] = conditions.list.isEmpty ? nil : .array(conditions.list)
    return status
}

/// A pod as the set's template says it.
func podFromTemplate(of owner: KubeObject) -> KubeObject {
    let template = owner[ReplicaSet.template] ?? [:]
    var pod = KubeObject(["apiVersion": "v1", "kind": "Pod", "metadata": [:]])
    pod.json[path: ["metadata", "generateName"]] = .string(String(owner.name.prefix(57)) + "-")
    pod.namespace = owner.namespace
    for field in ["labels", "annotations", "finalizers"] {
        if let value = template["metadata"]?[field], !value.isNull { pod.json[path: ["metadata", field]] = value }
    }
    pod.ownerReferences = [OwnerReference(controlledBy: owner)]
    pod.spec = template["spec"] ?? [:]
    return pod
}
