import KubeClient
import KubeTypes
import Logging
import NIOHTTP1
import Transport
import Wire

extension RequestHandler {
    /// A watch: one JSON object a line, until the client goes, the time is over, or the history is lost.
    func watch(
        _ request: APIRequest, _ route: ResourceRoute, _ definition: ResourceDefinition, _ responder: HTTPResponder
    ) async throws(APIFailure) {
        var selection = request.selection
        if !route.name.isEmpty { selection.fields = "metadata.name=\(route.name)" }
        let wantsInitial = request.query.flag("sendInitialEvents")
        if wantsInitial, request.query["resourceVersionMatch"] != "NotOlderThan" {
            throw APIFailure(
                code: 422, reason: "Invalid",
                message:
                    "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires"
                    + " setting resourceVersionMatch to NotOlderThan")
        }
        let (initial, watch) = try registry.watch(
            definition, namespace: route.namespace, selection, from: request.query["resourceVersion"],
            sendInitial: wantsInitial)
        let form = try AnswerForm(accept: request.header("accept"))
        let seconds = try request.query.integer("timeoutSeconds") ?? Int.random(in: 1800...3600)
        let writer = WatchWriter(
            definition: definition, form: form,
            include: IncludeObject(rawValue: request.query["includeObject"]) ?? .metadata,
            sendsBookmarks: request.query.flag("allowWatchBookmarks"), responder: responder)
        do {
            try await responder.start(.ok, ["content-type": "application/json", "cache-control": "no-cache, private"])
            try await writer.run(
                initial, watch, announcesInitialEnd: wantsInitial, until: .now + .seconds(max(0, seconds)))
            try await responder.end()
        } catch {
            // The client has gone; there is nobody to tell.
            logger.debug("watch ended", metadata: ["path": "\(request.path)", "reason": "\(error)"])
        }
    }
}

/// Writes one watch's events in the form its client wants.
struct WatchWriter {
    /// A client learns at least this often how far it is.
    private static let bookmarkInterval = Duration.seconds(50)

    let definition: ResourceDefinition
    let form: AnswerForm
    let include: IncludeObject
    let sendsBookmarks: Bool
    let responder: HTTPResponder

    func run(
        _ initial: [KubeObject], _ watch: RegistryWatch, announcesInitialEnd: Bool,
        until deadline: ContinuousClock.Instant
    ) async throws {
        var isFirst = true
        for object in initial {
            try await responder.write(line(.added, object, isFirst: isFirst))
            isFirst = false
        }
        if announcesInitialEnd {
            try await bookmark(watch.revision, endsInitial: true)
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                while !Task.isCancelled {
                    try await Task.sleep(until: min(deadline, .now + Self.bookmarkInterval), clock: .continuous)
                    watch.nudge()
                    if .now >= deadline { try await Task.sleep(for: .milliseconds(50)) }
                }
            }
            try await follow(watch, isFirst: isFirst, until: deadline)
        }
    }

    private func follow(_ start: RegistryWatch, isFirst: Bool, until deadline: ContinuousClock.Instant) async throws {
        var watch = start
        var isFirst = isFirst
        while ContinuousClock.now < deadline {
            do {
                switch try await watch.next() {
                case .idle(let revision):
                    if sendsBookmarks, ContinuousClock.now < deadline {
                        try await bookmark(revision, endsInitial: false)
                    }
                case .events(let events):
                    var lines: [UInt8] = []
                    for event in events {
                        lines += line(event.kind, event.object, isFirst: isFirst)
                        isFirst = false
                    }
                    try await responder.write(lines)
                }
            } catch let failure as APIFailure {
                if failure.isServerClosing { return }
                let event: JSON = ["type": "ERROR", "object": failure.status]
                try await responder.write(event.bytes + [0x0A])
                return
            }
        }
    }

    private func bookmark(_ revision: Int64, endsInitial: Bool) async throws {
        var object: JSON = [
            "kind": .string(definition.type.kind), "apiVersion": .string(definition.type.apiVersion),
            "metadata": ["resourceVersion": .string(String(revision))],
        ]
        if endsInitial { object[path: ["metadata", "annotations"]] = ["k8s.io/initial-events-end": "true"] }
        if form == .table {
            let list: JSON = ["resourceVersion": .string(String(revision))]
            object = definition.table(for: [], include: include, now: .now(), list: list, withColumns: false)
            if endsInitial {
                object = definition.table(for: [], include: .none, now: .now(), list: list, withColumns: false)
                object[path: ["metadata", "annotations"]] = ["k8s.io/initial-events-end": "true"]
            }
        }
        let event: JSON = ["type": "BOOKMARK", "object": object]
        try await responder.write(event.bytes + [0x0A])
    }

    private func line(_ kind: WatchEvent.Kind, _ object: KubeObject, isFirst: Bool) -> [UInt8] {
        let shown: JSON =
            switch form {
            case .table: definition.tableRow(of: object, include: include, now: .now(), withColumns: isFirst)
            case .partial: ResourceDefinition.partial(object)
            case .object, .protobuf: object.json
            }
        let event: JSON = ["type": .string(kind.rawValue), "object": shown]
        return event.bytes + [0x0A]
    }
}
