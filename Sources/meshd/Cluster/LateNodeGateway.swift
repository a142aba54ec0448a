import KubeClient
import KubeTypes
import Synchronization

/// The nodes of this process, for an API server that starts before they do.
final class LateNodeGateway: NodeGateway {
    private let known = Mutex<(any NodeGateway)?>(nil)

    var nodes: (any NodeGateway)? {
        get { known.withLock { $0 } }
        set { known.withLock { $0 = newValue } }
    }

    func logs(
        pod: KubeObject, container: String, _ options: LogOptions
    ) async throws(APIFailure) -> AsyncThrowingStream<[UInt8], any Error> {
        try await ready().logs(pod: pod, container: container, options)
    }

    func exec(pod: KubeObject, container: String, _ request: ExecRequest) async throws(APIFailure) -> any ExecSession {
        try await ready().exec(pod: pod, container: container, request)
    }

    func attach(pod: KubeObject, container: String, _ streams: AttachStreams) async throws(APIFailure)
        -> any ExecSession
    {
        try await ready().attach(pod: pod, container: container, streams)
    }

    func connect(pod: KubeObject, port: Int) async throws(APIFailure) -> any PodConnection {
        try await ready().connect(pod: pod, port: port)
    }

    func usage(ofNode name: String) async throws(APIFailure) -> NodeUsage {
        try await ready().usage(ofNode: name)
    }

    func answer(ofNode name: String, _ request: NodeRequest) async throws(APIFailure) -> NodeAnswer {
        try await ready().answer(ofNode: name, request)
    }

    private func ready() throws(APIFailure) -> any NodeGateway {
        guard let nodes else {
            throw APIFailure(
                code: 503, reason: "ServiceUnavailable", message: "the node agents are starting; try again in a moment")
        }
        return nodes
    }
}
