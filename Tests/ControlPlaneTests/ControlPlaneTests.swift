import APIServer
import KubeClient
import KubeTypes
import TestSupport
import Testing
import Wire

private let web = ObjectKey(namespace: "demo", name: "web")

private func namespace(_ name: String) -> KubeObject { KubeObject(apiVersion: "v1", kind: "Namespace", name: name) }

private func deployment(replicas: Int, image: String) -> KubeObject {
    var object = KubeObject(apiVersion: "apps/v1", kind: "Deployment", namespace: "demo", name: "web")
    object.spec = [
        "replicas": .int(Int64(replicas)), "selector": ["matchLabels": ["app": "web"]],
        "template": [
            "metadata": ["labels": ["app": "web"]],
            "spec": [
                "containers": [
                    [
                        "name": "app", "image": .string(image), "ports": [["name": "http", "containerPort": 8080]],
                        "resources": ["requests": ["cpu": "100m", "memory": "64Mi"]],
                    ]
                ]
            ],
        ],
    ]
    return object
}

/// Changes an object on its latest version, however often others change it meanwhile.
private func change(
    _ api: InProcessAPI, _ type: ResourceType, _ key: ObjectKey, _ edit: (inout KubeObject) -> Void
) async throws {
    let isDone = try await eventually {
        var object = try await api.get(type, key)
        edit(&object)
        do throws(APIFailure) {
            _ = try await api.update(type, object)
            return true
        } catch {
            if error.isConflict { return false }
            throw error
        }
    }
    #expect(isDone)
}

private func isRolledOut(_ deployment: KubeObject) -> Bool {
    let wanted = deployment[Deployment.replicas] ?? 1
    return (deployment[Deployment.observedGeneration] ?? 0) >= deployment.generation
        && (deployment[Deployment.updatedReplicas] ?? 0) == wanted
        && (deployment[Deployment.currentReplicas] ?? 0) == wanted
        && (deployment[Deployment.availableReplicas] ?? 0) == wanted
}

@Test("over the real API a deployment is scheduled, served, updated, rolled back and deleted with its namespace")
func wholeLife() async throws {
    try await withControlPlane { api in
        _ = try await api.create(.namespaces, namespace("demo"))
        _ = try await api.create(.deployments, deployment(replicas: 4, image: "example.test/app:1"))
        var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "demo", name: "web")
        service.spec = ["selector": ["app": "web"], "ports": [["name": "http", "port": 80, "targetPort": "http"]]]
        _ = try await api.create(.services, service)

        func rolledOut() async throws -> Bool {
            try await eventually { isRolledOut(try await api.get(.deployments, web)) }
        }
        func ready() async throws -> Int {
            try await api.list(.endpointSlices, namespace: "demo", .all).items.flatMap {
                $0[EndpointSlice.endpoints] ?? []
            }
            .count { $0[SliceEndpoint.ready] == true }
        }
        #expect(try await rolledOut())
        #expect(try await eventually { try await ready() == 4 })
        let first = try await api.list(.pods, namespace: "demo", .all).items
        #expect(Set(first.compactMap { $0[Pod.nodeName] }) == ["node-1", "node-2"])
        #expect(first.allSatisfy { $0.controller?.kind == "ReplicaSet" })

        try await change(api, .deployments, web) { object in
            var containers = object.spec["template"]?["spec"]?["containers"]?.array ?? []
            containers[0]["image"] = "example.test/app:2"
            object.json[path: ["spec", "template", "spec", "containers"]] = .array(containers)
        }
        #expect(try await rolledOut())
        var sets = try await api.list(.replicaSets, namespace: "demo", .all).items
        #expect(sets.map { $0[ReplicaSet.replicas] ?? -1 }.sorted() == [0, 4])
        #expect(try await eventually { try await ready() == 4 })

        // What `kubectl rollout undo` does.
        let old = try #require(sets.first { $0.annotations["deployment.kubernetes.io/revision"] == "1" })
        var template = try #require(old[ReplicaSet.template])
        template[path: ["metadata", "labels", "pod-template-hash"]] = nil
        try await change(api, .deployments, web) { $0[Deployment.template] = template }
        #expect(try await rolledOut())
        sets = try await api.list(.replicaSets, namespace: "demo", .all).items
        #expect(sets.count == 2)
        #expect(try await api.get(.deployments, web).annotations["deployment.kubernetes.io/revision"] == "3")

        try await api.delete(.namespaces, ObjectKey(name: "demo"))
        #expect(
            try await eventually {
                try await !api.list(.namespaces).items.contains { $0.name == "demo" }
            })
        for type in [
            ResourceType.pods, .replicaSets, .deployments, .services, .endpointSlices, .endpoints, .configMaps,
        ] {
            #expect(try await api.list(type, namespace: "demo", .all).items.isEmpty, "\(type) are left")
        }
    }
}

