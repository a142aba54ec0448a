import Glibc
import Kernel
import KubeClient
import ServiceNetwork

/// A TCP connection made inside a pod's network, past the rules that lead to its sidecar.
final class PodSocket: PodConnection {
    private let socket: OwnedDescriptor

    /// - Parameter namespace: `nil` for the machine's own network.
    init(to address: IPv4Address, port: UInt16, in namespace: String?) async throws(SystemCallFailed) {
        let opened = await onThread { () -> Result<CInt, SystemCallFailed> in
            do throws(SystemCallFailed) {
                let socket = try NamespaceSocket.connect(
                    to: address, port: port, inNamespace: namespace, mark: Interception.probeMark)
                return .success(socket.release())
            } catch {
                return .failure(error)
            }
        }
        socket = OwnedDescriptor(taking: try opened.get())
        let ready = await DescriptorWatch.shared.ready([socket.number], .write, within: .seconds(10))
        var code: CInt = ready.isEmpty ? ETIMEDOUT : 0
        var size = socklen_t(MemoryLayout<CInt>.size)
        if code == 0 { getsockopt(socket.number, SOL_SOCKET, SO_ERROR, &code, &size) }
        if code != 0 { throw SystemCallFailed("connect", code: code, on: "\(address):\(port)") }
    }

    func read() async throws -> [UInt8]? {
        var space = [UInt8](repeating: 0, count: 32768)
        while true {
            try Task.checkCancellation()
            let count = space.withUnsafeMutableBytes { recv(socket.number, $0.baseAddress, $0.count, 0) }
            let code = errno
            if count > 0 { return Array(space[..<count]) }
            if count == 0 { return nil }
            if code == EAGAIN {
                _ = await DescriptorWatch.shared.ready([socket.number], .read)
            } else if code != EINTR {
                throw SystemCallFailed("recv", code: code, on: "a pod's port")
            }
        }
    }

    func write(_ bytes: [UInt8]) async throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            try Task.checkCancellation()
            let count = rest.withUnsafeBytes { send(socket.number, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }
            let code = errno
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if code == EAGAIN {
                _ = await DescriptorWatch.shared.ready([socket.number], .write, within: .seconds(60))
            } else if code != EINTR {
                throw SystemCallFailed("send", code: code, on: "a pod's port")
            }
        }
    }

    func finishWriting() async { _ = shutdown(socket.number, CInt(SHUT_WR)) }

    /// Both ends of it: who waits in `read` sees the end. The descriptor goes with the last reference.
    func close() async { _ = shutdown(socket.number, CInt(SHUT_RDWR)) }
}
