import NIOCore
import NIOHTTP1
import NIOPosix
import TLS
import Transport

/// What a webhook answered.
struct WebhookAnswer: Sendable {
    var status: Int
    var body: [UInt8]
    /// Whether the connection takes another request.
    var isReusable: Bool
}

/// A request on its way through a connection's pipeline.
struct WebhookCall: Sendable {
    var head: HTTPRequestHead
    var body: ByteBuffer
    var answer: EventLoopPromise<WebhookAnswer>
}

/// One connection to one server, with at most one request on it.
struct WebhookConnection: Sendable {
    let channel: any Channel

    /// - Parameter call: its promise is answered whatever happens.
    func send(_ call: WebhookCall, within limit: TimeAmount) async throws -> WebhookAnswer {
        let channel = channel
        let answer = call.answer
        let timer = channel.eventLoop.scheduleTask(in: limit) {
            answer.fail(WebhookFault("context deadline exceeded"))
            channel.close(promise: nil)
        }
        defer { timer.cancel() }
        channel.writeAndFlush(call).whenFailure { error in
            answer.fail(error)
            channel.close(promise: nil)
        }
        return try await answer.futureResult.get()
    }
}

/// Turns a call into HTTP, and the response into its answer.
final class WebhookExchange: ChannelDuplexHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundIn = WebhookCall
    typealias OutboundOut = HTTPClientRequestPart

    private let bodyLimit: Int
    private var answer: EventLoopPromise<WebhookAnswer>?
    private var status = 0
    private var body: [UInt8] = []
    private var keepsAlive = false
    /// Why the connection ended, for a call that comes too late.
    private var fault: (any Error)?

    init(bodyLimit: Int) { self.bodyLimit = bodyLimit }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let call = unwrapOutboundIn(data)
        guard answer == nil, context.channel.isActive else {
            promise?.fail(fault ?? Self.closed)
            return
        }
        answer = call.answer
        status = 0
        body = []
        context.write(wrapOutboundOut(.head(call.head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(call.body))), promise: nil)
        context.write(wrapOutboundOut(.end(nil)), promise: promise)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            status = Int(head.status.code)
            keepsAlive = head.isKeepAlive
        case .body(let bytes):
            if body.count + bytes.readableBytes > bodyLimit {
                fail(WebhookFault("the response is larger than \(bodyLimit) bytes"), context)
                return
            }
            body.append(contentsOf: bytes.readableBytesView)
        case .end:
            let done = answer
            answer = nil
            done?.succeed(WebhookAnswer(status: status, body: body, isReusable: keepsAlive))
            body = []
        }
    }

    private func fail(_ error: any Error, _ context: ChannelHandlerContext) {
        let pending = answer
        answer = nil
        fault = error
        pending?.fail(error)
        context.close(promise: nil)
    }

    private static let closed = WebhookFault("the server closed the connection", isUnanswered: true)

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(WebhookFault("\(error)", isUnanswered: status == 0), context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        let pending = answer
        answer = nil
        pending?.fail(
            WebhookFault("the server closed the connection before it had answered", isUnanswered: status == 0))
        context.fireChannelInactive()
    }
}
