import COpenSSL
import NIOCore
import NIOWebSocket
import Wire

/// A WebSocket, either end of it. One task reads; any may write.
package final class WebSocket: Sendable {
    package enum Message: Sendable, Hashable {
        case binary([UInt8])
        case text(String)
    }

    private let incoming: FrameSource
    private let outgoing: @Sendable (WebSocketFrame) async throws -> Void
    private let shut: @Sendable () -> Void
    private let isClient: Bool
    private let allocator = ByteBufferAllocator()
    /// The subprotocol both ends agreed on.
    package let subprotocol: String?
    /// Messages longer than this end the connection.
    private static let messageLimit = 4 << 20

    /// Pulls frames off the connection. `nil` at its end.
    struct FrameSource: Sendable {
        let next: @Sendable () async throws -> WebSocketFrame?
    }

    init(
        isClient: Bool, subprotocol: String?, incoming: FrameSource,
        outgoing: @escaping @Sendable (WebSocketFrame) async throws -> Void, shut: @escaping @Sendable () -> Void
    ) {
        self.isClient = isClient
        self.subprotocol = subprotocol
        self.incoming = incoming
        self.outgoing = outgoing
        self.shut = shut
    }

    /// The next whole message; `nil` when the peer closed the socket. Answers pings meanwhile.
    package func receive() async throws -> Message? {
        var whole: [UInt8] = []
        var kind: WebSocketOpcode?
        while let frame = try await incoming.next() {
            let bytes = Array(buffer: frame.unmaskedData)
            switch frame.opcode {
            case .ping: try await send(.pong, bytes)
            case .pong: break
            case .connectionClose:
                try? await send(.connectionClose, Array(bytes.prefix(2)))
                shut()
                return nil
            case .binary, .text, .continuation:
                if frame.opcode != .continuation { kind = frame.opcode }
                guard let kind, whole.count + bytes.count <= Self.messageLimit else {
                    await close(code: 1009)
                    throw WebSocketFault(
                        message: "a WebSocket message is longer than \(Self.messageLimit) bytes, or has no start")
                }
                whole += bytes
                guard frame.fin else { continue }
                return kind == .text ? .text(String(decoding: whole, as: UTF8.self)) : .binary(whole)
            default: break
            }
        }
        return nil
    }

    package func send(_ bytes: [UInt8]) async throws { try await send(.binary, bytes) }
    package func send(text: String) async throws { try await send(.text, Array(text.utf8)) }

    private func send(_ opcode: WebSocketOpcode, _ bytes: [UInt8]) async throws {
        let mask = isClient ? WebSocketMaskingKey.random() : nil
        try await outgoing(
            WebSocketFrame(fin: true, opcode: opcode, maskKey: mask, data: allocator.buffer(bytes: bytes)))
    }

    /// Says goodbye and closes. RFC 6455 §7.4.1 lists the codes; 1000 is a normal end.
    package func close(code: UInt16 = 1000) async {
        try? await send(.connectionClose, [UInt8(code >> 8), UInt8(code & 0xFF)])
        shut()
    }
}

package struct WebSocketFault: Error, CustomStringConvertible {
    let message: String
    package var description: String { message }
}

/// What a WebSocket handshake says of itself (RFC 6455 §4).
enum WebSocketHandshake {
    private static let mark = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

    /// The accept value that answers a key.
    static func accept(_ key: String) -> String {
        Base64.encode(sha1(Array((key + mark).utf8)))
    }

    static func newKey() -> String { Base64.encode((0..<16).map { _ in UInt8.random(in: 0...255) }) }
}

private func sha1(_ message: [UInt8]) -> [UInt8] {
    var digest = [UInt8](repeating: 0, count: 20)
    var count: CUnsignedInt = 20
    _ = EVP_Digest(message, message.count, &digest, &count, EVP_sha1(), nil)
    return digest
}
