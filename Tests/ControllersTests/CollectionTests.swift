import KubeClient
import KubeTypes
import TestSupport
import Testing
import Wire

@testable import Controllers

private func owned(_ name: String, by owner: KubeObject, blocks: Bool = true, type: ResourceType = .configMaps)
    -> KubeObject
{
    var object = KubeObject(apiVersion: type.apiVersion, kind: type.kind, namespace: "demo", name: name)
    var reference = OwnerReference(controlledBy: owner)
    reference.blocksDeletion = blocks
    object.ownerReferences = [reference]
    return object
}

private func configMap(_ name: String) -> KubeObject {
    KubeObject(apiVersion: "v1", kind: "ConfigMap", namespace: "demo", name: name)
}

private func names(_ api: MemoryAPI, _ type: ResourceType = .configMaps) async throws -> [String] {
    try await api.list(type, namespace: "demo", .all).items.map(\.name)
}

@Test(
    "an object goes when all its owners are gone, and only then",
    arguments: [
        ([], CollectionVerdict.keep), ([.there], .keep), ([.there, .absent], .forget(["u1"])),
        ([.absent], .delete(.background)),
        ([.absent, .absent], .delete(.background)), ([.awaitsDependents], .delete(.background)),
        ([.there, .awaitsDependents], .forget(["u1"])),
    ] as [([OwnerState], CollectionVerdict)])
func verdicts(states: [OwnerState], verdict: CollectionVerdict) {
    let owners = states.enumerated().map { index, state in
        (
            reference: OwnerReference([
                "apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": .string("u\(index)"),
            ]), state: state
        )
    }
    #expect(CollectionVerdict(for: configMap("x"), owners: owners, hasDependents: false) == verdict)
}

@Test("dependents go with their owner, and theirs with them; another's stay")
func background() async throws {
    try await withCluster { api in
        let root = try await api.create(.configMaps, configMap("root"))
        let child = try await api.create(.secrets, owned("child", by: root, type: .secrets))
        _ = try await api.create(.configMaps, owned("grandchild", by: child))
        let other = try await api.create(.configMaps, configMap("other"))
        _ = try await api.create(.configMaps, owned("kept", by: other))
        try await api.delete(.configMaps, root.key, DeleteOptions(propagation: .background))
        #expect(try await eventually { try await names(api) == ["kept", "other"] })
        #expect(try await names(api, .secrets).isEmpty)
    }
}

@Test("a kind that goes takes its informer with it; when it comes back, each change is told once")
func kindsComeAndGo() async throws {
    let api = MemoryAPI()
    let informers = InformerSet(api)
    let served = Shared<[ResourceType]>([.configMaps, .secrets])
    let kinds = WatchedKinds(ControlPlane(api: api, informers: informers)) { served.withLock { $0 } }
    let running = Task { await informers.run() }
    #expect(Set(kinds.refresh().fresh.map(\.type)) == [.configMaps, .secrets])
    let first = try #require(kinds.informer(.configMaps))
    _ = try await api.create(.configMaps, configMap("early"))
    #expect(await eventually { first.cache.all.map(\.name) == ["early"] })

    served.withLock { $0 = [.secrets] }
    let gone = kinds.refresh()
    #expect(gone.fresh.isEmpty && gone.gone.map(\.type) == [.configMaps])
    #expect(kinds.informer(.configMaps) == nil && kinds.informers.map(\.type) == [.secrets])
    #expect(kinds.refresh().gone.isEmpty)

    served.withLock { $0 = [.configMaps, .secrets] }
    let (type, second) = try #require(kinds.refresh().fresh.first)
    #expect(type == .configMaps && second !== first)
    let told = Shared<[String]>([])
    second.onChange { change in told.withLock { $0.append(change.object.name) } }
    _ = try await api.create(.configMaps, configMap("late"))
    #expect(await eventually { second.cache.all.count == 2 })
    #expect(told.withLock { $0.sorted() } == ["early", "late"])
    #expect(first.cache.all.map(\.name) == ["early"], "nobody keeps it any more")
    running.cancel()
    await running.value
}

@Test("an owner of the same name but another uid is not the owner")
func uidCounts() async throws {
    let api = MemoryAPI()
    var ghost = configMap("root")
    ghost.json[path: ["metadata", "uid"]] = "long-gone"
    api.seed(.configMaps, owned("orphan", by: ghost))
    try await withCluster(api) { api in
        _ = try await api.create(.configMaps, configMap("root"))
        #expect(try await eventually { try await names(api) == ["root"] })
    }
}

@Test("deleted in the foreground, an owner outlives the dependents that block it")
func foreground() async throws {
    try await withCluster { api in
        let root = try await api.create(.configMaps, configMap("root"))
        var held = owned("held", by: root)
        held.finalizers = ["example.org/hold"]
        let stored = try await api.create(.configMaps, held)
        _ = try await api.create(.configMaps, owned("free", by: root))
        try await api.delete(.configMaps, root.key, DeleteOptions(propagation: .foreground))
        #expect(try await eventually { try await names(api) == ["held", "root"] })
        var ending = try await api.get(.configMaps, stored.key)
        #expect(try await eventually { try await api.get(.configMaps, stored.key).deletionTimestamp != nil })
        ending = try await api.get(.configMaps, stored.key)
        ending.finalizers = []
        _ = try await api.update(.configMaps, ending)
        #expect(try await eventually { try await names(api).isEmpty })
    }
}

