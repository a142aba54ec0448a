import NIOCore
import NIOHTTP1
import NIOWebSocket

/// What the connections of one server have in common.
struct ConnectionSettings: Sendable {
    let idleLimit: TimeAmount
    let bodyLimit: TimeAmount
    let handler: HTTPHandler
}

/// Said to every connection when the server stops: finish what is in work, take nothing new.
struct DrainRequest: Sendable {}

/// One client's HTTP/1.1 connection: its requests, one after the other.
final class HTTP1Connection: ChannelDuplexHandler, RemovableChannelHandler, AnswerWire, PushTarget {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = Never
    typealias OutboundOut = ByteBuffer

    /// Of a body nobody has asked for yet; the sender is held back beyond it.
    private static let mostWaiting = 1 << 20
    /// Of a body its handler did not want, before the connection is of no more use.
    private static let mostDiscarded = 1 << 20

    private let settings: ConnectionSettings
    private let info: ConnectionInfo
    private let executor: LoopExecutor
    private let loop: any EventLoop
    private let channel: any Channel
    private var context: ChannelHandlerContext?
    private var current: Exchange?
    private var head: HTTPRequestHead?
    private var isRunning = false
    private var isHandlerDone = false
    private var keepsAlive = true
    private var isDraining = false
    /// The answer's length was not said.
    private var isChunked = false
    /// Requests a client sent without waiting for the answers before.
    private var queued = CircularBuffer<HTTPServerRequestPart>()
    private var holdsRead = false
    private var lastUse = NIODeadline.now()
    private var idleTimer: Scheduled<Void>?
    private var discardTimer: Scheduled<Void>?

    init(_ settings: ConnectionSettings, _ info: ConnectionInfo, _ channel: any Channel) {
        self.settings = settings
        self.info = info
        loop = channel.eventLoop
        self.channel = channel
        executor = LoopExecutor.of(channel.eventLoop)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        watchIdleness(settings.idleLimit)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        idleTimer?.cancel()
        discardTimer?.cancel()
        // A connection that became a WebSocket goes on with its exchange.
        if current?.phase != .upgraded { current?.leave() }
        current = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        current?.leave()
        context.fireChannelInactive()
    }

