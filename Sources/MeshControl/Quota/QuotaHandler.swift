import KubeTypes
import NIOCore
import NIOHPACK
import NIOHTTP2
import ProxyResources

/// One HTTP/2 stream on which a proxy leases tokens: reports in, grants out, as gRPC messages. Lives on its event loop.
final class QuotaHandler: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    private let desk: QuotaDesk
    private let podUID: String
    private let pod: ObjectKey
    private var session: Int?
    private var frames = GRPCFrames(limit: 1 << 20)
    private var context: ChannelHandlerContext?
    private var hasEnded = false

    init(_ desk: QuotaDesk, podUID: String, pod: ObjectKey) {
        self.desk = desk
        self.podUID = podUID
        self.pod = pod
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) {
        leave()
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .headers(let headers):
            if session == nil && !hasEnded { begin(context) }
            if headers.endStream { end(.ok, "", context) }
        case .data(let data):
            guard case .byteBuffer(let buffer) = data.data else { return }
            frames.append(buffer.readableBytesView)
            readReports(context)
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

    private func begin(_ context: ChannelHandlerContext) {
        session = desk.join(podUID: podUID, pod: pod, self, context.eventLoop)
        if session == nil {
            end(.unavailable, "the mesh does not know the pod yet, or it has too many streams", context)
            return
        }
        let answer = HPACKHeaders([(":status", "200"), ("content-type", "application/grpc")])
        context.writeAndFlush(wrapOutboundOut(.headers(.init(headers: answer))), promise: nil)
    }

    private func readReports(_ context: ChannelHandlerContext) {
        do {
            while let session, let message = try frames.next() {
                let report: QuotaReport
                do { report = try QuotaReport(message) } catch {
                    throw GRPCFrames.Fault(status: .invalidArgument, message: "QuotaReport: \(error)")
                }
                if report.pages.reduce(0, { $0 + $1.lines.count }) > QuotaReport.mostLines {
                    throw GRPCFrames.Fault(
                        status: .resourceExhausted, message: "more than \(QuotaReport.mostLines) lines in a report")
                }
                desk.receive(report, from: session)
            }
        } catch let fault as GRPCFrames.Fault {
            end(fault.status, fault.message, context)
        } catch {
            end(.invalidArgument, "\(error)", context)
        }
    }

    /// Called on the event loop.
    func send(_ grants: QuotaGrants) {
        guard let context, session != nil, !hasEnded else { return }
        // A proxy that does not read is one that has lost its lease.
        if !context.channel.isWritable { return disconnect() }
        let buffer = context.channel.allocator.buffer(bytes: GRPCFrames.framed(grants.bytes))
        context.writeAndFlush(wrapOutboundOut(.data(.init(data: .byteBuffer(buffer)))), promise: nil)
    }

    /// Called on the event loop.
    func disconnect() {
        guard let context else { return }
        leave()
        (context.channel.parent ?? context.channel).close(promise: nil)
    }

    private func end(_ status: GRPCFrames.Status, _ message: String, _ context: ChannelHandlerContext) {
        if hasEnded { return }
        hasEnded = true
        var trailers = HPACKHeaders()
        if session == nil {
            trailers.add(name: ":status", value: "200")
            trailers.add(name: "content-type", value: "application/grpc")
        }
        trailers.add(name: "grpc-status", value: String(status.rawValue))
        if !message.isEmpty { trailers.add(name: "grpc-message", value: message) }
        leave()
        context.writeAndFlush(wrapOutboundOut(.headers(.init(headers: trailers, endStream: true))), promise: nil)
    }

    private func leave() {
        if let session { desk.leave(session) }
        session = nil
    }
}

/// The first handler of a stream on a pod's socket: the call's path says which of ours answers it.
final class MeshStreamDoor: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame.FramePayload

    private let discovery: Discovery
    private let podUID: String
    private let pod: ObjectKey
    private var isOpen = false

    init(_ discovery: Discovery, podUID: String, pod: ObjectKey) {
        self.discovery = discovery
        self.podUID = podUID
        self.pod = pod
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if !isOpen, case .headers(let headers) = unwrapInboundIn(data) {
            isOpen = true
            let isQuota = headers.headers.first(name: ":path") == "\(QuotaReport.path)"
            let handler: any ChannelInboundHandler =
                isQuota
                ? QuotaHandler(discovery.quota, podUID: podUID, pod: pod) : ADSHandler(discovery, podUID: podUID)
            do { try context.pipeline.syncOperations.addHandler(handler) } catch {
                context.close(promise: nil)
                return
            }
        }
        context.fireChannelRead(data)
    }
}
