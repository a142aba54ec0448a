import KubeClient
import KubeTypes
import Testing
import Wire

@testable import Controllers

private let now = Timestamp(seconds: 1_800_000_000)

/// A set of the deployment `web`: `size` in its spec, `available` of them well. `image` tells the revision apart.
private func set(
    _ image: String, size: Int, available: Int, revision: Int, of parent: KubeObject, max: Int? = nil
) -> RevisionSet {
    var template = parent[Deployment.template] ?? [:]
    template["spec"] = [
        "containers": [["name": "app", "image": .string(image), "ports": [["name": "http", "containerPort": 8080]]]]
    ]
    let hash = TemplateHash.hash(of: template, collisions: 0)
    var object = KubeObject(apiVersion: "apps/v1", kind: "ReplicaSet", namespace: "demo", name: "web-" + hash)
    object.json[path: ["metadata", "creationTimestamp"]] = Timestamp(seconds: 1_700_000_000 + Int64(revision)).json
    object.json[path: ["metadata", "generation"]] = 1
    object.annotations = [
        "deployment.kubernetes.io/revision": String(revision),
        "deployment.kubernetes.io/desired-replicas": String(parent[Deployment.replicas] ?? 1),
        "deployment.kubernetes.io/max-replicas": String(max ?? size),
    ]
    object.spec = ["replicas": .int(Int64(size)), "template": template]
    object[ReplicaSet.observedGeneration] = 1
    object[ReplicaSet.currentReplicas] = size
    object[ReplicaSet.readyReplicas] = available
    object[ReplicaSet.availableReplicas] = available
    return RevisionSet(object)
}

private func plan(
    _ parent: KubeObject, _ sets: [RevisionSet], oldPods: Bool = false
) throws -> (plan: DeploymentPlan, sizes: [String: Int]) {
    let plan = try DeploymentPlan(deployment: parent, sets: sets, oldPods: { _ in oldPods }, now: now)
    var sizes: [String: Int] = [:]
    for set in sets { sizes[set.name] = set.replicas }
    for update in plan.updates { sizes[update.name] = update.replicas }
    return (plan, sizes)
}

@Test(
    "surge and unavailable are counts or percentages, rounded up and down",
    arguments: [
        (10, "25%" as JSON, "25%" as JSON, 3, 2), (4, "25%", "25%", 1, 1), (1, "25%", "25%", 1, 0), (10, 2, 0, 2, 0),
        (3, 0, "10%", 0, 1),
        (2, "100%", "100%", 2, 2), (2, 0, 5, 0, 2),
    ] as [(Int, JSON, JSON, Int, Int)])
func surgeAndMissing(replicas: Int, surge: JSON, missing: JSON, maxSurge: Int, maxUnavailable: Int) throws {
    var object = deployment("web", replicas: replicas)
    object[Deployment.maxSurge] = surge
    object[Deployment.maxUnavailable] = missing
    let rollout = try Rollout(object)
    #expect(rollout.maxSurge == maxSurge)
    #expect(rollout.maxUnavailable == maxUnavailable)
}

@Test("a surge that is neither is refused by name", arguments: ["many", "-1", "5%%"])
func badSurge(text: String) {
    var object = deployment("web", replicas: 2)
    object[Deployment.maxSurge] = .string(text)
    let failure = #expect(throws: APIFailure.self) { try Rollout(object) }
    #expect(failure?.message.contains("maxSurge") == true)
}

@Test("a new template makes a set as large as the surge allows")
func createsNewSet() throws {
    let parent = deployment("web", replicas: 4, image: "app:2")
    let old = set("app:1", size: 4, available: 4, revision: 1, of: parent)
    let (plan, sizes) = try plan(parent, [old])
    let creation = try #require(plan.creation)
    #expect(creation[ReplicaSet.replicas] == 1)
    #expect(creation.annotations["deployment.kubernetes.io/revision"] == "2")
    #expect(creation.annotations["deployment.kubernetes.io/max-replicas"] == "5")
    #expect(creation.labels["pod-template-hash"] == creation[ReplicaSet.templateLabels]?["pod-template-hash"])
    #expect(creation[ReplicaSet.selector]?["matchLabels"]?["app"] == "web")
    #expect(sizes[old.name] == 4)
    #expect(plan.revision == "2")
}

@Test("a template differs by what it says, not by order, nulls or our own label")
func templateIdentity() {
    let one: JSON = ["metadata": ["labels": ["app": "web"], "creationTimestamp": .null], "spec": ["a": 1, "b": [:]]]
    let other: JSON = ["spec": ["a": 1], "metadata": ["labels": ["pod-template-hash": "x", "app": "web"]]]
    #expect(TemplateHash.canonical(one) == TemplateHash.canonical(other))
    #expect(TemplateHash.hash(of: one, collisions: 0) == TemplateHash.hash(of: other, collisions: 0))
    #expect(TemplateHash.hash(of: one, collisions: 0) != TemplateHash.hash(of: one, collisions: 1))
}

