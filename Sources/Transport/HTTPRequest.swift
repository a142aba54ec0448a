package import NIOCore
package import NIOHTTP1
package import TLS

/// A request as it arrived, its body still to be read.
package struct HTTPRequest: Sendable {
    package let method: HTTPMethod
    /// Path and query, as sent.
    package let target: String
    package let headers: HTTPHeaders
    package let body: HTTPBody
    /// The client's certificate, already verified against the server's client roots.
    package let certificate: Certificate?
    package let remoteAddress: SocketAddress?

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
    package typealias Element = ByteBuffer

    private let source: @Sendable () async throws -> ByteBuffer?

    package init(_ source: @escaping @Sendable () async throws -> ByteBuffer?) { self.source = source }

    package static let empty = HTTPBody { nil }

    package struct AsyncIterator: AsyncIteratorProtocol {
        let body: HTTPBody
        package mutating func next() async throws -> ByteBuffer? { try await body.source() }
    }

    package func makeAsyncIterator() -> AsyncIterator { AsyncIterator(body: self) }

    /// The whole body.
    ///
    /// - Throws: `BodyTooLarge` once more than `limit` bytes came.
    package func collect(limit: Int) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        for try await chunk in self {
            guard bytes.count + chunk.readableBytes <= limit else { throw BodyTooLarge(limit: limit) }
            bytes.append(contentsOf: chunk.readableBytesView)
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
