import NIOCore
package import NIOHTTP1
import NIOWebSocket
import Synchronization

/// The way back to the client: a head, any number of chunks, an end. Or a WebSocket instead.
package final class HTTPResponder: Sendable {
    let exchange: Exchange
    private let request: HTTPRequest
    private let sent = Atomic(0)
    private let bodyBytes = Atomic(0)
    private let more = Mutex<HTTPHeaders?>(nil)
    private let beginning = Mutex<(@Sendable (Int) -> Void)?>(nil)

    init(_ exchange: Exchange, _ request: HTTPRequest) {
        self.exchange = exchange
        self.request = request
    }

    /// Headers to send with the answer, whoever makes it.
    package func add(_ headers: HTTPHeaders) {
        more.withLock { more in
            if more == nil { more = headers } else { more?.add(contentsOf: headers) }
        }
    }

    private func withMore(_ headers: HTTPHeaders) -> HTTPHeaders {
        guard let more = more.withLock({ $0 }) else { return headers }
        var headers = headers
        headers.add(contentsOf: more)
        return headers
    }

    /// Called with the status once, when an answer begins that may last: a stream or a WebSocket.
    package func onStart(_ body: @escaping @Sendable (Int) -> Void) { beginning.withLock { $0 = body } }

    private func tellStart(_ status: Int) {
        sent.store(status, ordering: .relaxed)
        let body = beginning.withLock { beginning in
            defer { beginning = nil }
            return beginning
        }
        body?(status)
    }

    /// The status sent, 0 while none is.
    package var status: Int { sent.load(ordering: .relaxed) }

    /// How many bytes of the answer's body were sent, without those of a stream that is pushed.
    package var sentBytes: Int { bodyBytes.load(ordering: .relaxed) }

    /// A whole response.
    package func respond(_ status: HTTPResponseStatus, _ headers: HTTPHeaders = [:], _ body: [UInt8] = []) async {
        let code = Int(status.code)
        var headers = withMore(headers)
        if status != .notModified, !headers.contains(name: "content-length") {
            headers.add(name: "content-length", value: String(body.count))
        }
        let head = AnswerHead(status: status, headers: headers)
        let exchange = exchange
        let isSent = await exchange.onLoop { exchange.respond(head, body) }
        guard isSent else { return }
        sent.store(code, ordering: .relaxed)
        if !exchange.isHeadRequest { bodyBytes.store(body.count, ordering: .relaxed) }
    }

    /// Answers in the handler's place, and cancels it. Nothing happens when an answer has begun.
    package func giveUp(_ status: HTTPResponseStatus, _ headers: HTTPHeaders, _ body: [UInt8]) async {
        let before = self.status
        await respond(status, headers, body)
        guard before == 0, self.status == Int(status.code) else { return }
        let exchange = exchange
        await exchange.onLoop { exchange.task?.cancel() }
    }

    /// Starts a response whose length is not known.
    package func start(_ status: HTTPResponseStatus, _ headers: HTTPHeaders = [:]) async throws {
        let exchange = exchange
        let head = AnswerHead(status: status, headers: withMore(headers))
        try await exchange.onLoop { try exchange.start(head) }
        tellStart(Int(status.code))
    }

    /// Waits while the client reads more slowly than we write.
    package func write(_ bytes: [UInt8]) async throws {
        if bytes.isEmpty { return }
        try await exchange.write(bytes)
        if !exchange.isHeadRequest { bodyBytes.add(bytes.count, ordering: .relaxed) }
    }

    package func end() async throws {
        let exchange = exchange
        try await exchange.onLoop { try exchange.end() }
    }

    /// Answers 101 with these headers; from there on the connection is bytes both ways. It ends with the handler.
    package func upgradeToBytes(_ headers: HTTPHeaders) async throws -> UpgradedBytes {
        let head = AnswerHead(status: .switchingProtocols, headers: withMore(headers))
        let exchange = exchange
        let connection = try await exchange.onLoop { try exchange.upgradeToBytes(head) }
        tellStart(101)
        return UpgradedBytes(connection: connection)
    }

    /// Answers `wantsWebSocket`. The connection ends with the handler.
    package func upgrade(subprotocol: String?) async throws -> WebSocket {
        guard request.wantsWebSocket, let key = request.headers.first(name: "sec-websocket-key") else {
            throw WebSocketFault(message: "the request does not ask for a WebSocket")
        }
        var headers: HTTPHeaders = [
            "upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": WebSocketHandshake.accept(key),
        ]
        if let subprotocol { headers.add(name: "sec-websocket-protocol", value: subprotocol) }
        let head = AnswerHead(status: .switchingProtocols, headers: headers)
        let exchange = exchange
        let frames = try await exchange.onLoop { try exchange.upgrade(head, maxFrameSize: 1 << 20) }
        tellStart(101)
        return WebSocket(
            isClient: false, subprotocol: subprotocol, incoming: .init { try await frames.next() },
            outgoing: { try await frames.send($0) }, shut: { frames.shut() })
    }
}

/// A client's connection that has left HTTP. One task reads; any may write.
package struct UpgradedBytes: Sendable {
    let connection: UpgradedConnection<ByteBuffer>

    /// `nil` when the client sends no more.
    package func read() async throws -> [UInt8]? {
        try await connection.next().map { Array($0.readableBytesView) }
    }

    package func write(_ bytes: [UInt8]) async throws {
        if !bytes.isEmpty { try await connection.send(ByteBuffer(bytes: bytes)) }
    }

    package func close() async { await connection.finish(ByteBuffer()) }
}
