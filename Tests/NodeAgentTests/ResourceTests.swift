import ContainerRuntime
import KubeTypes
import Testing
import Wire

@testable import NodeAgent

@Suite struct ResourceTests {
    @Test("the class of a pod follows from requests and limits")
    func qualityOfService() {
        func pod(_ resources: JSON...) -> JSON { ["containers": .array(resources.map { ["resources": $0] })] }
        let full: JSON = ["limits": ["cpu": "1", "memory": "1Gi"]]
        #expect(QualityOfService(pod([:])) == .bestEffort)
        #expect(QualityOfService(pod(full)) == .guaranteed)
        #expect(QualityOfService(pod(full, [:])) == .burstable)
        #expect(QualityOfService(pod(["requests": ["cpu": "1m"]])) == .burstable)
        let equal: JSON = ["limits": ["cpu": "1", "memory": "1Gi"], "requests": ["cpu": "1000m", "memory": "1024Mi"]]
        #expect(QualityOfService(pod(equal)) == .guaranteed)
    }

    @Test("limits become the kernel's words")
    func limits() {
        let limits = ResourceLimits(["requests": ["cpu": "500m"], "limits": ["cpu": "1500m", "memory": "64Mi"]])
        #expect(limits.cpuShares == 512)
        #expect(limits.cpuQuotaMicroseconds == 150_000)
        #expect(limits.memoryBytes == 64 << 20)
        #expect(ResourceLimits(nil).cpuShares == 2)
    }

    @Test("a pod is limited only when all that runs together is")
    func podLimits() {
        let limited: JSON = ["resources": ["limits": ["memory": "64Mi", "cpu": "1"]]]
        let spec: JSON = ["containers": [limited, limited]]
        #expect(ResourceLimits(pod: spec).memoryBytes == 128 << 20)
        #expect(ResourceLimits(pod: ["containers": [limited, [:]]]).memoryBytes == nil)
        #expect(ResourceLimits(pod: ["containers": [limited], "initContainers": [[:]]]).memoryBytes == nil)
    }

    @Test(
        "manifests may ask for more than there are numbers", arguments: ["9E", "9223372036854775807", "1e18", "-9E"])
    func beyondNumbers(amount: String) {
        let both: JSON = ["cpu": .string(amount), "memory": .string(amount)]
        let container: JSON = ["resources": ["requests": both, "limits": both]]
        let spec: JSON = ["containers": [container, container], "initContainers": [container]]
        let limits = ResourceLimits(container["resources"])
        #expect(limits.cpuQuotaMicroseconds ?? .max >= 1000 && (2...262_144).contains(limits.cpuShares ?? 0))
        let whole = ResourceLimits(pod: spec)
        #expect(whole.memoryBytes != 0 && (2...262_144).contains(whole.cpuShares ?? 0))
        let machine = MachineSize(processors: 2, memoryBytes: 1 << 30)
        let refusal = ResizeRefusal.check(spec, among: [spec, spec], machine: machine)
        #expect(refusal?.reason == (amount.hasPrefix("-") ? nil : "Infeasible"))
        var json: JSON = PodFixture("app").json
        json["spec"]?["containers"] = [["name": "app", "image": "demo:v1", "resources": container["resources"] ?? [:]]]
        let pod = PodDescription(KubeObject(json))
        let recipe = ContainerRecipe(
            pod: pod, container: pod.containers[0], attempt: 0, environment: [], mounts: [], logDirectory: "/logs",
            machine: machine)
        #expect(throws: Never.self) { try recipe.spec() }
    }