@Test("over the real API owners take their dependents with them, in the background and the foreground, or leave them")
func collection() async throws {
    try await withControlPlane { api in
        _ = try await api.create(.namespaces, namespace("demo"))
        for (propagation, survives) in [
            (DeleteOptions.Propagation.background, false), (.foreground, false), (.orphan, true),
        ] {
            _ = try await api.create(.deployments, deployment(replicas: 2, image: "example.test/app:1"))
            #expect(try await eventually { isRolledOut(try await api.get(.deployments, web)) })
            try await api.delete(.deployments, web, DeleteOptions(propagation: propagation))
            #expect(try await eventually { try await api.list(.deployments, namespace: "demo", .all).items.isEmpty })
            if survives {
                #expect(
                    try await eventually {
                        let sets = try await api.list(.replicaSets, namespace: "demo", .all).items
                        return sets.count == 1 && sets[0].ownerReferences.isEmpty
                    })
                #expect(try await api.list(.pods, namespace: "demo", .all).items.count == 2)
            } else {
                #expect(try await eventually { try await api.list(.pods, namespace: "demo", .all).items.isEmpty })
                #expect(
                    try await eventually { try await api.list(.replicaSets, namespace: "demo", .all).items.isEmpty })
            }
        }
    }
}

@Test("a control plane that ends in the middle of a rollout goes on where it was, with no pod or set too many")
func restarted() async throws {
    try await withStateDirectory { directory in
        try await withControlPlane(in: directory) { api in
            _ = try await api.create(.namespaces, namespace("demo"))
            _ = try await api.create(.deployments, deployment(replicas: 6, image: "example.test/app:1"))
            #expect(try await eventually { try await !api.list(.pods, namespace: "demo", .all).items.isEmpty })
        }
        for image in ["example.test/app:2", "example.test/app:3"] {
            try await withControlPlane(in: directory) { api in
                try await change(api, .deployments, web) { object in
                    var containers = object.spec["template"]?["spec"]?["containers"]?.array ?? []
                    containers[0]["image"] = .string(image)
                    object.json[path: ["spec", "template", "spec", "containers"]] = .array(containers)
                }
                #expect(
                    try await eventually {
                        let sets = try await api.list(.replicaSets, namespace: "demo", .all).items
                        return sets.contains {
                            $0[ReplicaSet.template]?["spec"]?["containers"]?[0]?["image"]?.string == image
                        }
                    })
            }
        }
        try await withControlPlane(in: directory) { api in
            #expect(try await eventually { isRolledOut(try await api.get(.deployments, web)) })
            #expect(try await eventually { try await api.list(.pods, namespace: "demo", .all).items.count == 6 })
            let sets = try await api.list(.replicaSets, namespace: "demo", .all).items
            #expect(sets.count == 3)
            #expect(Set(sets.map { $0.annotations["deployment.kubernetes.io/revision"] }) == ["1", "2", "3"])
        }
    }
}
