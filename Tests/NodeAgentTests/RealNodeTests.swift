import ContainerRuntime
import Glibc
import Kernel
import KubeClient
import KubeTypes
import NodeAgent
import ServiceNetwork
import TestSupport
import Testing
import Wire

/// A node of real namespaces and containers, with the API in memory; all of it is removed at the end.
struct RealNode {
    let api = MemoryAPI()
    let name: String
    let directory: String
    let configuration: NodeConfiguration
    let runtimeConfiguration: RuntimeConfiguration
    let fabric: ClusterFabric
    static let image = "weft.dev/test:v1"

    init() throws {
        try #require(geteuid() == 0, "these tests need root: namespaces, mounts and cgroups are what they test")
        name = "weft-test-\(UInt32.random(in: .min ... .max))"
        directory = "/tmp/\(name)"
        try SmallFile.makeDirectories(directory)
        fabric = try ClusterFabric(cluster: name, runDirectory: directory + "/run", nodes: 1)
        try fabric.build()
        var configuration = NodeConfiguration(
            name: "node-1", podRange: "10.244.1.0/24", nodeAddress: "10.245.0.11", stateDirectory: directory + "/state",
            runDirectory: directory + "/run")
        configuration.networkNamespace = fabric.namespace(of: fabric.nodes[0])
        self.configuration = configuration
        runtimeConfiguration = RuntimeConfiguration(
            stateDirectory: directory + "/state", runDirectory: directory + "/run", cgroupRoot: "weft/" + name,
            supervisorPath: try BuiltProgram.path("mesh-init"))
        var image = PackedImage(
            name: Self.image, files: [.init(source: "/bin/busybox", target: "/bin/busybox")],
            entrypoint: ["/bin/sh", "-c"])
        for applet in ["sh", "sleep", "echo", "cat", "httpd", "hostname", "true", "false", "env", "wget", "id"] {
            image.links["/bin/" + applet] = "busybox"
        }
        _ = try ImagePacker(store: try ImageStore(directory: runtimeConfiguration.imageDirectory)).pack(image)
    }

    /// Runs an agent, with a runtime and a network that know nothing but what is on disk, while `body` runs.
    func withAgent(_ body: (NodeAgent, LocalRuntime) async throws -> Void) async throws {
        let runtime = try LocalRuntime(runtimeConfiguration)
        let agent = NodeAgent(
            configuration: configuration, api: api, runtime: runtime,
            network: try NodePodNetwork(fabric, node: fabric.nodes[0]))
        let running = Task { try await agent.run() }
        do { try await body(agent, runtime) } catch {
            running.cancel()
            _ = await running.result
            throw error
        }
        running.cancel()
        _ = await running.result
    }

    func script(_ name: String, _ text: String) -> JSON {
        ["name": .string(name), "image": .string(Self.image), "args": [.string(text)]]
    }

    func create(_ name: String, _ spec: JSON, annotations: [String: String] = [:]) async throws -> KubeObject {
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "shop", name: name)
        pod.annotations = annotations
        pod.json["spec"] = spec
        pod.json["spec"]?["nodeName"] = "node-1"
        return try await api.create(.pods, pod)
    }

    func pod(_ name: String) async -> KubeObject? {
        try? await api.get(.pods, ObjectKey(namespace: "shop", name: name))
    }

    func isReady(_ name: String) async -> Bool {
        let conditions = await pod(name)?.status["conditions"]?.array ?? []
        return conditions.contains { $0["type"]?.string == "Ready" && $0["status"]?.string == "True" }
    }

    /// Waits for a condition; when it never holds, fails with what the agent told meanwhile.
    func wait(for condition: () async throws -> Bool, at location: SourceLocation = #_sourceLocation) async throws {
        if try await eventually(condition) { return }
        let events = (try? await api.list(.events))?.items ?? []
        let story = events.compactMap { $0.json["message"]?.string }.joined(separator: "; ")
        Issue.record("it never came true; the agent told: \(story)", sourceLocation: location)
    }

    private func end() async {
        if let runtime = try? LocalRuntime(runtimeConfiguration) {
            for sandbox in (try? await runtime.sandboxes()) ?? [] {
                try? await runtime.removeSandbox(podUID: sandbox.podUID)
            }
        }
        try? fabric.remove()
        for name in FileTree.names(in: directory + "/state/pods") {
            for volume in FileTree.names(in: "\(directory)/state/pods/\(name)/volumes") {
                umount2("\(directory)/state/pods/\(name)/volumes/\(volume)", CInt(MNT_DETACH))
            }
        }
        try? FileTree.remove(directory)
    }

    static func run(_ body: (RealNode) async throws -> Void) async throws {
        let node = try RealNode()
        do { try await body(node) } catch {
            await node.end()
            throw error
        }
        await node.end()
    }
}

