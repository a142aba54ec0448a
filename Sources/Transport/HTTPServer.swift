package import Logging
package import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
package import TLS

/// Answers one request. The response must be ended, or the connection is closed.
package typealias HTTPHandler = @Sendable (HTTPRequest, HTTPResponder) async -> Void

/// An HTTP/1.1 server on sockets that are listening already.
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
        let peer = channel.eventLoop.makePromise(of: Certificate?.self)
        let wrapped: ServerConnection.Stream
        do {
            wrapped = try addHandlers(to: channel, peer)
        } catch {
            peer.fail(error)
            throw error
        }
        let id = ObjectIdentifier(channel)
        let isLate = state.withLock { state -> Bool in
            state.connections[id] = channel
            return state.isStopping
        }
        channel.closeFuture.whenComplete { _ in self.state.withLock { _ = $0.connections.removeValue(forKey: id) } }
        if isLate { channel.close(promise: nil) }
        let task = Task {
            do {
                let certificate: Certificate?
                do {
                    certificate = try await peer.futureResult.get()
                } catch {
                    // The stream must be opened and closed even where nothing will ever travel on it.
                    try? await wrapped.executeThenClose { _, _ in }
                    throw error
                }
                let connection = ServerConnection(
                    stream: wrapped, certificate: certificate, idleLimit: self.configuration.idleLimit,
                    bodyLimit: self.configuration.bodyLimit, handler: self.handler)
                try await connection.serve()
            } catch {
                self.logger.debug("connection ended", metadata: ["reason": "\(error)"])
                channel.close(promise: nil)
            }
        }
        channel.closeFuture.whenComplete { _ in task.cancel() }
    }

    private func addHandlers(
        to channel: any Channel, _ peer: EventLoopPromise<Certificate?>
    ) throws -> ServerConnection.Stream {
        let pipeline = channel.pipeline.syncOperations
        if let tls = configuration.tls {
            try pipeline.addHandler(TLSHandler(try TLSSession(tls), established: peer))
        } else {
            peer.succeed(nil)
        }
        try pipeline.addHandlers([
            HTTPResponseEncoder(), ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .forwardBytes)),
            HTTPEnd<HTTPServerRequestPart, HTTPServerResponsePart>(),
        ])
        return try ServerConnection.Stream(wrappingChannelSynchronously: channel)
    }

    /// Stops listening, then ends the open connections, those with a request in work too.
    package func stop() async {
        let (listeners, connections) = state.withLock { state in
            state.isStopping = true
            defer { state.listeners = [] }
            return (state.listeners, Array(state.connections.values))
        }
        for listener in listeners { try? await listener.close() }
        for connection in connections { try? await connection.close() }
    }
}
