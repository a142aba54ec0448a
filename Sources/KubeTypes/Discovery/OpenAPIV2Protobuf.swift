package import Wire

/// The document of version 2 as a message, which clients from before version 3 ask for.
///
/// - Source: `openapi.v2.Document` of gnostic. Its `Any` is a text of YAML; JSON is one.
package enum OpenAPIV2Protobuf {
    package static let type = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    /// What clients ask for. The older name is no media type: its `@` is refused in an answer by those who ask so.
    package static let names = [type, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"]

    /// - Parameter document: as `OpenAPIV2` makes it.
    package static func encode(_ document: JSON) -> [UInt8] {
        var writer = ProtobufWriter()
        write(document, documentFields, to: &writer)
        return writer.bytes
    }

    private typealias Writer = ProtobufWriter
    private struct Fields {
        let fields: [String: (number: Int, form: Form)]
        /// Of members whose name begins with `x-`.
        var extensions: Int?
    }
    private enum Form {
        case text, texts, flag, whole, number, any, anys
        /// A message made of the value.
        case one(@Sendable (JSON, inout Writer) -> Void)
        /// A message for each element.
        case each(@Sendable (JSON, inout Writer) -> Void)
    }

    private static func write(_ json: JSON, _ shape: Fields, to writer: inout Writer) {
        for member in json.object ?? JSONObject() {
            if let extensions = shape.extensions, member.key.hasPrefix("x-") {
                writer.message(extensions) { named in
                    named.string(1, member.key)
                    named.message(2) { any(member.value, &$0) }
                }
                continue
            }
            guard let field = shape.fields[member.key] else { continue }
            write(member.value, field.number, field.form, to: &writer)
        }
    }

    private static func write(_ value: JSON, _ number: Int, _ form: Form, to writer: inout Writer) {
        switch form {
        case .text: if let text = value.string { writer.string(number, text) }
        case .texts: for text in value.array ?? [] { writer.string(number, text.string ?? "") }
        case .flag: if let flag = value.bool { writer.bool(number, flag) }
        case .whole: if let whole = value.int { writer.int64(number, Int64(whole)) }
        case .number: if let amount = value.double { writer.double(number, amount) }
        case .any: writer.message(number) { any(value, &$0) }
        case .anys: for element in value.array ?? [] { writer.message(number) { any(element, &$0) } }
        case .one(let body): writer.message(number) { body(value, &$0) }
        case .each(let body): for element in value.array ?? [] { writer.message(number) { body(element, &$0) } }
        }
    }

    private static func any(_ value: JSON, _ writer: inout Writer) { writer.string(2, value.text) }

    /// The members of an object as pairs of a name and a message.
    private static func pairs(
        _ object: JSON, _ number: Int, _ writer: inout Writer, _ body: (JSON, inout Writer) -> Void
    ) {
        for member in object.object ?? JSONObject() {
            writer.message(number) { pair in
                pair.string(1, member.key)
                pair.message(2) { body(member.value, &$0) }
            }
        }
    }

    // MARK: Documents and paths

    private static let documentFields = Fields(fields: [
        "swagger": (1, .text), "info": (2, .one { write($0, infoFields, to: &$1) }),
        "paths": (8, .one { pairs($0, 2, &$1) { write($0, pathFields, to: &$1) } }),
        "definitions": (9, .one { pairs($0, 1, &$1, schema) }),
    ])
    private static let infoFields = Fields(fields: [
        "title": (1, .text), "version": (2, .text), "description": (3, .text),
    ])
    private static let pathFields: Fields = {
        let operation = Form.one { write($0, operationFields, to: &$1) }
        return Fields(
            fields: [
                "get": (2, operation), "put": (3, operation), "post": (4, operation), "delete": (5, operation),
                "options": (6, operation), "head": (7, operation), "patch": (8, operation),
                "parameters": (9, .each(parameter)),
            ], extensions: 10)
    }()
    private static let operationFields = Fields(
        fields: [
            "tags": (1, .texts), "summary": (2, .text), "description": (3, .text), "operationId": (5, .text),
            "produces": (6, .texts), "consumes": (7, .texts), "parameters": (8, .each(parameter)),
            "responses": (9, .one { pairs($0, 1, &$1, response) }), "schemes": (10, .texts), "deprecated": (11, .flag),
        ], extensions: 13)

    @Sendable private static func response(_ json: JSON, _ writer: inout Writer) {
        writer.message(1) { response in
            response.string(1, json["description"]?.string ?? "")
            guard let answered = json["schema"] else { return }
            response.message(2) { item in item.message(1) { schema(answered, &$0) } }
        }
    }

    @Sendable private static func parameter(_ json: JSON, _ writer: inout Writer) {
        writer.message(1) { parameter in
            switch json["in"]?.string {
            case "body": parameter.message(1) { write(json, bodyFields, to: &$0) }
            case "path": parameter.message(2) { $0.message(4) { write(json, pathParameterFields, to: &$0) } }
            default: parameter.message(2) { $0.message(3) { write(json, queryParameterFields, to: &$0) } }
            }
        }
    }

    private static let bodyFields = Fields(
        fields: [
            "description": (1, .text), "name": (2, .text), "in": (3, .text), "required": (4, .flag),
            "schema": (5, .one(schema)),
        ], extensions: 6)
    private static let pathParameterFields = Fields(
        fields: [
            "required": (1, .flag), "in": (2, .text), "description": (3, .text), "name": (4, .text),
            "type": (5, .text), "format": (6, .text), "default": (9, .any), "uniqueItems": (19, .flag),
        ], extensions: 22)
    private static let queryParameterFields = Fields(
        fields: [
            "required": (1, .flag), "in": (2, .text), "description": (3, .text), "name": (4, .text),
            "type": (6, .text), "format": (7, .text), "default": (10, .any), "uniqueItems": (20, .flag),
        ], extensions: 23)

    // MARK: Schemas

    private static let schema: @Sendable (JSON, inout Writer) -> Void = { json, writer in
        write(json, schemaFields, to: &writer)
    }

    private static let schemaFields = Fields(
        fields: [
            "$ref": (1, .text), "format": (2, .text), "title": (3, .text), "description": (4, .text),
            "default": (5, .any), "multipleOf": (6, .number), "maximum": (7, .number), "exclusiveMaximum": (8, .flag),
            "minimum": (9, .number), "exclusiveMinimum": (10, .flag), "maxLength": (11, .whole),
            "minLength": (12, .whole), "pattern": (13, .text), "maxItems": (14, .whole), "minItems": (15, .whole),
            "uniqueItems": (16, .flag), "maxProperties": (17, .whole), "minProperties": (18, .whole),
            "required": (19, .texts), "enum": (20, .anys), "additionalProperties": (21, .one(additional)),
            "type": (22, .one { if let type = $0.string { $1.string(1, type) } }),
            "items": (23, .one { json, writer in writer.message(1) { schema(json, &$0) } }),
            "allOf": (24, .each(schema)), "properties": (25, .one { pairs($0, 1, &$1, schema) }),
            "readOnly": (27, .flag), "example": (30, .any),
        ], extensions: 31)

    @Sendable private static func additional(_ json: JSON, _ writer: inout Writer) {
        if let allowed = json.bool { writer.bool(2, allowed) } else { writer.message(1) { schema(json, &$0) } }
    }
}
