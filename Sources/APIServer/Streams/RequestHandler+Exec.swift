import KubeClient
import KubeTypes
import Logging
import NIOHTTP1
import Transport
import Wire

extension RequestHandler {
    /// A command in a container, its streams over one WebSocket.
    func exec(
        _ request: APIRequest, _ route: ResourceRoute, _ definition: ResourceDefinition, _ responder: HTTPResponder
    ) async throws(APIFailure) {
        try requireCreate(request)
        let target = try PodContainer(registry, definition, route.key, asked: request.query["container"])
        let (pod, container) = (target.pod, target.name)
        var wanted = ExecRequest(command: request.query.all("command"))
        wanted.stdin = request.query.flag("stdin")
        wanted.stdout = request.query.flag("stdout")
        wanted.stderr = request.query.flag("stderr")
        wanted.tty = request.query.flag("tty")
        guard !wanted.command.isEmpty else {
            throw .badRequest("you must specify at least one command for the container")
        }
        guard wanted.stdin || wanted.stdout || wanted.stderr else {
            throw .badRequest("you must specify at least 1 of stdin, stdout, stderr")
        }
        var options = request.streamOptions("PodExecOptions", container)
        options.json["command"] = .array(wanted.command.map(JSON.string))
        try await registry.admitConnection(.pods, "exec", route.key, options, request.user)
        let nodes = try gateway
        try await stream(request, pod, responder) { () async throws(APIFailure) -> any ExecSession in
            try await nodes.exec(pod: pod, container: container, wanted)
        }
    }

    /// The streams of a container's own process, over one WebSocket.
    func attach(
        _ request: APIRequest, _ route: ResourceRoute, _ definition: ResourceDefinition, _ responder: HTTPResponder
    ) async throws(APIFailure) {
        try requireCreate(request)
        let target = try PodContainer(registry, definition, route.key, asked: request.query["container"])
        let (pod, container) = (target.pod, target.name)
        var wanted = AttachStreams()
        wanted.stdin = request.query.flag("stdin")
        wanted.stdout = request.query.flag("stdout")
        wanted.stderr = request.query.flag("stderr")
        wanted.tty = request.query.flag("tty")
        guard wanted.stdin || wanted.stdout || wanted.stderr else {
            throw .badRequest("you must specify at least 1 of stdin, stdout, stderr")
        }
        let options = request.streamOptions("PodAttachOptions", container)
        try await registry.admitConnection(.pods, "attach", route.key, options, request.user)
        let nodes = try gateway
        try await stream(request, pod, responder) { () async throws(APIFailure) -> any ExecSession in
            try await nodes.attach(pod: pod, container: container, wanted)
        }
    }

    /// A WebSocket begins with a GET, for which a role that only reads is enough; whoever gets into a pod by it must also be
    /// allowed to `create`, as with a POST (KEP-4006).
    func requireCreate(_ request: APIRequest) throws(APIFailure) {
        var attempt = request.attempt
        if attempt.verb == "create" { return }
        attempt.verb = "create"
        try access.authorizer.check(attempt)
    }

    private func stream(
        _ request: APIRequest, _ pod: KubeObject, _ responder: HTTPResponder,
        _ begin: () async throws(APIFailure) -> any ExecSession
    ) async throws(APIFailure) {
        let offered = request.http.webSocketProtocols
        guard request.http.wantsWebSocket, let chosen = ExecChannels.protocols.first(where: offered.contains) else {
            throw .badRequest(
                "this needs a WebSocket with one of the subprotocols \(ExecChannels.protocols.joined(separator: ", "))")
        }
        let session: any ExecSession
        do throws(APIFailure) { session = try await begin() } catch {
            // A refused upgrade would make kubectl try SPDY and show that refusal instead of this one.
            guard let socket = try? await responder.upgrade(subprotocol: chosen) else { throw error }
            try? await socket.send([ExecChannels.errorChannel] + error.status.bytes)
            await socket.close()
            return
        }
        do {
            let socket = try await responder.upgrade(subprotocol: chosen)
            await ExecChannels(socket: socket, session: session, knowsHalfClose: chosen == "v5.channel.k8s.io").run()
        } catch {
            await session.cancel()
            logger.debug("exec ended", metadata: ["pod": "\(pod.key)", "reason": "\(error)"])
        }
    }
}

extension APIRequest {
    /// The parameters of a stream as admission sees them.
    fileprivate func streamOptions(_ kind: String, _ container: String) -> KubeObject {
        var options = KubeObject(["kind": .string(kind), "apiVersion": "v1", "container": .string(container)])
        for name in ["stdin", "stdout", "stderr", "tty"] { options.json[name] = .bool(query.flag(name)) }
        return options
    }
}

/// Kubernetes' stream multiplexing: each message begins with the number of its channel.
struct ExecChannels {
    /// Best first.
    static let protocols = ["v5.channel.k8s.io", "v4.channel.k8s.io"]

    private enum Channel: UInt8 { case stdin = 0, stdout = 1, stderr = 2, error = 3, resize = 4, close = 255 }

    static let errorChannel = Channel.error.rawValue

    let socket: WebSocket
    let session: any ExecSession
    /// Version 5 can say that stdin has ended: `255 0`.
    let knowsHalfClose: Bool

    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.readClient() }
            await writeOutput()
            await socket.close()
            group.cancelAll()
        }
        await session.cancel()
    }

    private func writeOutput() async {
        do {
            for try await output in session.output {
                switch output {
                case .stdout(let bytes): try await send(.stdout, bytes)
                case .stderr(let bytes): try await send(.stderr, bytes)
                case .exited(let code):
                    try await send(.error, Self.status(exitCode: code).bytes)
                    return
                }
            }
            let failure = APIFailure.internalError("the command's end is not known: the node's agent went away")
            try await send(.error, failure.status.bytes)
        } catch {
            let failure = error as? APIFailure ?? .internalError("\(error)")
            try? await send(.error, failure.status.bytes)
        }
    }

    private func send(_ channel: Channel, _ bytes: [UInt8]) async throws {
        try await socket.send([channel.rawValue] + bytes)
    }

    private func readClient() async {
        do {
            while let message = try await socket.receive() {
                let bytes: [UInt8] =
                    switch message {
                    case .binary(let bytes): bytes
                    case .text(let text): Array(text.utf8)
                    }
                guard let first = bytes.first, let channel = Channel(rawValue: first) else { continue }
                let rest = Array(bytes.dropFirst())
                switch channel {
                case .stdin where !rest.isEmpty: try await session.write(rest)
                case .resize:
                    guard let size = try? JSON(parsing: rest) else { continue }
                    await session.resize(width: size["Width"]?.int ?? 0, height: size["Height"]?.int ?? 0)
                case .close where knowsHalfClose && rest.first == Channel.stdin.rawValue: await session.closeInput()
                default: break
                }
            }
        } catch {
            // Falls through: whoever does not read or write any more has gone.
        }
        if !Task.isCancelled { await session.cancel() }
    }

    static func status(exitCode: Int) -> JSON {
        if exitCode == 0 { return ["metadata": [:], "status": "Success"] }
        return [
            "metadata": [:], "status": "Failure", "reason": "NonZeroExitCode",
            "message": .string("command terminated with non-zero exit code: exit status \(exitCode)"),
            "details": ["causes": [["reason": "ExitCode", "message": .string(String(exitCode))]]],
        ]
    }
}
