import NIOCore
import Synchronization
import Transport

/// Asks whichever member of an etcd cluster answers; one that does not is left for the next.
final class EtcdClient: Sendable {
    private struct State {
        var connection: GRPCConnection?
        /// The endpoint to try first.
        var next = 0
        /// Those who wait for the connection that is being made.
        var opening: Task<GRPCConnection, any Error>?
        var isClosed = false
    }

    private let configuration: EtcdConfiguration
    private let state = Mutex(State())

    init(_ configuration: EtcdConfiguration) { self.configuration = configuration }

    func close() {
        let connection = state.withLock { state in
            state.isClosed = true
            return state.connection
        }
        connection?.close()
    }

    /// How an answer came about.
    struct Answer {
        let bytes: [UInt8]
        /// An earlier attempt ended without an answer: what was asked may have been done twice.
        let isRepeated: Bool
    }

    /// Asks until somebody answers, for as long as the configuration has patience.
    func ask(_ path: String, _ message: [UInt8], patience: Duration? = nil) async throws(StoreFailure) -> Answer {
        let deadline = ContinuousClock.now + (patience ?? configuration.patience)
        var isRepeated = false
        var pause = Duration.milliseconds(10)
        while true {
            var used: GRPCConnection?
            do throws(GRPCFrames.Fault) {
                let connection = try await connection()
                used = connection
                let left: Duration = min(max(deadline - ContinuousClock.now, .milliseconds(50)), .seconds(5))
                let limit = TimeAmount.milliseconds(Int64(left / .milliseconds(1)))
                return Answer(bytes: try await connection.ask(path, message, within: limit), isRepeated: isRepeated)
            } catch {
                if state.withLock({ $0.isClosed }) { throw .closed }
                guard Self.isPassing(error) else { throw Self.failure(error) }
                if let used {
                    isRepeated = true
                    leave(used)
                }
                guard ContinuousClock.now + pause < deadline, !Task.isCancelled else {
                    throw .unavailable("etcd does not answer: \(error.message)")
                }
                try? await Task.sleep(for: pause)
                pause = min(pause * 2, .milliseconds(500))
            }
        }
    }

    /// Whether another member, or the same a little later, may well answer.
    private static func isPassing(_ fault: GRPCFrames.Fault) -> Bool {
        switch fault.status {
        case .unavailable, .deadlineExceeded, .cancelled, .aborted, .internalError: true
        // etcd says so when too many requests wait for their turn.
        case .resourceExhausted: fault.message.contains("too many requests")
        default: false
        }
    }

    /// Numbers that the message does not say are 0.
    private static func failure(_ fault: GRPCFrames.Fault) -> StoreFailure {
        switch fault.status {
        case .notFound where fault.message.contains("lease not found"): return .leaseMissing(0)
        case .outOfRange where fault.message.contains("has been compacted"): return .expired(asked: 0, oldest: 0)
        case .outOfRange where fault.message.contains("future revision"): return .future(asked: 0, latest: 0)
        case .resourceExhausted where fault.message.contains("database space exceeded"):
            return .unavailable(
                "etcd has reached its space quota and takes no writes: compact and defragment it, then disarm its alarm"
            )
        default: return .unusable("etcd: \(fault.message)")
        }
    }

    /// The connection in use, or a new one to the first endpoint that lets us.
    func connection() async throws(GRPCFrames.Fault) -> GRPCConnection {
        let opening = state.withLock { state -> Result<GRPCConnection, GRPCFrames.Fault>? in
            if state.isClosed { return .failure(.init(status: .cancelled, message: "the store is closed")) }
            if let connection = state.connection, connection.isOpen { return .success(connection) }
            if state.opening == nil { state.opening = Task { try await self.open() } }
            return nil
        }
        if let opening { return try opening.get() }
        let task = state.withLock { state in state.opening ?? Task { try await self.open() } }
        do { return try await task.value } catch let fault as GRPCFrames.Fault { throw fault } catch {
            throw .init(status: .unavailable, message: "\(error)")
        }
    }

    private func open() async throws -> GRPCConnection {
        var last = GRPCFrames.Fault(status: .unavailable, message: "no endpoint")
        defer { state.withLock { $0.opening = nil } }
        let first = state.withLock { $0.next }
        for offset in configuration.endpoints.indices {
            let place = (first + offset) % configuration.endpoints.count
            do throws(GRPCFrames.Fault) {
                let connection = try await GRPCConnection.open(
                    configuration.endpoints[place], tls: configuration.tls, limit: .seconds(2))
                let isClosed = state.withLock { state in
                    state.connection = connection
                    state.next = place
                    return state.isClosed
                }
                if isClosed { connection.close() }
                return connection
            } catch {
                last = error
            }
        }
        throw last
    }

    /// Gives a connection up and goes on with the next endpoint. Calls under way on it end as failed.
    func leave(_ connection: GRPCConnection) {
        let isCurrent = state.withLock { state in
            guard state.connection === connection else { return false }
            state.connection = nil
            state.next = (state.next + 1) % max(1, configuration.endpoints.count)
            return true
        }
        if isCurrent { connection.close() }
    }
}
