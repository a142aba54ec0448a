import KubeClient
import KubeTypes
import Logging
import NIOHTTP1
import Store
import Transport
import Wire

extension RequestHandler {
    /// A watch: one event a line, until the client goes, the time is over, or the history is lost.
    func watch(
        _ request: APIRequest, _ route: ResourceRoute, _ definition: ResourceDefinition, _ responder: HTTPResponder
    ) async throws(APIFailure) {
        var selection = request.selection
        if !route.name.isEmpty { selection.fields = "metadata.name=\(route.name)" }
        try Self.checkWatch(request)
        let wantsInitial = request.query.flag("sendInitialEvents")
        let isDeclined = request.query["sendInitialEvents"] == "false"
        var from = request.query["resourceVersion"]
        // Without initial events, a watch from nowhere starts now.
        if isDeclined, from.isEmpty || from == "0" { from = String(registry.store.revision) }
        let (initial, watch) = try registry.watchRecords(
            definition, namespace: route.namespace, selection, from: from, sendInitial: wantsInitial)
        let shown = try await registry.shown(initial, as: definition)
        var form = try AnswerForm(accept: request.header("accept"))
        if form == .protobuf, !KubeProtobuf.builtIn.knows(definition.type) { form = .object }
        let seconds = try request.query.integer("timeoutSeconds") ?? Int.random(in: 1800...3600)
        let events = EventWriter(
            registry: registry, definition: definition, form: form,
            include: IncludeObject(rawValue: request.query["includeObject"]) ?? .metadata, lines: lines)
        let writer = WatchWriter(
            events: events, sendsBookmarks: request.query.flag("allowWatchBookmarks"), hubs: hubs, responder: responder)
        let deadline = ContinuousClock.now + .seconds(max(0, min(seconds, 86400)))
        do {
            try await responder.start(
                .ok,
                [
                    "content-type": writer.contentType, "cache-control": "no-cache, private", "audit-id": request.id,
                ])
            try await writer.run(
                shown, watch,
                announcesInitialEnd: wantsInitial && request.query.flag("allowWatchBookmarks"), until: deadline)
            try await responder.end()
        } catch {
            // The client has gone; there is nobody to tell.
            logger.debug("watch ended", metadata: ["path": "\(request.path)", "reason": "\(error)"])
        }
    }

    private static func checkWatch(_ request: APIRequest) throws(APIFailure) {
        let match = request.query["resourceVersionMatch"]
        let hasChoice = !request.query["sendInitialEvents"].isEmpty
        func refuse(_ field: String, _ why: String) -> APIFailure {
            APIFailure(
                code: 422, reason: "Invalid",
                message: "ListOptions.meta.k8s.io \"\" is invalid: \(field): Forbidden: \(why)",
                details: [
                    "group": "meta.k8s.io", "kind": "ListOptions",
                    "causes": [
                        [
                            "reason": "FieldValueForbidden", "message": .string("Forbidden: \(why)"),
                            "field": .string(field),
                        ]
                    ],
                ])
        }
        if hasChoice, match != "NotOlderThan" {
            throw refuse(
                "resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        }
        if !hasChoice, !match.isEmpty {
            throw refuse(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
        }
        if !request.query["continue"].isEmpty {
            throw .badRequest("query parameter continue: it is not allowed for a watch")
        }
    }
}
