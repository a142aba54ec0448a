import KubeClient
import KubeTypes
import TestSupport
import Testing
import Wire

private func configMap(_ name: String, value: Int) -> KubeObject {
    var object = KubeObject(apiVersion: "v1", kind: "ConfigMap", namespace: "demo", name: name)
    object.json["data"] = ["value": .string(String(value))]
    return object
}

/// The cache's names and values, to compare with the server's.
private func contents(_ objects: [KubeObject]) -> [String: String] {
    Dictionary(uniqueKeysWithValues: objects.map { ($0.name, $0.resourceVersion) })
}

@Test("an informer ends with the server's objects, through ended watches, compaction and refused requests")
func informerFollows() async throws {
    let api = MemoryAPI()
    _ = try await api.create(.configMaps, configMap("before", value: 0))
    let informer = Informer(api, .configMaps)
    let log = Shared<[String]>([])
    informer.onChange { change in
        let word = change.isRemoval ? "-" : "+"
        log.withLock { $0.append(word + change.object.name) }
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { await informer.run() }
        try await informer.waitUntilSynced()
        #expect(informer.cache[ObjectKey(namespace: "demo", name: "before")] != nil)
        for round in 0..<40 {
            _ = try await api.create(.configMaps, configMap("map-\(round)", value: round))
            if round % 3 == 0 { try await api.delete(.configMaps, ObjectKey(namespace: "demo", name: "map-\(round)")) }
            if round % 10 == 4 { api.endWatches() }
            if round % 10 == 8 { api.compact() }
            if round == 20 {
                let left = Shared(3)
                api.refuse { request in
                    guard request.verb == .watch else { return nil }
                    return left.withLock { count in
                        count -= 1
                        return count >= 0 ? .internalError("the store is away") : nil
                    }
                }
            }
        }
        let wanted = contents(try await api.list(.configMaps).items)
        #expect(await eventually { contents(informer.cache.all) == wanted })
        group.cancelAll()
    }
    // Each object that is there was told last as added; each that went away last as removed, if it was ever told.
    let told = log.withLock { $0 }
    for round in 0..<40 where round % 3 != 0 {
        #expect(told.last { $0.dropFirst() == "map-\(round)" } == "+map-\(round)")
    }
    for round in 0..<40 where round % 3 == 0 {
        #expect(told.last { $0.dropFirst() == "map-\(round)" } != "+map-\(round)")
    }
}

@Test("a cache finds objects by namespace, label, owner and index, and forgets what left")
func cacheIndexes() async throws {
    let api = MemoryAPI()
    let nodeName = Field<String>("spec", "nodeName")
    let informers = InformerSet(api)
    let pods = informers.informer(.pods, indexes: [.field(nodeName), .label("app")])
    #expect(informers.informer(.pods) === pods)
    var owner = KubeObject(apiVersion: "apps/v1", kind: "ReplicaSet", namespace: "demo", name: "web")
    owner.json[path: ["metadata", "uid"]] = "owner-1"
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { await informers.run() }
        for number in 0..<6 {
            var pod = KubeObject(
                apiVersion: "v1", kind: "Pod", namespace: number < 4 ? "demo" : "other", name: "p\(number)")
            pod.labels = ["app": number % 2 == 0 ? "web" : "api"]
            pod.spec = ["nodeName": .string("node-\(number % 3)")]
            if number < 2 { pod.ownerReferences = [OwnerReference(controlledBy: owner)] }
            api.seed(.pods, pod)
        }
        try await informers.waitUntilSynced()
        #expect(await eventually { pods.cache.count == 6 })
        #expect(pods.cache.list(namespace: "demo").count == 4)
        #expect(pods.cache.list(namespace: "", matching: LabelSelector(matching: ["app": "web"])).count == 3)
        #expect(Set(pods.cache.owned(by: "owner-1").map(\.name)) == ["p0", "p1"])
        #expect(Set(pods.cache.list(by: .field(nodeName), "node-1").map(\.name)) == ["p1", "p4"])
        try await api.delete(.pods, ObjectKey(namespace: "demo", name: "p1"), DeleteOptions(gracePeriodSeconds: 0))
        #expect(await eventually { pods.cache.count == 5 })
        #expect(pods.cache.owned(by: "owner-1").map(\.name) == ["p0"])
        #expect(pods.cache.list(by: .label("app"), "api").count == 2)
        group.cancelAll()
    }
}

@Test("waiting for a sync ends when the task is cancelled")
func waitCancelled() async {
    let informer = Informer(MemoryAPI(), .pods)
    let waiting = Task { try await informer.waitUntilSynced() }
    waiting.cancel()
    await #expect(throws: CancellationError.self) { try await waiting.value }
}

@Test("an event said again raises its count instead of making another")
func eventsCount() async throws {
    let api = MemoryAPI()
    let object = api.seed(.configMaps, configMap("one", value: 1))
    let recorder = EventRecorder(api, component: "tests")
    for _ in 0..<3 { await recorder.record(about: object, reason: "Seen", message: "seen it") }
    await recorder.record(.warning, about: object, reason: "Lost", message: "lost it")
    let events = try await api.list(.events).items
    #expect(events.count == 2)
    #expect(events.first { $0.json["reason"] == "Seen" }?.json["count"] == 3)
}

@Test("a lease is held by one until it runs out")
func leases() async throws {
    let time = Shared(Timestamp(seconds: 1000))
    let api = MemoryAPI()
    let key = ObjectKey(namespace: "kube-system", name: "leader")
    let first = LeaseRenewal(api, key, holder: "one", duration: .seconds(10), now: { time.withLock { $0 } })
    let second = LeaseRenewal(api, key, holder: "two", duration: .seconds(10), now: { time.withLock { $0 } })
    #expect(try await first.renew() == .held)
    #expect(try await second.renew() == .heldBy("one"))
    time.withLock { $0.seconds += 10 }
    #expect(try await second.renew() == .held)
    #expect(try await first.renew() == .heldBy("two"))
}
