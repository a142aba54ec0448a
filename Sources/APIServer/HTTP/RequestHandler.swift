import KubeClient
import KubeTypes
import Logging
import NIOHTTP1
import Store
import Transport
import Wire

/// One request, from its bytes to its answer: who, what, allowed, done.
struct RequestHandler: Sendable {
    let registry: Registry
    let access: AccessControl
    let nodes: (any NodeGateway)?
    let documents: ServerDocuments
    let metrics: RequestMetrics
    let extensions: ExtensionList
    let aggregator: Aggregator
    let logger: Logger
    let lines = EventLines()
    let hubs = WatchHubs()
    var inFlight = RequestsInFlight()

    func handle(_ http: HTTPRequest, _ responder: HTTPResponder) async {
        let began = ContinuousClock.now
        let warnings = WarningSink()
        var request = APIRequest(http)
        var ticket: RequestsInFlight.Ticket?
        var lasting: RequestMetrics.Series?
        var seat: Fairness.Seat?
        var failure: APIFailure?
        do throws(APIFailure) {
            try await access.authenticate(&request, responder)
            if request.isLong {
                let begun = series(request)
                metrics.begin(begun)
                lasting = begun
            } else {
                ticket = inFlight.begin(responder, isMutating: http.method != .GET, request.id)
            }
            access.beginAudit(&request, responder)
            try access.impersonate(&request)
            let attempt = request.attempt
            seat = try await access.takeSeat(request, attempt, responder)
            try access.authorize(request, attempt)
            if let remote = remote(request) {
                try await forward(request, to: remote, responder)
            } else if let part = extensions.first(for: request.path) {
                try await answer(request, by: part, responder)
            } else {
                switch request.route {
                case .path: try await documents.answer(request, responder, inFlight.counts)
                case .resource(let route): try await serve(request, route, responder, warnings)
                }
            }
        } catch {
            failure = error
            if responder.status == 0 { await respond(error, request, responder, warnings) }
        }
        access.giveBack(seat)
        if let ticket { inFlight.end(ticket) }
        if let lasting { metrics.end(lasting) }
        let isLong = request.isLong || responder.status == 101
        access.endAudit(request, status: responder.status, failure: failure)
        metrics.count(
            lasting ?? series(request), code: responder.status, took: ContinuousClock.now - began,
            bytes: responder.sentBytes, isLong: isLong)
        logger.debug(
            "request",
            metadata: ["method": "\(http.method)", "target": "\(http.target)", "status": "\(responder.status)"])
    }

    /// Only resources we serve are counted by name: anybody can make up others.
    private func series(_ request: APIRequest) -> RequestMetrics.Series {
        var series = RequestMetrics.Series()
        series.verb = request.verb
        guard case .resource(let route) = request.route,
            let definition = registry.catalog.definition(
                group: route.group, version: route.version, resource: route.resource)
        else { return series }
        series.group = route.group
        series.version = route.version
        series.resource = route.resource
        if !route.subresource.isEmpty, definition.subresource(route.subresource) != nil {
            series.subresource = route.subresource
        }
        series.scope = !route.name.isEmpty ? "resource" : route.namespace.isEmpty ? "cluster" : "namespace"
        series.isDryRun = request.query["dryRun"] == "All"
        return series
    }

    private func answer(
        _ request: APIRequest, by part: any APIExtension, _ responder: HTTPResponder
    ) async throws(APIFailure) {
        let body = try await request.body()
        let json = try await part.answer(
            method: request.http.method.rawValue, path: request.path, query: request.query.pairs, body: body)
        await responder.respond(.ok, ["content-type": "application/json"], json.bytes)
    }

