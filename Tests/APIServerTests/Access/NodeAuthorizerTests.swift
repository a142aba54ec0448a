import KubeClient
import KubeTypes
import Testing
import Wire

@testable import APIServer

@Suite("What nodes may read")
struct NodeAuthorizerTests {
    private static func everything(_ name: String, node: String) -> KubeObject {
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "demo", name: name)
        pod.json["spec"] = [
            "nodeName": .string(node), "serviceAccountName": "robot",
            "imagePullSecrets": [["name": "registry"]],
            "containers": [
                [
                    "name": "app", "envFrom": [["secretRef": ["name": "from-env"]]],
                    "env": [["name": "A", "valueFrom": ["configMapKeyRef": ["name": "settings", "key": "a"]]]],
                ]
            ],
            "volumes": [
                ["name": "s", "secret": ["secretName": "mounted"]],
                ["name": "p", "projected": ["sources": [["configMap": ["name": "projected"]]]]],
                ["name": "d", "persistentVolumeClaim": ["claimName": "data"]],
            ],
        ]
        return pod
    }

    @Test("a pod refers to secrets, config maps, claims and its account, wherever it names them")
    func references() throws {
        let found = try #require(PodReferences(Self.everything("web", node: "n1")))
        #expect(found.secrets == ["registry", "from-env", "mounted"])
        #expect(found.configMaps == ["settings", "projected"])
        #expect(found.claims == ["data"])
        #expect(found.account == "robot" && found.node == "n1")
        var waiting = Self.everything("web", node: "n1")
        waiting.json[path: ["spec", "nodeName"]] = nil
        #expect(PodReferences(waiting) == nil)
    }

    @Test("a node reads what its pods refer to, no list, nothing of other nodes, and only its own Node, Lease and pods")
    func reading() async throws {
        try await withServer { server, api in
            for node in ["n1", "n2"] {
                _ = try await api.create(.nodes, KubeObject(apiVersion: "v1", kind: "Node", name: node))
            }
            _ = try await api.create(.namespaces, KubeObject(apiVersion: "v1", kind: "Namespace", name: "demo"))
            _ = try await api.create(
                .serviceAccounts,
                KubeObject(apiVersion: "v1", kind: "ServiceAccount", namespace: "demo", name: "robot"))
            _ = try await api.create(.configMaps, configMap("settings", namespace: "demo", ["a": "1"]))
            _ = try await api.create(.configMaps, configMap("other", namespace: "demo", ["a": "1"]))
            let agent = server.api(as: User(name: "system:node:n1", groups: [User.nodes, User.authenticated]))
            let key = ObjectKey(namespace: "demo", name: "settings")
            func code(_ body: () async throws(APIFailure) -> Void) async -> Int { await failure(body)?.code ?? 200 }

            #expect(await code { () throws(APIFailure) in _ = try await agent.get(.configMaps, key) } == 403)
            var made = pod("web", namespace: "demo")
            made.json[path: ["spec", "serviceAccountName"]] = "robot"
            made.json[path: ["spec", "containers"]] = [
                ["name": "app", "image": "example.test/app:1", "envFrom": [["configMapRef": ["name": "settings"]]]]
            ]
            made = try await api.create(.pods, made)
            #expect(await code { () throws(APIFailure) in _ = try await agent.get(.configMaps, key) } == 403)
            try await api.bind(made.key, uid: made.uid, node: "n1")
            // At once: the node may know of its pod before the index does.
            #expect(await code { () throws(APIFailure) in _ = try await agent.get(.configMaps, key) } == 200)
            let other = ObjectKey(namespace: "demo", name: "other")
            let refused = await failure { () throws(APIFailure) in _ = try await agent.get(.configMaps, other) }
            #expect(
                refused?.message
                    == #"configmaps "other" is forbidden: User "system:node:n1" cannot get resource "configmaps" in API group "" in the namespace "demo": no relationship found between node 'n1' and this object"#
            )
            #expect(
                await code { () throws(APIFailure) in _ = try await agent.list(.configMaps, namespace: "demo", .all) }
                    == 403)
            #expect(await code { () throws(APIFailure) in _ = try await agent.get(.pods, made.key) } == 200)
            #expect(
                await code { () throws(APIFailure) in
                    _ = try await agent.list(.pods, namespace: "", .init(fields: "spec.nodeName=n1"))
                } == 200)
            #expect(
                await code { () throws(APIFailure) in
                    _ = try await agent.list(.pods, namespace: "", .init(fields: "spec.nodeName=n2"))
                } == 403)
            // One requirement, whose value has a comma: it chooses the pods of all nodes.
            let all = Selection(fields: #"status.phase!=x\,spec.nodeName=n1"#)
            #expect(
                await code { () throws(APIFailure) in _ = try await agent.list(.pods, namespace: "", all) } == 403)
            #expect(
                await code { () throws(APIFailure) in _ = try await agent.get(.nodes, ObjectKey(name: "n1")) } == 200)
            #expect(
                await code { () throws(APIFailure) in _ = try await agent.get(.nodes, ObjectKey(name: "n2")) } == 403)
            let robot = ObjectKey(namespace: "demo", name: "robot")
            let spec: JSON = [
                "boundObjectRef": ["apiVersion": "v1", "kind": "Pod", "name": "web", "uid": .string(made.uid)]
            ]
            #expect(await code { () throws(APIFailure) in _ = try await agent.token(robot, spec) } == 200)
            let stranger = server.api(as: User(name: "system:node:n2", groups: [User.nodes, User.authenticated]))
            #expect(await code { () throws(APIFailure) in _ = try await stranger.token(robot, spec) } == 403)
            #expect(await code { () throws(APIFailure) in _ = try await stranger.get(.configMaps, key) } == 403)
            try await api.delete(.pods, made.key, .init(gracePeriodSeconds: 0))
            try await poll("the end of the node's right") {
                await code { () throws(APIFailure) in _ = try await agent.get(.configMaps, key) } == 403
            }
        }
    }
}
