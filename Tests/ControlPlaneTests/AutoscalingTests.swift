import APIServer
import KubeClient
import KubeTypes
import TestSupport
import Testing
import Wire

@testable import Controllers

/// A node whose pods use a fifth of a processor each, and that can do nothing else.
private struct BusyNode: NodeGateway {
    let pods: [ObjectKey]

    func usage(ofNode name: String) async throws(APIFailure) -> NodeUsage {
        let amount = NodeUsage.Amount(nanocores: 200_000_000, workingSetBytes: 1 << 20)
        let all = pods.map { NodeUsage.Pod(key: $0, whole: amount, containers: [("app", amount)]) }
        return NodeUsage(time: .now(), window: .seconds(15), pods: all)
    }

    private var unserved: APIFailure { .internalError("this node has figures only") }
    func logs(pod: KubeObject, container: String, _ options: LogOptions) async throws(APIFailure)
        -> AsyncThrowingStream<[UInt8], any Error>
    { throw unserved }
    func exec(pod: KubeObject, container: String, _ request: ExecRequest) async throws(APIFailure) -> any ExecSession {
        throw unserved
    }
    func attach(pod: KubeObject, container: String, _ streams: AttachStreams) async throws(APIFailure)
        -> any ExecSession
    { throw unserved }
    func connect(pod: KubeObject, port: Int) async throws(APIFailure) -> any PodConnection { throw unserved }
    func answer(ofNode name: String, _ request: NodeRequest) async throws(APIFailure) -> NodeAnswer { throw unserved }
}

/// A pod that runs and asks for a tenth of a processor.
private func makePod(_ name: String, app: String, _ api: InProcessAPI) async throws {
    var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "default", name: name)
    pod.labels = ["app": app]
    pod.spec = [
        "nodeName": "node-1",
        "containers": [["name": "app", "image": "app:1", "resources": ["requests": ["cpu": "100m"]]]],
    ]
    var made = try await api.create(.pods, pod)
    made.status = [
        "phase": "Running", "startTime": (Timestamp.now() + .seconds(-900)).json,
        "conditions": [["type": "Ready", "status": "True"]],
    ]
    _ = try await api.updateStatus(.pods, made)
}

private func autoscaler(_ name: String, _ apiVersion: String, _ kind: String, _ target: String) -> KubeObject {
    var autoscaler = KubeObject(
        apiVersion: "autoscaling/v2", kind: "HorizontalPodAutoscaler", namespace: "default", name: name)
    autoscaler.spec = [
        "scaleTargetRef": ["apiVersion": .string(apiVersion), "kind": .string(kind), "name": .string(target)],
        "minReplicas": 1, "maxReplicas": 3,
        "metrics": [
            [
                "type": "Resource",
                "resource": ["name": "cpu", "target": ["type": "Utilization", "averageUtilization": 50]],
            ]
        ],
    ]
    return autoscaler
}

private func statefulSet(_ name: String) -> KubeObject {
    var set = KubeObject(apiVersion: "apps/v1", kind: "StatefulSet", namespace: "default", name: name)
    set.spec = [
        "replicas": 1, "serviceName": .string(name), "selector": ["matchLabels": ["app": .string(name)]],
        "template": [
            "metadata": ["labels": ["app": .string(name)]],
            "spec": ["containers": [["name": "app", "image": "app:1"]]],
        ],
    ]
    return set
}

/// Rings, whose number of copies is their size, in two versions.
private var rings: KubeObject {
    func version(_ name: String, isStored: Bool) -> JSON {
        [
            "name": .string(name), "served": true, "storage": .bool(isStored),
            "schema": [
                "openAPIV3Schema": [
                    "type": "object",
                    "properties": [
                        "spec": ["type": "object", "properties": ["size": ["type": "integer"]]],
                        "status": [
                            "type": "object",
                            "properties": ["size": ["type": "integer"], "chosen": ["type": "string"]],
                        ],
                    ],
                ]
            ],
            "subresources": [
                "status": [:],
                "scale": [
                    "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size",
                    "labelSelectorPath": ".status.chosen",
                ],
            ],
        ]
    }
    var definition = KubeObject(
        apiVersion: "apiextensions.k8s.io/v1", kind: "CustomResourceDefinition", name: "rings.example.test")
    definition.spec = [
        "group": "example.test", "scope": "Namespaced",
        "names": ["plural": "rings", "singular": "ring", "kind": "Ring", "listKind": "RingList"],
        "versions": [version("v1", isStored: true), version("v1beta1", isStored: false)],
    ]
    return definition
}

/// The controller with the rights its role gives it, and what it does with one autoscaler.
private struct Scaling: Sendable {
    let user: InProcessAPI
    let api: InProcessAPI
    let controller: AutoscalingController

    /// Looks until the condition holds.
    func look(_ key: ObjectKey, until condition: (KubeObject) async throws -> Bool) async throws -> Bool {
        try await eventually {
            _ = try await controller.reconcile(key)
            return try await condition(try await user.get(.horizontalPodAutoscalers, key))
        }
    }

    static func condition(_ autoscaler: KubeObject, _ type: String) -> JSON? {
        autoscaler.status["conditions"]?.array?.first { $0["type"]?.string == type }
    }
}

