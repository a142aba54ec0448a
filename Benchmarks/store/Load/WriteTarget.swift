import ArgumentParser
import NIOCore
import Store
import Transport
import Wire

/// Something values are put into.
protocol WriteTarget: Sendable {
    func put(_ key: String, _ value: [UInt8]) async throws
    func close() async
}

struct EmbeddedTarget: WriteTarget {
    private let store: EmbeddedStore

    init(_ directory: String) throws { store = try EmbeddedStore(directory: directory) }

    func put(_ key: String, _ value: [UInt8]) async throws {
        if store.get(key) == nil {
            _ = try await store.create(key, value)
        } else {
            _ = try await store.update(key, value, .present)
        }
    }

    func close() async { store.close() }
}

/// etcd's plain Put over gRPC, without our store around it. Writers share a few connections.
struct EtcdTarget: WriteTarget {
    private let connections: [GRPCConnection]

    init(_ endpoint: String) async throws {
        let parts = endpoint.split(separator: ":")
        guard parts.count == 2, let port = Int(parts[1]) else { throw ValidationError("--etcd HOST:PORT") }
        var connections: [GRPCConnection] = []
        for _ in 0..<4 {
            connections.append(
                try await GRPCConnection.open(.init(host: String(parts[0]), port: port), tls: nil))
        }
        self.connections = connections
    }

    func put(_ key: String, _ value: [UInt8]) async throws {
        var request = ProtobufWriter()
        request.string(1, key)
        request.bytes(2, value)
        let connection = connections[Int(key.utf8.last ?? 0) % connections.count]
        _ = try await connection.ask("/etcdserverpb.KV/Put", request.bytes, within: .seconds(30))
    }

    func close() async { for connection in connections { connection.close() } }
}
