import Glibc
import Kernel
import Testing

/// A TCP connection to a loopback port, written and read as it is.
///
/// `@unchecked Sendable`: a test does one thing at a time with it. What blocks runs on a thread of its own, since the server
/// under test needs those of the tasks.
final class RawClient: @unchecked Sendable {
    private let descriptor: CInt

    init(port: Int) throws {
        descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(connected == 0)
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close() }
    private var isClosed = false
    func close() {
        if !isClosed { Glibc.close(descriptor) }
        isClosed = true
    }

    func send(_ text: String) async { await send(Array(text.utf8)) }
    func send(_ bytes: [UInt8]) async { await onThread { self.sendNow(bytes) } }

    private func sendNow(_ bytes: [UInt8]) {
        var done = 0
        while done < bytes.count {
            let count = bytes[done...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
            }
            if count <= 0 { return }
            done += count
        }
    }

    /// Reads until the text is there, or until the end.
    func read(until mark: String?) async -> String {
        let bytes = await readBytes { bytes in
            guard let mark else { return false }
            return String(decoding: bytes, as: UTF8.self).contains(mark)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    func readBytes(until isEnough: @escaping @Sendable ([UInt8]) -> Bool) async -> [UInt8] {
        await onThread { self.readNow(isEnough) }
    }

    private func readNow(_ isEnough: ([UInt8]) -> Bool) -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while !isEnough(bytes) {
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count <= 0 { break }
            bytes += chunk[..<count]
        }
        return bytes
    }
}
