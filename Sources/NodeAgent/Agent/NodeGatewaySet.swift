package import KubeClient
package import KubeTypes
import Wire

/// The nodes of this process, asked by the node a pod is on.
package struct NodeGatewaySet: NodeGateway {
    private let nodes: [String: any NodeGateway]

    /// - Parameter nodes: by name.
    package init(_ nodes: [String: any NodeGateway]) { self.nodes = nodes }

    package func logs(
        pod: KubeObject, container: String, _ options: LogOptions
    ) async throws(APIFailure) -> AsyncThrowingStream<[UInt8], any Error> {
        try await node(of: pod).logs(pod: pod, container: container, options)
    }

    package func exec(pod: KubeObject, container: String, _ request: ExecRequest) async throws(APIFailure)
        -> any ExecSession
    {
        try await node(of: pod).exec(pod: pod, container: container, request)
    }

    package func attach(pod: KubeObject, container: String, _ streams: AttachStreams) async throws(APIFailure)
        -> any ExecSession
    {
        try await node(of: pod).attach(pod: pod, container: container, streams)
    }

    package func connect(pod: KubeObject, port: Int) async throws(APIFailure) -> any PodConnection {
        try await node(of: pod).connect(pod: pod, port: port)
    }

    package func usage(ofNode name: String) async throws(APIFailure) -> NodeUsage {
        try await node(named: name).usage(ofNode: name)
    }

    package func answer(ofNode name: String, _ request: NodeRequest) async throws(APIFailure) -> NodeAnswer {
        try await node(named: name).answer(ofNode: name, request)
    }

    private func node(named name: String) throws(APIFailure) -> any NodeGateway {
        if let node = nodes[name] { return node }
        throw .internalError("node \"\(name)\" is not reached from this server: is its agent running?")
    }

    private func node(of pod: KubeObject) throws(APIFailure) -> any NodeGateway {
        let name = pod.spec["nodeName"]?.string ?? ""
        if name.isEmpty { throw .badRequest("pod \(pod.name) does not have a host assigned") }
        guard let node = nodes[name] else {
            throw .internalError(
                "node \"\(name)\", which pod \(pod.key) is on, is not reached from this server: is its agent running?")
        }
        return node
    }
}
