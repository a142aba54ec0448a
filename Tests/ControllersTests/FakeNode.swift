import KubeClient
import KubeTypes
import Wire

@testable import Controllers

/// Runs pods as a node agent would, as far as controllers can see: binds them, makes them ready, and ends those being deleted.
struct FakeNode: Sendable {
    let api: MemoryAPI
    /// Pods whose image is in here never get ready.
    var broken: Set<String> = []

    func run() async {
        let pods = Informer(api, .pods)
        await withDiscardingTaskGroup { group in
            group.addTask { await pods.run() }
            for await change in pods.changes() where !change.isRemoval {
                await step(change.object)
            }
            group.cancelAll()
        }
    }

    private func step(_ pod: KubeObject) async {
        if pod.deletionTimestamp != nil {
            try? await api.delete(.pods, pod.key, DeleteOptions(gracePeriodSeconds: 0, uid: pod.uid))
            return
        }
        if (pod[Pod.nodeName] ?? "").isEmpty {
            try? await api.bind(pod.key, uid: pod.uid, node: "node-1")
            return
        }
        let images = (pod[Pod.containers] ?? []).compactMap { $0[Container.image] }
        guard pod[Pod.phase] == "Pending", broken.isDisjoint(with: images) else { return }
        var running = pod
        running[Pod.phase] = "Running"
        running[Pod.podIP] = "10.244.1.\(Int(pod.resourceVersion).map { $0 % 250 + 2 } ?? 2)"
        running[Pod.conditions] = [
            ["type": "Ready", "status": "True", "lastTransitionTime": Timestamp.now().json],
            ["type": "PodScheduled", "status": "True"],
        ]
        _ = try? await api.updateStatus(.pods, running)
    }
}

let namespacedTypes: [ResourceType] = [
    .pods, .services, .endpoints, .serviceAccounts, .configMaps, .secrets, .events, .deployments, .replicaSets,
    .endpointSlices, .leases,
]

/// Runs all controllers and a node over an API in memory while `body` runs.
/// - Parameter view: what the controllers see of the API.
func withCluster(
    _ api: MemoryAPI = MemoryAPI(), seenAs view: (MemoryAPI) -> any KubeAPI = { $0 }, broken: Set<String> = [],
    _ body: (MemoryAPI) async throws -> Void
) async throws {
    let seen = view(api)
    let informers = InformerSet(seen)
    let plane = ControlPlane(api: seen, informers: informers)
    let set = ControllerSet(
        plane, .init(rootCertificate: "PEM", types: namespacedTypes + [.namespaces, .nodes]))
    let node = FakeNode(api: api, broken: broken)
    var status = KubeObject(apiVersion: "v1", kind: "Node", name: "node-1")
    status.status = ["conditions": [["type": "Ready", "status": "True"]]]
    api.seed(.nodes, status)
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { await informers.run() }
        group.addTask { await set.run() }
        group.addTask { await node.run() }
        do {
            try await body(api)
        } catch {
            group.cancelAll()
            throw error
        }
        group.cancelAll()
    }
}

func deployment(_ name: String, replicas: Int, image: String = "app:1") -> KubeObject {
    var object = KubeObject(apiVersion: "apps/v1", kind: "Deployment", namespace: "demo", name: name)
    object.spec = [
        "replicas": .int(Int64(replicas)), "selector": ["matchLabels": ["app": .string(name)]],
        "template": [
            "metadata": ["labels": ["app": .string(name)]],
            "spec": [
                "containers": [
                    ["name": "app", "image": .string(image), "ports": [["name": "http", "containerPort": 8080]]]
                ]
            ],
        ],
    ]
    return object
}

/// What `kubectl rollout status` calls done.
func isRolledOut(_ deployment: KubeObject) -> Bool {
    let wanted = deployment[Deployment.replicas] ?? 1
    return (deployment[Deployment.observedGeneration] ?? 0) >= deployment.generation
        && (deployment[Deployment.updatedReplicas] ?? 0) == wanted
        && (deployment[Deployment.currentReplicas] ?? 0) == wanted
        && (deployment[Deployment.availableReplicas] ?? 0) == wanted
}
