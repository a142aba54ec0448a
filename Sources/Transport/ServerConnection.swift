import NIOCore
package import NIOHTTP1
import NIOWebSocket
import Synchronization
import TLS

/// One client's connection: its requests, one after the other.
struct ServerConnection {
    typealias Stream = NIOAsyncChannel<Inbound<HTTPServerRequestPart>, Outbound<HTTPServerResponsePart>>

    let stream: Stream
    let certificate: Certificate?
    let idleLimit: TimeAmount
    let bodyLimit: TimeAmount
    let handler: HTTPHandler

    func serve() async throws {
        try await stream.executeThenClose { inbound, outbound in
            let reader = RequestReader(inbound.makeAsyncIterator(), stream.channel, bodyLimit)
            while let head = try await nextHead(reader) {
                let body = HTTPBody { try await reader.bodyChunk() }
                let request = HTTPRequest(
                    method: head.method, target: head.uri, headers: head.headers, body: body, certificate: certificate,
                    remoteAddress: stream.channel.remoteAddress)
                let responder = HTTPResponder(outbound, stream.channel, reader, request, keepAlive: head.isKeepAlive)
                if head.headers.contains(name: "expect") { try await responder.invite() }
                await handler(request, responder)
                // A connection whose response is not whole, or whose request was not read, is of no more use.
                guard responder.isReusable, try await reader.drain(limit: 1 << 20) else { return }
            }
        }
    }

    private func nextHead(_ reader: RequestReader) async throws -> HTTPRequestHead? {
        let channel = stream.channel
        let timer = channel.eventLoop.scheduleTask(in: idleLimit) { channel.close(promise: nil) }
        defer { timer.cancel() }
        do {
            return try await reader.head()
        } catch let error as HTTPParserError {
            let (status, why) = Self.refusal(error)
            // In the form of Kubernetes' `Status`, which its clients show in their own words.
            let text = ByteBuffer(
                string: #"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":""# + why
                    + #"","reason":"BadRequest","code":"# + "\(status.code)}\n")
            let head = HTTPResponseHead(
                version: .http1_1, status: status,
                headers: [
                    "content-type": "application/json", "connection": "close",
                    "content-length": "\(text.readableBytes)",
                ])
            try? await channel.writeAndFlush(Outbound<HTTPServerResponsePart>.http(.head(head))).get()
            try? await channel.writeAndFlush(Outbound<HTTPServerResponsePart>.http(.body(.byteBuffer(text)))).get()
            try? await channel.writeAndFlush(Outbound<HTTPServerResponsePart>.http(.end(nil))).get()
            return nil
        }
    }
}

extension ServerConnection {
    /// What the parser could not make out, in words without quotes.
    private static func refusal(_ error: HTTPParserError) -> (status: HTTPResponseStatus, message: String) {
        switch error {
        case .headerOverflow:
            (.requestHeaderFieldsTooLarge, "the request has too many headers, or one that is too large")
        case .invalidMethod: (.badRequest, "the request's method is not one of HTTP")
        case .invalidVersion: (.badRequest, "the request is not HTTP/1.1")
        case .invalidContentLength, .unexpectedContentLength:
            (.badRequest, "the request's Content-Length is no number, or contradicts Transfer-Encoding")
        case .invalidChunkSize: (.badRequest, "a chunk of the request's body has no valid size")
        case .invalidHeaderToken: (.badRequest, "a header of the request has a character that may not stand there")
        default: (.badRequest, "the request is not HTTP/1.1: it cannot be parsed")
        }
    }
}

/// The inbound side of a connection.
///
/// `@unchecked Sendable`: one task reads at a time: the connection's own, or the handler it waits for.
final class RequestReader: @unchecked Sendable {
    private var iterator: NIOAsyncChannelInboundStream<Inbound<HTTPServerRequestPart>>.AsyncIterator
    private var isInBody = false
    private let channel: any Channel
    private let bodyLimit: TimeAmount
    private var bodyTimer: Scheduled<Void>?

    init(
        _ iterator: NIOAsyncChannelInboundStream<Inbound<HTTPServerRequestPart>>.AsyncIterator, _ channel: any Channel,
        _ bodyLimit: TimeAmount
    ) {
        self.iterator = iterator
        self.channel = channel
        self.bodyLimit = bodyLimit
    }

    deinit { bodyTimer?.cancel() }

    func head() async throws -> HTTPRequestHead? {
        while let part = try await iterator.next() {
            guard case .http(.head(let head)) = part else { continue }
            isInBody = true
            return head
        }
        return nil
    }

    func bodyChunk() async throws -> ByteBuffer? {
        guard isInBody else { return nil }
        // From the first read on: a handler that streams its answer may leave the body's end unread for hours.
        if bodyTimer == nil {
            let (channel, bodyLimit) = (channel, bodyLimit)
            bodyTimer = channel.eventLoop.scheduleTask(in: bodyLimit) {
                channel.pipeline.fireErrorCaught(BodyTooSlow(limit: bodyLimit))
            }
        }
        do {
            switch try await iterator.next() {
            case .http(.body(let chunk)): return chunk
            case nil: throw ChannelError.inputClosed
            default: endBody()
            }
        } catch {
            endBody()
            throw error
        }
        return nil
    }

