package import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix
package import TLS

/// One HTTP/2 connection to a gRPC server, for any number of calls at a time.
package final class GRPCConnection: Sendable {
    package struct Target: Sendable, Hashable, CustomStringConvertible {
        package var host: String
        package var port: Int
        package init(host: String, port: Int) {
            self.host = host
            self.port = port
        }
        package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
    }

    package let target: Target
    private let channel: any Channel
    private let multiplexer: NIOHTTP2Handler.StreamMultiplexer
    private let scheme: String

    private init(
        _ target: Target, _ channel: any Channel, _ multiplexer: NIOHTTP2Handler.StreamMultiplexer, scheme: String
    ) {
        self.target = target
        self.channel = channel
        self.multiplexer = multiplexer
        self.scheme = scheme
    }

    /// Connects and, with TLS, checks that the server's certificate is for the target's host.
    package static func open(
        _ target: Target, tls: TLSContext?, limit: TimeAmount = .seconds(5),
        on loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()
    ) async throws(GRPCFrames.Fault) -> GRPCConnection {
        let established = loop.makePromise(of: Certificate?.self)
        let ready = loop.makePromise(of: NIOHTTP2Handler.StreamMultiplexer.self)
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(limit)
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
            .channelOption(.writeBufferWaterMark, value: GRPCFrames.waterMark)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    if let tls {
                        let session = try TLSSession(tls, serverName: target.host)
                        try pipeline.addHandler(TLSHandler(session, established: established, timeLimit: limit))
                    }
                    ready.succeed(
                        try pipeline.configureHTTP2Pipeline(
                            mode: .client, connectionConfiguration: connection, streamConfiguration: stream
                        ) { $0.close() })
                    try pipeline.addHandler(ConnectionEnd())
                }
            }
        do {
            let channel = try await bootstrap.connect(host: target.host, port: target.port).get()
            if tls == nil { established.succeed(nil) }
            do {
                _ = try await established.futureResult.get()
                let multiplexer = try await ready.futureResult.get()
                return GRPCConnection(target, channel, multiplexer, scheme: tls == nil ? "http" : "https")
            } catch {
                channel.close(promise: nil)
                throw error
            }
        } catch {
            established.fail(error)
            ready.fail(error)
            throw GRPCFrames.Fault(status: .unavailable, message: "\(target): \(Self.reason(error))")
        }
    }

    private static func reason(_ error: any Error) -> String {
        guard let failure = error as? NIOConnectionError, let first = failure.connectionErrors.first else {
            return "\(error)"
        }
        return "\(first.error)"
    }

    /// A server measures the line with a PING for nearly every answer: their number says nothing about its intent.
    private static var connection: NIOHTTP2Handler.ConnectionConfiguration {
        var made = NIOHTTP2Handler.ConnectionConfiguration()
        made.targetWindowSize = 4 << 20
        made.controlFrameRateLimit.maximumCount = 2_000
        made.controlFrameRateLimit.windowLength = .milliseconds(100)
        return made
    }

    private static var stream: NIOHTTP2Handler.StreamConfiguration {
        var made = NIOHTTP2Handler.StreamConfiguration()
        made.targetWindowSize = 2 << 20
        return made
    }

    package var isOpen: Bool { channel.isActive }
    package func close() { channel.close(promise: nil) }

    /// One question, one answer.
    ///
    /// - Parameter mostBytes: the largest answer taken.
    package func ask(
        _ path: String, _ message: [UInt8], within limit: TimeAmount, mostBytes: Int = 64 << 20
    ) async throws(GRPCFrames.Fault) -> [UInt8] {
        let answer = channel.eventLoop.makePromise(of: Result<[UInt8], GRPCFrames.Fault>.self)
        let got = NIOLoopBoundBox<[UInt8]?>.makeBoxSendingValue(nil, eventLoop: channel.eventLoop)
        var headers = headers(path)
        headers.add(name: "grpc-timeout", value: "\(limit.nanoseconds / 1_000_000)m")
        let opened = start(
            GRPCCall.Request(headers: headers, message: message, isWhole: true, mostBytes: mostBytes),
            receive: { got.value = $0 },
            ended: { fault in
                if let fault {
                    answer.succeed(.failure(fault))
                } else if let message = got.value {
                    answer.succeed(.success(message))
                } else {
                    answer.succeed(.failure(.init(status: .internalError, message: "an answer without a message")))
                }
            })
        // The server keeps the limit too; ours is for one that does not answer at all.
        let timer = channel.eventLoop.scheduleTask(in: limit + .milliseconds(500)) {
            answer.succeed(
                .failure(
                    .init(status: .deadlineExceeded, message: "no answer within \(limit.nanoseconds / 1_000_000) ms")))
            opened.whenSuccess { $0.close(promise: nil) }
        }
        opened.whenFailure { answer.succeed(.failure(.init(status: .unavailable, message: "\($0)"))) }
        let outcome: Result<[UInt8], GRPCFrames.Fault>
        do { outcome = try await answer.futureResult.get() } catch {
            outcome = .failure(.init(status: .internalError, message: "\(error)"))
        }
        timer.cancel()
        return try outcome.get()
    }

    /// A call on which both sides may send at any time.
    ///
    /// `receive` and `ended` are called on the connection's event loop; `ended` once, also when the call could not begin.
    package func call(
        _ path: String, metadata: [(String, String)] = [], first message: [UInt8], mostBytes: Int = 64 << 20,
        receive: @escaping @Sendable ([UInt8]) -> Void, ended: @escaping @Sendable (GRPCFrames.Fault?) -> Void
    ) async throws(GRPCFrames.Fault) -> GRPCStream {
        var headers = headers(path)
        for (name, value) in metadata { headers.add(name: name, value: value) }
        do {
            let request = GRPCCall.Request(headers: headers, message: message, isWhole: false, mostBytes: mostBytes)
            return GRPCStream(try await start(request, receive: receive, ended: ended).get())
        } catch {
            throw GRPCFrames.Fault(status: .unavailable, message: "\(error)")
        }
    }

    private func headers(_ path: String) -> HPACKHeaders {
        HPACKHeaders([
            (":method", "POST"), (":scheme", scheme), (":path", path), (":authority", "\(target)"),
            ("content-type", "application/grpc"), ("te", "trailers"),
        ])
    }

    private func start(
        _ request: GRPCCall.Request, receive: @escaping @Sendable ([UInt8]) -> Void,
        ended: @escaping @Sendable (GRPCFrames.Fault?) -> Void
    ) -> EventLoopFuture<any Channel> {
        multiplexer.createStreamChannel { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(GRPCCall(request, receive: receive, ended: ended))
            }
        }
    }
}

/// The client's end of a call that goes on.
package struct GRPCStream: Sendable {
    private let channel: any Channel

    init(_ channel: any Channel) { self.channel = channel }

    package func send(_ message: [UInt8]) {
        let bytes = channel.allocator.buffer(bytes: GRPCFrames.framed(message))
        channel.writeAndFlush(HTTP2Frame.FramePayload.data(.init(data: .byteBuffer(bytes))), promise: nil)
    }

    package func close() { channel.close(promise: nil) }
}

/// Closes a connection on which something went wrong; its calls learn of it as their streams end.
private final class ConnectionEnd: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
