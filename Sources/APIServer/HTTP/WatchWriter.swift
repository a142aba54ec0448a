import KubeClient
import KubeTypes
import NIOCore
import Store
import Transport
import Wire

/// Writes one watch's events in the form its client wants.
struct WatchWriter {
    /// A client learns at least this often how far it is.
    private static let bookmarkInterval = Duration.seconds(50)
    /// One that reads nothing for longer has to come again, as in Kubernetes.
    private static let patience = TimeAmount.seconds(60)

    let events: EventWriter
    let sendsBookmarks: Bool
    let hubs: WatchHubs
    let responder: HTTPResponder

    /// The content type of the answer.
    var contentType: String {
        events.form == .protobuf ? ResourceDefinition.protobufType + ";stream=watch" : ResourceDefinition.jsonType
    }

    func run(
        _ initial: [Record], _ watch: RegistryWatch, announcesInitialEnd: Bool,
        until deadline: ContinuousClock.Instant
    ) async throws {
        await responder.limitStalls(to: Self.patience)
        var isFirst = true
        var piece: [UInt8] = []
        for record in initial {
            piece += events.frame(SeenEvent(kind: .added, record: record, revision: record.revision), isFirst: isFirst)
            isFirst = false
            if piece.count > 64 << 10 {
                try await responder.write(piece)
                piece = []
                // The loop has other connections too.
                await Task.yield()
            }
        }
        try await responder.write(piece)
        if announcesInitialEnd { try await bookmark(watch.revision, endsInitial: true) }
        let seat = seat(watch)
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                while !Task.isCancelled {
                    try await Task.sleep(until: min(deadline, .now + Self.bookmarkInterval), clock: .continuous)
                    watch.nudge()
                    if let seat { responder.loop.execute { seat.leave() } }
                    if .now >= deadline { try await Task.sleep(for: .milliseconds(50)) }
                }
            }
            try await follow(watch, seat, isFirst: isFirst, until: deadline)
        }
    }

    private func follow(
        _ start: RegistryWatch, _ seat: WatchSeat?, isFirst: Bool, until deadline: ContinuousClock.Instant
    ) async throws {
        var watch = start
        var isFirst = isFirst
        while ContinuousClock.now < deadline {
            do {
                switch try await next(&watch, seat) {
                case .idle(let revision):
                    if sendsBookmarks, ContinuousClock.now < deadline {
                        try await bookmark(revision, endsInitial: false)
                    }
                case .events(let events):
                    var all: [UInt8] = []
                    for event in events {
                        let one = self.events.frame(event, isFirst: isFirst)
                        if all.isEmpty { all = one } else { all += one }
                        isFirst = false
                    }
                    try await responder.write(all)
                }
            } catch let failure as APIFailure {
                if failure.isServerClosing { return }
                try await responder.write(events.frame("ERROR", failure.status))
                return
            }
        }
    }

    // MARK: With others

    /// A watch's place beside those that see the same; `nil` for one that must go its own way: a row's first event carries the
    /// columns, and events that a webhook converts are waited for.
    private func seat(_ watch: RegistryWatch) -> WatchSeat? {
        guard watch.isDirect, events.form != .table, responder.loop.inEventLoop,
            let target = responder.pushTarget
        else { return nil }
        let hub = hubs.hub(watch.scope, events.registry.store, responder.loop)
        let view = WatchView(
            definition: ObjectIdentifier(events.definition), form: events.form, selection: watch.selection)
        let writer = events
        return WatchSeat(
            hub: hub,
            seat: WatchHub.Seat(view, target) { event, hub in
                watch.seen(event).map { writer.frame($0, isFirst: false, in: hub) }
            })
    }

    /// What is there is read by the watch itself; then it sits down with the others, until they leave it behind.
    private func next(_ watch: inout RegistryWatch, _ seat: WatchSeat?) async throws -> SeenStep {
        guard let seat else { return try await watch.nextSeen() }
        while true {
            try Task.checkCancellation()
            if let events = try watch.poll() {
                if events.isEmpty { continue }
                return .events(events)
            }
            await seat.hub.wait(seat.seat, from: watch.revision, responder)
            watch.skip(to: seat.seat.revision)
            switch seat.seat.end {
            case .full: try await responder.drain()
            case .gone: throw CancellationError()
            case .lost: continue
            case .nudged:
                try Task.checkCancellation()
                try watch.requireKind()
                return .idle(watch.revision)
            }
        }
    }

    private func bookmark(_ revision: Int64, endsInitial: Bool) async throws {
        let version = JSON.string(String(revision))
        var object: JSON
        switch events.form {
        case .table:
            object = events.definition.table(
                for: [], include: events.include, now: .now(), list: ["resourceVersion": version], withColumns: false)
        case .partial:
            object = [
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": ["resourceVersion": version],
            ]
        case .object, .protobuf:
            object = [
                "kind": .string(events.definition.type.kind), "apiVersion": .string(events.definition.type.apiVersion),
                "metadata": ["resourceVersion": version],
            ]
        }
        if endsInitial { object[path: ["metadata", "annotations"]] = ["k8s.io/initial-events-end": "true"] }
        try await responder.write(events.frame("BOOKMARK", object))
    }
}

/// A watch's place in a hub.
struct WatchSeat: Sendable {
    let hub: WatchHub
    let seat: WatchHub.Seat

    /// On the hub's loop only.
    func leave() { hub.release(seat) }
}