    // MARK: Reading

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        if queued.isEmpty, isForCurrent(part) { take(part) } else { queued.append(part) }
    }

    /// A head waits for the answer before; body and end belong to the last head.
    private func isForCurrent(_ part: HTTPServerRequestPart) -> Bool {
        if case .head = part { return current == nil }
        return true
    }

    private func take(_ part: HTTPServerRequestPart) {
        switch part {
        case .head(let head):
            let exchange = Exchange(
                self, loop: loop, number: 0, isHeadRequest: head.method == .HEAD, bodyLimit: settings.bodyLimit)
            current = exchange
            self.head = head
            isRunning = false
            isHandlerDone = false
            // After an Upgrade header the parser stops; such a connection carries nothing further.
            keepsAlive = head.isKeepAlive && !isDraining && !head.headers.contains(name: "upgrade")
            if head.headers.contains(name: "expect") {
                invite(exchange)
                run(exchange)
            }
        case .body(let bytes):
            guard let current else { return }
            current.receive(bytes.readableBytesView)
            if current.discarded > Self.mostDiscarded { context?.close(promise: nil) }
        case .end:
            guard let current else { return }
            current.endBody()
            if isHandlerDone { next() } else { run(current) }
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if let current { run(current) }
        context.fireChannelReadComplete()
    }

    func read(context: ChannelHandlerContext) {
        if !queued.isEmpty || (current?.received.count ?? 0) > Self.mostWaiting {
            holdsRead = true
        } else {
            context.read()
        }
    }

    private func readOn() {
        guard holdsRead, queued.isEmpty, (current?.received.count ?? 0) <= Self.mostWaiting else { return }
        holdsRead = false
        context?.read()
    }

    /// Starts the handler, with the whole body where that has come.
    private func run(_ exchange: Exchange) {
        guard !isRunning, let head else { return }
        isRunning = true
        self.head = nil
        let body = exchange.isBodyComplete ? HTTPBody(exchange.takeWholeBody()) : HTTPBody(exchange)
        let request = HTTPRequest(
            method: head.method, target: head.uri, headers: head.headers, body: body, connection: info)
        let responder = HTTPResponder(exchange, request)
        let handler = settings.handler
        exchange.task = Task(executorPreference: executor) {
            await handler(request, responder)
            await exchange.onLoop { exchange.finish() }
        }
    }

    // MARK: Between requests

    func finish(_ exchange: Exchange) {
        isHandlerDone = true
        // A connection whose response is not whole, or that became a WebSocket, is of no more use.
        guard exchange.phase == .ended, keepsAlive else {
            channel.close(promise: nil)
            return
        }
        if exchange.isBodyComplete {
            next()
        } else {
            exchange.discardBody()
            let channel = channel
            discardTimer = loop.scheduleTask(in: settings.bodyLimit) { channel.close(promise: nil) }
            readOn()
        }
    }

    private func next() {
        discardTimer?.cancel()
        discardTimer = nil
        current?.leave()
        current = nil
        lastUse = .now()
        if isDraining {
            context?.close(promise: nil)
            return
        }
        while let part = queued.first, isForCurrent(part) {
            queued.removeFirst()
            take(part)
        }
        if let current, !queued.isEmpty || current.isBodyComplete { run(current) }
        readOn()
    }

    /// One timer a connection, looked at when it fires, instead of one a request.
    private func watchIdleness(_ time: TimeAmount) {
        let bound = NIOLoopBound(self, eventLoop: loop)
        idleTimer = loop.scheduleTask(in: time) {
            let connection = bound.value
            guard let context = connection.context else { return }
            let limit = connection.settings.idleLimit
            let unused = NIODeadline.now() - connection.lastUse
            if connection.current != nil {
                connection.watchIdleness(limit)
            } else if unused >= limit {
                context.close(promise: nil)
            } else {
                connection.watchIdleness(limit - unused)
            }
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is DrainRequest else {
            context.fireUserInboundEventTriggered(event)
            return
        }
        isDraining = true
        keepsAlive = false
        if current == nil { context.close(promise: nil) }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { current?.wakeWriter() }
        context.fireChannelWritabilityChanged()
    }

    // MARK: Writing

    func isWritable(_ exchange: Exchange) -> Bool { context?.channel.isWritable ?? true }

    func wantsBody(_ exchange: Exchange, taken: Int) { readOn() }

    /// Tells a client that waits with its body to send it.
    func invite(_ exchange: Exchange) { write(ByteBuffer(string: "HTTP/1.1 100 Continue\r\n\r\n")) }

    private func write(_ bytes: ByteBuffer) { context?.writeAndFlush(wrapOutboundOut(bytes), promise: nil) }

    func send(_ exchange: Exchange, _ head: AnswerHead, _ body: [UInt8], isWhole: Bool) {
        guard let context else { return }
        var out = context.channel.allocator.buffer(capacity: 512 + body.count)
        Self.write(head, to: &out)
        isChunked = !isWhole && !head.headers.contains(name: "content-length")
        if isChunked { out.writeStaticString("transfer-encoding: chunked\r\n") }
        if !keepsAlive { out.writeStaticString("connection: close\r\n") }
        out.writeStaticString("\r\n")
        if !body.isEmpty { out.writeBytes(body) }
        write(out)
    }

    private static func write(_ head: AnswerHead, to out: inout ByteBuffer) {
        out.writeStaticString("HTTP/1.1 ")
        out.writeString(String(head.status.code))
        out.writeStaticString(" ")
        out.writeString(head.status.reasonPhrase)
        out.writeStaticString("\r\n")
        for (name, value) in head.headers {
            out.writeString(name)
            out.writeStaticString(": ")
            // Nothing in a value may begin another header.
            if value.utf8.contains(where: { $0 == 0x0D || $0 == 0x0A }) {
                out.writeBytes(value.utf8.map { $0 == 0x0D || $0 == 0x0A ? 0x20 : $0 })
            } else {
                out.writeString(value)
            }
            out.writeStaticString("\r\n")
        }
    }

    func send(_ exchange: Exchange, _ bytes: [UInt8]) {
        if !bytes.isEmpty { write(chunk(bytes)) }
    }

    func pushTarget(_ exchange: Exchange) -> (any PushTarget)? { self }

    var carrier: ObjectIdentifier { ObjectIdentifier(self) }

    func push(_ bytes: [UInt8]) -> PushOutcome {
        guard let context, current?.phase == .streaming else { return .gone }
        if !bytes.isEmpty { context.write(wrapOutboundOut(chunk(bytes)), promise: nil) }
        return context.channel.isWritable ? .taken : .full
    }

    func flush() { context?.flush() }

    private func chunk(_ bytes: [UInt8]) -> ByteBuffer {
        var out = ByteBufferAllocator().buffer(capacity: bytes.count + 16)
        if !isChunked {
            out.writeBytes(bytes)
            return out
        }
        out.writeString(String(bytes.count, radix: 16))
        out.writeStaticString("\r\n")
        out.writeBytes(bytes)
        out.writeStaticString("\r\n")
        return out
    }

    func end(_ exchange: Exchange) {
        if isChunked, !exchange.isHeadRequest { write(ByteBuffer(string: "0\r\n\r\n")) }
    }

    // MARK: What is no HTTP

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let fault = error as? HTTPParserError, current == nil else {
            current?.leave(error)
            context.close(promise: nil)
            return
        }
        let (status, why) = Self.refusal(fault)
        // In the form of Kubernetes' `Status`, which its clients show in their own words.
        let text =
            #"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":""# + why
            + #"","reason":"BadRequest","code":"# + "\(status.code)}\n"
        let head = AnswerHead(
            status: status,
            headers: [
                "content-type": "application/json", "connection": "close", "content-length": "\(text.utf8.count)",
            ])
        var out = ByteBuffer()
        Self.write(head, to: &out)
        out.writeStaticString("\r\n")
        out.writeString(text)
        let channel = context.channel
        context.writeAndFlush(wrapOutboundOut(out)).whenComplete { _ in channel.close(promise: nil) }
    }

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

    // MARK: What leaves HTTP

    func becomeWebSocket(
        _ exchange: Exchange, _ head: AnswerHead, maxFrameSize: Int
    ) throws -> UpgradedConnection<WebSocketFrame> {
        let end = UpgradedConnection<WebSocketFrame>(exchange, channel)
        let decoder = ByteToMessageHandler(WebSocketFrameDecoder(maxFrameSize: maxFrameSize))
        try become([WebSocketFrameEncoder(), decoder, end], head)
        return end
    }

    func becomeBytes(_ exchange: Exchange, _ head: AnswerHead) throws -> UpgradedConnection<ByteBuffer> {
        let end = UpgradedConnection<ByteBuffer>(exchange, channel)
        try become([end], head)
        return end
    }

    /// Puts other handlers in the place of HTTP's.
    private func become(_ handlers: [any ChannelHandler], _ head: AnswerHead) throws {
        guard let context else { throw ChannelError.ioOnClosedChannel }
        var out = ByteBuffer()
        Self.write(head, to: &out)
        out.writeStaticString("\r\n")
        let channel = context.channel
        let pipeline = channel.pipeline.syncOperations
        let decoder = try pipeline.context(handlerType: ByteToMessageHandler<HTTPRequestDecoder>.self)
        write(out)
        try pipeline.addHandlers(handlers, position: .after(self))
        pipeline.removeHandler(context: context, promise: nil)
        // Bytes that came early go to the new handlers when the old reader goes.
        pipeline.removeHandler(context: decoder, promise: nil)
    }
}
