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

    /// The body of a response read to the end of the connection, whether chunked or not.
    private func bodyOf(_ response: [UInt8]) throws -> [UInt8] {
        let text = String(decoding: response.prefix(16_384), as: UTF8.self)
        guard let end = text.range(ofBlankLine: ()), text.hasPrefix("HTTP/1.1 200") else {
            throw Failed(description: "\(address):\(port)\(path) answered \(text.prefix(60))")
        }
        let body = Array(response[end...])
        return text.prefix(end).lowercased().contains("transfer-encoding: chunked") ? try unchunked(body) : body
    }

    private func unchunked(_ bytes: [UInt8]) throws -> [UInt8] {
        var body: [UInt8] = []
        var place = 0
        while let lineEnd = bytes[place...].firstIndex(of: 0x0A) {
            let line = String(decoding: bytes[place..<lineEnd], as: UTF8.self)
            guard let size = Int(line.prefix { $0.isHexDigit }, radix: 16), lineEnd + 1 + size <= bytes.count else {
                break
            }
            if size == 0 { return body }
            body += bytes[(lineEnd + 1)..<(lineEnd + 1 + size)]
            place = lineEnd + 1 + size + 2
            if place >= bytes.count { break }
        }
        throw Failed(description: "\(address):\(port)\(path) sent a broken chunked body")
    }
}

extension String {
    /// Where the text after the first CRLF CRLF begins, in bytes.
    fileprivate func range(ofBlankLine: Void) -> Int? {
        let bytes = Array(utf8)
        guard bytes.count >= 4 else { return nil }
        for index in 0...(bytes.count - 4) where bytes[index..<(index + 4)].elementsEqual([13, 10, 13, 10]) {
            return index + 4
        }
        return nil
    }

    fileprivate func prefix(_ bytes: Int) -> Substring { self[..<utf8.index(startIndex, offsetBy: bytes)] }
}
