import Logging
import NIOCore
import Synchronization
import Transport
import Wire

/// Keeps memory as etcd is: reads all once, then follows one watch over everything, from member to member.
///
/// How far it is, only events say. (A member may answer how far its watch is before it has sent the events up to there.)
final class EtcdFeed: Sendable {
    private static let watchPath = "/etcdserverpb.Watch/Watch"
    static let rangePath = "/etcdserverpb.KV/Range"
    private static let pageSize: Int64 = 500
    /// A watch's member is asked for a sign of life so often, and left when it gave none for so long.
    private static let signInterval = Duration.seconds(3)
    private static let silenceLimit = Duration.seconds(10)

    private struct Waiter {
        var revision: Int64
        var deadline: ContinuousClock.Instant
        var answer: UnsafeContinuation<Bool, Never>
    }

    private struct State {
        var waiters: [Waiter] = []
        /// Of a revision whose events have not all come.
        var pending: [EtcdWatchResponse.Event] = []
        var heard = ContinuousClock.now
        var stream: GRPCStream?
        var isClosed = false
    }

    /// How a watch came to its end.
    private enum End: Sendable { case broken(String), compacted }

    let memory: Memory
    private let client: EtcdClient
    private let configuration: EtcdConfiguration
    private let logger: Logger
    private let state = Mutex(State())
    private let tasks = Mutex<[Task<Void, Never>]>([])

    private init(_ memory: Memory, _ client: EtcdClient, _ configuration: EtcdConfiguration, _ logger: Logger) {
        self.memory = memory
        self.client = client
        self.configuration = configuration
        self.logger = logger
    }

    static func start(
        _ client: EtcdClient, _ configuration: EtcdConfiguration, _ logger: Logger
    ) async throws(StoreFailure) -> EtcdFeed {
        let (index, revision) = try await load(client, configuration)
        let memory = Memory(history: history(configuration, revision), index: index, revision: revision)
        let feed = EtcdFeed(memory, client, configuration, logger)
        feed.tasks.withLock { tasks in
            tasks = [Task { await feed.follow() }, Task { await feed.tick() }]
        }
        return feed
    }

    func close() {
        for task in tasks.withLock({ $0 }) { task.cancel() }
        let (waiters, stream) = state.withLock { state in
            state.isClosed = true
            defer { state.waiters = [] }
            return (state.waiters, state.stream)
        }
        stream?.close()
        for waiter in waiters { waiter.answer.resume(returning: false) }
    }

    // MARK: Reading all

    private static func history(_ configuration: EtcdConfiguration, _ revision: Int64) -> History {
        var limit = History.Limit()
        limit.events = configuration.historyEvents
        return History(limit: limit, horizon: revision)
    }

    private static func load(
        _ client: EtcdClient, _ configuration: EtcdConfiguration
    ) async throws(StoreFailure) -> (OrderedIndex, Int64) {
        let prefix = Array(configuration.prefix.utf8)
        while true {
            var index = OrderedIndex()
            var range = EtcdRequest.Range(key: prefix, end: prefix.prefixEnd, limit: pageSize)
            do throws(StoreFailure) {
                while true {
                    let answer = try await client.ask(rangePath, range.bytes)
                    let page = try decoded { () throws(ProtobufFault) in try EtcdRangeResponse(answer.bytes) }
                    if range.revision == 0 { range.revision = page.revision }
                    for record in page.records { index.put(record.record) }
                    guard page.more, let last = page.records.last else { return (index, range.revision) }
                    range.key = last.key + [0]
                }
            } catch {
                // Compacted while we read it page by page: the next pages are of another revision, so begin again.
                guard case .expired = error else { throw error }
            }
        }
    }

    static func decoded<Value>(_ decode: () throws(ProtobufFault) -> Value) throws(StoreFailure) -> Value {
        do throws(ProtobufFault) { return try decode() } catch {
            throw .unusable("etcd's answer cannot be read: \(error)")
        }
    }

    // MARK: Following

    private func follow() async {
        var pause = Duration.milliseconds(20)
        while !Task.isCancelled {
            let began = ContinuousClock.now
            let end = await watchOnce()
            if Task.isCancelled || state.withLock({ $0.isClosed }) { return }
            if case .compacted = end {
                logger.warning("etcd has compacted what came next: all is read anew, watches start over")
                await reload()
                continue
            }
            if case .broken(let why) = end {
                logger.notice("the watch of etcd ended and begins again", metadata: ["reason": "\(why)"])
            }
            pause = ContinuousClock.now - began > .seconds(5) ? .milliseconds(20) : min(pause * 2, .seconds(1))
            try? await Task.sleep(for: pause)
        }
    }

