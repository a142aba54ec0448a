import KubeClient
import KubeTypes
import Transport

/// Port forwarding as channels of a WebSocket: the n-th port has channel 2n for data and 2n + 1 for errors, and each channel begins
/// with the port's number, little-endian.
struct PortChannels: Sendable {
    static let protocols = ["v4.channel.k8s.io", "portforward.k8s.io"]
    /// Channels have one byte.
    private static let mostPorts = 100

    let socket: WebSocket
    let ports: [Int]
    let dial: PortForwarding.Dial

    /// - Parameter texts: `8080,9090` or one each.
    static func ports(_ texts: [String]) throws(APIFailure) -> [Int] {
        var ports: [Int] = []
        for text in texts.flatMap({ $0.split(separator: ",") }) {
            guard let port = Int(text), (1...65535).contains(port) else {
                throw .badRequest("query parameter ports: \"\(text)\" is not a port from 1 to 65535")
            }
            ports.append(port)
        }
        guard !ports.isEmpty, ports.count <= mostPorts else {
            throw .badRequest(
                "query parameter ports: from 1 to \(mostPorts) ports are needed, \(ports.count) are given")
        }
        return ports
    }

    func run() async {
        var connections: [any PodConnection] = []
        for (place, port) in ports.enumerated() {
            for channel in [2 * place, 2 * place + 1] {
                try? await socket.send([UInt8(channel), UInt8(port & 255), UInt8(port >> 8)])
            }
        }
        do {
            for (place, port) in ports.enumerated() {
                do throws(APIFailure) { connections.append(try await dial(port)) } catch {
                    try await socket.send([UInt8(2 * place + 1)] + Array(error.message.utf8))
                    throw error
                }
            }
            try await relay(connections)
        } catch {
            // Said on the error channel, or the client has gone.
        }
        for connection in connections { await connection.close() }
        await socket.close()
    }

    private func relay(_ connections: [any PodConnection]) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (place, connection) in connections.enumerated() {
                group.addTask {
                    while let bytes = try await connection.read() { try await socket.send([UInt8(2 * place)] + bytes) }
                }
            }
            group.addTask {
                while let message = try await socket.receive() {
                    guard case .binary(let bytes) = message, let channel = bytes.first, channel % 2 == 0,
                        Int(channel / 2) < connections.count, bytes.count > 1
                    else { continue }
                    try await connections[Int(channel / 2)].write(Array(bytes.dropFirst()))
                }
                throw CancellationError()
            }
            // All ports have ended, or the client left.
            for _ in connections { try await group.next() }
            group.cancelAll()
        }
    }
}
