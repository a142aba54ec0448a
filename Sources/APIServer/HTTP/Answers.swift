import KubeTypes
import NIOHTTP1
import Transport
import Wire

/// Sends objects and lists of one kind in the form the client asked for.
struct Answers {
    private let request: APIRequest
    private let definition: ResourceDefinition
    private let responder: HTTPResponder
    private let warnings: WarningSink

    init(_ request: APIRequest, _ definition: ResourceDefinition, _ responder: HTTPResponder, _ warnings: WarningSink) {
        self.request = request
        self.definition = definition
        self.responder = responder
        self.warnings = warnings
    }

    private func include() -> IncludeObject { IncludeObject(rawValue: request.query["includeObject"]) ?? .metadata }

    func send(_ status: HTTPResponseStatus, _ object: KubeObject) async throws(APIFailure) {
        switch try AnswerForm(accept: request.header("accept")) {
        case .object: await send(status, object.json)
        case .table:
            let list: JSON = ["resourceVersion": .string(object.resourceVersion)]
            await send(status, definition.table(for: [object], include: include(), now: .now(), list: list))
        case .partial: await send(status, ResourceDefinition.partial(object))
        case .protobuf: await sendProtobuf(status, object.json)
        }
    }

    func sendList(_ result: ListResult) async throws(APIFailure) {
        var metadata: JSON = ["resourceVersion": .string(result.resourceVersion)]
        if let token = result.continuation { metadata["continue"] = .string(token) }
        if let left = result.remaining { metadata["remainingItemCount"] = .int(Int64(left)) }
        let form = try AnswerForm(accept: request.header("accept"))
        switch form {
        case .table:
            await send(.ok, definition.table(for: result.items, include: include(), now: .now(), list: metadata))
        case .partial:
            let items = result.items.map { ResourceDefinition.partial($0) }
            await send(
                .ok,
                [
                    "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                    "items": .array(items),
                ])
        case .object, .protobuf:
            let list: JSON = [
                "kind": .string(definition.listKind), "apiVersion": .string(definition.type.apiVersion),
                "metadata": metadata,
                "items": .array(result.items.map(\.json)),
            ]
            if form == .protobuf { await sendProtobuf(.ok, list) } else { await send(.ok, list) }
        }
    }

    /// `Status` with `Success`, for what leaves no object.
    func sendStatus(_ details: JSON) async {
        await send(
            .ok, ["kind": "Status", "apiVersion": "v1", "metadata": [:], "status": "Success", "details": details])
    }

    private func send(_ status: HTTPResponseStatus, _ json: JSON) async {
        await responder.respond(status, headers("application/json"), json.bytes)
    }

    /// Kinds without a protobuf form are sent as JSON; every client reads the answer's content type.
    private func sendProtobuf(_ status: HTTPResponseStatus, _ json: JSON) async {
        guard let bytes = KubeProtobuf.builtIn.encode(json) else {
            await send(status, json)
            return
        }
        await responder.respond(status, headers(ResourceDefinition.protobufType), bytes)
    }

    private func headers(_ type: String) -> HTTPHeaders {
        var headers: HTTPHeaders = ["content-type": type, "cache-control": "no-cache, private"]
        for text in warnings.headers { headers.add(name: "warning", value: text) }
        return headers
    }
}
