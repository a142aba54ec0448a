import KubeTypes
import NIOHTTP1
import Store
import TLS
import Transport
import Wire

/// What the server answers beside objects: discovery, OpenAPI, health, version, metrics.
struct ServerDocuments: Sendable {
    let registry: Registry
    let metrics: RequestMetrics
    let fairness: Fairness?
    /// `host:port`, as the legacy discovery names the server.
    let address: String
    let lifecycle: ServerLifecycle
    let issuer: IssuerDocuments
    private static let json = "application/json"

    static let version: JSON = [
        "major": "1", "minor": "36", "gitVersion": "v1.36.0+weft", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "",
        "goVersion": "", "compiler": "swiftc", "platform": "linux/amd64",
    ]

    func answer(
        _ request: APIRequest, _ responder: HTTPResponder, _ inFlight: RequestsInFlight.Counts
    ) async throws(APIFailure) {
        guard request.http.method == .GET || request.http.method == .HEAD else {
            throw RequestHandler.notAllowed(request)
        }
        var path = request.path
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        let parts = path.split(separator: "/").map(String.init)
        switch (parts.first, parts.count) {
        case ("api", 1), ("apis", 1): await discovery(request, isLegacy: parts[0] == "api", responder)
        case ("api", 2):
            try await send(registry.catalog.legacyResources(group: "", version: parts[1], digest: sha256), responder)
        case ("apis", 2): try await send(registry.published.legacyGroup(parts[1]), responder)
        case ("apis", 3):
            try await send(
                registry.catalog.legacyResources(group: parts[1], version: parts[2], digest: sha256), responder)
        case ("version", 1): try await send(Self.version, responder)
        case ("openapi", 2) where parts[1] == "v2": try await older(request, responder)
        case ("openapi", 2...) where parts[1] == "v3": try await document(request, parts, responder)
        case (".well-known", 2), ("openid", 3): try await issuer.answer(path, responder)
        case ("healthz", _), ("livez", _), ("readyz", _):
            try await health(request, parts[0], parts.dropFirst().joined(separator: "/"), responder)
        case ("metrics", 1):
            await responder.respond(.ok, ["content-type": "text/plain; version=0.0.4"], measured(inFlight))
        case (nil, _):
            try await send(
                ["paths": ["/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v3", "/readyz", "/version"]],
                responder)
        default: throw RequestHandler.noSuchPath
        }
    }

    private func measured(_ inFlight: RequestsInFlight.Counts) -> [UInt8] {
        var text = MetricText()
        metrics.write(
            to: &text, revision: registry.store.revision, objects: registry.store.count,
            byResource: registry.countByResource(), inFlight: inFlight)
        let admission = registry.admission
        admission.metrics?.write(to: &text)
        admission.webhooks?.metrics.write(to: &text)
        fairness?.writeMetrics(to: &text)
        return text.bytes
    }

    private func send(_ json: JSON?, _ responder: HTTPResponder) async throws(APIFailure) {
        guard let json else { throw RequestHandler.noSuchPath }
        await responder.respond(.ok, ["content-type": Self.json], json.bytes)
    }

    private func discovery(_ request: APIRequest, isLegacy: Bool, _ responder: HTTPResponder) async {
        let catalog = registry.catalog
        guard SchemaCatalog.asksForAggregation(accept: request.header("accept") ?? "") else {
            let json = isLegacy ? catalog.legacyVersions(address: address) : registry.published.legacyGroups()
            await responder.respond(.ok, ["content-type": Self.json, "vary": "Accept"], json.bytes)
            return
        }
        await sendTagged(
            registry.published.aggregated(legacy: isLegacy), type: SchemaCatalog.aggregatedType,
            ["vary": "Accept", "cache-control": "public"], request, responder)
    }

    /// Answers 304 when the client has the very bytes already.
    private func sendTagged(
        _ document: TaggedDocument, type: String, _ more: HTTPHeaders, _ request: APIRequest,
        _ responder: HTTPResponder
    ) async {
        var headers = more
        headers.add(name: "etag", value: document.tag)
        if request.header("if-none-match") == document.tag {
            await responder.respond(.notModified, headers)
            return
        }
        headers.add(name: "content-type", value: type)
        if document.bytes.count > GzipStream.threshold, GzipStream.isAccepted(request.header("accept-encoding")),
            let packed = GzipStream()?.pack(document.bytes, isLast: true)
        {
            headers.add(name: "content-encoding", value: "gzip")
            await responder.respond(.ok, headers, packed)
            return
        }
        await responder.respond(.ok, headers, document.bytes)
    }

    private func document(_ request: APIRequest, _ parts: [String], _ responder: HTTPResponder) async throws(APIFailure)
    {
        let openAPI = registry.published.openAPI
        if parts.count == 2 {
            await sendTagged(
                TaggedDocument(registry.published.openAPIIndex().bytes), type: Self.json, [:], request, responder)
            return
        }
        let place = Array(parts[2...])
        var bytes: [UInt8]?
        if place.count == 2, place[0] == "api" { bytes = openAPI.document(group: "", version: place[1]) }
        if place.count == 3, place[0] == "apis" { bytes = openAPI.document(group: place[1], version: place[2]) }
        guard let bytes else { throw RequestHandler.noSuchPath }
        await sendTagged(
            TaggedDocument(bytes), type: Self.json, ["cache-control": "public, immutable"], request, responder)
    }

    /// Version 2, as JSON or as protobuf.
    private func older(_ request: APIRequest, _ responder: HTTPResponder) async throws(APIFailure) {
        let accepted = MediaRange.list(request.header("accept") ?? "*/*").map(\.type)
        let known = [Self.json, "application/*", "*/*"] + OpenAPIV2Protobuf.names
        guard let chosen = accepted.first(where: known.contains) else { throw AnswerForm.notAcceptable }
        let isProtobuf = OpenAPIV2Protobuf.names.contains(chosen)
        await sendTagged(
            registry.published.openAPIV2(asProtobuf: isProtobuf),
            type: isProtobuf ? OpenAPIV2Protobuf.type : Self.json, ["vary": "Accept"], request, responder)
    }

    /// The whole check, or the one named: `/readyz/store`.
    private func health(
        _ request: APIRequest, _ kind: String, _ name: String, _ responder: HTTPResponder
    ) async throws(APIFailure) {
        let report = HealthReport(
            kind: kind, checks: lifecycle.checks(kind), only: name, excluded: request.query.all("exclude"),
            isVerbose: request.query.flag("verbose"))
        guard let report else { throw RequestHandler.noSuchPath }
        await responder.respond(
            report.isHealthy ? .ok : .internalServerError,
            [
                "content-type": "text/plain; charset=utf-8", "cache-control": "no-cache, private",
                "x-content-type-options": "nosniff",
            ], Array(report.text.utf8))
    }
}
