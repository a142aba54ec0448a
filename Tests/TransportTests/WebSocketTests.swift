import NIOHTTP1
import Testing
import Transport

@Suite("WebSocket")
struct WebSocketTests {
    /// A masked frame of at most 65535 bytes (RFC 6455 §5.2).
    private func frame(_ opcode: UInt8, _ payload: [UInt8], fin: Bool = true) -> [UInt8] {
        let mask: [UInt8] = [1, 2, 3, 4]
        var bytes: [UInt8] = [(fin ? 0x80 : 0) | opcode]
        if payload.count < 126 {
            bytes.append(0x80 | UInt8(payload.count))
        } else {
            bytes += [0x80 | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
        }
        return bytes + mask + payload.enumerated().map { $1 ^ mask[$0 % 4] }
    }

    @Test("a handshake, messages whole and in pieces, a ping, a goodbye")
    func echo() async throws {
        let server = HTTPServer(HTTPServer.Configuration()) { request, responder in
            guard request.wantsWebSocket else {
                await responder.respond(.badRequest)
                return
            }
            do {
                let socket = try await responder.upgrade(subprotocol: request.webSocketProtocols.first)
                while let message = try await socket.receive() {
                    switch message {
                    case .binary(let bytes): try await socket.send(bytes)
                    case .text(let text): try await socket.send(text: text)
                    }
                }
            } catch {}
        }
        let port = try await server.listen(host: "127.0.0.1", port: 0)
        let client = try RawClient(port: port)
        // The key and its answer are those of RFC 6455 §1.3. The first frame comes with the request, before the answer.
        await client.send(
            Array(
                ("GET /chat HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
                    + "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\nsec-websocket-protocol: one, two\r\n\r\n")
                    .utf8)
                + frame(2, Array("early".utf8)))
        let head = await client.read(until: "early")
        #expect(head.hasPrefix("HTTP/1.1 101"))
        #expect(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
        #expect(head.lowercased().contains("sec-websocket-protocol: one\r\n"))
        await client.send(
            frame(2, Array("in ".utf8), fin: false) + frame(9, Array("p".utf8)) + frame(0, Array("pieces".utf8)))
        let answer = await client.readBytes { $0.count >= 3 + 2 + 9 }
        #expect(answer == [0x8A, 1, UInt8(ascii: "p")] + [0x82, 9] + Array("in pieces".utf8))
        await client.send(frame(8, [0x03, 0xE8]))
        #expect(await client.readBytes { _ in false } == [0x88, 2, 0x03, 0xE8])
        await server.stop()
    }
}
