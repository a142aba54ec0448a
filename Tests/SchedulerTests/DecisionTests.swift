import KubeTypes
import Testing
import Wire

@testable import Scheduler

func node(
    _ name: String, cpu: String = "4", memory: String = "8Gi", labels: [String: String] = [:], taints: [JSON] = []
) -> KubeObject {
    var node = KubeObject(apiVersion: "v1", kind: "Node", name: name)
    node.labels = labels.merging(["kubernetes.io/hostname": name]) { old, _ in old }
    node.status = ["allocatable": ["cpu": .string(cpu), "memory": .string(memory), "pods": "10"]]
    if !taints.isEmpty { node[Node.taints] = taints }
    return node
}

func pod(_ name: String, cpu: String = "", memory: String = "", spec: JSON = [:], labels: [String: String] = [:])
    -> KubeObject
{
    var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "demo", name: name)
    pod.json[path: ["metadata", "uid"]] = .string("uid-" + name)
    pod.labels = labels
    pod.spec = spec
    if pod[Pod.containers] == nil {
        var container: JSON = ["name": "app", "image": "app"]
        if !cpu.isEmpty { container[path: ["resources", "requests", "cpu"]] = .string(cpu) }
        if !memory.isEmpty { container[path: ["resources", "requests", "memory"]] = .string(memory) }
        pod[Pod.containers] = [container]
    }
    return pod
}

private func view(_ nodes: [KubeObject], _ placed: [(KubeObject, String)] = []) throws -> ClusterView {
    var view = ClusterView()
    for node in nodes { _ = view.set(node: node) }
    for (pod, node) in placed {
        var bound = pod
        bound[Pod.nodeName] = node
        view.set(pod: try PodInfo(bound))
    }
    return view
}

private func choice(_ pod: KubeObject, _ view: ClusterView) throws -> Choice {
    var random = SeededRandom(seed: 1)
    var start = 0
    return pick(try PodInfo(pod), in: view, start: &start, using: &random)
}

private func refusals(_ pod: KubeObject, _ view: ClusterView) throws -> [String: Int] {
    guard case .none(_, let refusals) = try choice(pod, view) else { return [:] }
    return Dictionary(uniqueKeysWithValues: refusals.map { ("\($0.key)", $0.value) })
}

@Test("a pod asks for its containers and sidecars together, or for an init container beside the sidecars before it")
func podRequests() throws {
    func container(_ cpu: String, always: Bool = false) -> JSON {
        var json: JSON = ["name": "c", "resources": ["requests": ["cpu": .string(cpu), "memory": "1Gi"]]]
        if always { json["restartPolicy"] = "Always" }
        return json
    }
    let both = pod(
        "p",
        spec: [
            "containers": [container("500m"), container("250m")],
            "initContainers": [
                container("100m", always: true), container("900m"), container("100m", always: true), container("700m"),
            ],
            "overhead": ["cpu": "10m"],
        ])
    // Running: 750 + 200. Starting: 900 + 100, and 700 + 200. The most is 1000, and the overhead.
    let requests = Resources(requestedBy: both)
    #expect(requests.cpu == 1010)
    #expect(requests.memory == 4 << 30)
    let whole = pod("q", spec: ["containers": [container("500m")], "resources": ["requests": ["cpu": "2"]]])
    #expect(Resources(requestedBy: whole).cpu == 2000)
    // More than there are numbers, twice, and beside a sidecar.
    let huge: JSON = [
        "name": "c", "resources": ["requests": ["cpu": "9E", "memory": "9E", "example.test/disk": "9E"]],
    ]
    var sidecar = huge
    sidecar["restartPolicy"] = "Always"
    let greedy = pod("r", spec: ["containers": [huge, huge], "initContainers": [sidecar, huge]])
    let beyond = Resources(requestedBy: greedy)
    #expect(beyond.cpu == Quantity.most && beyond.memory == Quantity.most)
    #expect(beyond.others == ["example.test/disk": Quantity.most])
}

private let terms = "requiredDuringSchedulingIgnoredDuringExecution"

@Test(
    "nodes are refused for the reasons Kubernetes gives",
    arguments: [
        (pod("p", cpu: "5"), "Insufficient cpu"), (pod("p", memory: "9Gi"), "Insufficient memory"),
        (pod("p", spec: ["nodeSelector": ["disk": "ssd"]]), "node(s) didn't match Pod's node affinity/selector"),
        (
            pod(
                "p",
                spec: [
                    "affinity": [
                        "nodeAffinity": [
                            "requiredDuringSchedulingIgnoredDuringExecution": [
                                "nodeSelectorTerms": [
                                    ["matchExpressions": [["key": "cores", "operator": "Gt", "values": ["8"]]]]
                                ]
                            ]
                        ]
                    ]
                ]), "node(s) didn't match Pod's node affinity/selector"
        ),
        (
            pod("p", spec: ["containers": [["name": "c", "ports": [["hostPort": 80, "containerPort": 8080]]]]]),
            "node(s) didn't have free ports for the requested pod ports"
        ),
        (
            pod("p", spec: ["containers": [["name": "c", "resources": ["requests": ["example.org/gpu": 1]]]]]),
            "Insufficient example.org/gpu"
        ),
    ])
