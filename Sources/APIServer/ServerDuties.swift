import Glibc
import KubeClient
import KubeTypes
import Logging
import Synchronization

/// The work beside requests that one server does for all who share a store: the one that holds a Lease. Where the store is its
/// server's own, that server does it at once.
///
/// Every duty is also right when two do it for a moment: what they write is guarded by what they saw.
final class ServerDuties: Sendable {
    /// Begins a duty; the tasks end when they are cancelled.
    typealias Duty = @Sendable () throws(APIFailure) -> [Task<Void, Never>]

    static let lease = ObjectKey(namespace: "kube-system", name: "weft-apiserver")

    private struct State {
        var duties: [Duty] = []
        var tasks: [Task<Void, Never>] = []
    }
    private let state = Mutex(State())
    private let logger: Logger

    init(logger: Logger) { self.logger = logger }

    /// Before `start`.
    func add(_ duty: @escaping Duty) { state.withLock { $0.duties.append(duty) } }

    /// - Parameter api: what the Lease is written through; `nil` where nobody shares the store.
    func start(sharedBy api: (any KubeAPI)?) throws(APIFailure) {
        let duties = state.withLock { $0.duties }
        guard let api else {
            var tasks: [Task<Void, Never>] = []
            for duty in duties { tasks += try duty() }
            let begun = tasks
            state.withLock { $0.tasks = begun }
            return
        }
        let elector = LeaderElector(api, Self.lease, identity: Self.identity(), logger: logger)
        let logger = logger
        let candidate = Task {
            while !Task.isCancelled {
                await elector.lead { await Self.perform(duties, logger) }
            }
        }
        state.withLock { $0.tasks = [candidate] }
    }

    /// Ends with the duties, too: what every server does for itself.
    func keep(_ task: Task<Void, Never>) { state.withLock { $0.tasks.append(task) } }

    /// Ends the duties, and gives the lead up. Call while the store still takes writes.
    func stop() async {
        let tasks = state.withLock { state in
            defer { state.tasks = [] }
            return state.tasks
        }
        for task in tasks { task.cancel() }
        for task in tasks { await task.value }
    }

    /// Until cancelled.
    private static func perform(_ duties: [Duty], _ logger: Logger) async {
        var tasks: [Task<Void, Never>] = []
        for duty in duties {
            do throws(APIFailure) { tasks += try duty() } catch {
                logger.warning("a duty of the leading server did not begin", metadata: ["why": "\(error)"])
            }
        }
        while !Task.isCancelled { try? await Task.sleep(for: .seconds(3600)) }
        for task in tasks { task.cancel() }
        for task in tasks { await task.value }
    }

    /// Of this server in this run of it.
    private static func identity() -> String {
        var name = [CChar](repeating: 0, count: 256)
        gethostname(&name, name.count - 1)
        let host = String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        return "\(host)_\(ObjectIdentity.newUID())"
    }
}
