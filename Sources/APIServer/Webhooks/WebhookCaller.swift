import Kernel
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import TLS
import Transport

/// Calls HTTPS servers outside the process: admission webhooks, conversion webhooks.
///
/// Connections are kept for the next call: few for each server, for a while. Every call ends in time, and no answer is read beyond its bound.
final class WebhookCaller: Sendable {
    private struct Kept {
        var connection: WebhookConnection
        var since: ContinuousClock.Instant
    }
    private struct State {
        var idle: [WebhookEndpoint: [Kept]] = [:]
        var contexts: [[UInt8]: TLSContext] = [:]
        var calls = 0
        /// Those whose idle connections will be looked at.
        var swept: Set<WebhookEndpoint> = []
    }

    /// Calls under way at the same time.
    private static let mostCalls = 512
    private static let mostIdleEach = 8
    private static let mostIdle = 128
    private static let idleLimit = Duration.seconds(60)
    /// Bytes of an answer.
    private static let bodyLimit = 8 << 20
    private static let mostContexts = 256

    private let dialer: (any ClusterDialer)?
    private let state = Mutex(State())

    init(dialer: (any ClusterDialer)?) { self.dialer = dialer }

    /// - Parameter limit: for all of it: connecting, asking, reading the answer.
    /// - Returns: an answer of any status.
    func post(
        _ endpoint: WebhookEndpoint, _ body: [UInt8], within limit: Duration
    ) async throws(WebhookFault) -> WebhookAnswer {
        let isBeyond = state.withLock { state -> Bool in
            if state.calls >= Self.mostCalls { return true }
            state.calls += 1
            return false
        }
        if isBeyond { throw WebhookFault("more than \(Self.mostCalls) webhook calls are under way") }
        defer { state.withLock { $0.calls -= 1 } }
        let deadline = ContinuousClock.now + limit
        do {
            if let kept = takeIdle(endpoint) {
                do {
                    return try await exchange(kept, endpoint, body, deadline)
                } catch let fault as WebhookFault where fault.isUnanswered {
                    // The server has closed it meanwhile; a fresh one is asked.
                }
            }
            let fresh = try await connect(endpoint, deadline)
            return try await exchange(fresh, endpoint, body, deadline)
        } catch let fault as WebhookFault {
            throw fault
        } catch ChannelError.connectTimeout {
            throw WebhookFault("context deadline exceeded: the server takes no connection")
        } catch {
            throw WebhookFault("\(error)")
        }
    }

    private func exchange(
        _ connection: WebhookConnection, _ endpoint: WebhookEndpoint, _ body: [UInt8],
        _ deadline: ContinuousClock.Instant
    ) async throws -> WebhookAnswer {
        var head = HTTPRequestHead(version: .http1_1, method: .POST, uri: endpoint.target)
        head.headers.add(name: "host", value: Self.hostHeader(endpoint))
        head.headers.add(name: "accept", value: "application/json")
        head.headers.add(name: "content-type", value: "application/json")
        head.headers.add(name: "content-length", value: "\(body.count)")
        head.headers.add(name: "user-agent", value: "weft-apiserver")
        let loop = connection.channel.eventLoop
        let call = WebhookCall(
            head: head, body: ByteBuffer(bytes: body), answer: loop.makePromise(of: WebhookAnswer.self))
        let answer = try await connection.send(call, within: Self.amount(deadline - ContinuousClock.now))
        if answer.isReusable { keep(connection, for: endpoint) } else { connection.channel.close(promise: nil) }
        return answer
    }

    private static func hostHeader(_ endpoint: WebhookEndpoint) -> String {
        let port =
            switch endpoint.place {
            case .machine(_, let port), .cluster(_, let port): port
            }
        let name = endpoint.serverName.contains(":") ? "[\(endpoint.serverName)]" : endpoint.serverName
        return port == 443 ? name : "\(name):\(port)"
    }

    private static func amount(_ duration: Duration) -> TimeAmount {
        let (seconds, attoseconds) = duration.components
        return .nanoseconds(max(1, seconds * 1_000_000_000 + attoseconds / 1_000_000_000))
    }

    // MARK: Connections

    private func takeIdle(_ endpoint: WebhookEndpoint) -> WebhookConnection? {
        state.withLock { state in
            while let kept = state.idle[endpoint]?.popLast() {
                if state.idle[endpoint]?.isEmpty == true { state.idle[endpoint] = nil }
                if kept.connection.channel.isActive, ContinuousClock.now - kept.since < Self.idleLimit {
                    return kept.connection
                }
                kept.connection.channel.close(promise: nil)
            }
            return nil
        }
    }