    private func serve(
        _ request: APIRequest, _ route: ResourceRoute, _ responder: HTTPResponder, _ warnings: WarningSink
    ) async throws(APIFailure) {
        let found = registry.catalog.definition(group: route.group, version: route.version, resource: route.resource)
        guard let definition = found else { throw Self.noSuchPath }
        if !definition.type.isNamespaced, !route.namespace.isEmpty { throw Self.noSuchPath }
        // An escaped slash would lead to another object's key.
        let slash = UInt8(ascii: "/")
        if route.name.utf8.contains(slash) || route.namespace.utf8.contains(slash) { throw Self.noSuchPath }
        if !route.name.isEmpty, definition.type.isNamespaced, route.namespace.isEmpty { throw Self.noSuchPath }
        if registry.isShared { try await registry.catchUp(for: request) }
        if let text = definition.custom?.deprecationWarning { warnings.add(text) }
        if !route.subresource.isEmpty {
            try await serveSubresource(request, route, definition, responder, warnings)
            return
        }
        if let text = definition.deprecation { warnings.add(text) }
        let answers = Answers(request, definition, responder, warnings, registry)
        if definition.type.group.isEmpty, try await serveVirtual(request, route, definition, answers, warnings) {
            return
        }
        switch (request.http.method, route.name.isEmpty) {
        case (.GET, true), (.HEAD, true):
            guard definition.isStored else { throw Self.notAllowed(request) }
            if request.query.flag("watch") {
                try await watch(request, route, definition, responder)
            } else {
                try await list(request, route, definition, answers)
            }
        case (.GET, false), (.HEAD, false):
            guard definition.isStored else { throw Self.notAllowed(request) }
            if request.query.flag("watch") {
                try await watch(request, route, definition, responder)
            } else {
                let record = try read(request, definition, route.key)
                try await answers.send(.ok, try await registry.shown(record, as: definition))
            }
        default: try await write(request, route, definition, answers, warnings)
        }
    }

    /// A get may ask for a version at least as new as one it knows.
    private func read(
        _ request: APIRequest, _ definition: ResourceDefinition, _ key: ObjectKey
    ) throws(APIFailure) -> Record {
        let asked = request.query["resourceVersion"]
        if !asked.isEmpty, asked != "0" {
            guard let revision = Int64(asked), revision > 0 else {
                throw .badRequest(
                    "resourceVersion: Invalid value: \"\(asked)\": it is not a resource version of this server")
            }
            let latest = registry.store.revision
            guard revision <= latest else { throw Registry.tooLarge(revision, latest) }
        }
        return try registry.record(definition, key)
    }

    private func write(
        _ request: APIRequest, _ route: ResourceRoute, _ definition: ResourceDefinition, _ answers: Answers,
        _ warnings: WarningSink
    ) async throws(APIFailure) {
        let context = try request.context(warnings)
        guard Self.mayWrite(request.http.method, route, definition) else { throw Self.notAllowed(request) }
        switch (request.http.method, route.name.isEmpty) {
        case (.POST, true):
            let object = try await bodyObject(request, definition, warnings)
            if !definition.isStored, Reviews.isAnswered(definition.type) {
                let asked = try await registry.admitReview(definition, namespace: route.namespace, object, context)
                let review = try await access.reviews.answer(
                    asked, definition.type, namespace: route.namespace, request.user)
                try await answers.send(.created, review)
                return
            }
            let made = try await registry.createStored(
                definition, namespace: route.namespace, consume object, context)
            try await answers.send(.created, made)
        case (.PUT, false):
            let object = try await bodyObject(request, definition, warnings)
            let (stored, isNew) = try await put(definition, route, object, context)
            try await answers.send(isNew ? .created : .ok, stored)
        case (.PATCH, false):
            let (object, isNew) = try await patch(request, definition, route, subresource: nil, context)
            try await answers.send(isNew ? .created : .ok, object)
        case (.DELETE, false): try await delete(request, route, definition, answers, context)
        case (.DELETE, true):
            let options = try await deleteOptions(request)
            let gone = try await registry.deleteCollection(
                definition, namespace: route.namespace, request.selection, options.options, options.context(context))
            try await answers.sendList(gone)
        default: throw Self.notAllowed(request)
        }
    }

