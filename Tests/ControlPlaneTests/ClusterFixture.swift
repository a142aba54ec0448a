import APIServer
import Controllers
import Glibc
import KubeClient
import KubeTypes
import Scheduler
import Testing
import Wire

/// A node as the control plane sees one: it runs the pods bound to it at once, and ends those being deleted.
struct FakeNode: Sendable {
    let name: String
    let api: InProcessAPI

    func register() async throws {
        var node = KubeObject(apiVersion: "v1", kind: "Node", name: name)
        node.labels["kubernetes.io/hostname"] = name
        let key = node.key
        do throws(APIFailure) {
            _ = try await api.create(.nodes, node)
        } catch {
            guard error.alreadyExists else { throw error }
        }
        var ready = try await api.get(.nodes, key)
        ready.resourceVersion = ""  // the node's controller may have written meanwhile
        ready.status = [
            "allocatable": ["cpu": "4", "memory": "8Gi", "pods": "110"],
            "conditions": [["type": "Ready", "status": "True", "reason": "KubeletReady"]],
        ]
        _ = try await api.updateStatus(.nodes, ready)
    }

    func run() async {
        let pods = Informer(api, .pods, selection: Selection(fields: "spec.nodeName=\(name)"))
        await withDiscardingTaskGroup { group in
            group.addTask { await pods.run() }
            for await change in pods.changes() where !change.isRemoval { await step(change.object) }
            group.cancelAll()
        }
    }

    private func step(_ pod: KubeObject) async {
        if pod.deletionTimestamp != nil {
            try? await api.delete(.pods, pod.key, DeleteOptions(gracePeriodSeconds: 0, uid: pod.uid))
            return
        }
        guard pod[Pod.phase] == "Pending" else { return }
        var running = pod
        running[Pod.phase] = "Running"
        running[Pod.podIP] = "10.244.1.\(Int(pod.resourceVersion).map { $0 % 250 + 2 } ?? 2)"
        running[Pod.conditions] =
            (pod[Pod.conditions] ?? []) + [
                ["type": "Ready", "status": "True", "lastTransitionTime": Timestamp.now().json]
            ]
        _ = try? await api.updateStatus(.pods, running)
    }
}

/// A state directory that is gone after `body`.
func withStateDirectory(_ body: (String) async throws -> Void) async throws {
    var template = Array("/tmp/weft-control-XXXXXX".utf8CString)
    try #require(mkdtemp(&template) != nil)
    let directory = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    defer { removeTree(directory) }
    try await body(directory)
}

func withControlPlane(_ body: (InProcessAPI) async throws -> Void) async throws {
    try await withStateDirectory { try await withControlPlane(in: $0, body) }
}

/// Runs an API server with its store, all controllers, the scheduler and two nodes while `body` runs, then ends them where they are.
func withControlPlane(in directory: String, _ body: (InProcessAPI) async throws -> Void) async throws {
    let server = try await APIServer.start(APIServerConfiguration(stateDirectory: directory, listeners: []))
    let user = server.api(as: .administrator)
    let api = server.api(as: .component("controllers"))
    let informers = InformerSet(api)
    let set = ControllerSet(
        ControlPlane(api: api, informers: informers), .init(rootCertificate: "PEM", catalog: .builtIn))
    let scheduler = Scheduler(api: server.api(as: .component("scheduler")), informers: informers)
    let result: Result<Void, any Error> = await withTaskGroup(of: Void.self) { group in
        group.addTask { await informers.run() }
        group.addTask { await set.run() }
        group.addTask { await scheduler.run() }
        let outcome: Result<Void, any Error>
        do {
            for name in ["node-1", "node-2"] {
                let node = FakeNode(name: name, api: server.api(as: .node(name)))
                try await node.register()
                group.addTask { await node.run() }
            }
            outcome = .success(try await body(user))
        } catch {
            outcome = .failure(error)
        }
        group.cancelAll()
        return outcome
    }
    await server.stop()
    try result.get()
}

private func removeTree(_ path: String) {
    guard let directory = opendir(path) else {
        unlink(path)
        return
    }
    while let entry = readdir(directory) {
        let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if name != ".", name != ".." { removeTree("\(path)/\(name)") }
    }
    closedir(directory)
    rmdir(path)
}
