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
        fileprivate let write: WatchRow.Write
        fileprivate let target: any PushTarget
        fileprivate let carrier: ObjectIdentifier
        fileprivate(set) var revision: Int64 = 0
        fileprivate(set) var end = End.nudged
        fileprivate var waiter: UnsafeContinuation<Void, Never>?

        init(_ view: WatchView, _ target: any PushTarget, _ write: @escaping WatchRow.Write) {
            self.view = view
            self.write = write
            self.target = target
            carrier = target.carrier
        }
    }

    /// All that is looked at for each event and watch; seats, tasks and requests would each be fetched from memory anew.
    private struct Place {
        /// Everything up to here the watch had seen when it sat down.
        let from: Int64
        let row: WatchRow
        let target: any PushTarget
        let seat: Seat
        /// The target's, which it keeps alive.
        let address: UnsafeRawPointer

        init(_ seat: Seat, _ row: WatchRow) {
            from = seat.revision
            self.row = row
            target = seat.target
            self.seat = seat
            address = UnsafeRawPointer(Unmanaged.passUnretained(seat.target as AnyObject).toOpaque())
        }
    }

    private let hubs: WatchHubs
    private let key: WatchHubs.Key
    private let store: any Store
    private let loop: any EventLoop
    /// By connection: what the watches of one are sent goes out together.
    private var places: [ObjectIdentifier: [Place]] = [:]
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
    func wait(_ seat: Seat, from revision: Int64, _ responder: HTTPResponder) async {
        await withTaskCancellationHandler {
            await withUnsafeContinuation { (waiter: UnsafeContinuation<Void, Never>) in
                seat.revision = revision
                seat.waiter = waiter
                sit(seat)
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

    /// Lets a watch go that waits here. It knows then how far it is, so that history may be given up behind it.
    func release(_ seat: Seat) { release(seat, .nudged, through: source?.quietThrough ?? revision) }

    private func release(_ seat: Seat, _ end: Seat.End, through revision: Int64) {
        guard let waiter = seat.waiter else { return }
        seat.waiter = nil
        seat.end = end
        seat.revision = max(seat.revision, revision)
        rise(seat)
        if places.isEmpty { source?.nudge() }
        waiter.resume()
    }

    private func sit(_ seat: Seat) {
        let row = rows[seat.view] ?? WatchRow(seat.write)
        rows[seat.view] = row
        row.count += 1
        places[seat.carrier, default: []].append(Place(seat, row))
    }

    private func rise(_ seat: Seat) {
        places[seat.carrier]?.removeAll { $0.seat === seat }
        if places[seat.carrier]?.isEmpty == true { places[seat.carrier] = nil }
        guard let row = rows[seat.view] else { return }
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
            while !places.isEmpty {
                if case .events(let events) = try await source.next(after: &next) { deliver(events) }
                revision = next
            }
        } catch {
            // Each finds out by itself what there is.
            for place in places.values.joined() { release(place.seat, .lost, through: revision) }
        }
        self.source = nil
        last = nil
        hubs.remove(key, self)
    }

    private func deliver(_ events: [StoreEvent]) {
        for row in rows.values { row.lines = events.map { (revision: $0.revision, line: row.write($0, self)) } }
        var leaving: [Leaving] = []
        // One connection after the other, and each sent before the next is filled: buffers are few, and still in the caches.
        for group in places.values {
            if let last = deliver(to: group, &leaving) { group[last].target.flush() }
        }
        for row in rows.values { row.lines = [] }
        for one in leaving { release(one.seat, one.end, through: one.revision) }
    }

    private typealias Leaving = (seat: Seat, end: Seat.End, revision: Int64)

    /// All events of a revision reach a watch, or none.
    ///
    /// - Returns: the last of them that was sent something.
    private func deliver(to group: [Place], _ leaving: inout [Leaving]) -> Int? {
        guard Self.fetch(group) else { return nil }
        var last: Int?
        for index in group.indices {
            var seen = group[index].from
            var end: Seat.End?
            for (revision, line) in group[index].row.lines where revision > group[index].from {
                if end != nil, revision > seen { break }
                seen = revision
                guard let line else { continue }
                switch group[index].target.push(line) {
                case .taken: last = index
                case .full:
                    last = index
                    if end == nil { end = .full }
                case .gone: end = .gone
                }
            }
            if let end { leaving.append((group[index].seat, end, seen)) }
        }
        return last
    }

    /// Reads a word of each target. They lie far apart, and have left the caches since the last event: like this, the processor
    /// fetches them all at the same time, not each when it is its turn.
    private static func fetch(_ group: [Place]) -> Bool {
        var words: UInt = 0
        for index in group.indices { words |= group[index].address.load(as: UInt.self) }
        return words != 0  // No object begins with nothing.
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