    private func list(
        _ request: APIRequest, _ route: ResourceRoute, _ definition: ResourceDefinition, _ answers: Answers
    ) async throws(APIFailure) {
        var options = ListOptions()
        options.limit = max(0, try request.query.integer("limit") ?? 0)
        options.continuation = request.query["continue"]
        options.resourceVersion = request.query["resourceVersion"]
        options.resourceVersionMatch = request.query["resourceVersionMatch"]
        var found = try registry.records(definition, namespace: route.namespace, request.selection, options)
        access.fairness?.note(definition.type, count: found.records.count)
        found.records = try await registry.shown(found.records, as: definition)
        try await answers.sendList(found)
    }

    /// Whether the kind has the verb that a method means.
    private static func mayWrite(_ method: HTTPMethod, _ route: ResourceRoute, _ definition: ResourceDefinition) -> Bool
    {
        switch (method, route.name.isEmpty) {
        case (.POST, true): definition.verbs.contains("create")
        case (.PUT, false): definition.verbs.contains("update")
        case (.PATCH, false): definition.verbs.contains("patch")
        case (.DELETE, false): definition.verbs.contains("delete")
        case (.DELETE, true): definition.verbs.contains("deletecollection")
        default: false
        }
    }

    func bodyObject(
        _ request: APIRequest, _ definition: ResourceDefinition, _ warnings: WarningSink
    ) async throws(APIFailure) -> KubeObject {
        let (json, duplicates) = try request.tree(try await request.body())
        let (object, found) = try definition.decode(
            json, duplicates: duplicates, fieldValidation: try request.fieldValidation())
        for text in found { warnings.add(text) }
        return object
    }

    /// Kinds a replacement of nothing creates, as Kubernetes has it.
    private static let madeByReplacing: Set<String> = [
        "endpoints", "events", "events.events.k8s.io", "leases.coordination.k8s.io", "limitranges", "podtemplates",
        "services", "clusterroles.rbac.authorization.k8s.io", "clusterrolebindings.rbac.authorization.k8s.io",
        "roles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io",
    ]

    private func put(
        _ definition: ResourceDefinition, _ route: ResourceRoute, _ object: KubeObject, _ context: WriteContext
    ) async throws(APIFailure) -> (KubeObject, isNew: Bool) {
        if object.name.isEmpty {
            throw .invalid(definition.type, "", [FieldFault(.required, "metadata.name", "name is required")])
        }
        if Self.madeByReplacing.contains(definition.type.qualifiedName), object.resourceVersion.isEmpty,
            object.name == route.name, !registry.exists(definition.storageType, route.key)
        {
            return (try await registry.create(definition, namespace: route.namespace, object, context), true)
        }
        return (try await registry.update(definition, route.key, object, subresource: nil, context), false)
    }

    func patch(
        _ request: APIRequest, _ definition: ResourceDefinition, _ route: ResourceRoute, subresource: String?,
        _ context: WriteContext
    ) async throws(APIFailure) -> (KubeObject, isNew: Bool) {
        let type = request.header("content-type") ?? ""
        let media = type.split(separator: ";").first.map { String($0).lowercased() } ?? ""
        guard let kind = PatchKind(rawValue: media) else {
            throw .unsupportedMediaType(type, PatchType.allCases.map(\.rawValue))
        }
        let (body, duplicates) = try request.tree(try await request.body())
        let twice = duplicates.map { "duplicate field \"\($0)\"" }
        switch context.fieldValidation {
        case .strict where !twice.isEmpty:
            throw .badRequest(
                "\(definition.type.kind) \"\(route.name)\": strict decoding error: " + twice.joined(separator: ", "))
        case .warn: for text in twice { context.warn(text) }
        default: break
        }
        let isNew = kind == .apply && subresource == nil && !registry.exists(definition.storageType, route.key)
        let object = try await registry.patch(definition, route.key, kind, body, subresource: subresource, context)
        return (object, isNew)
    }