func refusalReasons(pod object: KubeObject, reason: String) throws {
    let busy = pod("busy", spec: ["containers": [["name": "c", "ports": [["hostPort": 80, "containerPort": 80]]]]])
    let view = try view([node("n1", labels: ["cores": "8"])], [(busy, "n1")])
    #expect(try refusals(object, view) == [reason: 1])
}

@Test("taints refuse, tolerations let in, and a cordoned node takes nobody")
func taints() throws {
    let taint: JSON = ["key": "dedicated", "value": "db", "effect": "NoSchedule"]
    var cordoned = node("n2")
    cordoned[Node.unschedulable] = true
    let view = try view([node("n1", taints: [taint]), cordoned])
    #expect(
        try refusals(pod("p"), view) == [
            "node(s) had untolerated taint {dedicated: db}": 1, "node(s) were unschedulable": 1,
        ])
    let tolerant = pod("q", spec: ["tolerations": [["key": "dedicated", "operator": "Equal", "value": "db"]]])
    #expect(try choice(tolerant, view) == .node("n1"))
}

@Test("what does not fit is told with counts, in Kubernetes' words")
func message() throws {
    let view = try view([
        node("n1", cpu: "1"), node("n2", cpu: "1"), node("n3", taints: [["key": "a", "effect": "NoExecute"]]),
    ])
    guard case .none(let count, let refusals) = try choice(pod("p", cpu: "2"), view) else {
        Issue.record("a node was chosen")
        return
    }
    #expect(
        unschedulableMessage(nodes: count, refusals: refusals)
            == "0/3 nodes are available: 1 node(s) had untolerated taint {a: }, 2 Insufficient cpu.")
    #expect(unschedulableMessage(nodes: 0, refusals: [:]) == "no nodes available to schedule pods")
}

@Test("the emptier node is chosen, and one without the pod's siblings")
func spreading() throws {
    let busy = pod("busy", cpu: "3", memory: "6Gi")
    #expect(try choice(pod("p", cpu: "500m"), view([node("n1"), node("n2")], [(busy, "n1")])) == .node("n2"))
    var owner = KubeObject(apiVersion: "apps/v1", kind: "ReplicaSet", namespace: "demo", name: "web")
    owner.json[path: ["metadata", "uid"]] = "set-1"
    var sibling = pod("a", cpu: "10m")
    sibling.ownerReferences = [OwnerReference(controlledBy: owner)]
    var next = pod("b", cpu: "10m")
    next.ownerReferences = sibling.ownerReferences
    let other = pod("other", cpu: "100m")
    #expect(try choice(next, view([node("n1"), node("n2")], [(sibling, "n1"), (other, "n2")])) == .node("n2"))
}

@Test("preferences and dislikes count")
func preferences() throws {
    let wish = pod(
        "p",
        spec: [
            "affinity": [
                "nodeAffinity": [
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        [
                            "weight": 100,
                            "preference": ["matchExpressions": [["key": "disk", "operator": "In", "values": ["ssd"]]]],
                        ]
                    ]
                ]
            ]
        ])
    #expect(try choice(wish, view([node("n1"), node("n2", labels: ["disk": "ssd"]), node("n3")])) == .node("n2"))
    let disliked = node("n1", taints: [["key": "x", "effect": "PreferNoSchedule"]])
    #expect(try choice(pod("q"), view([disliked, node("n2")])) == .node("n2"))
}