@Suite("With real containers", .timeLimit(.minutes(3)))
struct RealNodeTests {
    @Test("init container, native sidecar, volume, HTTP probe, log, exec, deletion: a pod's whole journey")
    func journey() async throws {
        try await RealNode.run { node in
            try await node.withAgent { agent, runtime in
                let mounts: JSON = [["name": "www", "mountPath": "/www"]]
                var prepare = node.script("prepare", "echo hello from $(POD) > /www/index.html")
                prepare["volumeMounts"] = mounts
                prepare["env"] = [["name": "POD", "valueFrom": ["fieldRef": ["fieldPath": "metadata.name"]]]]
                var sidecar = node.script(
                    "sidecar", "echo beside; trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done")
                sidecar["restartPolicy"] = "Always"
                // The first process of a container hears no signal it does not ask for.
                var web = node.script("web", "echo serving; trap 'exit 0' TERM; httpd -f -p 8080 -h /www & wait")
                web["volumeMounts"] = mounts
                web["readinessProbe"] = ["httpGet": ["port": 8080, "path": "/index.html"], "periodSeconds": 1]
                web["resources"] = ["limits": ["memory": "64Mi"]]
                let pod = try await node.create(
                    "web",
                    [
                        "initContainers": [sidecar, prepare], "containers": [web],
                        "volumes": [["name": "www", "emptyDir": [:]]],
                        "terminationGracePeriodSeconds": 5,
                    ])
                try await node.wait { await node.isReady("web") }
                let status = await node.pod("web")?.status
                #expect(status?["podIP"]?.string?.hasPrefix("10.244.1.") == true)
                #expect(status?["initContainerStatuses"]?[1]?["state"]?["terminated"]?["reason"] == "Completed")

                let ready = try #require(await node.pod("web"))
                let session = try await agent.exec(
                    pod: ready, container: "web",
                    ExecRequest(command: ["cat", "/www/index.html", "/etc/resolv.conf", "/etc/hosts"]))
                var output: [UInt8] = []
                for try await piece in session.output { if case .stdout(let bytes) = piece { output += bytes } }
                let text = String(decoding: output, as: UTF8.self)
                #expect(
                    text.contains("hello from web") && text.contains("nameserver 10.96.0.10")
                        && text.contains("\tweb\n"))

                var terminal = ExecRequest(command: ["sh", "-c", "read word; echo got $word; exit 4"])
                terminal.tty = true
                terminal.stdin = true
                let typing = try await agent.exec(pod: ready, container: "web", terminal)
                try await typing.write(Array("hey\n".utf8))
                var screen: [UInt8] = []
                var code: Int?
                for try await piece in typing.output {
                    if case .stdout(let bytes) = piece { screen += bytes }
                    if case .exited(let status) = piece { code = status }
                }
                #expect(String(decoding: screen, as: UTF8.self).contains("got hey"))
                #expect(code == 4)

                var log: [UInt8] = []
                for try await bytes in try await agent.logs(pod: ready, container: "web", LogOptions()) { log += bytes }
                #expect(String(decoding: log, as: UTF8.self) == "serving\n")

                try await node.api.delete(.pods, pod.key)
                try await node.wait { await node.pod("web") == nil }
                #expect(try await runtime.sandboxes().isEmpty)
                #expect(FileTree.names(in: node.configuration.stateDirectory + "/pods") == [])
                #expect(FileTree.names(in: node.configuration.runDirectory + "/pods") == [])
                #expect(FileTree.names(in: node.fabric.namespaceDirectory).filter { $0.hasPrefix("pod-") } == [])
            }
        }
    }

    @Test("an agent with a fresh runtime and network adopts the pod: same process, same address, never unready")
    func adoption() async throws {
        try await RealNode.run { node in
            var pid = 0
            var before: JSON?
            try await node.withAgent { _, runtime in
                var web = node.script("web", "exec httpd -f -p 8080 -h /")
                web["readinessProbe"] = ["tcpSocket": ["port": 8080], "periodSeconds": 1]
                let pod = try await node.create("web", ["containers": [web]])
                try await node.wait { await node.isReady("web") }
                pid = try await runtime.sandbox(podUID: pod.uid)?.containers.first?.pid ?? 0
                before = await node.pod("web")?.status
            }
            try await node.withAgent { _, runtime in
                let uid = try #require(await node.pod("web")?.uid)
                _ = try await node.create("other", ["containers": [node.script("app", "sleep 1000")]])
                try await node.wait { await node.isReady("other") }
                #expect(try await runtime.sandbox(podUID: uid)?.containers.first?.pid == pid)
                #expect(await node.pod("web")?.status == before)
            }
        }
    }

    @Test("probes reach a pod whose traffic is led through a proxy that is not there")
    func intercepted() async throws {
        try await RealNode.run { node in
            try await node.withAgent { _, _ in
                var web = node.script("web", "exec httpd -f -p 8080 -h /")
                web["readinessProbe"] = ["httpGet": ["port": 8080, "path": "/bin/true"], "periodSeconds": 1]
                _ = try await node.create("web", ["containers": [web]], annotations: ["weft.dev/intercept": "true"])
                try await node.wait { await node.isReady("web") }
            }
        }
    }

    @Test("a program that fails is started again, its log of before is kept, and its last words are told")
    func crash() async throws {
        try await RealNode.run { node in
            try await node.withAgent { agent, _ in
                var app = node.script("app", "echo run; echo sorry > /dev/termination-log; exit 3")
                app["terminationMessagePath"] = "/dev/termination-log"
                _ = try await node.create("app", ["containers": [app]])
                // The first restart is at once; it is the second that has to wait.
                try await node.wait {
                    let status = await node.pod("app")?.status["containerStatuses"]?[0]
                    return status?["state"]?["waiting"]?["reason"] == "CrashLoopBackOff" && status?["restartCount"] == 1
                }
                let pod = try #require(await node.pod("app"))
                let last = pod.status["containerStatuses"]?[0]?["lastState"]?["terminated"]
                #expect(last?["exitCode"] == 3)
                try await node.wait {
                    let events = try await node.api.list(.events).items
                    return events.contains { $0.json["reason"]?.string == "BackOff" }
                }
                #expect(last?["message"] == "sorry\n")
                var options = LogOptions()
                options.previous = true
                var log: [UInt8] = []
                for try await bytes in try await agent.logs(pod: pod, container: "app", options) { log += bytes }
                #expect(String(decoding: log, as: UTF8.self) == "run\n")
            }
        }
    }

    @Test("pods that come and go leave no mount, namespace, control group or file")
    func nothingLeft() async throws {
        try await RealNode.run { node in
            try await node.withAgent { _, _ in
                for round in 0..<3 {
                    let names = (0..<5).map { "pod-\(round)-\($0)" }
                    for name in names {
                        let container = node.script("app", "trap 'exit 0' TERM; while :; do sleep 0.05; done")
                        let volumes: JSON = [["name": "cache", "emptyDir": ["medium": "Memory"]]]
                        _ = try await node.create(name, ["containers": [container], "volumes": volumes])
                    }
                    try await node.wait {
                        for name in names where await !node.isReady(name) { return false }
                        return true
                    }
                    for name in names {
                        try await node.api.delete(.pods, ObjectKey(namespace: "shop", name: name))
                    }
                    try await node.wait { try await node.api.list(.pods).items.isEmpty }
                }
                let mounts = String(decoding: try SmallFile.read("/proc/self/mounts"), as: UTF8.self)
                #expect(!mounts.contains(node.directory + "/state"))
                #expect(FileTree.names(in: node.configuration.stateDirectory + "/pods") == [])
                #expect(FileTree.names(in: node.configuration.stateDirectory + "/logs") == [])
                #expect(FileTree.names(in: node.configuration.runDirectory + "/pods") == [])
                #expect(FileTree.names(in: node.fabric.namespaceDirectory).filter { $0.hasPrefix("pod-") } == [])
                let group = "/sys/fs/cgroup/memory/weft/\(node.name)/node-1"
                #expect(FileTree.names(in: group).filter { $0.hasPrefix("pod") } == [])
            }
        }
    }
}
