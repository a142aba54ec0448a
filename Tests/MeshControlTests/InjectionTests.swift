import KubeClient
import KubeTypes
import MeshControl
import MeshModel
import Testing
import Wire

@Suite struct InjectionTests {
    static let enabled = ["weft.dev/inject": "enabled"]

    static func pod(labels: [String: String] = [:], annotations: [String: String] = [:], spec: JSON = [:]) -> KubeObject
    {
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "demo", name: "p")
        pod.labels = labels
        pod.annotations = annotations
        var full: JSON = ["containers": [["name": "app", "image": "x"]], "initContainers": [["name": "prepare"]]]
        for member in spec.object ?? JSONObject() { full[member.key] = member.value }
        pod.spec = full
        return pod
    }

    static func injected(_ pod: KubeObject, _ labels: [String: String] = enabled) throws -> KubeObject {
        let outcome = injection(
            of: pod, namespaceLabels: labels, try InjectionTemplate.linked(values: ["image": "weft.dev/meshproxy:1.2"]))
        guard case .injected(let made) = outcome else { throw Late(description: "\(outcome)") }
        return made
    }

    @Test("a pod gets the sidecar first among its init containers, the volume and the annotation")
    func golden() throws {
        let pod = try Self.injected(Self.pod())
        let sidecar = try #require(pod.spec["initContainers"]?[0])
        #expect(pod.spec["initContainers"]?[1]?["name"]?.string == "prepare")
        #expect(sidecar["name"]?.string == MeshWords.proxyContainer)
        #expect(sidecar["image"]?.string == "weft.dev/meshproxy:1.2")
        #expect(sidecar["restartPolicy"]?.string == "Always")
        #expect(sidecar["args"]?[0] == "sidecar")
        #expect(sidecar["securityContext"]?["runAsUser"]?.int == 1337)
        #expect(sidecar["startupProbe"]?["httpGet"] == ["path": "/healthz/ready", "port": 15021])
        let mounts = sidecar["volumeMounts"]?.array ?? []
        #expect(mounts.first == ["name": "weft-mesh", "mountPath": "/var/run/weft/mesh"])
        #expect(mounts.count == pod.spec["volumes"]?.array?.count)
        #expect(sidecar["resources"]?["requests"]?["cpu"]?.string == "10m")
        #expect(pod.spec["volumes"]?[0] == ["name": "weft-mesh", "csi": ["driver": "mesh.weft.dev"]])
        #expect(pod.annotations[MeshWords.intercept] == "true")
        #expect(MeshPod(pod).hasSidecar, "the model sees what injection wrote")
        let names = sidecar["env"]?.array?.compactMap { $0["name"]?.string } ?? []
        #expect(Set(["POD_NAME", "POD_NAMESPACE"]).isSubset(of: names))
    }

    @Test("the same pod again is left as it is")
    func idempotent() throws {
        let once = try Self.injected(Self.pod())
        let again = injection(of: once, namespaceLabels: Self.enabled, try InjectionTemplate.linked())
        #expect(again.pod(or: once) == once)
        #expect(again == .skipped(reason: "it already has a container weft-proxy"))
    }

    @Test(
        "labels of the pod count more than the namespace's, and the reason is said",
        arguments: [
            ([:], ["istio-injection": "enabled"], nil), ([:], [:], "neither the pod"),
            (
                [:], ["weft.dev/inject": "disabled", "istio-injection": "enabled"],
                "label weft.dev/inject=disabled on the namespace"
            ),
            (["sidecar.istio.io/inject": "false"], enabled, "label sidecar.istio.io/inject=false on the pod"),
            (["weft.dev/inject": "true"], [:], nil),
            (["weft.dev/inject": "false", "sidecar.istio.io/inject": "true"], enabled, "weft.dev/inject=false"),
            (["weft.dev/gateway": "weft-ingress"], enabled, "it is a gateway"),
        ] as [([String: String], [String: String], String?)])
    func choice(labels: [String: String], namespace: [String: String], reason: String?) throws {
        let outcome = injection(
            of: Self.pod(labels: labels), namespaceLabels: namespace, try InjectionTemplate.linked())
        switch outcome {
        case .injected: #expect(reason == nil)
        case .skipped(let said): #expect(said.contains(reason ?? "nothing"))
        case .refused(let message): Issue.record("\(message)")
        }
    }

    @Test("a pod on the host's network gets none")
    func hostNetwork() throws {
        let outcome = injection(
            of: Self.pod(spec: ["hostNetwork": true]), namespaceLabels: Self.enabled, try InjectionTemplate.linked())
        #expect(outcome == .skipped(reason: "spec.hostNetwork: the node's own network is not intercepted"))
    }

    @Test("annotations change the sidecar; one that means nothing is refused by name")
    func overrides() throws {
        let pod = try Self.injected(
            Self.pod(annotations: [
                "proxy.weft.dev/cpu": "50m", "sidecar.istio.io/proxyMemory": "48Mi", "proxy.weft.dev/image": "mine:1",
            ]))
        let sidecar = pod.spec["initContainers"]?[0]
        #expect(sidecar?["resources"]?["requests"] == ["cpu": "50m", "memory": "48Mi"])
        #expect(sidecar?["image"]?.string == "mine:1")
        let outcome = injection(
            of: Self.pod(annotations: ["proxy.weft.dev/colour": "red"]), namespaceLabels: Self.enabled,
            try InjectionTemplate.linked())
        guard case .refused(let message) = outcome else { throw Late(description: "\(outcome)") }
        #expect(message.contains("metadata.annotations[proxy.weft.dev/colour]") && message.contains("cpu, image"))
    }

    @Test("the defaults linked into the program are whole and filled in")
    func defaults() throws {
        let objects = try ProxyTemplates.defaults(image: "weft.dev/meshproxy:1.2")
        #expect(
            objects.map(\.label) == [
                "Namespace weft-system", "GatewayClass weft", "Gateway weft-system/ingress",
                "ServiceAccount weft-system/weft-ingress",
                "Deployment weft-system/weft-ingress", "Service weft-system/weft-ingress",
            ])
        let container = objects.first { $0.kind == "Deployment" }?.spec["template"]?["spec"]?["containers"]?[0]
        #expect(container?["image"]?.string == "weft.dev/meshproxy:1.2")
        #expect(!objects.contains { $0.json.text.contains("${") })
    }
}
