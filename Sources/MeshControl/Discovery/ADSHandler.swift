import NIOCore
import NIOHPACK
import NIOHTTP2

/// One HTTP/2 stream that carries an ADS call: gRPC on the outside, `DeltaStream` on the inside. Lives on its event loop.
final class ADSHandler: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    static let deltaPath = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"

    /// A proxy asks for fewer.
    private static let mostDemands = 32768

    private let discovery: Discovery
    private let podUID: String
    private var session: Int?
    private var frames = GRPCFrames()
    private var stream = DeltaStream()
    private var context: ChannelHandlerContext?
    private var hasAnswered = false
    private var hasEnded = false

    init(_ discovery: Discovery, podUID: String) {
        self.discovery = discovery
        self.podUID = podUID
    }

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

    /// There is something new for the proxy, or it has asked for something; called on the event loop.
    func refresh() {
        guard let context, session != nil else { return }
        guard let snapshot = discovery.snapshot(podUID: podUID, demands: stream.demands) else { return }
        send(stream.update(snapshot), context)
    }

    /// The pod is gone; called on the event loop.
    func disconnect() {
        guard let context else { return }
        leave()
        // The connection, not the stream alone: nobody may begin another on it.
        let connection = context.channel.parent ?? context.channel
        connection.close(promise: nil)
    }

    private func begin(_ headers: HPACKHeaders, _ context: ChannelHandlerContext) {
        let path = headers.first(name: ":path") ?? ""
        guard path == Self.deltaPath else {
            end(.unimplemented, "\(path) is not served here: only \(Self.deltaPath)", context)
            return
        }
        guard let joined = discovery.join(podUID: podUID, self, context.eventLoop) else {
            end(.resourceExhausted, "too many streams of this pod, or the pod is gone", context)
            return
        }
        let answer = HPACKHeaders([(":status", "200"), ("content-type", "application/grpc")])
        context.writeAndFlush(wrapOutboundOut(.headers(.init(headers: answer))), promise: nil)
        session = joined
        hasAnswered = true
    }

    private func readMessages(_ context: ChannelHandlerContext) {
        do {
            while !hasEnded, let message = try frames.next() {
                let request: DeltaRequest
                do {
                    request = try DeltaRequest(protobuf: message)
                } catch {
                    throw GRPCFrames.Fault(status: .invalidArgument, message: "DeltaDiscoveryRequest: \(error)")
                }
                send(stream.receive(request), context)
                if stream.demands?.count ?? 0 > Self.mostDemands {
                    throw GRPCFrames.Fault(
                        status: .resourceExhausted, message: "more than \(Self.mostDemands) destinations are asked for")
                }
                if stream.needsSnapshot { refresh() }
            }
        } catch let fault as GRPCFrames.Fault {
            end(fault.status, fault.message, context)
        } catch {
            end(.invalidArgument, "\(error)", context)
        }
    }

    private func send(_ responses: [DeltaResponse], _ context: ChannelHandlerContext) {
        if hasEnded { return }
        for response in responses {
            let buffer = context.channel.allocator.buffer(bytes: GRPCFrames.framed(response.protobuf))
            context.write(wrapOutboundOut(.data(.init(data: .byteBuffer(buffer)))), promise: nil)
        }
        if !responses.isEmpty { context.flush() }
        if let session { discovery.note(session, stream, sent: responses) }
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

    private func leave() {
        if let session { discovery.leave(session) }
        session = nil
    }
}
