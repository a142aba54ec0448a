import KubeClient
import KubeTypes
import Synchronization
import TestSupport
import Testing
import Wire

@testable import Controllers

private let now = Timestamp(seconds: 1_800_000_000)

private func node(_ ready: String = "True", taints: [JSON] = []) -> KubeObject {
    var node = KubeObject(apiVersion: "v1", kind: "Node", name: "node-1")
    node[Node.conditions] = [["type": "Ready", "status": .string(ready), "reason": "KubeletReady"]]
    if !taints.isEmpty { node[Node.taints] = taints }
    return node
}

@Test("a silent node is marked unknown and tainted, one that speaks again is freed")
func silence() throws {
    let silent = NodeHealthPlan(node: node(), quiet: .seconds(41), now: now)
    #expect(Conditions(silent.status?["conditions"]?.array ?? [])["Ready"]?["status"] == "Unknown")
    #expect(silent.taints?.map { $0["key"] } == ["node.kubernetes.io/unreachable", "node.kubernetes.io/unreachable"])
    #expect(silent.taints?.map { $0["effect"] } == ["NoSchedule", "NoExecute"])
    #expect(silent.marksPodsNotReady)
    var marked = node()
    marked.status = try #require(silent.status)
    marked[Node.taints] = silent.taints
    let still = NodeHealthPlan(node: marked, quiet: .seconds(80), now: now + .seconds(40))
    #expect(still.status == nil && still.taints == nil)
    let back = NodeHealthPlan(node: node(taints: silent.taints ?? []), quiet: .zero, now: now)
    #expect(back.taints == [])
    #expect(back.status == nil && !back.marksPodsNotReady)
}

@Test("a node that says itself it is not ready is tainted so; other taints stay")
func notReady() {
    let own: JSON = ["key": "dedicated", "value": "db", "effect": "NoSchedule"]
    let plan = NodeHealthPlan(node: node("False", taints: [own]), quiet: .zero, now: now)
    #expect(plan.taints?.first == own)
    #expect(
        plan.taints?.dropFirst().map { $0["key"] } == ["node.kubernetes.io/not-ready", "node.kubernetes.io/not-ready"])
    #expect(NodeHealthPlan(node: node(taints: [own]), quiet: .zero, now: now).taints == nil)
}

@Test(
    "a pod stays on a lost node as long as it tolerates it",
    arguments: [
        (nil, 300),
        (
            [
                [
                    "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
                    "tolerationSeconds": 30,
                ]
            ], 30
        ),
        ([["operator": "Exists"]], nil), ([["key": "other", "operator": "Exists"]], 300),
    ] as [(JSON?, Int?)])
func toleration(tolerations: JSON?, seconds: Int?) {
    var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "demo", name: "p")
    pod.json[path: ["spec", "tolerations"]] = tolerations
    let taint: JSON = ["key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": now.json]
    #expect(evictionTime(of: pod, taints: [taint], now: now) == seconds.map { now + .seconds($0) })
}

@Test("a lost node's pods become unready, then leave; a renewed lease brings the node back")
func lostNode() async throws {
    let time = Shared(Timestamp(seconds: 1_800_000_000))
    let api = MemoryAPI()
    api.seed(.nodes, node())
    let key = ObjectKey(name: "node-1")
    let lease = LeaseRenewal(
        api, ObjectKey(namespace: "kube-node-lease", name: "node-1"), holder: "node-1", now: { time.withLock { $0 } })
    _ = try await lease.renew()
    var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "demo", name: "p")
    pod[Pod.nodeName] = "node-1"
    pod[Pod.phase] = "Running"
    pod[Pod.conditions] = [["type": "Ready", "status": "True"]]
    api.seed(.pods, pod)
    let informers = InformerSet(api)
    let controller = NodeLifecycleController(
        ControlPlane(api: api, informers: informers, now: { time.withLock { $0 } }))
    func pass(_ seconds: Int) async {
        // A minute at most between looks, as when the controller runs: a longer gap would mean that it stood still.
        for _ in 0..<seconds {
            time.withLock { $0 = $0 + .seconds(1) }
            _ = try? await controller.reconcile(key)
        }
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { await informers.run() }
        try await informers.waitUntilSynced()
        controller.feed(WorkQueue())
        await pass(39)
        #expect(try await api.get(.nodes, key)[Node.taints] == nil)
        await pass(3)
        #expect(
            try await eventually {
                _ = try? await controller.reconcile(key)
                let isTainted = try await api.get(.nodes, key)[Node.taints]?.count == 2
                let isReady = try await api.get(.pods, pod.key).isPodReady
                return isTainted && !isReady
            })
        #expect(try await api.get(.pods, pod.key).deletionTimestamp == nil)
        await pass(301)
        #expect(
            try await eventually {
                _ = try? await controller.reconcile(key)
                return try await api.get(.pods, pod.key).deletionTimestamp != nil
            })
        _ = try await lease.renew()
        #expect(
            try await eventually {
                var healthy = try await api.get(.nodes, key)
                healthy[Node.conditions] = [["type": "Ready", "status": "True"]]
                _ = try? await api.updateStatus(.nodes, healthy)
                _ = try? await controller.reconcile(key)
                return try await api.get(.nodes, key)[Node.taints] == nil
            })
        group.cancelAll()
    }
}

