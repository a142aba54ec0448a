import APIServer
import Kernel
import KubeClient
import KubeTypes
import TestSupport
import Testing
import Wire

private let web = """
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web, labels: {app: web}}
    spec:
      replicas: 2
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec:
          containers:
          - {name: app, image: "example.test/app:1", ports: [{containerPort: 8080}]}

    """

@Suite("kubectl")
struct KubectlTests {
    @Test("version, api-resources, api-versions, cluster health")
    func discovery() async throws {
        try await withKubectl { kubectl, _ in
            #expect(try await kubectl.ok("version").contains("Server Version: v1.36.0+weft"))
            let resources = try await kubectl.ok("api-resources")
            for line in ["pods", "deployments", "httproutes", "virtualservices", "endpointslices"] {
                #expect(resources.contains("\n\(line) "), "\(line) is not listed")
            }
            #expect(try await kubectl.ok("api-versions").contains("apps/v1"))
            #expect(try await kubectl.ok("get", "--raw", "/readyz") == "ok")
            #expect(try await kubectl.ok("get", "--raw", "/metrics").contains("apiserver_request_total"))
        }
    }

    @Test("create sends protobuf; get prints tables, yaml and json")
    func createAndGet() async throws {
        try await withKubectl { kubectl, _ in
            #expect(try await kubectl.ok("create", "namespace", "demo") == "namespace/demo created\n")
            _ = try await kubectl.ok("create", "configmap", "settings", "-n", "demo", "--from-literal=a=1")
            _ = try await kubectl.ok("create", "serviceaccount", "robot", "-n", "demo")
            _ = try await kubectl.ok(
                "create", "deployment", "web", "-n", "demo", "--image=example.test/app:1", "--replicas=3")
            let table = try await kubectl.ok("get", "deployments", "-n", "demo")
            #expect(table.contains("READY") && table.contains("0/3"))
            let wide = try await kubectl.ok("get", "deploy", "-n", "demo", "-o", "wide")
            #expect(wide.contains("IMAGES") && wide.contains("example.test/app:1"))
            let yaml = try await kubectl.ok("get", "configmap", "settings", "-n", "demo", "-o", "yaml")
            #expect(yaml.contains("a: \"1\"") && yaml.contains("uid:"))
            let data = try await kubectl.ok("get", "cm", "settings", "-n", "demo", "-o", "jsonpath={.data.a}")
            #expect(data == "1")
            let all = try await kubectl.ok("get", "namespaces", "-o", "json")
            let items = try JSON(parsing: all)["items"]?.array?.count
            #expect(items == 6)
            #expect(try await kubectl.ok("get", "all", "-A").contains("service/kubernetes"))
            let missing = try await kubectl("get", "pod", "nobody")
            #expect(missing.code == 1)
            #expect(missing.errors == "Error from server (NotFound): pods \"nobody\" not found\n")
            let token = try await kubectl.ok("create", "token", "robot", "-n", "demo")
            #expect(token.split(separator: ".").count == 3)
        }
    }

    @Test("apply creates, then changes by strategic merge, then leaves alone")
    func apply() async throws {
        try await withKubectl { kubectl, api in
            #expect(try await kubectl.ok("apply", "-f", "-", input: web) == "deployment.apps/web created\n")
            #expect(try await kubectl.ok("apply", "-f", "-", input: web) == "deployment.apps/web unchanged\n")
            let changed = web.replacing("app:1", with: "app:2")
            #expect(try await kubectl.ok("apply", "-f", "-", input: changed) == "deployment.apps/web configured\n")
            let found = try await api.get(.deployments, ObjectKey(namespace: "default", name: "web"))
            #expect(found.json[path: ["spec", "template", "spec", "containers"]]?[0]?["image"] == "example.test/app:2")
            #expect(found.generation == 2)
            let diff = try await kubectl("diff", "-f", "-", input: web)
            #expect(diff.code == 1 && diff.output.contains("app:1"))
            #expect(try await api.get(.deployments, found.key).resourceVersion == found.resourceVersion)
        }
    }

    @Test("label, annotate, three kinds of patch, scale, edit by replace")
    func changes() async throws {
        try await withKubectl { kubectl, api in
            let key = ObjectKey(namespace: "default", name: "web")
            _ = try await kubectl.ok("apply", "-f", "-", input: web)
            _ = try await kubectl.ok("label", "deployment", "web", "tier=front")
            _ = try await kubectl.ok("annotate", "deployment", "web", "note=hello")
            _ = try await kubectl.ok(
                "patch", "deployment", "web", "-p",
                "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"side\",\"image\":\"example.test/side:1\"}]}}}}"
            )
            var found = try await api.get(.deployments, key)
            #expect(found.labels["tier"] == "front" && found.annotations["note"] == "hello")
            #expect(found.json[path: ["spec", "template", "spec", "containers"]]?.array?.count == 2)
            _ = try await kubectl.ok("patch", "deployment", "web", "--type=merge", "-p", "{\"spec\":{\"paused\":true}}")
            _ = try await kubectl.ok(
                "patch", "deployment", "web", "--type=json", "-p",
                "[{\"op\":\"replace\",\"path\":\"/spec/template/spec/containers/1/image\",\"value\":\"example.test/app:9\"}]"
            )
            _ = try await kubectl.ok("scale", "deployment", "web", "--replicas=5")
            found = try await api.get(.deployments, key)
            #expect(found.spec["paused"] == true && found.spec["replicas"] == 5)
            _ = try await kubectl.ok("set", "image", "deployment/web", "app=example.test/app:10")
            _ = try await kubectl.ok("label", "deployment", "web", "tier-")
            let text = try await kubectl.ok("get", "deployment", "web", "-o", "yaml")
            _ = try await kubectl.ok("replace", "-f", "-", input: text.replacing("replicas: 5", with: "replicas: 4"))
            found = try await api.get(.deployments, key)
            #expect(found.labels["tier"] == nil && found.spec["replicas"] == 4)
        }
    }