    private func keep(_ connection: WebhookConnection, for endpoint: WebhookEndpoint) {
        let (isKept, isFirst) = state.withLock { state -> (Bool, Bool) in
            let all = state.idle.values.reduce(0) { $0 + $1.count }
            guard all < Self.mostIdle, (state.idle[endpoint]?.count ?? 0) < Self.mostIdleEach else {
                return (false, false)
            }
            state.idle[endpoint, default: []].append(Kept(connection: connection, since: .now))
            return (true, state.swept.insert(endpoint).inserted)
        }
        if !isKept { connection.channel.close(promise: nil) }
        if isFirst { sweepLater(endpoint, connection.channel.eventLoop) }
    }

    private func sweepLater(_ endpoint: WebhookEndpoint, _ loop: any EventLoop) {
        loop.scheduleTask(in: Self.amount(Self.idleLimit)) { self.sweep(endpoint, loop) }
    }

    private func sweep(_ endpoint: WebhookEndpoint, _ loop: any EventLoop) {
        let (old, isDone) = state.withLock { state -> ([Kept], Bool) in
            let all = state.idle[endpoint] ?? []
            let limit = ContinuousClock.now - Self.idleLimit
            let stays = all.filter { $0.since > limit && $0.connection.channel.isActive }
            state.idle[endpoint] = stays.isEmpty ? nil : stays
            if stays.isEmpty { state.swept.remove(endpoint) }
            return (all.filter { $0.since <= limit || !$0.connection.channel.isActive }, stays.isEmpty)
        }
        for kept in old { kept.connection.channel.close(promise: nil) }
        if !isDone { sweepLater(endpoint, loop) }
    }

    /// Closes what is kept.
    func close() {
        let all = state.withLock { state in
            defer { state.idle = [:] }
            return state.idle.values.flatMap { $0 }
        }
        for kept in all { kept.connection.channel.close(promise: nil) }
    }

    private func connect(
        _ endpoint: WebhookEndpoint, _ deadline: ContinuousClock.Instant
    ) async throws -> WebhookConnection {
        let context = try self.context(endpoint.trust)
        let limit = deadline - ContinuousClock.now
        let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
            .connectTimeout(Self.amount(limit))
        let ready: @Sendable (any Channel) -> EventLoopFuture<Void> = { channel in
            channel.eventLoop.makeCompletedFuture { try Self.addHandlers(to: channel, context, endpoint, limit) }
        }
        let channel: any Channel
        switch endpoint.place {
        case .machine(let host, let port):
            channel = try await bootstrap.channelInitializer(ready).connect(host: host, port: port).get()
        case .cluster(let address, let port):
            if let dialer {
                let socket = try await dialer.connect(address: address, port: port, within: limit)
                channel = try await bootstrap.channelInitializer(ready).withConnectedSocket(socket).get()
            } else {
                channel = try await bootstrap.channelInitializer(ready).connect(host: address, port: port).get()
            }
        }
        return WebhookConnection(channel: channel)
    }

    private static func addHandlers(
        to channel: any Channel, _ context: TLSContext, _ endpoint: WebhookEndpoint, _ limit: Duration
    ) throws {
        let established = channel.eventLoop.makePromise(of: Certificate?.self)
        let session: TLSSession
        do { session = try TLSSession(context, serverName: endpoint.serverName) } catch {
            established.fail(error)
            throw error
        }
        try channel.pipeline.syncOperations.addHandlers([
            TLSHandler(session, established: established, timeLimit: amount(limit)), HTTPRequestEncoder(),
            ByteToMessageHandler(HTTPResponseDecoder(leftOverBytesStrategy: .dropBytes)),
            WebhookExchange(bodyLimit: bodyLimit),
        ])
    }

    /// The TLS side of all servers with the same authorities.
    private func context(_ trust: [UInt8]) throws -> TLSContext {
        if let known = state.withLock({ $0.contexts[trust] }) { return known }
        let roots: [Certificate]
        if trust.isEmpty {
            roots = try Certificate.bundle(pem: Self.machineRoots())
        } else {
            do { roots = try Certificate.bundle(pem: trust) } catch {
                throw WebhookFault("unable to load root certificates: the caBundle holds no certificate in PEM")
            }
        }
        let made = try TLSContext(.client, .client(roots: roots))
        state.withLock { state in
            if state.contexts.count >= Self.mostContexts { state.contexts = [:] }
            state.contexts[trust] = made
        }
        return made
    }

    /// Whom the machine trusts, PEM.
    static func machineRoots() throws(WebhookFault) -> [UInt8] {
        let path = "/etc/ssl/certs/ca-certificates.crt"
        do throws(SystemCallFailed) { return try SmallFile.read(path) } catch {
            throw WebhookFault("there is no caBundle, and whom this machine trusts cannot be read: \(error)")
        }
    }
}