/// Sizes of old and new set, how many of each are available, and the sizes planned; 10 replicas, surge 3, 2 may be missing.
@Test(
    "each step keeps within surge and unavailable",
    arguments: [
        (10, 10, 3, 0, 8, 3),  // two may be missing: two old ones go before any new one is ready
        (8, 8, 5, 0, 8, 5),  // surge and absence are used up: wait
        (10, 10, 3, 3, 5, 3),  // three ready: five old may go, 8 stay available
        (5, 5, 3, 3, 5, 8),  // room to grow
        (5, 5, 8, 8, 0, 8),  // enough are ready: the rest of the old goes
        (0, 0, 8, 8, 0, 10),
        (10, 6, 3, 0, 8, 3),  // old pods that are not available anyhow go first, down to the minimum in all
    ])
func rollingSteps(old: Int, oldReady: Int, new: Int, newReady: Int, oldPlanned: Int, newPlanned: Int) throws {
    let parent = deployment("web", replicas: 10, image: "app:2")
    let one = set("app:1", size: old, available: oldReady, revision: 1, of: parent)
    let two = set("app:2", size: new, available: newReady, revision: 2, of: parent)
    let (plan, sizes) = try plan(parent, [one, two])
    #expect(sizes[one.name] == oldPlanned)
    #expect(sizes[two.name] == newPlanned)
    #expect(plan.creation == nil)
}

@Test("a paused deployment changes size but not version")
func paused() throws {
    var parent = deployment("web", replicas: 6, image: "app:2")
    parent[Deployment.paused] = true
    let old = set("app:1", size: 4, available: 4, revision: 1, of: parent)
    let (plan, sizes) = try plan(parent, [old])
    #expect(plan.creation == nil)
    #expect(sizes[old.name] == 6)
    let progressing = Conditions(plan.status["conditions"]?.array ?? [])["Progressing"]
    #expect(progressing?["reason"] == "DeploymentPaused")
}

@Test("scaling in the middle of a rollout is shared by size")
func proportionalScaling() throws {
    let before = deployment("web", replicas: 10, image: "app:2")
    let one = set("app:1", size: 8, available: 8, revision: 1, of: before, max: 13)
    let two = set("app:2", size: 5, available: 2, revision: 2, of: before, max: 13)
    let parent = deployment("web", replicas: 20, image: "app:2")
    let (_, sizes) = try plan(parent, [one, two])
    #expect((sizes[one.name] ?? 0) + (sizes[two.name] ?? 0) == 25)
    #expect((sizes[one.name] ?? 0) > (sizes[two.name] ?? 0))
    #expect((sizes[two.name] ?? 0) > 5)
}

@Test("only as many old sets are kept as the history limit says, the oldest revisions go")
func history() throws {
    var parent = deployment("web", replicas: 1, image: "app:9")
    parent[Deployment.revisionHistoryLimit] = 2
    let old = (1...5).map { set("app:\($0)", size: 0, available: 0, revision: $0, of: parent) }
    let current = set("app:9", size: 1, available: 1, revision: 9, of: parent)
    let (plan, _) = try plan(parent, old + [current])
    #expect(plan.deletions.map(\.revision) == [1, 2, 3])
}

@Test("a Recreate deployment waits for old pods to go")
func recreateWaits() throws {
    var parent = deployment("web", replicas: 3, image: "app:2")
    parent[Deployment.strategyType] = "Recreate"
    let old = set("app:1", size: 0, available: 0, revision: 1, of: parent)
    #expect(try plan(parent, [old], oldPods: true).plan.creation == nil)
    #expect(try plan(parent, [old], oldPods: false).plan.creation?[ReplicaSet.replicas] == 3)
}

@Test("what stands is planned again without a write")
func settled() throws {
    var parent = deployment("web", replicas: 3)
    let current = set("app:1", size: 3, available: 3, revision: 1, of: parent, max: 4)
    parent.annotations["deployment.kubernetes.io/revision"] = "1"
    let first = try plan(parent, [current]).plan
    #expect(first.updates.isEmpty && first.creation == nil && first.deletions.isEmpty && first.revision == nil)
    parent.status = first.status
    #expect(try plan(parent, [current]).plan.status == first.status)
    #expect(first.status["availableReplicas"] == 3)
    #expect(first.status["unavailableReplicas"] == nil)
}
