package import Logging
package import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
package import TLS

/// Answers one request. The response must be ended, or the connection is closed.
package typealias HTTPHandler = @Sendable (HTTPRequest, HTTPResponder) async -> Void

/// An HTTP server on sockets that are listening already: HTTP/1.1, and over TLS HTTP/2 where the client asks for it.
package final class HTTPServer: Sendable {
    package struct Configuration: Sendable {
        /// `nil` serves plain HTTP.
        package var tls: TLSContext?
        /// Connections without a request for this long are closed.
        package var idleLimit = TimeAmount.seconds(300)
        /// A request's body must have come within this time once it is being read.
        package var bodyLimit = TimeAmount.seconds(60)
        package init(tls: TLSContext? = nil) { self.tls = tls }
    }

    private struct State {
        var listeners: [any Channel] = []
        var connections: [ObjectIdentifier: any Channel] = [:]
        var isStopping = false
    }

    private let configuration: Configuration
    private let handler: HTTPHandler
    private let logger: Logger
    private let state = Mutex(State())

    package init(_ configuration: Configuration, logger: Logger = Logger(label: "http"), handler: @escaping HTTPHandler)
    {
        self.configuration = configuration
        self.logger = logger
        self.handler = handler
    }

    /// Takes over a listening TCP or Unix socket; it is closed with the server.
    package func listen(on descriptor: CInt) async throws {
        let bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try self.open(channel) }
            }
        let listener = try await bootstrap.withBoundSocket(descriptor).get()
        let isLate = state.withLock { state -> Bool in
            if !state.isStopping { state.listeners.append(listener) }
            return state.isStopping
        }
        if isLate { try await listener.close() }
    }

    /// Opens a TCP socket on an address of this machine, for servers that choose their own; returns its port.
    package func listen(host: String, port: Int) async throws -> Int {
        let bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try self.open(channel) }
            }
        let listener = try await bootstrap.bind(host: host, port: port).get()
        state.withLock { $0.listeners.append(listener) }
        return listener.localAddress?.port ?? port
    }

    private func open(_ channel: any Channel) throws {
        let id = ObjectIdentifier(channel)
        let isLate = state.withLock { state -> Bool in
            state.connections[id] = channel
            return state.isStopping
        }
        channel.closeFuture.whenComplete { _ in self.state.withLock { _ = $0.connections.removeValue(forKey: id) } }
        if isLate { channel.close(promise: nil) }
        let settings = ConnectionSettings(
            idleLimit: configuration.idleLimit, bodyLimit: configuration.bodyLimit, handler: handler)
        guard let tls = configuration.tls else {
            try Self.serve(channel, settings, certificate: nil, isHTTP2: false)
            return
        }
        let peer = channel.eventLoop.makePromise(of: Certificate?.self)
        let tlsHandler: TLSHandler
        do {
            tlsHandler = TLSHandler(try TLSSession(tls), established: peer)
            try channel.pipeline.syncOperations.addHandler(tlsHandler)
        } catch {
            peer.fail(error)
            throw error
        }
        let bound = NIOLoopBound(tlsHandler, eventLoop: channel.eventLoop)
        let logger = logger
        // The promise is kept on the loop, before the first plain bytes are handed on.
        peer.futureResult.whenComplete { outcome in
            do {
                let certificate = try outcome.get()
                let isHTTP2 = bound.value.applicationProtocol == "h2"
                try Self.serve(channel, settings, certificate: certificate, isHTTP2: isHTTP2)
            } catch {
                logger.debug("connection ended", metadata: ["reason": "\(error)"])
                channel.close(promise: nil)
            }
        }
    }

    private static func serve(
        _ channel: any Channel, _ settings: ConnectionSettings, certificate: Certificate?, isHTTP2: Bool
    ) throws {
        let pipeline = channel.pipeline.syncOperations
        let info = ConnectionInfo(certificate: certificate, remoteAddress: channel.remoteAddress)
        if isHTTP2 {
            try pipeline.addHandler(HTTP2Connection(settings, info, channel))
            return
        }
        try pipeline.addHandlers([
            ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .forwardBytes)),
            HTTP1Connection(settings, info, channel),
        ])
    }

    /// Stops listening, lets requests in work end, and ends what is open after `grace`.
    package func stop(grace: Duration = .zero) async {
        let listeners = state.withLock { state in
            state.isStopping = true
            defer { state.listeners = [] }
            return state.listeners
        }
        for listener in listeners { try? await listener.close() }
        if grace > .zero {
            for connection in state.withLock({ Array($0.connections.values) }) {
                connection.pipeline.fireUserInboundEventTriggered(DrainRequest())
            }
            let end = ContinuousClock.now + grace
            while .now < end, state.withLock({ !$0.connections.isEmpty }) {
                try? await Task.sleep(for: .milliseconds(5))
            }
        }
        for connection in state.withLock({ Array($0.connections.values) }) { try? await connection.close() }
    }
}
