import ContainerRuntime
import Glibc
import Kernel
import KubeClient
import KubeTypes
import NodeAgent
import ServiceNetwork
import Synchronization
import TestSupport
import Testing
import Wire

@Suite struct NodeAgentTests {
    @Test("a pod comes up: sandbox, container, ready with its address; and events tell it")
    func life() async throws {
        let node = TestNode()
        try await node.withAgent { _ in
            try await node.createPod()
            #expect(await eventually { await node.isReady() })
            #expect(node.runtime.journal == ["sandbox", "start app-0"])
            #expect(await node.pod()?.status["podIP"] == "127.0.1.1")
            #expect(await eventually { await node.events("Started") == ["Started container app"] })
            #expect(await node.events("Pulled").count == 1)
        }
    }

    @Test("a node that others write to while it registers has its status at once, not with the next heartbeat")
    func contestedRegistration() async throws {
        // Nobody would live to see the next.
        let node = TestNode(heartbeat: .seconds(3600))
        let refused = Mutex(0)
        node.api.refuse { request in
            guard request.type == .nodes, request.verb == .update, request.subresource == "status" else { return nil }
            let count = refused.withLock { count in
                count += 1
                return count
            }
            return count <= 3 ? APIFailure(code: 409, reason: "Conflict", message: "somebody else was faster") : nil
        }
        try await node.withAgent { _ in
            #expect(
                await eventually {
                    let conditions = try? await node.api.get(.nodes, ObjectKey(name: "node-1")).status["conditions"]?
                        .array
                    return conditions?.contains { $0["type"]?.string == "Ready" } ?? false
                })
        }
        #expect(refused.withLock { $0 } == 4)
    }

    @Test("a deleted pod stops behind its barrier, and nothing of it is left")
    func deletion() async throws {
        let node = TestNode()
        let order = Mutex<[String]>([])
        let barrier: TerminationBarrier = { _, _ in
            order.withLock { $0 += node.runtime.journal.filter { $0.hasPrefix("stop") } + ["barrier"] }
        }
        try await node.withAgent(barrier: barrier) { _ in
            let pod = try await node.createPod {
                $0["spec"]?["volumes"] = [["name": "cache", "emptyDir": ["medium": "Memory"]]]
            }
            #expect(await eventually { await node.isReady() })
            let volumes = "\(node.configuration.stateDirectory)/pods/\(pod.uid)/volumes/cache"
            #expect(FileTree.isMountPoint(volumes))
            try await node.api.delete(.pods, pod.key)
            #expect(await eventually { await node.pod() == nil })
            #expect(order.withLock { $0 } == ["barrier"])
            #expect(node.runtime.journal == ["sandbox", "start app-0", "stop app-0", "remove sandbox"])
            #expect(node.network.attachedCount == 0)
            #expect(FileTree.names(in: "\(node.configuration.stateDirectory)/pods") == [])
            #expect(FileTree.names(in: "\(node.configuration.stateDirectory)/logs") == [])
        }
    }

    @Test("the barrier waits for endpoints that still offer the pod")
    func endpointBarrier() async throws {
        let node = TestNode()
        try await node.withAgent(barrier: EndpointWithdrawal.barrier(node.api, propagation: .milliseconds(1))) { _ in
            let pod = try await node.createPod()
            #expect(await eventually { await node.isReady() })
            var slice = KubeObject(
                apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", namespace: "shop", name: "web-1")
            slice.json["endpoints"] = [
                ["addresses": ["127.0.1.1"], "conditions": ["ready": true], "targetRef": ["uid": .string(pod.uid)]]
            ]
            slice = try await node.api.create(.endpointSlices, slice)
            try await node.api.delete(.pods, pod.key)
            #expect(await eventually { await node.pod()?.deletionTimestamp != nil })
            try await Task.sleep(for: .milliseconds(150))
            #expect(!node.runtime.journal.contains("stop app-0"))
            slice.json["endpoints"] = []
            _ = try await node.api.update(.endpointSlices, slice)
            #expect(await eventually { await node.pod() == nil })
        }
    }

    @Test("a restarted agent takes over what runs: nothing is started again, readiness stays, later ends are seen")
    func adoption() async throws {
        let node = TestNode()
        var uid = ""
        try await node.withAgent { _ in
            uid = try await node.createPod {
                let probe: JSON = ["exec": ["command": ["true"]], "periodSeconds": 3600]
                $0["spec"]?["containers"] = [["name": "app", "image": "demo:v1", "readinessProbe": probe]]
            }.uid
            #expect(await eventually { await node.isReady() })
        }
        let before = node.runtime.journal.filter { !$0.hasPrefix("exec") }
        let wasReadySince = await node.pod()?.status["conditions"]
        try await node.withAgent { _ in
            try await node.createPod("other")
            #expect(await eventually { await node.isReady("other") })
            #expect(await node.isReady())
            #expect(await node.pod()?.status["conditions"] == wasReadySince)
            let after = node.runtime.journal.filter { !$0.hasPrefix("exec") }
            #expect(Array(after.prefix(before.count)) == before)
            #expect(after.filter { $0 == "start app-0" }.count == 2)
            node.runtime.finish(uid, "app-0", code: 1)
            #expect(await eventually { node.runtime.isRunning(uid, "app-1") })
            #expect(await eventually { await node.pod()?.status["containerStatuses"]?[0]?["restartCount"] == 1 })
        }
    }

    @Test("a pod deleted while no agent ran is cleared by the next one")
    func orphan() async throws {
        let node = TestNode()
        try await node.withAgent { _ in
            try await node.createPod()
            #expect(await eventually { await node.isReady() })
        }
        try await node.api.delete(
            .pods, ObjectKey(namespace: "shop", name: "web"), DeleteOptions(gracePeriodSeconds: 0))
        try await node.withAgent { _ in
            #expect(await eventually { node.runtime.sandboxCount == 0 && node.network.attachedCount == 0 })
            #expect(await eventually { FileTree.names(in: "\(node.configuration.stateDirectory)/pods").isEmpty })
        }
    }

    @Test("a missing image is told with its name, and the container starts when it is there")
    func missingImage() async throws {
        let node = TestNode()
        try await node.withAgent { _ in
            try await node.createPod {
                $0["spec"]?["containers"] = [["name": "app", "image": "later:v1", "imagePullPolicy": "Never"]]
            }
            #expect(await eventually { await node.waitingReason() == "ErrImageNeverPull" })
            let state = await node.pod()?.status["containerStatuses"]?[0]?["state"]?["waiting"]
            #expect(state?["message"]?.string?.contains("later:v1") == true)
            node.runtime.addImage("later:v1")
            #expect(await eventually { await node.isReady() })
        }
    }

    @Test("a missing configMap holds the container back until it is made")
    func missingConfigMap() async throws {
        let node = TestNode()
        try await node.withAgent { _ in
            try await node.createPod {
                $0["spec"]?["containers"] = [
                    ["name": "app", "image": "demo:v1", "envFrom": [["configMapRef": ["name": "settings"]]]]
                ]
            }
            #expect(await eventually { await node.waitingReason() == "CreateContainerConfigError" })
            var map = KubeObject(apiVersion: "v1", kind: "ConfigMap", namespace: "shop", name: "settings")
            map.json["data"] = ["COLOUR": "blue"]
            _ = try await node.api.create(.configMaps, map)
            #expect(await eventually { await node.isReady() })
            let environment = node.runtime.spec("app")?.environment ?? []
            #expect(environment.contains { $0.name == "COLOUR" && $0.value == "blue" })
        }
    }

    @Test(
        "a job with a sidecar ends: the sidecar is stopped, the pod has succeeded, its network is given back, its log stays"
    )
    func job() async throws {
        let node = TestNode()
        try await node.withAgent { agent in
            let pod = try await node.createPod("job") {
                $0["spec"]?["restartPolicy"] = "Never"
                $0["spec"]?["initContainers"] = [["name": "proxy", "image": "demo:v1", "restartPolicy": "Always"]]
            }
            #expect(await eventually { node.runtime.isRunning(pod.uid, "app-0") })
            let log = try #require(node.runtime.spec("app")?.logPath)
            try SmallFile.write("2026-01-02T03:04:05.000000006Z stdout F done\n", to: log)
            node.runtime.finish(pod.uid, "app-0", code: 0)
            #expect(await eventually { await node.phase("job") == "Succeeded" })
            #expect(await eventually { node.network.attachedCount == 0 && node.runtime.sandboxCount == 0 })
            #expect(
                node.runtime.journal == ["sandbox", "start proxy-0", "start app-0", "stop proxy-0", "remove sandbox"])
            var text: [UInt8] = []
            let finished = try #require(await node.pod("job"))
            for try await bytes in try await agent.logs(pod: finished, container: "app", LogOptions()) { text += bytes }
            #expect(String(decoding: text, as: UTF8.self) == "done\n")
        }
    }

    @Test("the mesh volume gives the pod its socket, before its first container and again after a restart of the agent")
    func meshSocket() async throws {
        let node = TestNode()
        var uid = ""
        try await node.withAgent { _ in
            uid = try await node.createPod {
                $0["metadata"]?["annotations"] = [
                    "weft.dev/intercept": "true", "traffic.sidecar.istio.io/excludeOutboundPorts": "5432, 6379",
                ]
                $0["spec"]?["volumes"] = [["name": "mesh", "csi": ["driver": "mesh.weft.dev"]]]
                $0["spec"]?["containers"] = [
                    [
                        "name": "app", "image": "demo:v1",
                        "volumeMounts": [["name": "mesh", "mountPath": "/var/run/weft/mesh", "readOnly": true]],
                    ]
                ]
            }.uid
            #expect(await eventually { await node.isReady() })
            let directory = "\(node.configuration.runDirectory)/pods/\(uid)/mesh"
            #expect(node.mesh.open[uid] == directory)
            #expect(
                node.runtime.spec("app")?.mounts.contains {
                    $0.source == directory && $0.target == "/var/run/weft/mesh"
                } == true)
            #expect(node.network.interception(uid)?.excludedOutboundPorts == [5432, 6379])
        }
        await node.mesh.close(podUID: uid)
        try await node.withAgent { _ in
            #expect(await eventually { node.mesh.open[uid] != nil })
        }
    }

    @Test("the node registers with its lease, and several nodes answer for their own pods")
    func registration() async throws {
        let node = TestNode()
        try await node.withAgent { agent in
            #expect(await eventually { (try? await node.api.get(.nodes, ObjectKey(name: "node-1"))) != nil })
            #expect(
                await eventually {
                    let object = try? await node.api.get(.nodes, ObjectKey(name: "node-1"))
                    let conditions = object?.status["conditions"]?.array ?? []
                    return conditions.contains { $0["type"]?.string == "Ready" && $0["status"]?.string == "True" }
                })
            let lease = ObjectKey(namespace: "kube-node-lease", name: "node-1")
            #expect(await eventually { (try? await node.api.get(.leases, lease)) != nil })
            let set = NodeGatewaySet(["node-1": agent])
            var stranger = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "shop", name: "far")
            stranger.json["spec"] = ["nodeName": "node-9", "containers": [["name": "app"]]]
            await #expect(throws: APIFailure.self) {
                _ = try await set.logs(pod: stranger, container: "app", LogOptions())
            }
        }
    }

    @Test("a liveness probe that fails ends the container, and the next run follows")
    func liveness() async throws {
        let node = TestNode()
        try await node.withAgent { _ in
            try await node.createPod {
                let probe: JSON = ["exec": ["command": ["false"]], "periodSeconds": 1, "failureThreshold": 1]
                $0["spec"]?["containers"] = [["name": "app", "image": "demo:v1", "livenessProbe": probe]]
            }
            // The journal, not what runs now: the next run is probed, and ended, too.
            #expect(await eventually { node.runtime.journal.contains("start app-1") })
            #expect(node.runtime.journal.contains("stop app-0"))
            #expect(await eventually { await !node.events("Unhealthy").isEmpty })
        }
    }

    @Test("lifecycle hooks run: a container waits for postStart, and preStop comes before the stop")
    func hooks() async throws {
        let node = TestNode()
        try await node.withAgent { _ in
            let pod = try await node.createPod {
                $0["spec"]?["containers"] = [
                    [
                        "name": "app", "image": "demo:v1",
                        "lifecycle": [
                            "postStart": ["exec": ["command": ["true", "begin"]]],
                            "preStop": ["exec": ["command": ["true", "end"]]],
                        ],
                    ]
                ]
            }
            #expect(await eventually { await node.isReady() })
            try await node.api.delete(.pods, pod.key)
            #expect(await eventually { await node.pod() == nil })
            #expect(
                node.runtime.journal == [
                    "sandbox", "start app-0", "exec true begin", "exec true end", "stop app-0", "remove sandbox",
                ])
        }
    }

    @Test("exec carries streams both ways and the exit code")
    func exec() async throws {
        let node = TestNode()
        try await node.withAgent { agent in
            try await node.createPod()
            #expect(await eventually { await node.isReady() })
            let pod = try #require(await node.pod())
            var request = ExecRequest(command: ["sh", "-c", "cat; echo oops >&2; exit 3"])
            request.stdin = true
            let session = try await agent.exec(pod: pod, container: "app", request)
            try await session.write(Array("hello".utf8))
            await session.closeInput()
            var out: [UInt8] = []
            var err: [UInt8] = []
            var code: Int?
            for try await piece in session.output {
                switch piece {
                case .stdout(let bytes): out += bytes
                case .stderr(let bytes): err += bytes
                case .exited(let status): code = status
                }
            }
            #expect(String(decoding: out, as: UTF8.self) == "hello")
            #expect(String(decoding: err, as: UTF8.self) == "oops\n")
            #expect(code == 3)
        }
    }

    @Test("what a manifest asks for in vain is told")
    func unsupported() async throws {
        let node = TestNode()
        try await node.withAgent { _ in
            try await node.createPod {
                $0["spec"]?["runtimeClassName"] = "other"
                $0["spec"]?["containers"] = [
                    ["name": "app", "image": "demo:v1", "ports": [["containerPort": 80, "hostPort": 8080]]]
                ]
            }
            let message = "this node does not support, and ignores: runtimeClassName, containers[app].ports[0].hostPort"
            #expect(await eventually { await node.events("UnsupportedFields") == [message] })
            #expect(await eventually { await node.isReady() })
        }
    }

    @Test("many pods come up together, and go together")
    func many() async throws {
        let node = TestNode()
        try await node.withAgent { _ in
            for number in 0..<50 { try await node.createPod("web-\(number)") }
            #expect(
                await eventually {
                    for number in 0..<50 where await !node.isReady("web-\(number)") { return false }
                    return true
                })
            for number in 0..<50 {
                try await node.api.delete(.pods, ObjectKey(namespace: "shop", name: "web-\(number)"))
            }
            #expect(await eventually { (try? await node.api.list(.pods))?.items.isEmpty == true })
            #expect(node.runtime.sandboxCount == 0 && node.network.attachedCount == 0)
        }
    }

    @Test(
        "a pod that is well is left alone: labels, refused statuses and a silent API make nobody look again and again")
    func quiet() async throws {
        let node = TestNode()
        try await node.withAgent { _ in
            let pod = try await node.createPod()
            #expect(await eventually { await node.isReady() })
            node.api.refuse { request in
                request.verb == .update && request.type == .pods ? .internalError("the disk is full") : nil
            }
            let label: JSON = ["metadata": ["labels": ["colour": "blue"]]]
            _ = try await node.api.patch(.pods, pod.key, .merge, label, subresource: nil)
            node.runtime.finish(pod.uid, "app-0", code: 1)
            #expect(await eventually { node.runtime.isRunning(pod.uid, "app-1") })
            let before = node.runtime.looks
            try await Task.sleep(for: .milliseconds(400))
            #expect(node.runtime.looks - before < 20)
            node.api.refuse(nil)
            #expect(await eventually { await node.pod()?.status["containerStatuses"]?[0]?["restartCount"] == 1 })
            let calm = node.runtime.looks
            try await Task.sleep(for: .milliseconds(400))
            #expect(node.runtime.looks - calm < 20)
        }
    }
}
