import Glibc
import MeshControl
import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix
import ProxyResources
import Synchronization
import Transport

/// A proxy's end of an ADS stream, as the protocol has it: subscribes, acknowledges, keeps what it is told.
final class ADSClient: Sendable {
    struct Ended: Error { var trailers: [String: String] }

    private let connection: any Channel
    private let stream: any Channel
    private let inbox: Inbox

    final class Inbox: Sendable {
        struct Contents {
            var responses: [DeltaResponse] = []
            var trailers: [String: String]?
            var isClosed = false
        }
        let contents = Mutex(Contents())
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTP2Frame.FramePayload
        typealias OutboundOut = HTTP2Frame.FramePayload
        let inbox: Inbox
        var frames = GRPCFrames()
        init(_ inbox: Inbox) { self.inbox = inbox }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .headers(let headers):
                guard headers.endStream else { return }
                let pairs = headers.headers.map { ($0.name, $0.value) }
                inbox.contents.withLock { $0.trailers = Dictionary(pairs) { $1 } }
            case .data(let data):
                guard case .byteBuffer(let buffer) = data.data else { return }
                frames.append(buffer.readableBytesView)
                while let message = try? frames.next(), let response = try? DeltaResponse(protobuf: message) {
                    inbox.contents.withLock { $0.responses.append(response) }
                }
            default: break
            }
        }
        func channelInactive(context: ChannelHandlerContext) { inbox.contents.withLock { $0.isClosed = true } }
    }

    static func connect(
        _ path: String, group: any EventLoopGroup,
        call: String = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
    ) async throws -> ADSClient {
        let inbox = Inbox()
        // In the initializer: the server's first frames come as soon as the connection is there.
        let connection = try await ClientBootstrap(group: group)
            .channelInitializer { $0.configureHTTP2Pipeline(mode: .client) { $0.close() }.map { _ in } }
            .connect(unixDomainSocketPath: path).get()
        let opening = connection.pipeline.handler(type: HTTP2StreamMultiplexer.self).flatMap { multiplexer in
            let opened = connection.eventLoop.makePromise(of: (any Channel).self)
            multiplexer.createStreamChannel(promise: opened) { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Handler(inbox)) }
            }
            return opened.futureResult
        }
        let stream = try await opening.get()
        let headers = HPACKHeaders([
            (":method", "POST"), (":scheme", "http"), (":path", call), (":authority", "mesh"),
            ("content-type", "application/grpc"), ("te", "trailers"),
        ])
        try await stream.writeAndFlush(HTTP2Frame.FramePayload.headers(.init(headers: headers)))
        return ADSClient(connection, stream, inbox)
    }

    private init(_ connection: any Channel, _ stream: any Channel, _ inbox: Inbox) {
        self.connection = connection
        self.stream = stream
        self.inbox = inbox
    }

    func send(_ request: DeltaRequest) async throws { try await sendRaw(GRPCFrames.framed(request.protobuf)) }

    func sendRaw(_ bytes: [UInt8]) async throws {
        let buffer = stream.allocator.buffer(bytes: bytes)
        try await stream.writeAndFlush(HTTP2Frame.FramePayload.data(.init(data: .byteBuffer(buffer))))
    }

    func subscribe(_ kind: ProxyResource.Kind, held: [String: String] = [:]) async throws {
        var request = DeltaRequest()
        request.node = "test"
        request.typeURL = kind.rawValue
        request.initialVersions = held
        try await send(request)
    }

    func acknowledge(_ response: DeltaResponse, error: String? = nil) async throws {
        var request = DeltaRequest()
        request.typeURL = response.typeURL
        request.responseNonce = response.nonce
        request.errorDetail = error.map { DeltaError(code: 3, message: $0) }
        try await send(request)
    }

    /// The next response; throws when the call ended, or none came in time.
    func next() async throws -> DeltaResponse {
        var found: DeltaResponse?
        try await eventually("a response") {
            found = self.inbox.contents.withLock { $0.responses.isEmpty ? nil : $0.responses.removeFirst() }
            return found != nil || self.inbox.contents.withLock { $0.trailers != nil || $0.isClosed }
        }
        guard let found else { throw Ended(trailers: trailers ?? [:]) }
        return found
    }

    /// Takes and acknowledges responses until one of this kind that fulfils the condition has come.
    @discardableResult
    func next(_ kind: ProxyResource.Kind, where holds: (DeltaResponse) -> Bool = { _ in true }) async throws
        -> DeltaResponse
    {
        while true {
            let response = try await next()
            try await acknowledge(response)
            if response.typeURL == kind.rawValue, holds(response) { return response }
        }
    }

    var trailers: [String: String]? { inbox.contents.withLock { $0.trailers } }
    var isClosed: Bool { inbox.contents.withLock { $0.isClosed } }
    var pending: Int { inbox.contents.withLock { $0.responses.count } }

    func close() async { try? await connection.close() }
}

struct Late: Error, CustomStringConvertible {
    var description: String
}

/// Waits for a condition, looking often, for at most ten seconds.
func eventually(_ what: String, _ holds: () async throws -> Bool) async throws {
    for _ in 0..<12_000 {
        if try await holds() { return }
        try await Task.sleep(for: .milliseconds(5))
    }
    throw Late(description: "\(what) did not come in time")
}

/// A directory of a test's own, removed by `remove`.
func temporaryDirectory() -> String {
    var template = Array("/tmp/weft-mesh-XXXXXX".utf8CString)
    return template.withUnsafeMutableBufferPointer { space in
        guard let start = space.baseAddress, let made = mkdtemp(start) else { return "/tmp" }
        return String(cString: made)
    }
}

func remove(_ directory: String) {
    guard directory.hasPrefix("/tmp/weft-mesh-"), let listing = opendir(directory) else { return }
    while let entry = readdir(listing) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) { place in
            place.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name == "." || name == ".." { continue }
        if unlink("\(directory)/\(name)") != 0 { remove("\(directory)/\(name)") }
    }
    closedir(listing)
    rmdir(directory)
}
