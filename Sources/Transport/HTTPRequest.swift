package import NIOCore
package import NIOHTTP1
import Synchronization
package import TLS

/// What the requests of one connection have in common.
package final class ConnectionInfo: Sendable {
    /// The client's certificate, already verified against the server's client roots.
    package let certificate: Certificate?
    package let remoteAddress: SocketAddress?

    package init(certificate: Certificate? = nil, remoteAddress: SocketAddress? = nil) {
        self.certificate = certificate
        self.remoteAddress = remoteAddress
    }
}

/// A request as it arrived, its body perhaps still to be read.
package struct HTTPRequest: Sendable {
    package let method: HTTPMethod
    /// Path and query, as sent.
    package let target: String
    package let headers: HTTPHeaders
    package let body: HTTPBody
    package let connection: ConnectionInfo

    package init(
        method: HTTPMethod, target: String, headers: HTTPHeaders, body: HTTPBody, connection: ConnectionInfo
    ) {
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.connection = connection
    }

    package var certificate: Certificate? { connection.certificate }
    package var remoteAddress: SocketAddress? { connection.remoteAddress }

    /// Whether the client wants this connection to become a WebSocket (RFC 6455 §4.2.1).
    package var wantsWebSocket: Bool {
        method == .GET && headers[canonicalForm: "upgrade"].contains { $0.lowercased() == "websocket" }
            && headers.first(name: "sec-websocket-key") != nil
    }

    /// The subprotocols a WebSocket client offers, in its order.
    package var webSocketProtocols: [String] { headers[canonicalForm: "sec-websocket-protocol"].map(String.init) }
}

/// The bytes of a body as they come. Read by one task; what is not read holds the sender back.
package final class HTTPBody: AsyncSequence, Sendable {
    package typealias Element = [UInt8]

    private enum Source: Sendable {
        case whole([UInt8])
        case coming(Exchange)
    }
    private let source: Source
    private let isTaken = Atomic(false)

    /// A body that is here already.
    package init(_ bytes: [UInt8]) { source = .whole(bytes) }
    init(_ exchange: Exchange) { source = .coming(exchange) }

    package static let empty = HTTPBody([])

    package struct AsyncIterator: AsyncIteratorProtocol {
        let body: HTTPBody
        package mutating func next() async throws -> [UInt8]? { try await body.next() }
    }

    package func makeAsyncIterator() -> AsyncIterator { AsyncIterator(body: self) }

    private func next() async throws -> [UInt8]? {
        switch source {
        case .coming(let exchange): return try await exchange.bodyChunk()
        case .whole(let bytes):
            let wasTaken = isTaken.exchange(true, ordering: .relaxed)
            return wasTaken || bytes.isEmpty ? nil : bytes
        }
    }

    /// The whole body.
    ///
    /// - Throws: `BodyTooLarge` once more than `limit` bytes came.
    package func collect(limit: Int) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        while let chunk = try await next() {
            guard bytes.count + chunk.count <= limit else { throw BodyTooLarge(limit: limit) }
            if bytes.isEmpty { bytes = chunk } else { bytes.append(contentsOf: chunk) }
        }
        return bytes
    }
}

package struct BodyTooLarge: Error, CustomStringConvertible {
    package let limit: Int
    package var description: String { "the body is larger than the limit of \(limit) bytes" }
}

package struct BodyTooSlow: Error, CustomStringConvertible {
    package let limit: TimeAmount
    package var description: String { "the body did not come within \(limit.nanoseconds / 1_000_000_000) s" }
}
