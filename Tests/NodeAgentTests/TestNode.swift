import ContainerRuntime
import Glibc
import Kernel
import KubeClient
import KubeTypes
import NodeAgent
import Wire

/// A node over memory, with directories of its own; its agent can be ended and started again.
final class TestNode: Sendable {
    let api = MemoryAPI()
    let runtime = MemoryRuntime()
    let network = MemoryNetwork()
    let mesh = MemoryMesh()
    let directory: String
    let configuration: NodeConfiguration

    /// - Parameter heartbeat: `nil` is the usual one.
    init(heartbeat: Duration? = nil) {
        var template = Array("/tmp/weft-node-XXXXXX".utf8CString)
        directory = mkdtemp(&template).map { String(cString: $0) } ?? "/tmp/weft-node"
        var configuration = NodeConfiguration(
            name: "node-1", podRange: "10.244.1.0/24", nodeAddress: "127.0.0.1", stateDirectory: directory + "/state",
            runDirectory: directory + "/run")
        configuration.volumeRefresh = .milliseconds(50)
        if let heartbeat { configuration.heartbeat = heartbeat }
        self.configuration = configuration
    }

    deinit { try? FileTree.remove(directory) }

    /// Runs an agent while `body` runs.
    func withAgent(barrier: TerminationBarrier? = nil, _ body: (NodeAgent) async throws -> Void) async throws {
        let agent = NodeAgent(
            configuration: configuration, api: api, runtime: runtime, network: network, meshSockets: mesh,
            barrier: barrier)
        let running = Task { try await agent.run() }
        do {
            try await body(agent)
        } catch {
            running.cancel()
            _ = await running.result
            throw error
        }
        running.cancel()
        _ = await running.result
    }

    /// - Parameter change: adds what the test is about to a pod with one container, `app`.
    @discardableResult
    func createPod(_ name: String = "web", _ change: (inout JSON) -> Void = { _ in }) async throws -> KubeObject {
        var json: JSON = [
            "apiVersion": "v1", "kind": "Pod", "metadata": ["name": .string(name), "namespace": "shop"],
            "spec": ["nodeName": "node-1", "containers": [["name": "app", "image": "demo:v1"]]],
        ]
        change(&json)
        return try await api.create(.pods, KubeObject(json))
    }

    func pod(_ name: String = "web") async -> KubeObject? {
        try? await api.get(.pods, ObjectKey(namespace: "shop", name: name))
    }

    func isReady(_ name: String = "web") async -> Bool {
        let conditions = await pod(name)?.status["conditions"]?.array ?? []
        return conditions.contains { $0["type"]?.string == "Ready" && $0["status"]?.string == "True" }
    }

    func phase(_ name: String = "web") async -> String? { await pod(name)?.status["phase"]?.string }

    func waitingReason(_ name: String = "web") async -> String? {
        await pod(name)?.status["containerStatuses"]?[0]?["state"]?["waiting"]?["reason"]?.string
    }

    func events(_ reason: String) async -> [String] {
        let all = (try? await api.list(.events))?.items ?? []
        return all.filter { $0.json["reason"]?.string == reason }.compactMap { $0.json["message"]?.string }
    }
}