@Test("a circle of owners does not hold up a deletion in the foreground")
func circle() async throws {
    try await withCluster { api in
        var made: [KubeObject] = []
        for name in ["one", "two", "three"] { made.append(try await api.create(.configMaps, configMap(name))) }
        for (place, object) in made.enumerated() {
            var closed = object
            closed.ownerReferences = [OwnerReference(controlledBy: made[(place + 2) % 3])]
            _ = try await api.update(.configMaps, closed)
        }
        try await api.delete(.configMaps, made[0].key, DeleteOptions(propagation: .foreground))
        #expect(try await eventually { try await names(api).isEmpty })
    }
}

@Test("an owner goes once its last dependent has found another")
func released() async throws {
    try await withCluster { api in
        let going = try await api.create(.configMaps, configMap("going"))
        let staying = try await api.create(.configMaps, configMap("staying"))
        var shared = owned("shared", by: going)
        shared.ownerReferences += [OwnerReference(controlledBy: staying)]
        let key = try await api.create(.configMaps, shared).key
        try await api.delete(.configMaps, going.key, DeleteOptions(propagation: .foreground))
        #expect(try await eventually { try await names(api) == ["shared", "staying"] })
        #expect(try await api.get(.configMaps, key).ownerReferences.map(\.uid) == [staying.uid])
    }
}

@Test(
    "what the collector has not seen of dependents, it asks about before it lets their owner go",
    arguments: [DeleteOptions.Propagation.foreground, .orphan])
func lateDependents(_ propagation: DeleteOptions.Propagation) async throws {
    let gate = Shared(true)
    try await withCluster(seenAs: { HeldWatch(base: $0, held: .secrets, isOpen: gate) }) { api in
        let root = try await api.create(.configMaps, configMap("root"))
        // Its end shows that the collector follows secrets.
        var ghost = configMap("ghost")
        ghost.json[path: ["metadata", "uid"]] = "long-gone"
        _ = try await api.create(.secrets, owned("first", by: ghost, type: .secrets))
        #expect(try await eventually { try await names(api, .secrets).isEmpty })
        gate.withLock { $0 = false }
        let late = try await api.create(.secrets, owned("late", by: root, type: .secrets))
        try await api.delete(.configMaps, root.key, DeleteOptions(propagation: propagation))
        if propagation == .orphan {
            #expect(try await eventually { try await names(api).isEmpty })
            #expect(try await api.get(.secrets, late.key).ownerReferences.isEmpty)
            return
        }
        // A second one that is seen goes: so the collector has looked at the owner, and kept it.
        let marker = try await api.create(.configMaps, configMap("marker"))
        _ = try await api.create(.configMaps, owned("marked", by: marker))
        try await api.delete(.configMaps, marker.key, DeleteOptions(propagation: .foreground))
        #expect(try await eventually { try await names(api) == ["root"] })
        gate.withLock { $0 = true }
        #expect(try await eventually { try await names(api).isEmpty })
        #expect(try await names(api, .secrets).isEmpty)
    }
}

@Test("orphaned dependents stay and forget their owner")
func orphaned() async throws {
    try await withCluster { api in
        let root = try await api.create(.configMaps, configMap("root"))
        let child = try await api.create(.configMaps, owned("child", by: root))
        // The collector must have seen the child; its cache is what it orphans by.
        try await api.delete(.configMaps, root.key, DeleteOptions(propagation: .orphan))
        #expect(try await eventually { try await names(api) == ["child"] })
        #expect(try await eventually { try await api.get(.configMaps, child.key).ownerReferences.isEmpty })
    }
}

@Test("deleting a deployment takes its sets and pods with it")
func deploymentGoes() async throws {
    try await withCluster { api in
        _ = try await api.create(.deployments, deployment("web", replicas: 3))
        let key = ObjectKey(namespace: "demo", name: "web")
        #expect(try await eventually { isRolledOut(try await api.get(.deployments, key)) })
        try await api.delete(.deployments, key, DeleteOptions(propagation: .background))
        #expect(try await eventually { try await names(api, .pods).isEmpty })
        #expect(try await names(api, .replicaSets).isEmpty)
    }
}

@Test("a namespace gets its account and certificate, and on deletion everything in it goes first")
func namespaceLife() async throws {
    try await withCluster { api in
        _ = try await api.create(.namespaces, KubeObject(apiVersion: "v1", kind: "Namespace", name: "demo"))
        #expect(try await eventually { try await names(api, .serviceAccounts) == ["default"] })
        #expect(try await eventually { try await names(api) == ["kube-root-ca.crt"] })
        let map = try await api.get(.configMaps, ObjectKey(namespace: "demo", name: "kube-root-ca.crt"))
        #expect(map[ConfigMap.data] == ["ca.crt": "PEM"])
        try await api.delete(.serviceAccounts, ObjectKey(namespace: "demo", name: "default"))
        #expect(try await eventually { try await names(api, .serviceAccounts) == ["default"] })

        _ = try await api.create(.deployments, deployment("web", replicas: 3))
        let key = ObjectKey(namespace: "demo", name: "web")
        #expect(try await eventually { isRolledOut(try await api.get(.deployments, key)) })
        var held = configMap("held")
        held.finalizers = ["example.org/hold"]
        _ = try await api.create(.configMaps, held)
        try await api.delete(.namespaces, ObjectKey(name: "demo"))
        #expect(
            try await eventually {
                try await api.get(.namespaces, ObjectKey(name: "demo")).condition("NamespaceFinalizersRemaining")?[
                    "status"] == "True"
            })
        #expect(try await eventually { try await names(api, .pods).isEmpty })
        var ending = try await api.get(.configMaps, held.key)
        ending.finalizers = []
        _ = try await api.update(.configMaps, ending)
        #expect(try await eventually { try await api.list(.namespaces).items.isEmpty })
        for type in namespacedTypes where type != .events {
            #expect(try await names(api, type).isEmpty, "\(type) are left")
        }
    }
}
