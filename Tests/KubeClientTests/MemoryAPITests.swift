import KubeClient
import KubeTypes
import Testing
import Wire

private func configMap(_ name: String, labels: [String: String] = [:], data: String = "1") -> KubeObject {
    var object = KubeObject(apiVersion: "v1", kind: "ConfigMap", namespace: "demo", name: name)
    object.labels = labels
    object.json["data"] = ["value": .string(data)]
    return object
}

private func pod(_ name: String, node: String = "") -> KubeObject {
    var object = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "demo", name: name)
    object.spec = ["containers": [["name": "app", "image": "app"]]]
    if !node.isEmpty { object.json[path: ["spec", "nodeName"]] = .string(node) }
    return object
}

@Test("a write with an old resourceVersion is a conflict, one without wins")
func conflicts() async throws {
    let api = MemoryAPI()
    let first = try await api.create(.configMaps, configMap("one"))
    var changed = first
    changed.json["data"] = ["value": "2"]
    let second = try await api.update(.configMaps, changed)
    #expect(second.resourceVersion != first.resourceVersion)
    await #expect(throws: APIFailure.self) { try await api.update(.configMaps, changed) }
    changed.resourceVersion = ""
    changed.json["data"] = ["value": "3"]
    #expect(try await api.update(.configMaps, changed).json["data"]?["value"] == "3")
}

@Test("an update that changes nothing makes no new version")
func noChange() async throws {
    let api = MemoryAPI()
    let first = try await api.create(.configMaps, configMap("one"))
    #expect(try await api.update(.configMaps, first).resourceVersion == first.resourceVersion)
}

@Test("status is written through its subresource only, and does not count as a generation")
func statusApart() async throws {
    let api = MemoryAPI()
    var object = KubeObject(apiVersion: "apps/v1", kind: "Deployment", namespace: "demo", name: "web")
    object.spec = ["replicas": 1]
    object.status = ["replicas": 9]
    var stored = try await api.create(.deployments, object)
    #expect(stored.json["status"] == nil)
    stored.status = ["replicas": 1]
    stored.spec = ["replicas": 5]
    let afterStatus = try await api.updateStatus(.deployments, stored)
    #expect(afterStatus.spec["replicas"] == 1)
    #expect(afterStatus.status["replicas"] == 1)
    #expect(afterStatus.generation == 1)
    let scaled = try await api.patch(
        .deployments, stored.key, .merge, ["spec": ["replicas": 3], "status": ["replicas": 7]], subresource: nil)
    #expect(scaled.generation == 2)
    #expect(scaled.status["replicas"] == 1)
}

@Test("an object with finalizers goes when the last one does")
func finalizers() async throws {
    let api = MemoryAPI()
    var object = configMap("held")
    object.finalizers = ["example.org/hold"]
    _ = try await api.create(.configMaps, object)
    try await api.delete(.configMaps, object.key)
    var held = try await api.get(.configMaps, object.key)
    #expect(held.deletionTimestamp != nil)
    held.finalizers = []
    _ = try await api.update(.configMaps, held)
    await #expect(throws: APIFailure.self) { try await api.get(.configMaps, object.key) }
}

@Test("a bound pod keeps its grace period, an unbound one goes at once")
func podGrace() async throws {
    let api = MemoryAPI()
    _ = try await api.create(.pods, pod("bound"))
    _ = try await api.create(.pods, pod("loose"))
    let key = ObjectKey(namespace: "demo", name: "bound")
    try await api.bind(key, uid: "", node: "node-1")
    await #expect(throws: APIFailure.self) { try await api.bind(key, uid: "", node: "node-2") }
    try await api.delete(.pods, key)
    try await api.delete(.pods, ObjectKey(namespace: "demo", name: "loose"))
    #expect(try await api.list(.pods).items.map(\.name) == ["bound"])
    try await api.delete(.pods, key, DeleteOptions(gracePeriodSeconds: 0))
    #expect(try await api.list(.pods).items.isEmpty)
}

@Test("a namespace stays Terminating until it is finalized, and takes nothing new")
func namespaceFinalize() async throws {
    let api = MemoryAPI()
    let name = ObjectKey(name: "demo")
    _ = try await api.create(.namespaces, KubeObject(apiVersion: "v1", kind: "Namespace", name: "demo"))
    try await api.delete(.namespaces, name)
    var ending = try await api.get(.namespaces, name)
    #expect(ending.status["phase"] == "Terminating")
    await #expect(throws: APIFailure.self) { try await api.create(.configMaps, configMap("late")) }
    ending.json[path: ["spec", "finalizers"]] = []
    _ = try await api.update(.namespaces, ending, subresource: "finalize")
    await #expect(throws: APIFailure.self) { try await api.get(.namespaces, name) }
}

@Test("a watch from a version tells every later change of its selection, in order")
func watchFrom() async throws {
    let api = MemoryAPI()
    let start = try await api.list(.configMaps).resourceVersion
    _ = try await api.create(.configMaps, configMap("a", labels: ["app": "web"]))
    _ = try await api.create(.configMaps, configMap("b"))
    let watch = try await api.watch(.configMaps, namespace: "demo", Selection(labels: "app=web"), from: start)
    var joined = try await api.get(.configMaps, ObjectKey(namespace: "demo", name: "b"))
    joined.labels = ["app": "web"]
    _ = try await api.update(.configMaps, joined)
    var left = try await api.get(.configMaps, ObjectKey(namespace: "demo", name: "a"))
    left.labels = [:]
    _ = try await api.update(.configMaps, left)
    try await api.delete(.configMaps, joined.key)
    api.endWatches()
    var told: [String] = []
    for try await event in watch { told.append(event.kind.rawValue + " " + event.object.name) }
    #expect(told == ["ADDED a", "ADDED b", "DELETED a", "DELETED b"])
}

@Test("JSON, merge and strategic patches change what they name")
func patches() async throws {
    let api = MemoryAPI()
    let key = try await api.create(.pods, pod("one")).key
    let merged = try await api.patch(
        .pods, key, .strategicMerge, ["spec": ["containers": [["name": "side"], ["name": "app", "image": "app:2"]]]],
        subresource: nil)
    #expect(merged.spec["containers"] == [["name": "app", "image": "app:2"], ["name": "side"]])
    let stepped = try await api.patch(
        .pods, key, .json, [["op": "replace", "path": "/spec/containers/0/image", "value": "app:3"]], subresource: nil)
    #expect(stepped.spec["containers"]?[0]?["image"] == "app:3")
    await #expect(throws: APIFailure.self) {
        try await api.patch(.pods, key, .json, [["op": "remove", "path": "/spec/none"]], subresource: nil)
    }
}
