import KubeTypes
import NIOHTTP1
import Store
import Transport
import Wire

/// Sends objects and lists of one kind in the form the client asked for.
struct Answers {
    /// Lists longer than this go out piece by piece.
    private static let piece = 128 << 10

    private let request: APIRequest
    private let definition: ResourceDefinition
    private let responder: HTTPResponder
    private let warnings: WarningSink
    private let registry: Registry

    init(
        _ request: APIRequest, _ definition: ResourceDefinition, _ responder: HTTPResponder, _ warnings: WarningSink,
        _ registry: Registry
    ) {
        self.request = request
        self.definition = definition
        self.responder = responder
        self.warnings = warnings
        self.registry = registry
    }

    private func include() throws(APIFailure) -> IncludeObject {
        let text = request.query["includeObject"]
        if text.isEmpty { return .metadata }
        guard let include = IncludeObject(rawValue: text) else {
            throw .badRequest("query parameter includeObject: \"\(text)\": allowed are None, Metadata, Object")
        }
        return include
    }

    private func form() throws(APIFailure) -> AnswerForm { try AnswerForm(accept: request.header("accept")) }

    /// For the audit, where its policy asks for answers.
    private func note(_ answer: @autoclosure () -> JSON) {
        if let audit = request.audit, audit.wantsResponse { audit.response(answer()) }
    }

    // MARK: One object

    func send(_ status: HTTPResponseStatus, _ object: KubeObject) async throws(APIFailure) {
        note(object.json)
        switch try form() {
        case .object: await send(status, object.json)
        case .table:
            // What has no metadata is no row.
            guard definition.isStored else { throw AnswerForm.notAcceptable }
            let list: JSON = ["resourceVersion": .string(object.resourceVersion)]
            await send(status, definition.table(for: [object], include: try include(), now: .now(), list: list))
        case .partial: await send(status, ResourceDefinition.partial(object))
        case .protobuf: await sendProtobuf(status, object.json)
        }
    }

    /// A stored object: its bytes, where that is what the client wants.
    func send(_ status: HTTPResponseStatus, _ record: Record) async throws(APIFailure) {
        if try form() == .object {
            note(registry.object(record, as: definition).json)
            await sendBytes(status, registry.bytes(record, as: definition))
        } else {
            try await send(status, registry.object(record, as: definition))
        }
    }

    func send(_ status: HTTPResponseStatus, _ written: WrittenObject) async throws(APIFailure) {
        if let record = written.record, try form() == .object {
            note(written.whole.json)
            await sendBytes(status, registry.bytes(record, as: definition))
        } else {
            try await send(status, written.whole)
        }
    }

    // MARK: Lists

    func sendList(_ result: ListResult) async throws(APIFailure) {
        let metadata = Self.metadata(result.resourceVersion, result.continuation, result.remaining)
        let form = try form()
        switch form {
        case .table:
            await send(
                .ok, definition.table(for: result.items, include: try include(), now: .now(), list: metadata))
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

    /// A list of stored objects; never held in memory as a whole where it is sent as it is stored.
    func sendList(_ list: RecordList) async throws(APIFailure) {
        let form = try form()
        let isPartial = form == .partial
        note([
            "kind": .string(definition.listKind), "apiVersion": .string(definition.type.apiVersion),
            "items": .array(list.records.map { registry.object($0, as: definition).json }),
        ])
        guard form == .object || isPartial else {
            let result = ListResult(
                items: list.records.map { registry.object($0, as: definition) },
                resourceVersion: String(list.revision), continuation: list.continuation, remaining: list.remaining)
            try await sendList(result)
            return
        }
        let metadata = Self.metadata(String(list.revision), list.continuation, list.remaining)
        let kind = isPartial ? "PartialObjectMetadataList" : definition.listKind
        let version = isPartial ? "meta.k8s.io/v1" : definition.type.apiVersion
        var bytes = Array("{\"kind\":\"\(kind)\",\"apiVersion\":\"\(version)\",\"metadata\":".utf8)
        metadata.write(to: &bytes)
        bytes.append(contentsOf: ",\"items\":[".utf8)
        do {
            try await sendItems(list.records, after: bytes, isPartial: isPartial)
        } catch {
            // The client has gone; there is nobody to tell.
        }
    }

    private func sendItems(_ records: [Record], after head: [UInt8], isPartial: Bool) async throws {
        var bytes = head
        var packer: GzipStream?
        var hasStarted = false
        for (index, record) in records.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            if isPartial {
                registry.appendPartial(record, revision: record.revision, as: definition, to: &bytes)
            } else {
                registry.append(record, revision: record.revision, as: definition, to: &bytes)
            }
            guard bytes.count >= Self.piece else { continue }
            if !hasStarted {
                hasStarted = true
                var headers = headers("application/json")
                if GzipStream.isAccepted(request.header("accept-encoding")) { packer = GzipStream() }
                if packer != nil { headers.add(name: "content-encoding", value: "gzip") }
                try await responder.start(.ok, headers)
            }
            try await responder.write(packer?.pack(bytes, isLast: false) ?? bytes)
            bytes.removeAll(keepingCapacity: true)
            // The loop has other connections too.
            await Task.yield()
        }
        bytes.append(contentsOf: "]}".utf8)
        guard hasStarted else {
            await responder.respond(.ok, headers("application/json"), bytes)
            return
        }
        try await responder.write(packer?.pack(bytes, isLast: true) ?? bytes)
        try await responder.end()
    }

    private static func metadata(_ version: String, _ continuation: String?, _ remaining: Int?) -> JSON {
        var metadata: JSON = ["resourceVersion": .string(version)]
        if let continuation { metadata["continue"] = .string(continuation) }
        if let remaining { metadata["remainingItemCount"] = .int(Int64(remaining)) }
        return metadata
    }

    // MARK: The rest

    /// `Status` with `Success`, for what leaves no object.
    func sendStatus(_ details: JSON, _ status: HTTPResponseStatus = .ok) async {
        var answer: JSON = ["kind": "Status", "apiVersion": "v1", "metadata": [:], "status": "Success"]
        if details != [:] { answer["details"] = details }
        if status != .ok { answer["code"] = .int(Int64(status.code)) }
        await send(status, answer)
    }

    private func send(_ status: HTTPResponseStatus, _ json: JSON) async { await sendBytes(status, json.bytes) }

    private func sendBytes(_ status: HTTPResponseStatus, _ bytes: [UInt8]) async {
        var headers = headers("application/json")
        if bytes.count > GzipStream.threshold, GzipStream.isAccepted(request.header("accept-encoding")),
            let packed = GzipStream()?.pack(bytes, isLast: true)
        {
            headers.add(name: "content-encoding", value: "gzip")
            await responder.respond(status, headers, packed)
            return
        }
        await responder.respond(status, headers, bytes)
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
        var headers: HTTPHeaders = [
            "content-type": type, "cache-control": "no-cache, private", "audit-id": request.id,
        ]
        for text in warnings.headers { headers.add(name: "warning", value: text) }
        return headers
    }
}