    private func endBody() {
        isInBody = false
        bodyTimer?.cancel()
        bodyTimer = nil
    }

    /// Reads what is left of a body; `false` when that is more than it is worth.
    func drain(limit: Int) async throws -> Bool {
        var count = 0
        while let chunk = try await bodyChunk() {
            count += chunk.readableBytes
            if count > limit { return false }
        }
        return true
    }

    func frame() async throws -> WebSocketFrame? {
        while let part = try await iterator.next() {
            if case .frame(let frame) = part { return frame }
        }
        return nil
    }
}

/// The way back to the client: a head, any number of chunks, an end. Or a WebSocket instead.
package final class HTTPResponder: Sendable {
    private enum Phase { case waiting, streaming, ended, upgraded }
    private struct State {
        var phase = Phase.waiting
        var keepAlive: Bool
        var status = 0
    }

    private let outbound: NIOAsyncChannelOutboundWriter<Outbound<HTTPServerResponsePart>>
    private let channel: any Channel
    private let reader: RequestReader
    private let request: HTTPRequest
    private let state: Mutex<State>

    init(
        _ outbound: NIOAsyncChannelOutboundWriter<Outbound<HTTPServerResponsePart>>, _ channel: any Channel,
        _ reader: RequestReader, _ request: HTTPRequest, keepAlive: Bool
    ) {
        self.outbound = outbound
        self.channel = channel
        self.reader = reader
        self.request = request
        // After an Upgrade header the parser stops; such a connection carries nothing further.
        state = Mutex(State(keepAlive: keepAlive && !request.headers.contains(name: "upgrade")))
    }

    /// The status sent, 0 while none is.
    package var status: Int { state.withLock(\.status) }

    var isReusable: Bool { state.withLock { $0.phase == .ended && $0.keepAlive } }

    /// Tells a client that waits with its body to send it.
    func invite() async throws {
        try await outbound.write(.http(.head(HTTPResponseHead(version: .http1_1, status: .continue))))
    }

    /// A whole response.
    package func respond(_ status: HTTPResponseStatus, _ headers: HTTPHeaders = [:], _ body: [UInt8] = []) async {
        var headers = headers
        if status != .notModified { headers.replaceOrAdd(name: "content-length", value: "\(body.count)") }
        do {
            let head = try begin(status, headers)
            var parts: [Outbound<HTTPServerResponsePart>] = [.http(.head(head))]
            if !body.isEmpty, request.method != .HEAD {
                parts.append(.http(.body(.byteBuffer(ByteBuffer(bytes: body)))))
            }
            parts.append(.http(.end(nil)))
            try await outbound.write(contentsOf: parts)
            state.withLock { $0.phase = .ended }
        } catch {
            channel.close(promise: nil)
        }
    }

    /// Starts a response whose length is not known; chunked.
    package func start(_ status: HTTPResponseStatus, _ headers: HTTPHeaders = [:]) async throws {
        try await outbound.write(.http(.head(try begin(status, headers))))
    }

    private func begin(_ status: HTTPResponseStatus, _ headers: HTTPHeaders) throws -> HTTPResponseHead {
        let keepAlive = try state.withLock { state throws -> Bool in
            guard state.phase == .waiting else { throw ChannelError.operationUnsupported }
            state.phase = .streaming
            state.status = Int(status.code)
            return state.keepAlive
        }
        var headers = headers
        if !keepAlive { headers.replaceOrAdd(name: "connection", value: "close") }
        return HTTPResponseHead(version: .http1_1, status: status, headers: headers)
    }

    /// Waits while the client reads more slowly than we write.
    package func write(_ bytes: [UInt8]) async throws {
        if bytes.isEmpty { return }
        try await outbound.write(.http(.body(.byteBuffer(ByteBuffer(bytes: bytes)))))
    }

    package func end() async throws {
        try await outbound.write(.http(.end(nil)))
        state.withLock { $0.phase = .ended }
    }

    /// Answers `wantsWebSocket`. The connection ends with the handler.
    package func upgrade(subprotocol: String?) async throws -> WebSocket {
        guard request.wantsWebSocket, let key = request.headers.first(name: "sec-websocket-key") else {
            throw WebSocketFault(message: "the request does not ask for a WebSocket")
        }
        _ = try await reader.drain(limit: 0)
        var headers: HTTPHeaders = [
            "upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": WebSocketHandshake.accept(key),
        ]
        if let subprotocol { headers.add(name: "sec-websocket-protocol", value: subprotocol) }
        let isWaiting = state.withLock { state -> Bool in
            defer {
                state.phase = .upgraded
                state.status = 101
            }
            return state.phase == .waiting
        }
        guard isWaiting else { throw ChannelError.operationUnsupported }
        let head = HTTPResponseHead(version: .http1_1, status: .switchingProtocols, headers: headers)
        try await outbound.write(.http(.head(head)))
        try await channel.becomeWebSocket(maxFrameSize: 1 << 20)
        let (outbound, reader, channel) = (outbound, reader, channel)
        return WebSocket(
            isClient: false, subprotocol: subprotocol, incoming: .init { try await reader.frame() },
            outgoing: { try await outbound.write(.frame($0)) }, shut: { channel.close(promise: nil) })
    }
}
