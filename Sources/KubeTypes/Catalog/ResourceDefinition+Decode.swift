package import Wire

/// What to do with fields a kind does not have, or that stand twice: the `fieldValidation` query parameter.
package enum FieldValidation: String, Sendable {
    case ignore = "Ignore"
    case warn = "Warn"
    case strict = "Strict"
}

extension ResourceDefinition {
    package static let jsonType = "application/json"
    package static let protobufType = "application/vnd.kubernetes.protobuf"

    /// Reads a request body into an object of this kind, without what the kind does not know.
    ///
    /// The content type may be JSON or the Kubernetes protobuf envelope; parameters after `;` do not count. Gives the object
    /// and a text for each `Warning` header. Throws a 400 that names object and field, or a 415 for other content types.
    package func decode(
        _ bytes: [UInt8], contentType: String, fieldValidation: FieldValidation = .warn
    ) throws(APIFailure) -> (object: KubeObject, warnings: [String]) {
        let media = contentType.split(separator: ";").first.map { $0.trimmed.lowercased() } ?? ""
        switch media {
        case Self.jsonType, "", "text/json":
            var duplicates: [String] = []
            let json: JSON
            do throws(JSONFault) {
                json = try JSON(parsing: bytes, duplicates: &duplicates, deepest: ObjectLimits.depth)
            } catch {
                throw .badRequest("the body of the request is not JSON: \(error)")
            }
            return try decode(json, duplicates: duplicates, fieldValidation: fieldValidation)
        case Self.protobufType:
            let json: JSON
            do throws(KubeProtobufFault) {
                json = try KubeProtobuf.builtIn.decode(bytes)
            } catch {
                throw .badRequest(
                    "\(type.kind) in version \"\(type.version)\" cannot be handled as a \(type.kind): \(error)")
            }
            return try decode(json, duplicates: [], fieldValidation: fieldValidation)
        default: throw .unsupportedMediaType(contentType, [Self.jsonType, Self.protobufType])
        }
    }

    /// The same from a tree, for bodies that came as YAML.
    package func decode(
        _ json: JSON, duplicates: [String] = [], fieldValidation: FieldValidation = .warn
    ) throws(APIFailure) -> (object: KubeObject, warnings: [String]) {
        guard case .object = json else {
            throw .badRequest("the body of the request is no object: expected a \(type.kind)")
        }
        var object = KubeObject(json)
        try checkKind(&object)
        let warnings = try fit(&object, duplicates: duplicates, fieldValidation: fieldValidation)
        return (object, warnings)
    }

    /// Drops unknown fields and refuses wrong types; for an object that was patched.
    package func fit(
        _ object: inout KubeObject, duplicates: [String] = [], fieldValidation: FieldValidation = .ignore
    ) throws(APIFailure) -> [String] {
        var structure = Structure()
        structure.fit(&object, schema)
        var complaints = structure.unknown.map { "unknown field \"\($0)\"" }
        complaints += duplicates.map { "duplicate field \"\($0)\"" }
        let wrong = structure.faults
        if isCustom, !wrong.isEmpty { throw .invalid(type, object.name, wrong) }
        if !wrong.isEmpty {
            throw cannotHandle(object, wrong.map { "\($0.path): \($0.detail)" }.joined(separator: ", "))
        }
        if fieldValidation == .strict, !complaints.isEmpty {
            throw cannotHandle(object, "strict decoding error: " + complaints.joined(separator: ", "))
        }
        return fieldValidation == .warn ? complaints : []
    }

    private func cannotHandle(_ object: KubeObject, _ why: String) -> APIFailure {
        let name = object.name.isEmpty ? "" : " \"\(object.name)\""
        return .badRequest(
            "\(type.kind)\(name) in version \"\(type.version)\" cannot be handled as a \(type.kind): \(why)")
    }

    /// A body may leave out what the path already says; it may not contradict it.
    private func checkKind(_ object: inout KubeObject) throws(APIFailure) {
        let (version, kind) = (object.apiVersion, object.kind)
        if !version.isEmpty, version != type.apiVersion {
            throw .badRequest(
                "the API version in the data (\(version)) does not match the expected API version (\(type.apiVersion))")
        }
        if !kind.isEmpty, kind != type.kind {
            throw .badRequest("the kind in the data (\(kind)) does not match the expected kind (\(type.kind))")
        }
        if version.isEmpty || kind.isEmpty {
            var members: [JSONObject.Member] = [
                .init("apiVersion", .string(type.apiVersion)), .init("kind", .string(type.kind)),
            ]
            members += (object.json.object ?? JSONObject()).filter { $0.key != "apiVersion" && $0.key != "kind" }
            object.json = .object(JSONObject(members))
        }
        if let metadata = object.json["metadata"], metadata.object == nil, !metadata.isNull {
            throw cannotHandle(object, "metadata: expected an object")
        }
    }
}

extension StringProtocol {
    /// Without the spaces and tabs around it.
    var trimmed: String {
        var rest = self[...]
        while let first = rest.first, first.isWhitespace { rest.removeFirst() }
        while let last = rest.last, last.isWhitespace { rest.removeLast() }
        return String(rest)
    }
}
