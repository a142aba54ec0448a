import NIOCore
import NIOWebSocket

/// The end of a pipeline that has become a WebSocket's: frames wait here for the one task that reads them.
///
/// `@unchecked Sendable`: everything is touched on the connection's loop only; what may be called from elsewhere goes there first.
final class WebSocketFrames: ChannelDuplexHandler, @unchecked Sendable {
    typealias InboundIn = WebSocketFrame
    typealias OutboundIn = WebSocketFrame
    typealias OutboundOut = WebSocketFrame

    /// Bytes waiting for the reader beyond which the sender is held back.
    private static let most = 1 << 20

    private let exchange: Exchange
    private let channel: any Channel
    private var context: ChannelHandlerContext?
    private var frames = CircularBuffer<WebSocketFrame>()
    private var waitingBytes = 0
    private var isOver = false
    private var failure: (any Error)?
    private var reader: UnsafeContinuation<Void, Never>?
    private var writers: [UnsafeContinuation<Void, Never>] = []
    private var holdsRead = false

    init(_ exchange: Exchange, _ channel: any Channel) {
        self.exchange = exchange
        self.channel = channel
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        over(nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        waitingBytes += frame.data.readableBytes + 64
        frames.append(frame)
        wakeReader()
    }

    func read(context: ChannelHandlerContext) {
        if waitingBytes > Self.most { holdsRead = true } else { context.read() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { wakeWriters() }
        context.fireChannelWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        over(nil)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        over(error)
        context.close(promise: nil)
    }

    private func over(_ error: (any Error)?) {
        if isOver { return }
        isOver = true
        failure = error
        exchange.leave()
        wakeReader()
        wakeWriters()
    }

    private func wakeReader() {
        guard let waiter = reader else { return }
        reader = nil
        waiter.resume()
    }

    private func wakeWriters() {
        let woken = writers
        writers = []
        for waiter in woken { waiter.resume() }
    }

    // MARK: From any task

    private enum Step: Sendable {
        case frame(WebSocketFrame)
        case wait, over
    }

    /// The next frame; `nil` at the connection's end.
    func next() async throws -> WebSocketFrame? {
        while true {
            switch try await exchange.onLoop({ try self.take() }) {
            case .frame(let frame): return frame
            case .over: return nil
            case .wait: break
            }
            await withTaskCancellationHandler {
                await withUnsafeContinuation { (waiter: UnsafeContinuation<Void, Never>) in
                    onLoop {
                        if self.isOver || !self.frames.isEmpty { waiter.resume() } else { self.reader = waiter }
                    }
                }
            } onCancel: {
                channel.eventLoop.execute { self.wakeReader() }
            }
            try Task.checkCancellation()
        }
    }

    private func take() throws -> Step {
        if let frame = frames.popFirst() {
            waitingBytes -= frame.data.readableBytes + 64
            if holdsRead, waitingBytes <= Self.most {
                holdsRead = false
                context?.read()
            }
            return .frame(frame)
        }
        if let failure { throw failure }
        return isOver ? .over : .wait
    }

    private func onLoop(_ body: @escaping @Sendable () -> Void) {
        if channel.eventLoop.inEventLoop { body() } else { channel.eventLoop.execute(body) }
    }

    func send(_ frame: WebSocketFrame) async throws {
        let isWritable = try await exchange.onLoop { () throws(ChannelError) -> Bool in
            guard !self.isOver, let context = self.context else { throw ChannelError.ioOnClosedChannel }
            context.writeAndFlush(self.wrapOutboundOut(frame), promise: nil)
            return context.channel.isWritable
        }
        if isWritable { return }
        await withTaskCancellationHandler {
            await withUnsafeContinuation { (waiter: UnsafeContinuation<Void, Never>) in
                onLoop {
                    if self.isOver || self.channel.isWritable { waiter.resume() } else { self.writers.append(waiter) }
                }
            }
        } onCancel: {
            channel.eventLoop.execute { self.wakeWriters() }
        }
        try Task.checkCancellation()
    }

    func shut() { channel.close(promise: nil) }
}
