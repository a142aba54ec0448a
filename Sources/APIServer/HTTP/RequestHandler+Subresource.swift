import KubeClient
import KubeTypes
import NIOHTTP1
import Transport
import Wire

extension RequestHandler {
    /// The parts and actions under an object.
    func serveSubresource(
        _ request: APIRequest, _ route: ResourceRoute, _ definition: ResourceDefinition, _ responder: HTTPResponder,
        _ warnings: WarningSink
    ) async throws(APIFailure) {
        guard definition.subresource(route.subresource) != nil else { throw Self.noSuchPath }
        let context = try request.context(warnings)
        let answers = Answers(request, definition, responder, warnings, registry)
        switch (definition.type.qualifiedName, route.subresource, request.http.method) {
        case (_, "status", .GET), ("certificatesigningrequests.certificates.k8s.io", "approval", .GET):
            let record = try registry.record(definition, route.key)
            try await answers.send(.ok, try await registry.shown(record, as: definition))
        case (_, "status", .PUT), ("namespaces", "finalize", .PUT), ("pods", "ephemeralcontainers", .PUT),
            ("pods", "resize", .PUT), ("certificatesigningrequests.certificates.k8s.io", "approval", .PUT):
            let object = try await bodyObject(request, definition, warnings)
            try await answers.send(
                .ok, try await registry.update(definition, route.key, object, subresource: route.subresource, context))
        case (_, "status", .PATCH), ("pods", "ephemeralcontainers", .PATCH), ("pods", "resize", .PATCH),
            ("certificatesigningrequests.certificates.k8s.io", "approval", .PATCH):
            let (object, _) = try await patch(request, definition, route, subresource: route.subresource, context)
            try await answers.send(.ok, object)
        case (_, "scale", .GET), (_, "scale", .PUT), (_, "scale", .PATCH):
            try await scale(request, route, definition, answers, context)
        case ("pods", "binding", .POST):
            let (body, _) = try request.tree(try await request.body())
            try await bind(route.key, body, context)
            await answers.sendStatus([:], .created)
        case ("pods", "eviction", .POST): try await evict(request, route, definition, answers, context)
        case ("pods", "ephemeralcontainers", .GET), ("pods", "resize", .GET):
            try await answers.send(.ok, try registry.get(definition, route.key))
        case ("pods", "log", .GET): try await log(request, route, definition, responder)
        case ("pods", "exec", .GET), ("pods", "exec", .POST): try await exec(request, route, definition, responder)
        case ("pods", "attach", .GET), ("pods", "attach", .POST):
            try await attach(request, route, definition, responder)
        case ("pods", "portforward", .GET), ("pods", "portforward", .POST):
            try await portForward(request, route, definition, responder)
        case ("pods", "proxy", _), ("services", "proxy", _):
            try await proxy(request, route, definition, responder)
        case ("nodes", "proxy", _): try await nodeProxy(request, route, definition, responder)
        case ("serviceaccounts", "token", .POST):
            let (body, _) = try request.tree(try await request.body())
            let asked = try await registry.admitToken(route.key, body, context)
            try await answers.send(.created, try access.tokenRequest.answer(route.key, asked))
        case (_, _, .GET), (_, _, .POST), (_, _, .PUT), (_, _, .PATCH), (_, _, .DELETE):
            throw APIFailure(
                code: 501, reason: "NotImplemented",
                message:
                    "\(definition.type.qualifiedName) \"\(route.name)\": \(request.http.method.rawValue) on \(route.subresource)"
                    + " is not served by this server yet")
        default: throw Self.notAllowed(request)
        }
    }

    private func scale(
        _ request: APIRequest, _ route: ResourceRoute, _ definition: ResourceDefinition, _ answers: Answers,
        _ context: WriteContext
    ) async throws(APIFailure) {
        if request.http.method == .GET {
            return try await answers.send(.ok, try await registry.scale(definition, route.key))
        }
        let (body, _) = try request.tree(try await request.body())
        let changed: KubeObject
        if request.http.method == .PATCH {
            let type = request.header("content-type") ?? ""
            let kind = type.hasPrefix(PatchKind.json.rawValue) ? PatchKind.json : .merge
            changed = try await registry.patchScale(definition, route.key, kind, body, context)
        } else {
            changed = try await registry.changeScale(definition, route.key, context) { _ throws(APIFailure) in
                KubeObject(body)
            }
        }
        try await answers.send(.ok, changed)
    }
}