@Test("pods keep together or apart by topology")
func company() throws {
    func affinity(_ kind: String) -> JSON {
        var spec: JSON = [:]
        spec[path: ["affinity", kind, terms]] = [
            ["topologyKey": "zone", "labelSelector": ["matchLabels": ["app": "db"]]]
        ]
        return spec
    }
    let nodes = [
        node("n1", labels: ["zone": "a"]), node("n2", labels: ["zone": "a"]), node("n3", labels: ["zone": "b"]),
    ]
    let db = pod("db", labels: ["app": "db"])
    let with = try view(nodes, [(db, "n1")])
    let together = pod("t", spec: affinity("podAffinity"))
    guard case .node(let name) = try choice(together, with) else {
        Issue.record("nothing was chosen")
        return
    }
    #expect(["n1", "n2"].contains(name))
    #expect(try choice(pod("s", spec: affinity("podAntiAffinity")), with) == .node("n3"))
    #expect(try refusals(together, view(nodes)) == ["node(s) didn't match pod affinity rules": 3])
    // The first of a group that wants its own company may stand anywhere.
    var first = together
    first.labels = ["app": "db"]
    #expect(try refusals(first, view(nodes)).isEmpty)
    // One that wants to be alone refuses later ones.
    let shy = pod("shy", spec: affinity("podAntiAffinity"))
    let occupied = try view(nodes, [(shy, "n1"), (pod("shy2", spec: affinity("podAntiAffinity")), "n3")])
    #expect(try refusals(db, occupied) == ["node(s) didn't satisfy existing pods anti-affinity rules": 3])
}

@Test("pods are spread over zones within the skew")
func topologySpread() throws {
    let constraint: JSON = [
        "topologySpreadConstraints": [
            [
                "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": ["matchLabels": ["app": "web"]],
            ]
        ]
    ]
    let nodes = [node("n1", labels: ["zone": "a"]), node("n2", labels: ["zone": "b"]), node("n3")]
    let one = pod("one", labels: ["app": "web"])
    let next = pod("next", spec: constraint, labels: ["app": "web"])
    #expect(try choice(next, view(nodes, [(one, "n1")])) == .node("n2"))
    let full = try view([nodes[0], node("n2", cpu: "0", labels: ["zone": "b"]), nodes[2]], [(one, "n1")])
    var asking = next
    asking[Pod.containers] = [["name": "c", "resources": ["requests": ["cpu": "1"]]]]
    #expect(
        try refusals(asking, full) == [
            "Insufficient cpu": 1, "node(s) didn't match pod topology spread constraints": 1,
            "node(s) didn't match pod topology spread constraints (missing required label)": 1,
        ])
}

@Test("the same seed makes the same choices, another seed others")
func seeded() throws {
    let nodes = try view((0..<20).map { node("n\($0)") })
    func choices(_ seed: UInt64) throws -> [Choice] {
        var random = SeededRandom(seed: seed)
        var start = 0
        let info = try PodInfo(pod("p"))
        return (0..<10).map { _ in pick(info, in: nodes, start: &start, using: &random) }
    }
    #expect(try choices(7) == choices(7))
    #expect(try choices(7) != choices(8))
}

@Test("sums follow pods as they come and go, and an assumed pod is forgotten when its binding fails")
func sums() throws {
    var view = try view([node("n1")])
    let info = try PodInfo(pod("p", cpu: "1"))
    view.assume(info, on: "n1")
    #expect(view["n1"]?.requested.cpu == 1000)
    view.assume(info, on: "n1")
    #expect(view["n1"]?.requested.cpu == 1000)
    view.forget(info.uid)
    #expect(view["n1"]?.requested == Resources())
    var bound = info
    bound.nodeName = "n1"
    view.assume(info, on: "n1")
    view.set(pod: bound)
    view.forget(info.uid)
    #expect(view["n1"]?.requested.cpu == 1000)
    view.remove(node: "n1")
    #expect(view.knownCount == 0)
    view.remove(pod: info.uid)
    #expect(view.nodes.isEmpty)
}

@Test("pods are tried by priority, then by age; failed ones after their back-off, unschedulable ones after a change")
func pendingOrder() {
    func key(_ name: String) -> ObjectKey { ObjectKey(namespace: "demo", name: name) }
    var pending = PendingPods()
    for (name, priority) in [("a", 0), ("b", 10), ("c", 0)] { pending.add(key(name), priority: priority) }
    #expect(pending.next() == key("b"))
    #expect(pending.next() == key("a"))
    pending.noNodeFits(key("b"), now: .zero)
    pending.failed(key("a"), now: .zero)
    #expect(pending.next() == key("c"))
    pending.remove(key("c"))
    #expect(pending.next() == nil)
    #expect(pending.nextDue == .seconds(1))
    pending.wake(now: .seconds(2))
    #expect(pending.next() == key("a"))
    pending.remove(key("a"))
    pending.clusterChanged()
    pending.wake(now: .seconds(2))
    #expect(pending.next() == key("b"))
    // A change while it is tried counts.
    pending.clusterChanged()
    pending.noNodeFits(key("b"), now: .seconds(2))
    #expect(pending.nextDue == .seconds(4))
    #expect((1...6).map(PendingPods.delay) == [1, 2, 4, 8, 10, 10].map { .seconds($0) })
}
