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

    let registry: Registry
    let definition: ResourceDefinition
    let form: AnswerForm
    let include: IncludeObject
    let sendsBookmarks: Bool
    let lines: EventLines
    let hubs: WatchHubs
    let responder: HTTPResponder

    /// The content type of the answer.
    var contentType: String {
        form == .protobuf ? ResourceDefinition.protobufType + ";stream=watch" : ResourceDefinition.jsonType
    }

    func run(
        _ initial: [Record], _ watch: RegistryWatch, announcesInitialEnd: Bool,
        until deadline: ContinuousClock.Instant
    ) async throws {
        var isFirst = true
        var piece: [UInt8] = []
        for record in initial {
            piece += frame(SeenEvent(kind: .added, record: record, revision: record.revision), isFirst: isFirst)
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
        let seat = seat(watch, isFirst: isFirst)
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
                        let one = frame(event, isFirst: isFirst)
                        if all.isEmpty { all = one } else { all += one }
                        isFirst = false
                    }
                    try await responder.write(all)
                }
            } catch let failure as APIFailure {
                if failure.isServerClosing { return }
                try await responder.write(frame("ERROR", failure.status))
                return
            }
        }
    }

    // MARK: With others

    /// A watch's place beside those that see the same; `nil` for one that must go its own way: a row's first event carries the
    /// columns, and events that a webhook converts are waited for.
    private func seat(_ watch: RegistryWatch, isFirst: Bool) -> WatchSeat? {
        guard watch.isDirect, form != .table, responder.loop.inEventLoop else { return nil }
        let hub = hubs.hub(watch.scope, registry.store, responder.loop)
        return WatchSeat(
            hub: hub,
            seat: WatchHub.Seat { event in
                guard let seen = watch.seen(event) else { return .taken }
                return responder.push(frame(seen, isFirst: isFirst, in: hub))
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
        switch form {
        case .table:
            object = definition.table(
                for: [], include: include, now: .now(), list: ["resourceVersion": version], withColumns: false)
        case .partial:
            object = [
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": ["resourceVersion": version],
            ]
        case .object, .protobuf:
            object = [
                "kind": .string(definition.type.kind), "apiVersion": .string(definition.type.apiVersion),
                "metadata": ["resourceVersion": version],
            ]
        }
        if endsInitial { object[path: ["metadata", "annotations"]] = ["k8s.io/initial-events-end": "true"] }
        try await responder.write(frame("BOOKMARK", object))
    }

    /// One event. What does not depend on the watcher is written once for all.
    ///
    /// - Parameter hub: whose watches it is for; it has the line at hand.
    private func frame(_ event: SeenEvent, isFirst: Bool, in hub: WatchHub? = nil) -> [UInt8] {
        if form == .table {
            var object = registry.object(event.record, as: definition)
            if event.revision != event.record.revision { object.resourceVersion = String(event.revision) }
            return frame(
                event.kind.rawValue,
                definition.tableRow(of: object, include: include, now: .now(), withColumns: isFirst))
        }
        let kind: UInt8 =
            switch event.kind {
            case .added: 0
            case .modified: 1
            case .deleted: 2
            default: 3
            }
        let key = EventLines.Key(
            revision: event.revision, definition: ObjectIdentifier(definition), kind: kind, form: form)
        // Each loop writes its own: threads that count references to the same bytes hinder each other.
        if let hub { return hub.line(key) { write(event) } }
        return lines.line(key) { write(event) }
    }

    private func write(_ event: SeenEvent) -> [UInt8] {
        switch form {
        case .object, .partial:
            var out = Array("{\"type\":\"\(event.kind.rawValue)\",\"object\":".utf8)
            if form == .object {
                registry.append(event.record, revision: event.revision, as: definition, to: &out)
            } else {
                registry.appendPartial(event.record, revision: event.revision, as: definition, to: &out)
            }
            out.append(contentsOf: "}\n".utf8)
            return out
        case .table, .protobuf:
            var object = registry.object(event.record, as: definition)
            if event.revision != event.record.revision { object.resourceVersion = String(event.revision) }
            return frame(event.kind.rawValue, object.json)
        }
    }

    /// JSON: an object a line. Protobuf: a length of four bytes, and a `WatchEvent` with the object's own envelope in it.
    private func frame(_ kind: String, _ object: JSON) -> [UInt8] {
        guard form == .protobuf else {
            let event: JSON = ["type": .string(kind), "object": object]
            return event.bytes + [0x0A]
        }
        let envelope = KubeProtobuf.builtIn.encode(object) ?? []
        var event = ProtobufWriter()
        event.string(1, kind)
        event.message(2) { $0.bytes(1, envelope) }
        let length = UInt32(event.bytes.count)
        let size = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> UInt32($0)) }
        return size + event.bytes
    }
}

/// A watch's place in a hub.
struct WatchSeat: Sendable {
    let hub: WatchHub
    let seat: WatchHub.Seat

    /// On the hub's loop only.
    func leave() { hub.release(seat) }
}
