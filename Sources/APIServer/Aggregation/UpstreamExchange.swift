import KubeClient
import KubeTypes
import NIOCore
import NIOHTTP1
import NIOPosix
import TLS
import Transport

/// Why another server gave no answer.
struct UpstreamFault: Error, Sendable, Hashable, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// One request to another server, over a connection of its own; the answer is read as it comes.
struct UpstreamExchange: Sendable {
    typealias Stream = NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>

    let place: WebhookEndpoint.Place
    /// What the server's certificate must say.
    let serverName: String
    let context: TLSContext
    let dialer: (any ClusterDialer)?
    /// Until the head of the answer is here, and for `collect` the whole of it.
    var limit = Duration.seconds(30)

    /// Hands on the head, then each piece of the body.
    ///
    /// - Parameter mayLast: the body may come for as long as it likes.
    func run(
        _ head: HTTPRequestHead, _ body: [UInt8], mayLast: Bool = true,
        begin: (HTTPResponseHead) async throws -> Void, piece: (ByteBuffer) async throws -> Void
    ) async throws {
        let stream: Stream = try await open {
            [
                HTTPRequestEncoder(), ByteToMessageHandler(HTTPResponseDecoder(leftOverBytesStrategy: .dropBytes)),
                // A user's name may hold anything, and becomes a header.
                NIOHTTPRequestHeadersValidator(),
            ]
        }
        let channel = stream.channel
        let timer = channel.eventLoop.scheduleTask(in: amount) { channel.close(promise: nil) }
        defer { timer.cancel() }
        try await stream.executeThenClose { inbound, outbound in
            do {
                try await outbound.write(.head(head))
                if !body.isEmpty { try await outbound.write(.body(.byteBuffer(ByteBuffer(bytes: body)))) }
                try await outbound.write(.end(nil))
            } catch {
                throw UpstreamFault("the connection ended while the request was sent: \(error)")
            }
            var hasBegun = false
            var parts = inbound.makeAsyncIterator()
            reading: while true {
                let part: HTTPClientResponsePart?
                do { part = try await parts.next() } catch let error as HTTPParserError {
                    if error == .invalidEOFState { break reading }
                    throw UpstreamFault("the answer is not HTTP: \(error)")
                }
                switch part {
                case nil: break reading
                case .head(let head):
                    if head.status.code < 200 { continue }
                    if mayLast { timer.cancel() }
                    hasBegun = true
                    try await begin(head)
                case .body(let bytes): try await piece(bytes)
                case .end: return
                }
            }
            throw UpstreamFault(
                hasBegun ? "the connection ended before the answer did" : "the server did not answer in time")
        }
    }

    /// A whole answer of at most so many bytes.
    func collect(_ head: HTTPRequestHead, limit: Int) async throws -> (status: Int, bytes: [UInt8]) {
        var status = 0
        var bytes: [UInt8] = []
        try await run(head, [], mayLast: false) { head in
            status = Int(head.status.code)
        } piece: { piece in
            bytes.append(contentsOf: piece.readableBytesView)
            if bytes.count > limit { throw UpstreamFault("the answer is larger than \(limit) bytes") }
        }
        return (status, bytes)
    }

    /// The connection itself, for a request that leaves HTTP. It ends with `body`.
    func bytes(_ body: (any PodConnection) async throws -> Void) async throws {
        let stream: NIOAsyncChannel<ByteBuffer, ByteBuffer> = try await open { [] }
        let channel = stream.channel
        let timer = channel.eventLoop.scheduleTask(in: amount) { channel.close(promise: nil) }
        defer { timer.cancel() }
        try await stream.executeThenClose { inbound, outbound in
            try await body(UpstreamBytes(channel, inbound, outbound, untilFirst: timer))
        }
    }

    private var amount: TimeAmount { .milliseconds(limit.components.seconds * 1000) }

    private func open<Inbound: Sendable, Outbound: Sendable>(
        _ codecs: @escaping @Sendable () -> [any ChannelHandler]
    ) async throws -> NIOAsyncChannel<Inbound, Outbound> {
        typealias Stream = NIOAsyncChannel<Inbound, Outbound>
        let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
            .connectTimeout(amount)
        let (context, serverName, amount) = (context, serverName, amount)
        let wrap: @Sendable (any Channel) -> EventLoopFuture<Stream> = { channel in
            channel.eventLoop.makeCompletedFuture {
                let established = channel.eventLoop.makePromise(of: Certificate?.self)
                let session: TLSSession
                do { session = try TLSSession(context, serverName: serverName) } catch {
                    established.fail(error)
                    throw error
                }
                let handlers: [any ChannelHandler] = [
                    TLSHandler(session, established: established, timeLimit: amount)
                ]
                try channel.pipeline.syncOperations.addHandlers(handlers + codecs())
                return try Stream(wrappingChannelSynchronously: channel)
            }
        }
        switch place {
        case .machine(let host, let port):
            return try await bootstrap.connect(host: host, port: port, channelInitializer: wrap)
        case .cluster(let address, let port):
            guard let dialer else {
                return try await bootstrap.connect(host: address, port: port, channelInitializer: wrap)
            }
            let socket = try await dialer.connect(address: address, port: port, within: limit)
            return try await bootstrap.withConnectedSocket(socket, channelInitializer: wrap)
        }
    }
}

/// The bytes of a connection to another server.
///
/// `@unchecked Sendable`: one task reads.
private final class UpstreamBytes: PodConnection, @unchecked Sendable {
    private let channel: any Channel
    private var inbound: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    private let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    /// Runs until the server says something.
    private var timer: Scheduled<Void>?

    init(
        _ channel: any Channel, _ inbound: NIOAsyncChannelInboundStream<ByteBuffer>,
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>, untilFirst timer: Scheduled<Void>
    ) {
        self.timer = timer
        self.channel = channel
        self.inbound = inbound.makeAsyncIterator()
        self.outbound = outbound
    }

    func read() async throws -> [UInt8]? {
        let bytes = try await inbound.next().map { Array($0.readableBytesView) }
        timer?.cancel()
        timer = nil
        return bytes
    }
    func write(_ bytes: [UInt8]) async throws { try await outbound.write(ByteBuffer(bytes: bytes)) }
    func finishWriting() async { outbound.finish() }
    func close() async { try? await channel.close() }
}
