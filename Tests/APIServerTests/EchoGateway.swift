import KubeClient
import KubeTypes
import Synchronization

@testable import Transport

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

    func attach(pod: KubeObject, container: String, _ streams: AttachStreams) async throws(APIFailure)
        -> any ExecSession
    {
        EchoSession(ExecRequest(command: ["attached", "to", container]))
    }

    func usage(ofNode name: String) async throws(APIFailure) -> NodeUsage {
        let app = NodeUsage.Amount(nanocores: 250_000_000, workingSetBytes: 64 << 20)
        let pod = NodeUsage.Pod(
            key: ObjectKey(namespace: "default", name: "solo"), whole: app, containers: [("app", app)])
        return NodeUsage(time: .now(), window: .seconds(15), pods: [pod])
    }

    func answer(ofNode name: String, _ request: NodeRequest) async throws(APIFailure) -> NodeAnswer {
        if request.path == "/absent" { return NodeAnswer(status: 404, "404 page not found\n") }
        return NodeAnswer("\(name) was asked for \(request.path)\n")
    }

    func connect(pod: KubeObject, port: Int) async throws(APIFailure) -> any PodConnection {
        if port == 9999 { throw .internalError("nothing listens on port \(port)") }
        return EchoConnection()
    }
}

/// Gives back what it is sent; a request in HTTP is answered with its first line and its body, one for a WebSocket with a socket that
/// gives back each of its messages.
private final class EchoConnection: PodConnection {
    private let sink: AsyncStream<[UInt8]>.Continuation
    private let answers: AsyncStream<[UInt8]>
    /// What came of frames that are not whole; `nil` before there is a WebSocket.
    private let frames = Mutex<[UInt8]?>(nil)

    init() {
        (answers, sink) = AsyncStream.makeStream()
    }

    func read() async throws -> [UInt8]? {
        for await bytes in answers { return bytes }
        return nil
    }

    func write(_ bytes: [UInt8]) async throws {
        if frames.withLock({ $0 != nil }) { return echo(bytes) }
        let text = String(decoding: bytes, as: UTF8.self)
        guard text.contains(" HTTP/1.1\r\n") else {
            sink.yield(bytes)
            return
        }
        let lines = text.split(whereSeparator: \.isNewline)
        let line = lines.first ?? ""
        if let field = lines.first(where: { $0.lowercased().hasPrefix("sec-websocket-key: ") }) {
            let accept = WebSocketHandshake.accept(String(field.dropFirst(19)))
            frames.withLock { $0 = [] }
            let head = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            sink.yield(Array("\(head)sec-websocket-accept: \(accept)\r\nx-asked: \(line)\r\n\r\n".utf8))
            return
        }
        let body = "\(line)\n"
        if line.hasPrefix("HEAD ") {
            sink.yield(Array("HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n".utf8))
            return sink.finish()
        }
        let chunks = "\(String(body.utf8.count, radix: 16))\r\n\(body)\r\n0\r\n\r\n"
        sink.yield(Array("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-from: pod\r\n".utf8))
        sink.yield(Array("\r\n\(chunks)".utf8))
        sink.finish()
    }

    /// Gives whole frames back without their mask (RFC 6455 §5.2); after the one that closes, nothing.
    private func echo(_ bytes: [UInt8]) {
        frames.withLock { kept in
            var pending = (kept ?? []) + bytes
            while pending.count >= 6, pending[1] & 0x80 != 0 {
                let short = Int(pending[1] & 0x7F)
                let extra = short == 126 ? 2 : short == 127 ? 8 : 0
                guard pending.count >= 6 + extra else { break }
                let length = extra == 0 ? short : pending[2..<2 + extra].reduce(0) { $0 << 8 | Int($1) }
                let start = 6 + extra
                guard pending.count >= start + length else { break }
                let mask = pending[start - 4..<start].map { $0 }
                let body = pending[start..<start + length].enumerated().map { $1 ^ mask[$0 & 3] }
                let isClose = pending[0] & 0x0F == 8
                sink.yield([pending[0], pending[1] & 0x7F] + pending[2..<2 + extra] + body)
                pending.removeFirst(start + length)
                if isClose { sink.finish() }
            }
            kept = pending
        }
    }

    func finishWriting() async { sink.finish() }
    func close() async { sink.finish() }
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
