import Glibc
import Kernel

/// Reads one HTTP document from an address in a node's network: a proxy's metrics.
struct ProxyScrape: Sendable {
    let namespace: String  // path of the node's network namespace
    let address: IPv4Address
    let port: UInt16
    let path: String
    var timeout: Duration = .seconds(2)
    var limit = 8 << 20  // bytes; a proxy that says more is not one of ours

    struct Failed: Error, CustomStringConvertible { let description: String }
    /// The proxy's own words for what is wrong with the question.
    struct Refused: Error, CustomStringConvertible { let description: String }

    func body() async throws -> [UInt8] {
        try await onThread { Result { try read() } }.get()
    }

    private func read() throws -> [UInt8] {
        let socket = try NamespaceSocket.connect(to: address, port: port, inNamespace: namespace)
        let deadline = ContinuousClock.now + timeout
        try wait(socket, Int16(POLLOUT), deadline)
        let request = Array("GET \(path) HTTP/1.1\r\nhost: \(address):\(port)\r\nconnection: close\r\n\r\n".utf8)
        let sent = request.withUnsafeBytes { send(socket.number, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }
        guard sent == request.count else { throw SystemCallFailed("send", code: errno, on: "\(address):\(port)") }
        var received: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while received.count < limit {
            switch try chunk.withUnsafeMutableBytes({ try socket.read(into: $0) }) {
            case .bytes(let count): received += chunk[..<count]
            case .wouldBlock: try wait(socket, Int16(POLLIN), deadline)
            case .endOfStream: return try bodyOf(received)
            }
        }
        throw Failed(description: "\(address):\(port)\(path) answered more than \(limit) bytes")
    }

    private func wait(_ socket: borrowing OwnedDescriptor, _ events: Int16, _ deadline: ContinuousClock.Instant) throws
    {
        var entry = pollfd(fd: socket.number, events: events, revents: 0)
        while true {
            let left = deadline - ContinuousClock.now
            let milliseconds = left.components.seconds * 1000 + left.components.attoseconds / 1_000_000_000_000_000
            guard milliseconds > 0 else { throw Failed(description: "\(address):\(port) did not answer in \(timeout)") }
            let code = poll(&entry, 1, CInt(clamping: milliseconds))
            if code > 0 { return }
            if code < 0, errno != EINTR { throw SystemCallFailed("poll", code: errno, on: "\(address):\(port)") }
        }
    }

    /// The body of a response read to the end of the connection, whether chunked or not. A pod may answer anything.
    func bodyOf(_ response: [UInt8]) throws -> [UInt8] {
        let blank = Array("\r\n\r\n".utf8)
        let end = response.indices.prefix(16_384).first { response[$0...].starts(with: blank) } ?? response.count
        let head = String(decoding: response[..<end], as: UTF8.self)
        let body = Array(response[end...].dropFirst(blank.count))
        guard end < response.count, head.hasPrefix("HTTP/1.1 200") else {
            let line = String(head.prefix { $0 != "\r\n" }.prefix(60))
            if line.hasPrefix("HTTP/1.1 400") {
                throw Refused(description: String(decoding: body.prefix(300), as: UTF8.self))
            }
            throw Failed(description: "\(address):\(port)\(path) answered \(line)")
        }
        return head.lowercased().contains("transfer-encoding: chunked") ? try unchunked(body) : body
    }

    private func unchunked(_ bytes: [UInt8]) throws -> [UInt8] {
        var body: [UInt8] = []
        var place = 0
        while place < bytes.count, let lineEnd = bytes[place...].firstIndex(of: 0x0A) {
            let line = String(decoding: bytes[place..<lineEnd], as: UTF8.self)
            let from = lineEnd + 1
            guard let size = Int(line.prefix { $0.isHexDigit }, radix: 16), size <= bytes.count - from else { break }
            if size == 0 { return body }
            body += bytes[from..<(from + size)]
            place = from + size + 2
        }
        throw Failed(description: "\(address):\(port)\(path) sent a broken chunked body")
    }
}
