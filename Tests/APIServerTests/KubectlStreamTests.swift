import APIServer
import KubeClient
import KubeTypes
import Testing
import Wire

@Suite("kubectl: logs, exec, server-side apply")
struct KubectlStreamTests {
    @Test("logs and exec reach the node, with exit codes and standard input")
    func streams() async throws {
        try await withKubectl({ $0.nodes = EchoGateway() }) { kubectl, api in
            let made = try await api.create(.pods, pod("solo"))
            let early = try await kubectl("logs", "solo")
            #expect(early.code == 1 && early.errors.contains("does not have a host assigned"))
            try await api.bind(made.key, uid: made.uid, node: "node-1")
            var running = try await api.get(.pods, made.key)
            running.json[path: ["status", "phase"]] = "Running"
            _ = try await api.updateStatus(.pods, running)
            #expect(try await kubectl.ok("logs", "solo", "--tail=2") == "line 4 of solo/app\nline 5 of solo/app\n")
            #expect(try await kubectl.ok("exec", "solo", "--", "hello", "there") == "hello there\n")
            let failing = try await kubectl("exec", "solo", "--", "exit", "7")
            #expect(failing.code == 7 && failing.errors.contains("failing"))
            let text = String(repeating: "0123456789", count: 20_000)
            #expect(try await kubectl("exec", "-i", "solo", "--", "cat", input: text).output == text)
            let wrong = try await kubectl("exec", "solo", "-c", "other", "--", "cat")
            #expect(wrong.code == 1 && wrong.errors.contains("container other is not valid"))
        }
    }

    /// A pod that is bound and runs, as far as the API knows.
    private func runningPod(_ api: InProcessAPI) async throws -> KubeObject {
        let made = try await api.create(.pods, pod("solo"))
        try await api.bind(made.key, uid: made.uid, node: "node-1")
        var running = try await api.get(.pods, made.key)
        running.json[path: ["status", "phase"]] = "Running"
        return try await api.updateStatus(.pods, running)
    }

    @Test("attach shows what a container writes")
    func attach() async throws {
        try await withKubectl({ $0.nodes = EchoGateway() }) { kubectl, api in
            _ = try await runningPod(api)
            let attached = try await kubectl.ok("attach", "solo")
            #expect(attached.hasSuffix("attached to app\n"), "\(attached)")
        }
    }

    @Test("port-forward carries bytes both ways, many connections at once, and says what could not be reached")
    func portForward() async throws {
        try await withKubectl({ $0.nodes = EchoGateway() }) { kubectl, api in
            _ = try await runningPod(api)
            let forward = try await KubectlForward(kubectl, "solo", ports: [8080, 9999])
            defer { forward.end() }
            let texts = (0..<8).map { String(repeating: "\($0)-the-same-again;", count: 20_000) }
            let echoed = await withTaskGroup(of: (Int, String).self) { group in
                for (place, text) in texts.enumerated() {
                    group.addTask { (place, await forward.exchange(0, text)) }
                }
                return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
            }
            for (place, text) in texts.enumerated() { #expect(echoed[place] == text, "connection \(place)") }
            #expect(await forward.exchange(0, "again") == "again")
            // kubectl itself ends with the first that cannot be reached.
            #expect(await forward.exchange(1, "hello") == "")
            #expect(forward.said.contains("nothing listens on port 9999"), "\(forward.said)")
        }
    }

    @Test(
        "a request through the proxy, or a WebSocket, reaches a pod's port by number and by name, and a service's pod"
    )
    func proxy() async throws {
        try await withKubectl({ $0.nodes = EchoGateway() }) { kubectl, api in
            let running = try await runningPod(api)
            let path = "/api/v1/namespaces/default/pods/solo:8080/proxy/items/17?page=2"
            #expect(try await kubectl.ok("get", "--raw", path) == "GET /items/17?page=2 HTTP/1.1\n")
            let unknown = try await kubectl("get", "--raw", "/api/v1/namespaces/default/pods/solo:nothing/proxy/")
            #expect(unknown.code == 1 && unknown.errors.contains("no port named"), "\(unknown.errors)")
            let service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "default", name: "web")
            var withPort = service
            withPort.json["spec"] = ["ports": [["name": "http", "port": 80]]]
            _ = try await api.create(.services, withPort)
            let early = try await kubectl("get", "--raw", "/api/v1/namespaces/default/services/web:http/proxy/x")
            #expect(early.errors.contains("no endpoints available for service"), "\(early.errors)")
            var slice = KubeObject(
                apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", namespace: "default", name: "web-1")
            slice.labels = ["kubernetes.io/service-name": "web"]
            slice.json["addressType"] = "IPv4"
            slice.json["ports"] = [["name": "http", "port": 8080, "protocol": "TCP"]]
            slice.json["endpoints"] = [
                [
                    "addresses": ["10.0.0.7"],
                    "targetRef": [
                        "kind": "Pod", "namespace": "default", "name": "solo", "uid": .string(running.uid),
                    ],
                ]
            ]
            _ = try await api.create(.endpointSlices, slice)
            let through = try await kubectl.ok("get", "--raw", "/api/v1/namespaces/default/services/web:http/proxy/x")
            #expect(through == "GET /x HTTP/1.1\n")
            for target in ["pods/solo:8080", "services/web:http"] {
                let path = "/api/v1/namespaces/default/\(target)/proxy/socket?a=b"
                let (code, output) = await runPython("websocket_client.py", [kubectl.kubeconfig, path])
                #expect(code == 0)
                #expect(
                    output == """
                        HTTP/1.1 101 Switching Protocols
                        GET /socket?a=b HTTP/1.1
                        1 3 one True
                        2 900 twotw True
                        2 200000 three True
                        8 0

                        """)
            }
        }
    }