    @Test("delete, wait, describe, explain")
    func others() async throws {
        try await withKubectl { kubectl, api in
            _ = try await kubectl.ok("create", "configmap", "one")
            #expect(try await kubectl.ok("delete", "configmap", "one").hasPrefix("configmap \"one\" deleted"))
            #expect(await isMissing(api, .configMaps, ObjectKey(namespace: "default", name: "one")))
            _ = try await kubectl.ok("run", "solo", "--image=example.test/app:1")
            let description = try await kubectl.ok("describe", "pod", "solo")
            #expect(description.contains("example.test/app:1") && description.contains("Pending"))
            async let waiting = kubectl.ok("wait", "--for=condition=Ready", "pod/solo", "--timeout=120s")
            var ready = try await api.get(.pods, ObjectKey(namespace: "default", name: "solo"))
            ready.json["status"] = ["phase": "Running", "conditions": [["type": "Ready", "status": "True"]]]
            _ = try await api.updateStatus(.pods, ready)
            #expect(try await waiting.contains("condition met"))
            #expect(try await kubectl.ok("delete", "pod", "solo").contains("deleted"))
            #expect(try await kubectl.ok("explain", "deployment.spec.strategy").contains("rollingUpdate"))
            // What kubectl did before OpenAPI 3: the document of version 2, as protobuf.
            let older = try await kubectl.ok(
                "explain", "pod.spec.containers.ports", "--output=plaintext-openapiv2")
            #expect(older.contains("containerPort") && older.contains("<integer> -required-"), "\(older)")
            let gone = try await kubectl("wait", "--for=delete", "pod/solo", "--timeout=120s")
            #expect(gone.code == 0)
            _ = try await kubectl.ok("create", "namespace", "brief")
            _ = try await kubectl.ok("delete", "configmaps", "--all", "-n", "brief")
        }
    }

    @Test("auth can-i and whoami tell the truth")
    func access() async throws {
        try await withKubectl { kubectl, _ in
            #expect(try await kubectl.ok("auth", "can-i", "delete", "pods") == "yes\n")
            let me = try await kubectl.ok("auth", "whoami")
            #expect(me.contains("kubernetes-admin") && me.contains("system:masters"))
        }
    }

    @Test("get -w prints what happens")
    func watching() async throws {
        try await withKubectl { kubectl, api in
            _ = try await api.create(.configMaps, configMap("before"))
            let (child, output) = try kubectl.start(["get", "configmaps", "-w", "--output-watch-events"])
            defer { child.end() }
            func isSaid(_ event: String, _ name: String) async -> Bool {
                await eventually {
                    let text = String(decoding: (try? SmallFile.read(output)) ?? [], as: UTF8.self)
                    return text.split(separator: "\n").contains { line in
                        line.split(separator: " ").prefix(2).map(String.init) == [event, name]
                    }
                }
            }
            #expect(await isSaid("EVENT", "NAME"))
            try #require(await isSaid("ADDED", "before"))
            let key = ObjectKey(namespace: "default", name: "during")
            _ = try await api.create(.configMaps, configMap(key.name))
            #expect(await isSaid("ADDED", key.name))
            _ = try await api.patch(.configMaps, key, .merge, ["data": ["a": "b"]], subresource: nil)
            #expect(await isSaid("MODIFIED", key.name))
            try await api.delete(.configMaps, key)
            #expect(await isSaid("DELETED", key.name))
        }
    }

    @Test("bad input names object and field, and nothing is stored")
    func badInput() async throws {
        try await withKubectl { kubectl, api in
            let unknown = try await kubectl(
                "apply", "-f", "-", input: web.replacing("replicas: 2", with: "replicaz: 2"))
            #expect(unknown.code == 1)
            #expect(unknown.errors.contains("web") && unknown.errors.contains("unknown field \"spec.replicaz\""))
            let wrong = try await kubectl(
                "apply", "-f", "-", input: web.replacing("replicas: 2", with: "replicas: many"))
            #expect(wrong.code == 1 && wrong.errors.contains("spec.replicas"))
            let mismatch = try await kubectl(
                "apply", "-f", "-", input: web.replacing("matchLabels: {app: web}", with: "matchLabels: {app: other}"))
            #expect(mismatch.code == 1 && mismatch.errors.contains("spec.template.metadata.labels"))
            let nowhere = try await kubectl("apply", "-n", "nowhere", "-f", "-", input: web)
            #expect(nowhere.code == 1 && nowhere.errors.contains("namespaces \"nowhere\" not found"))
            #expect(try await api.list(.deployments).items.isEmpty)
        }
    }
}
