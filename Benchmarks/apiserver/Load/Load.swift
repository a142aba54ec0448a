import ArgumentParser
import Glibc
import KubeClient
import NIOCore
import NIOPosix
import Synchronization
import TLS
import Transport
import Wire

/// Asks an API server for one kind of thing as fast as it answers, over HTTP/2 with a client's certificate.
///
/// Prints one JSON object: requests, errors, seconds, and the times of answers.
@main
struct Load: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "apiserver-load", abstract: "Load for an API server.")

    enum Mode: String, ExpressibleByArgument { case create, get, list, watch }

    @Argument(help: "A kubeconfig with a client certificate.") var kubeconfig: String
    @Argument(help: "create, get, list or watch.") var mode: Mode
    @Option(help: "Connections, each with one request at a time.") var clients = 64
    @Option(help: "How many requests in all; for watch, how many writes.") var count = 10_000
    @Option(help: "The namespace of the pods.") var namespace = "bench"
    @Option(help: "How many pods there are to get.") var pods = 10_000
    @Option(help: "Watches, spread over the connections.") var watches = 1000
    @Option(help: "Writes a second while watching.") var rate = 100

    func run() async throws {
        signal(SIGPIPE, SIG_IGN)
        let file = try KubeconfigFile.load(kubeconfig)
        let identity = try file.tlsConfiguration(applicationProtocols: ["h2"])
        let target = LoadTarget(host: file.host, port: Int(file.port), tls: try TLSContext(.client, identity))
        switch mode {
        case .create, .get, .list:
            let source = RequestSource(mode: mode, count: count, namespace: namespace, pods: pods)
            let began = LoadConnection.now()
            try await target.run(source, clients: clients)
            print(source.report(seconds: Double(LoadConnection.now() - began) / 1e9).text)
        case .watch: print(try await watch(target).text)
        }
    }

    /// Opens the watches, then writes at a fixed rate; each event tells when it was written.
    private func watch(_ target: LoadTarget) async throws -> JSON {
        let watchers = WatchSource(count: watches, namespace: namespace)
        let width = (watches + clients - 1) / clients
        let reading = Task { try await target.run(watchers, clients: clients, width: width) }
        // All are to be there before the first write.
        for _ in 0..<600 where watchers.asked.load(ordering: .relaxed) < watches {
            try await Task.sleep(for: .milliseconds(100))
        }
        try await Task.sleep(for: .seconds(2))
        let writer = RequestSource(
            mode: .create, count: count, namespace: namespace, pods: pods,
            // Other names in each run: what is there already makes no event.
            prefix: "event-\(LoadConnection.now())")
        try await target.run(writer, clients: 4, pause: .milliseconds(Int64(4000 / rate)))
        // Late ones count too.
        for _ in 0..<200 where watchers.came.load(ordering: .relaxed) < count * watches {
            try await Task.sleep(for: .milliseconds(50))
        }
        let report = watchers.report(of: writer)
        reading.cancel()
        return report
    }
}

struct LoadTarget: Sendable {
    let host: String
    let port: Int
    let tls: TLSContext

    /// Runs until the source has nothing more to ask. All connections are on one loop, so sources need no lock.
    func run(_ source: any LoadSource & Sendable, clients: Int, width: Int = 1, pause: TimeAmount? = nil) async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let loop = group.next()
        var connections: [(any Channel, EventLoopFuture<Void>)] = []
        for _ in 0..<clients {
            let ended = loop.makePromise(of: Void.self)
            let channel = try await ClientBootstrap(group: loop)
                .channelOption(.socketOption(.tcp_nodelay), value: 1)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let peer = channel.eventLoop.makePromise(of: Certificate?.self)
                        let connection = LoadConnection(
                            source, host: "\(host):\(port)", width: width, pause: pause, ended: ended)
                        try channel.pipeline.syncOperations.addHandlers([
                            TLSHandler(try TLSSession(tls, serverName: host), established: peer), connection,
                        ])
                        let bound = NIOLoopBound(connection, eventLoop: channel.eventLoop)
                        peer.futureResult.whenSuccess { _ in bound.value.start() }
                    }
                }
                .connect(host: host, port: port).get()
            connections.append((channel, ended.futureResult))
        }
        try await withTaskCancellationHandler {
            for (_, ended) in connections { try await ended.get() }
        } onCancel: { [connections] in
            for (channel, _) in connections { channel.close(promise: nil) }
        }
    }
}