    @Test("resolv.conf follows dnsPolicy and dnsConfig")
    func resolvConf() {
        var json: JSON = PodFixture("app").json
        func text() -> String {
            NameFiles.resolvConf(
                PodDescription(KubeObject(json)), domain: "cluster.local", server: "10.96.0.10",
                machine: "nameserver 9.9.9.9\nsearch lan\n")
        }
        let first =
            "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
        #expect(text() == first)
        json["spec"]?["dnsConfig"] = ["options": [["name": "ndots", "value": "2"]], "searches": ["corp"]]
        #expect(
            text()
                == "search shop.svc.cluster.local svc.cluster.local cluster.local corp\nnameserver 10.96.0.10\noptions ndots:2\n"
        )
        json["spec"]?["dnsConfig"] = nil
        json["spec"]?["dnsPolicy"] = "Default"
        #expect(text() == "search lan\nnameserver 9.9.9.9\n")
    }

    @Test("hosts has the pod's names and its aliases")
    func hosts() {
        var json: JSON = PodFixture("app").json
        json["spec"]?["subdomain"] = "db"
        json["spec"]?["hostAliases"] = [["ip": "10.0.0.9", "hostnames": ["old", "older"]]]
        let text = NameFiles.hosts(PodDescription(KubeObject(json)), address: "10.244.1.5", domain: "cluster.local")
        #expect(text.contains("10.244.1.5\tweb.db.shop.svc.cluster.local\tweb\n"))
        #expect(text.hasSuffix("10.0.0.9\told\tolder\n"))
    }

    @Test("machine listeners are read, and only loopback is taken")
    func machineListeners() throws {
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "weft-system", name: "web")
        pod.annotations = ["weft.dev/machine-listeners": "http=127.0.0.1:8080, https=127.0.0.1:8443"]
        #expect(
            try PodAnnotations.machineListeners(pod) == [
                MachineListener(name: "http", address: "127.0.0.1", port: 8080),
                MachineListener(name: "https", address: "127.0.0.1", port: 8443),
            ])
        pod.annotations = ["weft.dev/machine-listeners": "http=0.0.0.0:80"]
        #expect(throws: ContainerConfigFault.self) { try PodAnnotations.machineListeners(pod) }
    }

    @Test(
        "pods outside the system's namespace get no socket of the machine",
        arguments: ["shop", "default", "weft-system-2", ""])
    func machineListenersElsewhere(namespace: String) throws {
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: namespace, name: "web")
        #expect(try PodAnnotations.machineListeners(pod).isEmpty)
        pod.annotations = ["weft.dev/machine-listeners": "http=127.0.0.1:8080"]
        #expect {
            try PodAnnotations.machineListeners(pod)
        } throws: { error in
            "\(error)".contains("weft.dev/machine-listeners: only pods of the namespace weft-system")
        }
    }

    @Test("security settings of the container win over the pod's")
    func security() throws {
        var json: JSON = PodFixture("app").json
        json["spec"]?["securityContext"] = ["runAsUser": 1000, "fsGroup": 2000, "supplementalGroups": [5]]
        json["spec"]?["containers"] = [
            [
                "name": "app", "image": "demo:v1", "args": ["--host=$(HOST)"],
                "securityContext": [
                    "runAsUser": 7, "capabilities": ["drop": ["ALL"], "add": ["CAP_NET_ADMIN"]],
                    "readOnlyRootFilesystem": true,
                ],
            ]
        ]
        let pod = PodDescription(KubeObject(json))
        let recipe = ContainerRecipe(
            pod: pod, container: pod.containers[0], attempt: 2, environment: [("HOST", "db")], mounts: [],
            logDirectory: "/logs",
            machine: MachineSize(processors: 1, memoryBytes: 1 << 30))
        let spec = try recipe.spec()
        #expect(spec.user == 7 && spec.group == nil && spec.supplementaryGroups == [5, 2000])
        #expect(spec.droppedCapabilities == ["ALL"] && spec.addedCapabilities == ["NET_ADMIN"])
        #expect(spec.hasReadOnlyRoot && spec.logPath == "/logs/app/2.log" && spec.arguments == ["--host=db"])
        #expect(spec.oomScoreAdjustment == 1000)
    }
}
