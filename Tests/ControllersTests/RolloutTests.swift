import KubeClient
import KubeTypes
import TestSupport
import Testing
import Wire

@testable import Controllers

private let web = ObjectKey(namespace: "demo", name: "web")

private func image(_ name: String) -> JSON {
    [
        "spec": [
            "template": [
                "spec": [
                    "containers": [
                        ["name": "app", "image": .string(name), "ports": [["name": "http", "containerPort": 8080]]]
                    ]
                ]
            ]
        ]
    ]
}

private func rolledOut(_ api: MemoryAPI) async throws -> Bool {
    try await eventually { isRolledOut(try await api.get(.deployments, web)) }
}

@Test(
    "a rollout is created, updated, scaled and rolled back, each time to the end and never below what must be available"
)
func rollout() async throws {
    try await withCluster { api in
        _ = try await api.create(.namespaces, KubeObject(apiVersion: "v1", kind: "Namespace", name: "demo"))
        _ = try await api.create(.deployments, deployment("web", replicas: 4))
        #expect(try await rolledOut(api))
        var first = try await api.get(.deployments, web)
        #expect(first.annotations["deployment.kubernetes.io/revision"] == "1")
        #expect(first.condition("Progressing")?["reason"] == "NewReplicaSetAvailable")
        #expect(first.condition("Available")?["status"] == "True")
        let sets = try await api.list(.replicaSets).items
        #expect(sets.count == 1)
        #expect(sets[0].name == "web-" + (sets[0].labels["pod-template-hash"] ?? ""))

        // Of 4 pods a quarter may be missing: 3 are always ready.
        let before = try await api.list(.pods)
        let watch = try await api.watch(.pods, namespace: "demo", .all, from: before.resourceVersion)
        _ = try await api.patch(.deployments, web, .merge, image("app:2"), subresource: nil)
        #expect(try await rolledOut(api))
        api.endWatches()
        var ready = Set(before.items.filter(\.isPodReady).map(\.name))
        #expect(ready.count == 4)
        var least = 4
        for try await event in watch {
            let pod = event.object
            if event.kind != .deleted, pod.deletionTimestamp == nil, pod.isPodReady {
                ready.insert(pod.name)
            } else {
                ready.remove(pod.name)
            }
            least = min(least, ready.count)
        }
        #expect(least >= 3)
        first = try await api.get(.deployments, web)
        #expect(first.annotations["deployment.kubernetes.io/revision"] == "2")
        let after = try await api.list(.replicaSets).items
        #expect(after.count == 2)
        #expect(after.map { $0[ReplicaSet.replicas] ?? -1 }.sorted() == [0, 4])

        _ = try await api.patch(.deployments, web, .merge, ["spec": ["replicas": 7]], subresource: nil)
        #expect(try await rolledOut(api))
        _ = try await api.patch(.deployments, web, .merge, ["spec": ["replicas": 2]], subresource: nil)
        #expect(try await rolledOut(api))

        // What `kubectl rollout undo` sends: the template of the older set.
        let old = try #require(after.first { $0.annotations["deployment.kubernetes.io/revision"] == "1" })
        var template = try #require(old[ReplicaSet.template])
        template[path: ["metadata", "labels", "pod-template-hash"]] = nil
        _ = try await api.patch(
            .deployments, web, .json, [["op": "replace", "path": "/spec/template", "value": template]], subresource: nil
        )
        #expect(try await rolledOut(api))
        let back = try await api.get(.replicaSets, old.key)
        #expect(back.annotations["deployment.kubernetes.io/revision"] == "3")
        #expect(back.annotations["deployment.kubernetes.io/revision-history"] == "1")
        #expect(back[ReplicaSet.replicas] == 2)
        #expect(try await api.list(.replicaSets).items.count == 2)
        #expect(try await eventually { try await api.list(.pods).items.count == 2 })
    }
}

