import NIOCore
import Store
import Synchronization
import Transport

/// The watches of one scope that one event loop sends from, as far as they have seen all there is: each event is read once for
/// all of them, and written to each without waking a task.
///
/// `@unchecked Sendable`: touched on its loop only.
final class WatchHub: @unchecked Sendable {
    /// One watch that waits.
    ///
    /// `@unchecked Sendable`: touched on its loop only.
    final class Seat: @unchecked Sendable {
        enum End { case nudged, full, gone, lost }

        /// Sends an event, if it is one for this watch.
        let deliver: (StoreEvent) -> HTTPResponder.PushOutcome
        /// Everything up to here it had seen when it sat down.
        fileprivate var from: Int64 = 0
        fileprivate(set) var revision: Int64 = 0
        fileprivate(set) var end = End.nudged
        fileprivate var isLeaving = false
        fileprivate var waiter: UnsafeContinuation<Void, Never>?

        init(_ deliver: @escaping (StoreEvent) -> HTTPResponder.PushOutcome) { self.deliver = deliver }
    }

    private let hubs: WatchHubs
    private let key: WatchHubs.Key
    private let store: any Store
    private let loop: any EventLoop
    private var seats: [ObjectIdentifier: Seat] = [:]
    /// What waits for events while anybody sits here.
    private var source: StoreWatch?
    private var revision: Int64 = 0
    /// What was sent last: all watches of a kind in one form send the same.
    private var last: (key: EventLines.Key, line: [UInt8])?

    fileprivate init(_ hubs: WatchHubs, _ key: WatchHubs.Key, _ store: any Store, _ loop: any EventLoop) {
        self.hubs = hubs
        self.key = key
        self.store = store
        self.loop = loop
    }

    /// Waits until the watch has to go on by itself: `seat.end` says why, `seat.revision` from where.
    ///
    /// - Parameter revision: the watch has seen everything up to here, and that is all there was just now.
    func wait(_ seat: Seat, from revision: Int64, _ responder: HTTPResponder) async {
        await withTaskCancellationHandler {
            await withUnsafeContinuation { (waiter: UnsafeContinuation<Void, Never>) in
                seat.from = revision
                seat.revision = revision
                seat.isLeaving = false
                seat.waiter = waiter
                seats[ObjectIdentifier(seat)] = seat
                if source == nil { start(at: revision, responder) }
            }
        } onCancel: {
            loop.execute { self.release(seat) }
        }
    }

    func line(_ key: EventLines.Key, _ find: () -> [UInt8]) -> [UInt8] {
        if let last, last.key == key { return last.line }
        let line = find()
        last = (key, line)
        return line
    }

    /// Lets a watch go that waits here.
    func release(_ seat: Seat) { release(seat, .nudged, through: revision) }

    private func release(_ seat: Seat, _ end: Seat.End, through revision: Int64) {
        guard let waiter = seat.waiter else { return }
        seat.waiter = nil
        seat.end = end
        seat.revision = max(seat.revision, revision)
        seats[ObjectIdentifier(seat)] = nil
        if seats.isEmpty { source?.nudge() }
        waiter.resume()
    }

    private func start(at revision: Int64, _ responder: HTTPResponder) {
        let source = store.watch(key.scope)
        self.source = source
        self.revision = revision
        hubs.add(key, self)
        responder.runOnLoop { await self.follow(source) }
    }

    private func follow(_ source: StoreWatch) async {
        var next = revision
        do {
            while !seats.isEmpty {
                if case .events(let events) = try await source.next(after: &next) { deliver(events) }
                revision = next
            }
        } catch {
            // Each finds out by itself what there is.
            for seat in seats.values { release(seat, .lost, through: 0) }
        }
        self.source = nil
        last = nil
        hubs.remove(key, self)
    }

    /// All events of a revision reach a watch, or none.
    private func deliver(_ events: [StoreEvent]) {
        var leaving: [(Seat, Seat.End)] = []
        for event in events {
            for seat in seats.values where event.revision > seat.from {
                if seat.isLeaving, event.revision > seat.revision { continue }
                seat.revision = event.revision
                let outcome = seat.deliver(event)
                if case .taken = outcome { continue }
                if seat.isLeaving { continue }
                seat.isLeaving = true
                var end = Seat.End.full
                if case .gone = outcome { end = .gone }
                leaving.append((seat, end))
            }
        }
        for (seat, end) in leaving { release(seat, end, through: 0) }
    }
}

/// The hubs of all loops, by what they watch.
final class WatchHubs: Sendable {
    struct Key: Hashable {
        let loop: ObjectIdentifier
        let scope: String
    }
    private let hubs = Mutex<[Key: WatchHub]>([:])

    func hub(_ scope: String, _ store: any Store, _ loop: any EventLoop) -> WatchHub {
        let key = Key(loop: ObjectIdentifier(loop), scope: scope)
        return hubs.withLock { hubs in
            if let known = hubs[key] { return known }
            let made = WatchHub(self, key, store, loop)
            hubs[key] = made
            return made
        }
    }

    fileprivate func add(_ key: Key, _ hub: WatchHub) {
        hubs.withLock { hubs in
            if hubs[key] == nil { hubs[key] = hub }
        }
    }

    fileprivate func remove(_ key: Key, _ hub: WatchHub) {
        hubs.withLock { hubs in
            if hubs[key] === hub { hubs[key] = nil }
        }
    }
}
