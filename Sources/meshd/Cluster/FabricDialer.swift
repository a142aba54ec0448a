import APIServer
import Glibc
import Kernel

/// Reaches pods for the API server: from inside the fabric, which has a route to each.
struct FabricDialer: ClusterDialer {
    /// Path of the fabric's network namespace.
    let namespace: String

    struct Failed: Error, CustomStringConvertible { let description: String }

    func connect(address: String, port: Int, within limit: Duration) async throws -> CInt {
        guard let target = IPv4Address(address), let port = UInt16(exactly: port) else {
            throw Failed(description: "dial tcp \(address):\(port): it is no address of the cluster's network")
        }
        let namespace = namespace
        return try await onThread { Result { try Self.connect(target, port, namespace, limit) } }.get()
    }

    private static func connect(
        _ address: IPv4Address, _ port: UInt16, _ namespace: String, _ limit: Duration
    ) throws -> CInt {
        let name = "\(address):\(port)"
        let socket = try NamespaceSocket.connect(to: address, port: port, inNamespace: namespace)
        let deadline = ContinuousClock.now + limit
        var entry = pollfd(fd: socket.number, events: Int16(POLLOUT), revents: 0)
        while true {
            let (seconds, attoseconds) = (deadline - ContinuousClock.now).components
            let left = seconds * 1000 + attoseconds / 1_000_000_000_000_000
            guard left > 0 else { throw Failed(description: "dial tcp \(name): i/o timeout") }
            let code = poll(&entry, 1, CInt(clamping: left))
            if code > 0 { break }
            if code < 0, errno != EINTR { throw SystemCallFailed("poll", code: errno, on: name) }
        }
        var code: CInt = 0
        var size = socklen_t(MemoryLayout<CInt>.size)
        getsockopt(socket.number, SOL_SOCKET, SO_ERROR, &code, &size)
        if code != 0 { throw Failed(description: "dial tcp \(name): connect: \(String(cString: strerror(code)))") }
        return socket.release()
    }
}