    /// One watch, from where memory is to its end.
    private func watchOnce() async -> End {
        do {
            // Also tells a cluster that was put back to an earlier state.
            if try await latestRevision() < memory.state.withLock({ $0.revision }) {
                logger.warning("etcd is at an earlier revision than before: all is read anew, watches start over")
                await reload()
            }
            let connection = try await client.connection()
            let from = memory.state.withLock { $0.revision } + 1
            let prefix = Array(configuration.prefix.utf8)
            let (ends, ending) = AsyncStream.makeStream(of: End.self)
            state.withLock { state in
                state.pending = []
                state.heard = .now
            }
            let stream = try await connection.call(
                Self.watchPath, metadata: [("hasleader", "true")],
                first: EtcdRequest.watch(key: prefix, end: prefix.prefixEnd, from: from)
            ) { [self] message in
                if let end = receive(message) {
                    ending.yield(end)
                    ending.finish()
                }
            } ended: { fault in
                ending.yield(.broken(fault?.message ?? "the member ended it"))
                ending.finish()
            }
            state.withLock { $0.stream = stream }
            var end = End.broken("the store is closed")
            for await found in ends { end = found; break }
            state.withLock { $0.stream = nil }
            stream.close()
            if case .broken = end { client.leave(connection) }
            return end
        } catch {
            return .broken("\(error)")
        }
    }

    private func reload() async {
        do throws(StoreFailure) {
            let (index, revision) = try await Self.load(client, configuration)
            memory.replace(index, revision: revision, history: Self.history(configuration, revision))
            release()
        } catch {
            logger.warning("etcd cannot be read", metadata: ["reason": "\(error)"])
        }
    }

    /// Takes one message of the watch.
    private func receive(_ message: [UInt8]) -> End? {
        let response: EtcdWatchResponse
        do throws(ProtobufFault) { response = try EtcdWatchResponse(message) } catch {
            return .broken("a message of the watch cannot be read: \(error)")
        }
        let whole = state.withLock { state -> [EtcdWatchResponse.Event] in
            state.heard = .now
            state.pending += response.events
            var whole = state.pending
            if response.isFragment, let last = whole.last?.record.modified {
                whole.removeAll { $0.record.modified == last }
            }
            state.pending.removeFirst(whole.count)
            return whole
        }
        if zip(whole, whole.dropFirst()).contains(where: { $0.record.modified > $1.record.modified }) {
            return .broken("the member's events are out of order")
        }
        if !whole.isEmpty { publish(whole) }
        if response.compacted > 0 { return .compacted }
        if response.isCancelled { return .broken(response.reason.isEmpty ? "the member ended it" : response.reason) }
        return nil
    }

    private func publish(_ found: [EtcdWatchResponse.Event]) {
        let (index, known) = memory.state.withLock { ($0.index, $0.revision) }
        var changed: [String: Record?] = [:]
        var events: [StoreEvent] = []
        for event in found where event.record.modified > known {
            let given = event.record
            let key = given.keyText
            let previous = changed[key] ?? index[key]
            if event.isDeletion {
                guard let previous else { continue }
                let record = Record(
                    key: key, value: previous.value, revision: given.modified, created: previous.created,
                    lease: previous.lease)
                events.append(StoreEvent(kind: .deleted, record: record, previous: previous))
                changed[key] = .some(nil)
            } else {
                let record = given.record
                events.append(
                    StoreEvent(kind: previous == nil ? .created : .updated, record: record, previous: previous))
                changed[key] = .some(record)
            }
        }
        if !events.isEmpty { memory.publish(events) }
        release()
    }

    // MARK: Waiting

    /// Waits until memory is at a revision that a key of ours was written at.
    func reach(_ revision: Int64, within limit: Duration) async throws(StoreFailure) {
        if memory.state.withLock({ $0.revision }) >= revision { return }
        let deadline = ContinuousClock.now + limit
        let isReached = await withUnsafeContinuation { answer in
            let now = state.withLock { state -> Bool? in
                if memory.state.withLock({ $0.revision }) >= revision { return true }
                if state.isClosed { return false }
                state.waiters.append(Waiter(revision: revision, deadline: deadline, answer: answer))
                return nil
            }
            if let now { answer.resume(returning: now) }
        }
        if !isReached { throw .unavailable("etcd's watch has not come to revision \(revision) within \(limit)") }
    }

    private func release() {
        let revision = memory.state.withLock { $0.revision }
        let released = state.withLock { state -> [Waiter] in
            if state.waiters.isEmpty { return [] }
            let released = state.waiters.filter { $0.revision <= revision }
            state.waiters.removeAll { $0.revision <= revision }
            return released
        }
        for waiter in released { waiter.answer.resume(returning: true) }
    }

    /// Ends waits that last too long, and watches whose member says nothing.
    private func tick() async {
        var asked = ContinuousClock.now
        while !Task.isCancelled {
            try? await Task.sleep(for: .milliseconds(250))
            let now = ContinuousClock.now
            let (late, stream, heard) = state.withLock { state in
                let late = state.waiters.filter { $0.deadline <= now }
                if !late.isEmpty { state.waiters.removeAll { $0.deadline <= now } }
                return (late, state.stream, state.heard)
            }
            for waiter in late { waiter.answer.resume(returning: false) }
            guard let stream else { continue }
            if now - heard > Self.silenceLimit {
                stream.close()
            } else if now - asked > Self.signInterval {
                asked = now
                stream.send(EtcdRequest.watchProgress)
            }
        }
    }

    /// The revision etcd is at now, as all its members agree; other programs' keys count too.
    func latestRevision() async throws(StoreFailure) -> Int64 {
        let range = EtcdRequest.Range(key: Array(configuration.prefix.utf8), limit: 1)
        let answer = try await client.ask(Self.rangePath, range.bytes)
        return try Self.decoded { () throws(ProtobufFault) in try EtcdRangeResponse(answer.bytes).revision }
    }
}