@Test("after a pause of our own, nodes get their time anew instead of all looking dead")
func ownPause() async throws {
    let time = Shared(Timestamp(seconds: 1_800_000_000))
    let api = MemoryAPI()
    api.seed(.nodes, node())
    let informers = InformerSet(api)
    let controller = NodeLifecycleController(
        ControlPlane(api: api, informers: informers, now: { time.withLock { $0 } }))
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { await informers.run() }
        try await informers.waitUntilSynced()
        _ = try await controller.reconcile(ObjectKey(name: "node-1"))
        time.withLock { $0 = $0 + .seconds(3600) }
        _ = try await controller.reconcile(ObjectKey(name: "node-1"))
        #expect(try await api.get(.nodes, ObjectKey(name: "node-1"))[Node.taints] == nil)
        group.cancelAll()
    }
}

@Test("pods of a vanished node go at the second look, those of nodes that are here stay")
func strandedPods() async throws {
    let api = MemoryAPI()
    api.seed(.nodes, node())
    for (name, place) in [("here", "node-1"), ("lost", "node-2")] {
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "demo", name: name)
        pod[Pod.nodeName] = place
        pod[Pod.phase] = "Running"
        api.seed(.pods, pod)
    }
    for number in 0..<4 {
        var done = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "demo", name: "done-\(number)")
        done[Pod.nodeName] = "node-1"
        done[Pod.phase] = "Succeeded"
        api.seed(.pods, done)
    }
    let informers = InformerSet(api)
    let controller = PodGarbageController(ControlPlane(api: api, informers: informers), keptFinished: 2)
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { await informers.run() }
        try await informers.waitUntilSynced()
        let key = ObjectKey(name: "all")
        _ = try await controller.reconcile(key)
        #expect(try await api.list(.pods).items.map(\.name) == ["done-2", "done-3", "here", "lost"])
        _ = try await controller.reconcile(key)
        #expect(try await api.list(.pods).items.map(\.name) == ["done-2", "done-3", "here"])
        group.cancelAll()
    }
}

@Test("events go after an hour, and the oldest when there are too many")
func eventsExpire() async throws {
    func event(_ name: String, secondsAgo: Int) -> KubeObject {
        var event = KubeObject(apiVersion: "v1", kind: "Event", namespace: "demo", name: name)
        event[Event.lastTimestamp] = now + .seconds(-secondsAgo)
        return event
    }
    let events = [
        event("new", secondsAgo: 10), event("old", secondsAgo: 3600), event("older", secondsAgo: 7200),
        event("mid", secondsAgo: 600),
    ]
    #expect(expiredEvents(events, now: now).map(\.name) == ["older", "old"])
    #expect(expiredEvents(events, now: now, most: 1).map(\.name) == ["older", "old", "mid"])
    let api = MemoryAPI()
    for event in events { api.seed(.events, event) }
    let controller = EventExpiryController(ControlPlane(api: api, informers: InformerSet(api), now: { now }))
    #expect(try await controller.reconcile(ObjectKey(name: "all")) == .after(.seconds(60)))
    #expect(try await api.list(.events).items.map(\.name) == ["mid", "new"])
}
