import NIOCore
import NIOWebSocket

/// What comes over a connection that has left HTTP.
protocol UpgradedItem: Sendable {
    /// Bytes it takes while it waits.
    var waitingSize: Int { get }
}

extension WebSocketFrame: UpgradedItem {
    var waitingSize: Int { data.readableBytes + 64 }
}

extension ByteBuffer: UpgradedItem {
    var waitingSize: Int { readableBytes + 64 }
}

/// The end of a pipeline that has left HTTP: what comes waits here for the one task that reads it.
///
/// `@unchecked Sendable`: everything is touched on the connection's loop only; what may be called from elsewhere goes there first.
final class UpgradedConnection<Item: UpgradedItem>: ChannelDuplexHandler, @unchecked Sendable {
    typealias InboundIn = Item
    typealias OutboundIn = Item
    typealias OutboundOut = Item

    /// Bytes waiting for the reader beyond which the sender is held back.
    private let most = 1 << 20

    private let exchange: Exchange
    private let channel: any Channel
    private var context: ChannelHandlerContext?
    private var items = CircularBuffer<Item>()
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
        let item = unwrapInboundIn(data)
        waitingBytes += item.waitingSize
        items.append(item)
        wakeReader()
    }

    func read(context: ChannelHandlerContext) {
        if waitingBytes > most { holdsRead = true } else { context.read() }
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
        case item(Item)
        case wait, over
    }

    /// What comes next; `nil` at the connection's end.
    func next() async throws -> Item? {
        while true {
            switch try await exchange.onLoop({ try self.take() }) {
            case .item(let item): return item
            case .over: return nil
            case .wait: break
            }
            await withTaskCancellationHandler {
                await withUnsafeContinuation { (waiter: UnsafeContinuation<Void, Never>) in
                    onLoop {
                        if self.isOver || !self.items.isEmpty { waiter.resume() } else { self.reader = waiter }
                    }
                }
            } onCancel: {
                channel.eventLoop.execute { self.wakeReader() }
            }
            try Task.checkCancellation()
        }
    }

    private func take() throws -> Step {
        if let item = items.popFirst() {
            waitingBytes -= item.waitingSize
            if holdsRead, waitingBytes <= most {
                holdsRead = false
                context?.read()
            }
            return .item(item)
        }
        if let failure { throw failure }
        return isOver ? .over : .wait
    }

    private func onLoop(_ body: @escaping @Sendable () -> Void) {
        if channel.eventLoop.inEventLoop { body() } else { channel.eventLoop.execute(body) }
    }

    func send(_ item: Item) async throws {
        let isWritable = try await exchange.onLoop { () throws(ChannelError) -> Bool in
            guard !self.isOver, let context = self.context else { throw ChannelError.ioOnClosedChannel }
            context.writeAndFlush(self.wrapOutboundOut(item), promise: nil)
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

    /// Ends the connection when all that was sent has left, or after a while.
    func finish(_ last: Item) async {
        let channel = channel
        let timer = channel.eventLoop.scheduleTask(in: .seconds(5)) { channel.close(promise: nil) }
        try? await channel.writeAndFlush(last).get()
        timer.cancel()
        channel.close(promise: nil)
    }
}
