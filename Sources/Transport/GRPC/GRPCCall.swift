import NIOCore
import NIOHPACK
import NIOHTTP2

/// One call on its HTTP/2 stream, seen from the client. Lives on its stream's event loop.
///
/// - Source: the gRPC over HTTP/2 protocol.
final class GRPCCall: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    struct Request: Sendable {
        var headers: HPACKHeaders
        /// Sent as soon as the stream is there.
        var message: [UInt8]
        /// Whether that was all.
        var isWhole: Bool
        /// Bytes of the largest message taken.
        var mostBytes: Int
    }

    private let request: Request
    private let receive: @Sendable ([UInt8]) -> Void
    /// Called once; `nil` after a call that ended well.
    private let ended: @Sendable (GRPCFrames.Fault?) -> Void
    private var frames: GRPCFrames
    private var isOver = false

    init(
        _ request: Request, receive: @escaping @Sendable ([UInt8]) -> Void,
        ended: @escaping @Sendable (GRPCFrames.Fault?) -> Void
    ) {
        self.request = request
        self.receive = receive
        self.ended = ended
        frames = GRPCFrames(limit: request.mostBytes)
    }

    func channelActive(context: ChannelHandlerContext) {
        context.write(wrapOutboundOut(.headers(.init(headers: request.headers))), promise: nil)
        let bytes = context.channel.allocator.buffer(bytes: GRPCFrames.framed(request.message))
        let data = HTTP2Frame.FramePayload.Data(data: .byteBuffer(bytes), endStream: request.isWhole)
        context.writeAndFlush(wrapOutboundOut(.data(data)), promise: nil)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if isOver { return }
        switch unwrapInboundIn(data) {
        case .headers(let headers):
            if headers.endStream {
                end(Self.outcome(headers.headers), context)
            } else if let status = headers.headers.first(name: ":status"), status != "200" {
                end(
                    GRPCFrames.Fault(status: .unavailable, message: "HTTP status \(status) instead of an answer"),
                    context)
            }
        case .data(let data):
            guard case .byteBuffer(let buffer) = data.data else { return }
            frames.append(buffer.readableBytesView)
            do throws(GRPCFrames.Fault) {
                while !isOver, let message = try frames.next() { receive(message) }
            } catch {
                end(error, context)
            }
            if data.endStream { end(Self.cutShort, context) }
        default: break
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(Self.cutShort, nil)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end(GRPCFrames.Fault(status: .unavailable, message: "\(error)"), context)
    }

    func handlerRemoved(context: ChannelHandlerContext) { end(Self.cutShort, nil) }

    private static let cutShort = GRPCFrames.Fault(
        status: .unavailable, message: "the connection ended before the answer's end")

    private func end(_ fault: GRPCFrames.Fault?, _ context: ChannelHandlerContext?) {
        if isOver { return }
        isOver = true
        ended(fault)
        if fault != nil { context?.close(promise: nil) }
    }

    /// What the trailers say.
    private static func outcome(_ trailers: HPACKHeaders) -> GRPCFrames.Fault? {
        guard let text = trailers.first(name: "grpc-status"), let code = Int(text) else {
            let status = trailers.first(name: ":status") ?? "unknown"
            return GRPCFrames.Fault(status: .unavailable, message: "HTTP status \(status) instead of an answer")
        }
        if code == 0 { return nil }
        return GRPCFrames.Fault(
            status: GRPCFrames.Status(rawValue: code) ?? .unknown,
            message: percentDecoded(trailers.first(name: "grpc-message") ?? "status \(code)"))
    }

    /// `grpc-message` may say bytes as a percent sign and two hexadecimal digits.
    static func percentDecoded(_ text: String) -> String {
        guard text.utf8.contains(UInt8(ascii: "%")) else { return text }
        let bytes = Array(text.utf8)
        var plain: [UInt8] = []
        var place = 0
        while place < bytes.count {
            let digits = bytes[min(place + 1, bytes.count)..<min(place + 3, bytes.count)]
            if bytes[place] == UInt8(ascii: "%"), digits.count == 2,
                let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
            {
                plain.append(value)
                place += 3
            } else {
                plain.append(bytes[place])
                place += 1
            }
        }
        return String(decoding: plain, as: UTF8.self)
    }
}