private func withScaling(busy: [String], _ body: (Scaling) async throws -> Void) async throws {
    try await withStateDirectory { directory in
        var configuration = APIServerConfiguration(stateDirectory: directory, listeners: [])
        configuration.nodes = BusyNode(pods: busy.map { ObjectKey(namespace: "default", name: $0) })
        let server = try await APIServer.start(configuration)
        let user = server.api(as: .administrator)
        _ = try await user.create(
            .serviceAccounts,
            KubeObject(apiVersion: "v1", kind: "ServiceAccount", namespace: "default", name: "default"))
        let api = server.api(as: .account("kube-system", "horizontal-pod-autoscaler"))
        let informers = InformerSet(api)
        let controller = AutoscalingController(ControlPlane(api: api, informers: informers))
        let result: Result<Void, any Error> = await withTaskGroup(of: Void.self) { group in
            group.addTask { await informers.run() }
            defer { group.cancelAll() }
            do {
                return .success(try await body(Scaling(user: user, api: api, controller: controller)))
            } catch {
                return .failure(error)
            }
        }
        await server.stop()
        try result.get()
    }
}

@Suite("Autoscaling over the real API, with no rights but those of the autoscaler's role")
struct AutoscalingTests {
    @Test("a StatefulSet is scaled by its scale, which is all the autoscaler may write")
    func statefulSets() async throws {
        try await withScaling(busy: ["db-0"]) { scaling in
            let user = scaling.user
            var made = try await user.create(.statefulSets, statefulSet("db"))
            try await makePod("db-0", app: "db", user)
            made.json[path: ["spec", "replicas"]] = 2
            let set = made
            await #expect(throws: APIFailure.self) { _ = try await scaling.api.update(.statefulSets, set) }
            await #expect(throws: APIFailure.self) { _ = try await scaling.api.get(.statefulSets, set.key) }

            let hpa = try await user.create(
                .horizontalPodAutoscalers, autoscaler("db", "apps/v1", "StatefulSet", "db"))
            let scaled = try await scaling.look(hpa.key) { _ in
                try await user.get(.statefulSets, set.key).spec["replicas"] == 3
            }
            #expect(scaled)
            let found = try await user.get(.horizontalPodAutoscalers, hpa.key)
            #expect(found.status["currentReplicas"] == 1 && found.status["desiredReplicas"] == 3)
            #expect(Scaling.condition(found, "AbleToScale")?["reason"] == "SucceededRescale")
            #expect(Scaling.condition(found, "ScalingActive")?["reason"] == "ValidMetricFound")
            let events = try await user.list(.events, namespace: "default", .all).items
            #expect(
                events.contains {
                    $0.json["reason"] == "SuccessfulRescale"
                        && $0.json["message"]
                            == "New size: 3; reason: cpu resource utilization (percentage of request) above target"
                })
        }
    }

    @Test(
        "a custom kind is scaled where its definition says, whichever version the autoscaler names",
        arguments: ["example.test/v1", "example.test/v1beta1", "example.test/v7"])
    func customKinds(apiVersion: String) async throws {
        try await withScaling(busy: ["one-0"]) { scaling in
            let user = scaling.user
            _ = try await user.create(.customResourceDefinitions, rings)
            let isServed = await eventually { (try? await user.served("Ring", apiVersion: "example.test/v1")) != nil }
            try #require(isServed)
            let type = try await user.served("Ring", apiVersion: apiVersion)
            #expect(type.version == (apiVersion == "example.test/v1beta1" ? "v1beta1" : "v1"))
            var ring = KubeObject(apiVersion: type.apiVersion, kind: "Ring", namespace: "default", name: "one")
            ring.spec = ["size": 1]
            ring = try await user.create(type, ring)
            try await makePod("one-0", app: "one", user)
            let hpa = try await user.create(.horizontalPodAutoscalers, autoscaler("one", apiVersion, "Ring", "one"))

            // As long as the ring does not say which pods are its own, nothing is done.
            let isAsked = try await scaling.look(hpa.key) {
                Scaling.condition($0, "ScalingActive")?["reason"] == "InvalidSelector"
            }
            #expect(isAsked)
            #expect(try await user.get(type, ring.key).spec["size"] == 1)
            ring.status = ["size": 1, "chosen": "app=one"]
            _ = try await user.updateStatus(type, ring)
            let scaled = try await scaling.look(hpa.key) { _ in
                try await user.get(type, ring.key).spec["size"] == 3
            }
            #expect(scaled)
        }
    }

    @Test("two autoscalers of the same pods leave them alone, and say so")
    func ambiguous() async throws {
        try await withScaling(busy: ["db-0"]) { scaling in
            let user = scaling.user
            _ = try await user.create(.statefulSets, statefulSet("db"))
            try await makePod("db-0", app: "db", user)
            let one = try await user.create(.horizontalPodAutoscalers, autoscaler("a", "apps/v1", "StatefulSet", "db"))
            let two = try await user.create(.horizontalPodAutoscalers, autoscaler("b", "apps/v1", "StatefulSet", "db"))
            _ = try await scaling.look(one.key) { $0.status["conditions"] != nil }
            let isTold = try await scaling.look(two.key) {
                Scaling.condition($0, "ScalingActive")?["message"]
                    == "pods by selector app=db are controlled by multiple HPAs: [default/a default/b]"
            }
            #expect(isTold)
        }
    }

    @Test(
        "what has no scale is said in Kubernetes' words",
        arguments: [
            ("apps/v1", "Missing", "no matches for kind \"Missing\" in group \"apps\""),
            ("v1", "ConfigMap", "the server could not find the requested resource"),
            ("apps/v1", "StatefulSet", "statefulsets.apps \"gone\" not found"),
        ])
    func refusals(apiVersion: String, kind: String, message: String) async throws {
        try await withScaling(busy: []) { scaling in
            let hpa = try await scaling.user.create(
                .horizontalPodAutoscalers, autoscaler("gone", apiVersion, kind, "gone"))
            let isTold = try await scaling.look(hpa.key) {
                let condition = Scaling.condition($0, "AbleToScale")
                return condition?["status"] == "False" && condition?["reason"] == "FailedGetScale"
                    && condition?["message"]
                        == .string("the HPA controller was unable to get the target's current scale: \(message)")
            }
            #expect(isTold)
        }
    }
}
