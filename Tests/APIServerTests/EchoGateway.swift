import KubeClient
import KubeTypes
import Synchronization

/// Nodes whose containers say who they are, and whose commands give back what they are told.
struct EchoGateway: NodeGateway {
    func logs(pod: KubeObject, container: String, _ options: LogOptions) async throws(APIFailure)
        -> AsyncThrowingStream<[UInt8], any Error>
    {
        let lines = (1...5).map { "line \($0) of \(pod.name)/\(container)\n" }.suffix(options.tailLines ?? 5)
        return AsyncThrowingStream { stream in
            for line in lines { stream.yield(Array(line.utf8)) }
            stream.finish()
        }
    }

    func exec(pod: KubeObject, container: String, _ request: ExecRequest) async throws(APIFailure) -> any ExecSession {
        EchoSession(request)
    }
}

/// `exit N` ends with N; `cat` gives back its input until that ends; anything else is printed.
private final class EchoSession: ExecSession {
    let output: AsyncThrowingStream<ExecOutput, any Error>
    private let sink: AsyncThrowingStream<ExecOutput, any Error>.Continuation

    init(_ request: ExecRequest) {
        (output, sink) = AsyncThrowingStream.makeStream()
        switch request.command.first {
        case "exit":
            sink.yield(.stderr(Array("failing\n".utf8)))
            sink.yield(.exited(Int(request.command.last ?? "") ?? 1))
            sink.finish()
        case "cat": break
        default:
            sink.yield(.stdout(Array((request.command.joined(separator: " ") + "\n").utf8)))
            sink.yield(.exited(0))
            sink.finish()
        }
    }

    func write(_ bytes: [UInt8]) async throws { sink.yield(.stdout(bytes)) }
    func closeInput() async {
        sink.yield(.exited(0))
        sink.finish()
    }
    func resize(width: Int, height: Int) async {}
    func cancel() async { sink.finish() }
}
