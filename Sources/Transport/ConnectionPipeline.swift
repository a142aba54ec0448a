import NIOCore
import NIOHTTP1
import NIOWebSocket

/// What travels on a connection that starts as HTTP/1.1 and may become a WebSocket.
enum Inbound<Part: Sendable>: Sendable {
    case http(Part)
    case frame(WebSocketFrame)
}

enum Outbound<Part: Sendable>: Sendable {
    case http(Part)
    case frame(WebSocketFrame)
}

/// The last handler but one while the connection speaks HTTP.
final class HTTPEnd<PartIn: Sendable, PartOut: Sendable>: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = PartIn
    typealias InboundOut = Inbound<PartIn>
    typealias OutboundIn = Outbound<PartOut>
    typealias OutboundOut = PartOut

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        context.fireChannelRead(wrapInboundOut(.http(unwrapInboundIn(data))))
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard case .http(let part) = unwrapOutboundIn(data) else {
            promise?.fail(ChannelError.operationUnsupported)
            return
        }
        context.write(wrapOutboundOut(part), promise: promise)
    }
}

/// The last handler but one once the connection is a WebSocket.
final class FrameEnd<PartIn: Sendable, PartOut: Sendable>: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = WebSocketFrame
    typealias InboundOut = Inbound<PartIn>
    typealias OutboundIn = Outbound<PartOut>
    typealias OutboundOut = WebSocketFrame

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        context.fireChannelRead(wrapInboundOut(.frame(unwrapInboundIn(data))))
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard case .frame(let frame) = unwrapOutboundIn(data) else {
            promise?.fail(ChannelError.operationUnsupported)
            return
        }
        context.write(wrapOutboundOut(frame), promise: promise)
    }
}

extension Channel {
    /// Turns a server's HTTP pipeline into a WebSocket's. Bytes that came early go to the new handlers.
    func becomeWebSocket(maxFrameSize: Int) async throws {
        try await eventLoop.flatSubmit {
            let removed = self.eventLoop.makePromise(of: Void.self)
            do {
                try self.replaceHandlers(maxFrameSize: maxFrameSize, removed)
            } catch {
                removed.fail(error)
            }
            // What came early is read only when a read is said to be complete.
            return removed.futureResult.map { self.pipeline.fireChannelReadComplete() }
        }.get()
    }

    private func replaceHandlers(maxFrameSize: Int, _ removed: EventLoopPromise<Void>) throws {
        let pipeline = self.pipeline.syncOperations
        let decoder = try pipeline.context(handlerType: ByteToMessageHandler<HTTPRequestDecoder>.self)
        let encoder = try pipeline.context(handlerType: HTTPResponseEncoder.self)
        let end = try pipeline.context(handlerType: HTTPEnd<HTTPServerRequestPart, HTTPServerResponsePart>.self)
        let handlers: [any ChannelHandler] = [
            WebSocketFrameEncoder(), ByteToMessageHandler(WebSocketFrameDecoder(maxFrameSize: maxFrameSize)),
            FrameEnd<HTTPServerRequestPart, HTTPServerResponsePart>(),
        ]
        try pipeline.addHandlers(handlers, position: .after(end.handler))
        pipeline.removeHandler(context: end, promise: nil)
        pipeline.removeHandler(context: encoder, promise: nil)
        pipeline.removeHandler(context: decoder, promise: removed)
    }
}
