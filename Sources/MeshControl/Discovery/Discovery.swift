import Glibc
package import KubeTypes
package import Logging
package import MeshModel
package import NIOCore
import NIOHTTP2
import NIOPosix
import ProxyResources
import Synchronization
import Transport
import Wire

/// The ADS server. Each pod has its own Unix socket, so the socket says who asks; nothing a client sends is believed about that.
package final class Discovery: Sendable {
    private struct Socket {
        var pod: ObjectKey
        var node: String
        var path: String
        var channel: any Channel
    }

    private struct Session {
        var podUID: String
        var call: NIOLoopBound<ADSCall>
        var loop: any EventLoop
        var since: Timestamp
        var node = ""
        var types: [DeltaStream.TypeStatus] = []
        var acknowledged = 0
        var demands: [String]?
        var absent: [String] = []
    }

    private struct State {
        var sockets: [String: Socket] = [:]  // by pod UID
        var sessions: [Int: Session] = [:]
        var lastSession = 0
        var model = MeshModel()
        var generation = 0  // 0: no model yet, nothing is sent
        var encoded = SharedResources()
        var counters = DiscoveryCounters()
    }

    private let group: any EventLoopGroup
    private let issuer: IdentityIssuer
    private let logger: Logger
    let quota: QuotaDesk
    private let state = Mutex(State())

    package init(group: any EventLoopGroup, issuer: IdentityIssuer, logger: Logger) {
        self.group = group
        self.issuer = issuer
        self.logger = logger
        quota = QuotaDesk(group: group)
    }

    // MARK: Sockets

    /// Serves a pod on `<directory>/mesh.sock` and lets it have an identity. Opening what is open already changes nothing.
    package func open(pod: KubeObject, directory: String) async throws {
        let path = "\(directory)/mesh.sock"
        let (uid, key) = (pod.uid, pod.key)
        if state.withLock({ $0.sockets[uid]?.path == path }) { return }
        guard path.utf8.count < 108 else {
            throw DiscoveryFailure(subject: path, message: "is longer than a Unix socket's name may be (107 bytes)")
        }
        await close(podUID: uid)
        if mkdir(directory, 0o755) != 0, errno != EEXIST {
            throw DiscoveryFailure(subject: directory, message: "cannot be made: \(String(cString: strerror(errno)))")
        }
        let channel = try await ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 16)
            .childChannelOption(.writeBufferWaterMark, value: GRPCFrames.waterMark)
            .childChannelInitializer { [self] channel in
                channel.configureHTTP2Pipeline(mode: .server) { stream in
                    stream.eventLoop.makeCompletedFuture {
                        try stream.pipeline.syncOperations.addHandler(
                            ProxyCallStream { path throws(GRPCFrames.Fault) in
                                try self.call(path, podUID: uid, pod: key)
                            })
                    }
                }.map { _ in }
            }
            .bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
        // The proxy's user, and nobody else, may connect.
        if chown(path, Self.proxyUser, Self.proxyUser) != 0 || chmod(path, 0o600) != 0 {
            let reason = String(cString: strerror(errno))
            try? await channel.close()
            throw DiscoveryFailure(subject: path, message: "cannot be given to user \(Self.proxyUser): \(reason)")
        }
        issuer.admit(pod)
        let socket = Socket(pod: pod.key, node: pod.spec["nodeName"]?.string ?? "", path: path, channel: channel)
        let older = state.withLock { state in
            let older = state.sockets[uid]
            state.sockets[uid] = socket
            return older
        }
        try? await older?.channel.close()
    }

    /// Ends the pod's connections and forgets its key.
    package func close(podUID: String) async {
        let socket = state.withLock { $0.sockets.removeValue(forKey: podUID) }
        issuer.dismiss(podUID: podUID)
        guard let socket else { return }
        try? await socket.channel.close()
        unlink(socket.path)
        let sessions = state.withLock { state in state.sessions.values.filter { $0.podUID == podUID } }
        for session in sessions { session.loop.execute { session.call.value.disconnect() } }
        quota.close(podUID: podUID)
    }

    package func shutdown() async {
        for uid in state.withLock({ Array($0.sockets.keys) }) { await close(podUID: uid) }
    }

    static let proxyUser: uid_t = 1337

    // MARK: Publishing

    /// The newest generation made; 0 before the first.
    package var generation: Int { state.withLock { $0.generation } }

    /// Tells every proxy what has changed for it.
    package func publish(_ model: MeshModel) {
        // First, so that no proxy asks for a budget before it is there.
        quota.publish(model)
        let sessions = state.withLock { state in
            state.model = model
            state.generation += 1
            state.encoded.replace(model)
            state.encoded.keep(namespaces: Set(state.sockets.values.map(\.pod.namespace)))
            return Array(state.sessions)
        }
        for (_, session) in sessions { push(to: session) }
    }

    /// Sends new certificates to those whose old ones are beyond half their life.
    package func renewIdentities() {
        let due = Set(issuer.due())
        let sessions = state.withLock { state in state.sessions.values.filter { due.contains($0.podUID) } }
        for session in sessions { push(to: session) }
    }

    /// The snapshot is made on the proxy's loop, so a later one never comes before an earlier one.
    private func push(to session: Session) {
        session.loop.execute { session.call.value.refresh() }
    }

    /// `nil` while there is no model, or it does not know the pod yet: an empty answer would take away what the proxy holds.
    ///
    /// - Parameter demands: what the proxy asked for; `nil` for one that does not ask. It is called on the proxy's loop.
    func snapshot(podUID: String, demands: Set<String>?) -> Snapshot? {
        let found: Snapshot? = state.withLock { state in
            guard state.generation > 0, let pod = state.sockets[podUID]?.pod, let workload = state.model.workloads[pod]
            else { return nil }
            let shared = state.encoded.resources(for: workload, demands: demands)
            var snapshot = Snapshot(generation: state.generation, resources: shared)
            snapshot.set(VersionedResource(.workload(workload)), .workload)
            return snapshot
        }
        guard var snapshot = found else { return nil }
        do {
            snapshot.set(VersionedResource(.identity(try issuer.identity(podUID: podUID))), .identity)
        } catch {
            logger.error("no identity: \(error)")
            return nil
        }
        return snapshot
    }

    /// Whether every connected proxy has answered to a generation, or to one after it, and those of the given pods are connected.
    package func haveAnswered(_ generation: Int, with podUIDs: Set<String> = []) -> Bool {
        state.withLock { state in
            var missing = podUIDs
            for session in state.sessions.values {
                guard session.types.allSatisfy({ $0.answeredGeneration >= generation }) else { return false }
                if !session.types.isEmpty { missing.remove(session.podUID) }
            }
            return missing.isEmpty
        }
    }

    // MARK: Streams, called on their event loops

    private func call(_ path: String, podUID: String, pod: ObjectKey) throws(GRPCFrames.Fault) -> any ProxyCall {
        switch path {
        case ADSCall.path: return ADSCall(self, podUID: podUID)
        case QuotaReport.path.description: return QuotaCall(quota, podUID: podUID, pod: pod)
        default:
            throw GRPCFrames.Fault(
                status: .unimplemented,
                message: "\(path) is not served here: only \(ADSCall.path) and \(QuotaReport.path)")
        }
    }

    /// A proxy has one stream, and for a moment two; one that opens more and more is turned away.
    private static let mostStreams = 8

    /// The session's number, or `nil` when the pod has too many streams or is gone.
    func join(podUID: String, _ call: ADSCall, _ loop: any EventLoop) -> Int? {
        let bound = NIOLoopBound(call, eventLoop: loop)
        let session = Session(podUID: podUID, call: bound, loop: loop, since: .now())
        let number: Int? = state.withLock { state in
            let open = state.sessions.values.count { $0.podUID == podUID }
            guard state.sockets[podUID] != nil, open < Self.mostStreams else { return nil }
            state.lastSession += 1
            state.sessions[state.lastSession] = session
            state.counters.connections += 1
            return state.lastSession
        }
        // After the caller has its number.
        if number != nil { loop.execute { self.push(to: session) } }
        return number
    }

    func leave(_ number: Int) { state.withLock { $0.sessions[number] = nil } }

    func note(_ number: Int, _ stream: DeltaStream, sent: [DeltaResponse]) {
        let (node, types, acknowledged) = (stream.node, stream.status, stream.acknowledgedGeneration)
        let demands = stream.answeredDemands
        let refusal: String? = state.withLock { state in
            guard var session = state.sessions[number] else { return nil }
            let refusal = types.first { type in
                type.lastRejection != nil
                    && type.lastRejection != session.types.first { $0.kind == type.kind }?.lastRejection
            }
            session.node = node
            session.types = types
            session.acknowledged = acknowledged
            (session.demands, session.absent) = demands
            state.sessions[number] = session
            state.counters.pushes += sent.count
            state.counters.resourcesSent += sent.reduce(0) { $0 + $1.resources.count }
            state.counters.rejections += refusal == nil ? 0 : 1
            let pod = state.sockets[session.podUID]?.pod.description ?? session.podUID
            return refusal.map { "proxy \(pod) refused \($0.kind.word): \($0.lastRejection?.message ?? "")" }
        }
        if let refusal { logger.warning("\(refusal)") }
    }

    // MARK: Seeing

    package var counters: DiscoveryCounters { state.withLock { $0.counters } }

    /// Every pod with a socket, connected or not.
    package func statuses() -> [ProxyStatus] {
        state.withLock { state in
            state.sockets.sorted { ($0.value.pod, $0.key) < ($1.value.pod, $1.key) }.map { uid, socket in
                // A proxy that reconnects may have two streams for a moment: the newest counts.
                let session = state.sessions.filter { $0.value.podUID == uid }.max { $0.key < $1.key }?.value
                return ProxyStatus(
                    pod: socket.pod, podUID: uid, node: socket.node, connectedSince: session?.since,
                    proxy: session?.node ?? "", generation: state.generation,
                    acknowledgedGeneration: session?.acknowledged ?? 0, types: session?.types ?? [],
                    isOnDemand: state.model.workloads[socket.pod]?.loading.mode == .onDemand,
                    destinations: session?.demands ?? [], absent: session?.absent ?? [])
            }
        }
    }
}

package struct DiscoveryCounters: Sendable, Hashable {
    package var connections = 0
    package var pushes = 0
    package var resourcesSent = 0
    package var rejections = 0
}

package struct DiscoveryFailure: Error, Sendable, Hashable, CustomStringConvertible {
    package var subject: String
    package var message: String
    package var description: String { "\(subject) \(message)" }
}
