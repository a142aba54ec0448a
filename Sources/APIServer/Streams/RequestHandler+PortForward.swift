import KubeClient
import KubeTypes
import Logging
import NIOHTTP1
import Transport
import Wire

extension RequestHandler {
    /// Connections to ports of a pod, over one WebSocket: in a SPDY session, or as channels by number.
    func portForward(
        _ request: APIRequest, _ route: ResourceRoute, _ definition: ResourceDefinition, _ responder: HTTPResponder
    ) async throws(APIFailure) {
        try requireCreate(request)
        let pod = try registry.get(definition, route.key)
        try PodContainer.requireNode(pod)
        guard pod.status["phase"]?.string == "Running" else {
            throw .badRequest(
                "unable to forward port because pod is not running. Current status=\(pod.status["phase"]?.string ?? "Unknown")"
            )
        }
        let offered = request.http.webSocketProtocols
        let known = [PortForwarding.tunnelProtocol] + PortChannels.protocols
        guard request.http.wantsWebSocket, let chosen = known.first(where: offered.contains) else {
            throw .badRequest(
                "portforward needs a WebSocket with one of the subprotocols \(known.joined(separator: ", "))")
        }
        var options = KubeObject(["kind": "PodPortForwardOptions", "apiVersion": "v1"])
        let asked = request.query.all("ports").flatMap { $0.split(separator: ",") }.compactMap { Int64($0) }
        if !asked.isEmpty { options.json["ports"] = .array(asked.map(JSON.int)) }
        try await registry.admitConnection(.pods, "portforward", route.key, options, request.user)
        let nodes = try gateway
        let dial: PortForwarding.Dial = { port throws(APIFailure) in try await nodes.connect(pod: pod, port: port) }
        var ports: [Int] = []
        if chosen != PortForwarding.tunnelProtocol { ports = try PortChannels.ports(request.query.all("ports")) }
        do {
            let socket = try await responder.upgrade(subprotocol: chosen)
            if chosen == PortForwarding.tunnelProtocol {
                let forwarding = PortForwarding(dial)
                try await SPDYSession(WebSocketTunnel(socket)).run { await forwarding.serve($0) }
            } else {
                await PortChannels(socket: socket, ports: ports, dial: dial).run()
            }
        } catch {
            logger.debug("port forwarding ended", metadata: ["pod": "\(pod.key)", "reason": "\(error)"])
        }
    }
}

/// The forwarded connections of one client: a stream for errors and one for data for each.
actor PortForwarding {
    typealias Dial = @Sendable (Int) async throws(APIFailure) -> any PodConnection

    /// `portforward.k8s.io` in SPDY/3.1 in a WebSocket (KEP-4006).
    static let tunnelProtocol = "SPDY/3.1+portforward.k8s.io"

    private let dial: Dial
    /// Streams whose other half has not come, by request.
    private var halves: [String: SPDYStream] = [:]

    init(_ dial: @escaping Dial) { self.dial = dial }

    func serve(_ stream: SPDYStream) async {
        let request = stream.headers["requestid"] ?? stream.headers["port"] ?? ""
        let kind = stream.headers["streamtype"] ?? ""
        guard kind == "error" || kind == "data", let port = stream.headers["port"].flatMap(UInt16.init), port > 0 else {
            await stream.refuse()
            return
        }
        do { try await stream.accept() } catch { return }
        guard let other = halves.removeValue(forKey: request) else {
            halves[request] = stream
            return
        }
        guard other.headers["streamtype"] != kind, other.headers["port"] == stream.headers["port"] else {
            await other.refuse()
            await stream.refuse()
            return
        }
        let (errors, data) = kind == "error" ? (stream, other) : (other, stream)
        await Self.forward(Int(port), data, errors, dial)
    }

    private static func forward(_ port: Int, _ data: SPDYStream, _ errors: SPDYStream, _ dial: Dial) async {
        do throws(APIFailure) {
            let connection = try await dial(port)
            await relay(data, connection)
        } catch {
            try? await errors.send(Array(error.message.utf8))
        }
        await data.finish()
        await errors.finish()
        await data.close()
        await errors.close()
    }

    /// Ends when the pod sends no more, or the client has gone.
    private static func relay(_ data: SPDYStream, _ connection: any PodConnection) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                while let bytes = await data.receive() {
                    do { try await connection.write(bytes) } catch { break }
                }
                if data.wasReset { await connection.close() } else { await connection.finishWriting() }
            }
            do {
                while let bytes = try await connection.read() { try await data.send(bytes) }
            } catch {
                // The pod's end or the client's is gone: either way the connection is over.
            }
            group.cancelAll()
            await connection.close()
        }
    }
}
