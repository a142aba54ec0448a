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

        fileprivate let view: WatchView
        fileprivate let responder: HTTPResponder
        fileprivate let write: WatchRow.Write
        fileprivate var row: WatchRow?
        fileprivate var connection: ObjectIdentifier
        /// Everything up to here it had seen when it sat down.
        fileprivate var from: Int64 = 0
        fileprivate(set) var revision: Int64 = 0
        fileprivate(set) var end = End.nudged
        /// Why it goes, once it does.
        fileprivate var leaving: End?
        fileprivate var waiter: UnsafeContinuation<Void, Never>?

        init(_ view: WatchView, _ responder: HTTPResponder, _ write: @escaping WatchRow.Write) {
            self.view = view
            self.responder = responder
            self.write = write
            connection = responder.connection
        }
    }

    private let hubs: WatchHubs
    private let key: WatchHubs.Key
    private let store: any Store
    private let loop: any EventLoop
    /// By connection: what the watches of one are sent goes out together.
    private var seats: [ObjectIdentifier: [Seat]] = [:]
    private var rows: [WatchView: WatchRow] = [:]
    /// What waits for events while anybody sits here.
    private var source: StoreWatch?
    private var revision: Int64 = 0
    /// What was written last: watches that see an event in one form are sent the same, whatever else they select.
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
    func wait(_ seat: Seat, from revision: Int64) async {
        await withTaskCancellationHandler {
            await withUnsafeContinuation { (waiter: UnsafeContinuation<Void, Never>) in
                seat.from = revision
                seat.revision = revision
                seat.leaving = nil
                seat.waiter = waiter
                sit(seat)
                if source == nil { start(at: revision, seat.responder) }
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
        rise(seat)
        if seats.isEmpty { source?.nudge() }
        waiter.resume()
    }

    private func sit(_ seat: Seat) {
        seats[seat.connection, default: []].append(seat)
        let row = rows[seat.view] ?? WatchRow(seat.write)
        rows[seat.view] = row
        row.count += 1
        seat.row = row
    }

    private func rise(_ seat: Seat) {
        seats[seat.connection]?.removeAll { $0 === seat }
        if seats[seat.connection]?.isEmpty == true { seats[seat.connection] = nil }
        guard let row = seat.row else { return }
        seat.row = nil
        row.count -= 1
        if row.count == 0 { rows[seat.view] = nil }
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
            for seat in seats.values.joined() { release(seat, .lost, through: 0) }
        }
        self.source = nil
        last = nil
        hubs.remove(key, self)
    }

    private func deliver(_ events: [StoreEvent]) {
        for row in rows.values { row.lines = events.map { (revision: $0.revision, line: row.write($0, self)) } }
        var leaving: [Seat] = []
        for group in seats.values {
            // One after the other, and each sent before the next is filled: so buffers are few, and still in the caches.
            var pushed: Seat?
            for seat in group where deliver(to: seat) {
                pushed = seat
                if seat.leaving != nil { leaving.append(seat) }
            }
            pushed?.responder.flush()
        }
        for row in rows.values { row.lines = [] }
        for seat in leaving { release(seat, seat.leaving ?? .full, through: 0) }
    }

    /// All events of a revision reach a watch, or none.
    ///
    /// - Returns: whether there was anything for it.
    private func deliver(to seat: Seat) -> Bool {
        guard let row = seat.row else { return false }
        var hasPushed = false
        for (revision, line) in row.lines where revision > seat.from {
            if seat.leaving != nil, revision > seat.revision { break }
            seat.revision = revision
            guard let line else { continue }
            hasPushed = true
            switch seat.responder.push(line) {
            case .taken: break
            case .full: if seat.leaving == nil { seat.leaving = .full }
            case .gone: seat.leaving = .gone
            }
        }
        return hasPushed
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