    private func delete(
        _ request: APIRequest, _ route: ResourceRoute, _ definition: ResourceDefinition, _ answers: Answers,
        _ context: WriteContext
    ) async throws(APIFailure) {
        let options = try await deleteOptions(request)
        switch try await registry.delete(definition, route.key, options.options, options.context(context)) {
        case .pending(let object): try await answers.send(.ok, try await registry.shown(object, as: definition))
        case .removed(let object):
            let details: JSON = [
                "name": .string(object.name), "group": .string(definition.type.group),
                "kind": .string(definition.type.resource), "uid": .string(object.uid),
            ]
            await answers.sendStatus(details)
        }
    }

    /// What a deletion's body or parameters ask.
    private struct DeletionRequest {
        var options = DeleteOptions()
        var isDryRun = false

        func context(_ context: WriteContext) -> WriteContext {
            var context = context
            if isDryRun { context.isDryRun = true }
            return context
        }
    }

    private func deleteOptions(_ request: APIRequest) async throws(APIFailure) -> DeletionRequest {
        var found = DeletionRequest()
        found.options.gracePeriodSeconds = try request.query.integer("gracePeriodSeconds")
        var propagation = request.query["propagationPolicy"]
        let bytes = try await request.body()
        if !bytes.isEmpty {
            let (body, _) = try request.tree(bytes)
            if let grace = body["gracePeriodSeconds"]?.int { found.options.gracePeriodSeconds = grace }
            if let policy = body["propagationPolicy"]?.string { propagation = policy }
            found.options.uid = body["preconditions"]?["uid"]?.string
            found.options.resourceVersion = body["preconditions"]?["resourceVersion"]?.string
            found.isDryRun = body["dryRun"]?.array?.contains("All") ?? false
            if let orphans = body["orphanDependents"]?.bool, propagation.isEmpty {
                propagation = orphans ? "Orphan" : "Background"
            }
            if let kind = body["kind"]?.string, !kind.isEmpty, kind != "DeleteOptions" {
                throw .badRequest("the body of a deletion must be DeleteOptions, found \(kind)")
            }
        }
        if !propagation.isEmpty {
            guard let policy = DeleteOptions.Propagation(rawValue: propagation) else {
                throw .badRequest("propagationPolicy: \"\(propagation)\": allowed are Orphan, Background, Foreground")
            }
            found.options.propagation = policy
        }
        if let grace = found.options.gracePeriodSeconds, grace < 0 {
            throw .badRequest("gracePeriodSeconds: \(grace): it must not be negative")
        }
        return found
    }

    private func respond(
        _ failure: APIFailure, _ request: APIRequest, _ responder: HTTPResponder, _ warnings: WarningSink
    ) async {
        let id = request.id
        var failure = failure
        if failure.code >= 500 {
            logger.warning(
                "request failed",
                metadata: ["request": "\(id)", "target": "\(request.http.target)", "reason": "\(failure.message)"])
            failure.message += " (request \(id))"
        }
        var headers: HTTPHeaders = [
            "content-type": "application/json", "cache-control": "no-cache, private", "audit-id": id,
        ]
        if let wait = failure.details?["retryAfterSeconds"]?.int { headers.add(name: "retry-after", value: "\(wait)") }
        for text in warnings.headers { headers.add(name: "warning", value: text) }
        await responder.respond(HTTPResponseStatus(statusCode: failure.code), headers, failure.status.bytes)
    }

    static let noSuchPath = APIFailure(
        code: 404, reason: "NotFound", message: "the server could not find the requested resource", details: [:])

    static func notAllowed(_ request: APIRequest) -> APIFailure {
        APIFailure(
            code: 405, reason: "MethodNotAllowed",
            message:
                "the server does not allow this method on the requested resource (\(request.http.method.rawValue) \(request.path))",
            details: [:])
    }
}