    @Test("kubectl debug adds a container to a running pod; it can be neither changed nor removed")
    func ephemeralContainers() async throws {
        try await withKubectl({ $0.nodes = EchoGateway() }) { kubectl, api in
            let running = try await runningPod(api)
            _ = try await kubectl.ok(
                "debug", "solo", "--image=busybox", "--container=look", "--attach=false", "--", "sleep", "1")
            var found = try await api.get(.pods, running.key)
            #expect(found.spec["ephemeralContainers"]?.array?.first?["name"] == "look")
            found.json[path: ["spec", "ephemeralContainers"]] = nil
            let refused = await #expect(throws: APIFailure.self) {
                _ = try await api.update(.pods, found, subresource: "ephemeralcontainers")
            }
            #expect(refused?.message.contains("may not be removed") == true)
        }
    }

    @Test("kubectl top shows what nodes and pods use, a container each where that is asked")
    func top() async throws {
        try await withKubectl({ $0.nodes = EchoGateway() }) { kubectl, api in
            var node = KubeObject(apiVersion: "v1", kind: "Node", name: "node-1")
            node.json["status"] = [
                "allocatable": ["cpu": "1", "memory": "1Gi"], "capacity": ["cpu": "1", "memory": "1Gi"],
            ]
            _ = try await api.create(.nodes, node)
            _ = try await runningPod(api)
            let nodes = try await kubectl.ok("top", "nodes")
            #expect(nodes.contains("node-1") && nodes.contains("250m") && nodes.contains("64Mi"), "\(nodes)")
            let pods = try await kubectl.ok("top", "pods", "--containers")
            #expect(pods.contains("solo") && pods.contains("app") && pods.contains("250m"), "\(pods)")
            let none = try await kubectl("top", "pod", "nobody")
            #expect(none.code == 1 && none.errors.contains("not found"), "\(none.errors)")
        }
    }

    @Test("a node's agent is reached through the server, if there is such a node")
    func nodeProxy() async throws {
        try await withKubectl({ $0.nodes = EchoGateway() }) { kubectl, api in
            _ = try await api.create(.nodes, KubeObject(apiVersion: "v1", kind: "Node", name: "node-1"))
            let path = "/api/v1/nodes/node-1/proxy"
            #expect(try await kubectl.ok("get", "--raw", "\(path)/healthz") == "node-1 was asked for /healthz\n")
            #expect(
                try await kubectl.ok("get", "--raw", "/api/v1/nodes/https:node-1:10250/proxy/a/b?c=d").contains("/a/b"))
            let absent = try await kubectl("get", "--raw", "\(path)/absent")
            #expect(absent.code == 1 && absent.errors.contains("could not find the requested resource"))
            let unknown = try await kubectl("get", "--raw", "/api/v1/nodes/other/proxy/healthz")
            #expect(unknown.code == 1 && unknown.errors.contains("nodes \"other\" not found"))
        }
    }

    @Test("without a way to the nodes, logs say so")
    func noGateway() async throws {
        try await withKubectl { kubectl, api in
            let made = try await api.create(.pods, pod("solo"))
            try await api.bind(made.key, uid: made.uid, node: "node-1")
            let logs = try await kubectl("logs", "solo")
            #expect(logs.code == 1 && logs.errors.contains("no way to the nodes"))
        }
    }

    @Test("apply --server-side creates, owns its fields, and conflicts with other managers")
    func serverSideApply() async throws {
        try await withKubectl { kubectl, api in
            func map(_ value: String) -> String {
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shared}\ndata: {a: \"\(value)\"}\n"
            }
            let created = try await kubectl.ok("apply", "--server-side", "-f", "-", input: map("1"))
            #expect(created == "configmap/shared serverside-applied\n")
            let other = try await kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", input: map("2"))
            #expect(other.code == 1 && other.errors.contains("conflict with \"kubectl\""))
            _ = try await kubectl.ok(
                "apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-", input: map("2"))
            let found = try await api.get(.configMaps, ObjectKey(namespace: "default", name: "shared"))
            #expect(found.json["data"]?["a"] == "2")
            let managers = found.metadata["managedFields"]?.array?.compactMap { $0["manager"]?.string } ?? []
            #expect(managers.contains("other"))
        }
    }

    @Test("client-side apply can be followed by server-side apply")
    func migration() async throws {
        try await withKubectl { kubectl, api in
            func map(_ value: String) -> String {
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: moved}\ndata: {a: \"\(value)\"}\n"
            }
            _ = try await kubectl.ok("apply", "-f", "-", input: map("1"))
            _ = try await kubectl.ok("apply", "--server-side", "-f", "-", input: map("1"))
            _ = try await kubectl.ok("apply", "--server-side", "-f", "-", input: map("2"))
            let found = try await api.get(.configMaps, ObjectKey(namespace: "default", name: "moved"))
            #expect(found.json["data"]?["a"] == "2")
        }
    }

    @Test("a list in pages shows one state of the cluster")
    func pages() async throws {
        try await withKubectl { kubectl, api in
            for number in 0..<25 { _ = try await api.create(.configMaps, configMap("page-\(number)")) }
            let names = try await kubectl.ok("get", "configmaps", "--chunk-size=4", "-o", "name")
            #expect(names.split(separator: "\n").count == 25)
        }
    }
}
