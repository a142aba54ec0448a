import NIOCore
import NIOHPACK
import NIOHTTP2
import Transport

/// A gRPC call a proxy makes on its pod's socket, without its framing. Lives on its stream's event loop.
protocol ProxyCall: AnyObject {
    /// Bytes of the largest message taken.
    var mostBytes: Int { get }
    /// Before any message. A fault refuses the call.
    func begin(on stream: ProxyCallStream, _ loop: any EventLoop) throws(GRPCFrames.Fault)
    /// A fault ends the call.
    func receive(_ message: [UInt8]) throws(GRPCFrames.Fault)
    /// The call is over, whoever ended it; may come more than once.
    func leave()
}

/// One HTTP/2 stream on a pod's socket: gRPC on the outside, a `ProxyCall` on the inside.
final class ProxyCallStream: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    /// The call for a path.
    private let choose: (String) throws(GRPCFrames.Fault) -> any ProxyCall
    private var call: (any ProxyCall)?
    private var frames = GRPCFrames()
    private var context: ChannelHandlerContext?
    private var hasAnswered = false
    private var hasEnded = false

    init(_ choose: @escaping (String) throws(GRPCFrames.Fault) -> any ProxyCall) { self.choose = choose }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) {
        leave()
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .headers(let headers):
            if !hasAnswered, !hasEnded { begin(headers.headers, context) }
            if headers.endStream { end(.ok, "", context) }
        case .data(let data):
            guard case .byteBuffer(let buffer) = data.data else { return }
            frames.append(buffer.readableBytesView)
            readMessages(context)
            if data.endStream { end(.ok, "", context) }
        default: break
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        leave()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        leave()
        context.close(promise: nil)
    }

    /// False while the proxy does not read.
    var isWritable: Bool { context?.channel.isWritable ?? false }

    func send(_ messages: [[UInt8]]) {
        guard let context, !hasEnded, !messages.isEmpty else { return }
        for message in messages {
            let buffer = context.channel.allocator.buffer(bytes: GRPCFrames.framed(message))
            context.write(wrapOutboundOut(.data(.init(data: .byteBuffer(buffer)))), promise: nil)
        }
        context.flush()
    }

    /// Closes the connection, not the stream alone: nobody may begin another on it.
    func disconnect() {
        guard let context else { return }
        leave()
        (context.channel.parent ?? context.channel).close(promise: nil)
    }

    private func begin(_ headers: HPACKHeaders, _ context: ChannelHandlerContext) {
        do throws(GRPCFrames.Fault) {
            let call = try choose(headers.first(name: ":path") ?? "")
            self.call = call
            frames = GRPCFrames(limit: call.mostBytes)
            try call.begin(on: self, context.eventLoop)
        } catch {
            end(error.status, error.message, context)
            return
        }
        let answer = HPACKHeaders([(":status", "200"), ("content-type", "application/grpc")])
        context.writeAndFlush(wrapOutboundOut(.headers(.init(headers: answer))), promise: nil)
        hasAnswered = true
    }

    private func readMessages(_ context: ChannelHandlerContext) {
        do throws(GRPCFrames.Fault) {
            while !hasEnded, let call, let message = try frames.next() { try call.receive(message) }
        } catch {
            end(error.status, error.message, context)
        }
    }

    /// Ends the call with its status. Without an answer before, headers and trailers are one.
    private func end(_ status: GRPCFrames.Status, _ message: String, _ context: ChannelHandlerContext) {
        if hasEnded { return }
        hasEnded = true
        var trailers = HPACKHeaders()
        if !hasAnswered {
            trailers.add(name: ":status", value: "200")
            trailers.add(name: "content-type", value: "application/grpc")
        }
        trailers.add(name: "grpc-status", value: String(status.rawValue))
        if !message.isEmpty { trailers.add(name: "grpc-message", value: message) }
        leave()
        context.writeAndFlush(wrapOutboundOut(.headers(.init(headers: trailers, endStream: true))), promise: nil)
    }

    private func leave() { call?.leave() }
}
