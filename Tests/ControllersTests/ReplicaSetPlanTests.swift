import KubeTypes
import Testing
import Wire

@testable import Controllers

private let now = Timestamp(seconds: 1_800_000_000)

private func pod(
    _ name: String, phase: String = "Running", ready: Bool = true, node: String = "node-1", readyFor: Int = 100,
    cost: String? = nil
) -> KubeObject {
    var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "demo", name: name)
    pod[Pod.phase] = phase
    if !node.isEmpty { pod[Pod.nodeName] = node }
    let since = now + .seconds(-readyFor)
    pod[Pod.conditions] = [["type": "Ready", "status": ready ? "True" : "False", "lastTransitionTime": since.json]]
    if let cost { pod.annotations["controller.kubernetes.io/pod-deletion-cost"] = cost }
    return pod
}

private func set(_ replicas: Int, minReady: Int = 0) -> KubeObject {
    var set = KubeObject(apiVersion: "apps/v1", kind: "ReplicaSet", namespace: "demo", name: "web")
    set.spec = ["replicas": .int(Int64(replicas)), "minReadySeconds": .int(Int64(minReady))]
    return set
}

@Test("pods that serve least go first")
func ranking() {
    var ended = pod("ended", phase: "Failed")
    ended[Pod.phase] = "Failed"
    let pods = [
        pod("steady", readyFor: 1000), pod("recent", readyFor: 10), pod("cheap", cost: "-5"),
        pod("unready", ready: false),
        pod("pending", phase: "Pending", ready: false), pod("loose", phase: "Pending", ready: false, node: ""), ended,
    ]
    let plan = ReplicaSetPlan(set: set(0), pods: pods, now: now)
    #expect(plan.deletions.map(\.name) == ["loose", "pending", "unready", "cheap", "recent", "steady"])
}

@Test("of equals, those on the fullest node go first")
func crowded() {
    let pods = [pod("a", node: "n1"), pod("b", node: "n2"), pod("c", node: "n2")]
    let plan = ReplicaSetPlan(set: set(2), pods: pods, neighbours: ["n1": 1, "n2": 2], now: now)
    #expect(plan.deletions.count == 1)
    #expect(plan.deletions.first?[Pod.nodeName] == "n2")
}

@Test("ended and ending pods are replaced")
func replacement() {
    var ending = pod("ending")
    ending.json[path: ["metadata", "deletionTimestamp"]] = now.json
    let plan = ReplicaSetPlan(set: set(3), pods: [pod("a"), pod("b", phase: "Failed"), ending], now: now)
    #expect(plan.creations == 2)
    #expect(plan.deletions.isEmpty)
}

@Test("a pod counts as available after minReadySeconds, and we look again then")
func minReady() {
    let owner = set(2, minReady: 60)
    let pods = [pod("old", readyFor: 100), pod("new", readyFor: 20)]
    let status = replicaSetStatus(set: owner, pods: pods, failure: nil, now: now)
    #expect(status["readyReplicas"] == 2)
    #expect(status["availableReplicas"] == 1)
    let again = ReplicaSetPlan(set: owner, pods: pods, now: now).lookAgain
    #expect(again.map { $0 > .seconds(39) && $0 < .seconds(41) } == true)
}

@Test("a refused creation is a condition that goes when it works again")
func failureCondition() {
    var owner = set(1)
    owner.status = replicaSetStatus(set: owner, pods: [], failure: .badRequest("no room"), now: now)
    #expect(owner.condition("ReplicaFailure")?["message"] == "no room")
    owner.status = replicaSetStatus(set: owner, pods: [], failure: nil, now: now)
    #expect(owner.condition("ReplicaFailure") == nil)
}