@Test("a Recreate deployment has no pod of the old version left when the first of the new one comes")
func recreate() async throws {
    try await withCluster { api in
        var object = deployment("web", replicas: 3)
        object.json[path: ["spec", "strategy"]] = ["type": "Recreate"]
        _ = try await api.create(.deployments, object)
        #expect(try await rolledOut(api))
        let version = try await api.list(.pods).resourceVersion
        let watch = try await api.watch(.pods, namespace: "demo", .all, from: version)
        _ = try await api.patch(.deployments, web, .merge, image("app:2"), subresource: nil)
        #expect(try await rolledOut(api))
        api.endWatches()
        var old = 3
        for try await event in watch {
            let isNew = event.object[Pod.containers]?.first?[Container.image] == "app:2"
            if event.kind == .deleted, !isNew { old -= 1 }
            if event.kind == .added { #expect(isNew && old == 0) }
        }
    }
}

@Test("a version that never gets ready stops with the old one still serving, and the deadline is told")
func brokenVersion() async throws {
    try await withCluster(broken: ["app:bad"]) { api in
        var object = deployment("web", replicas: 4)
        object[Deployment.progressDeadlineSeconds] = 1
        _ = try await api.create(.deployments, object)
        #expect(try await rolledOut(api))
        _ = try await api.patch(.deployments, web, .merge, image("app:bad"), subresource: nil)
        #expect(
            try await eventually {
                try await api.get(.deployments, web).condition("Progressing")?["reason"] == "ProgressDeadlineExceeded"
            })
        let now = try await api.get(.deployments, web)
        #expect((now[Deployment.availableReplicas] ?? 0) >= 3)
        _ = try await api.patch(.deployments, web, .merge, image("app:1"), subresource: nil)
        #expect(try await rolledOut(api))
    }
}

@Test("caches that fall behind never make a pod too many")
func noDuplicates() async throws {
    let api = MemoryAPI()
    try await withCluster(api) { api in
        for number in 0..<6 {
            var object = deployment("d\(number)", replicas: 5)
            object.namespace = "demo"
            _ = try await api.create(.deployments, object)
            if number % 2 == 0 { api.endWatches() } else { api.compact() }
        }
        #expect(
            try await eventually {
                let all = try await api.list(.deployments).items
                return all.count == 6 && all.allSatisfy(isRolledOut)
            })
        let created = api.writes.filter { $0.verb == .create && $0.type == .pods }.count
        #expect(created == 30)
        let sets = api.writes.filter { $0.verb == .create && $0.type == .replicaSets }.count
        #expect(sets >= 6)
        #expect(try await api.list(.replicaSets).items.count == 6)
    }
}

@Test("a set adopts pods that match it and releases those that do not any more")
func adoption() async throws {
    try await withCluster { api in
        var orphan = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "demo", name: "found")
        orphan.labels = ["app": "solo"]
        orphan.spec = ["containers": [["name": "app", "image": "app:1"]]]
        _ = try await api.create(.pods, orphan)
        var set = KubeObject(apiVersion: "apps/v1", kind: "ReplicaSet", namespace: "demo", name: "solo")
        set.spec = [
            "replicas": 2, "selector": ["matchLabels": ["app": "solo"]],
            "template": [
                "metadata": ["labels": ["app": "solo"]], "spec": ["containers": [["name": "app", "image": "app:1"]]],
            ],
        ]
        let stored = try await api.create(.replicaSets, set)
        #expect(
            try await eventually {
                let pods = try await api.list(.pods).items
                return pods.count == 2 && pods.allSatisfy { $0.controller?.uid == stored.uid }
            })
        _ = try await api.patch(
            .pods, orphan.key, .merge, ["metadata": ["labels": ["app": "other"]]], subresource: nil)
        #expect(
            try await eventually {
                let pods = try await api.list(.pods).items
                let released = pods.first { $0.name == "found" }
                return pods.count == 3 && released?.controller == nil
            })
        #expect(try await eventually { try await api.get(.replicaSets, set.key)[ReplicaSet.readyReplicas] == 2 })
    }
}
