package import Wire

/// The older form of the same documents, all in one (OpenAPI 2.0): what clients read that know no version 3.
package enum OpenAPIV2 {
    /// `GET /openapi/v2`. Made of the documents of version 3.
    package static func document(_ documents: OpenAPIDocuments, _ catalog: SchemaCatalog) -> JSON {
        var paths = JSONObject()
        var definitions: [String: JSON] = [:]
        for group in catalog.groups {
            for version in catalog.versions(of: group) {
                guard let bytes = documents.document(group: group, version: version),
                    let document = try? JSON(parsing: bytes)
                else { continue }
                for path in document["paths"]?.object ?? JSONObject() {
                    paths.members.append(.init(path.key, self.path(path.value)))
                }
                for schema in document["components"]?["schemas"]?.object ?? JSONObject()
                where definitions[schema.key] == nil {
                    definitions[schema.key] = self.schema(schema.value)
                }
            }
        }
        let sorted = definitions.sorted { $0.key < $1.key }.map { JSONObject.Member($0.key, $0.value) }
        return [
            "swagger": "2.0", "info": ["title": "Kubernetes", "version": "v1.36.3"], "paths": .object(paths),
            "definitions": .object(JSONObject(sorted)),
        ]
    }

    private static func path(_ path: JSON) -> JSON {
        var members: [JSONObject.Member] = []
        for member in path.object ?? JSONObject() {
            let value = member.key == "parameters" ? parameters(member.value) : operation(member.value)
            members.append(.init(member.key, value))
        }
        return .object(JSONObject(members))
    }

    private static func operation(_ operation: JSON) -> JSON {
        var parameters = parameters(operation["parameters"] ?? []).array ?? []
        var result = operation
        if let content = operation["requestBody"]?["content"]?.object, let body = content.members.first {
            result["requestBody"] = nil
            result["consumes"] = .array(content.keys.map(JSON.string))
            parameters.append([
                "name": "body", "in": "body", "required": true, "schema": schema(body.value["schema"] ?? [:]),
            ])
        }
        result["produces"] = ["application/json"]
        result["parameters"] = .array(parameters)
        var answers: [JSONObject.Member] = []
        for answer in operation["responses"]?.object ?? JSONObject() {
            let content = answer.value["content"]?["application/json"]?["schema"]
            var plain: JSON = ["description": answer.value["description"] ?? ""]
            if let content { plain["schema"] = schema(content) }
            answers.append(.init(answer.key, plain))
        }
        result["responses"] = .object(JSONObject(answers))
        return result
    }

    /// In version 2 a parameter's type stands in the parameter itself.
    private static func parameters(_ list: JSON) -> JSON {
        .array(
            (list.array ?? []).map { parameter in
                var plain = parameter
                plain["schema"] = nil
                for member in parameter["schema"]?.object ?? JSONObject() { plain[member.key] = member.value }
                return plain
            })
    }

    private static func schema(_ json: JSON) -> JSON {
        guard let members = json.object else { return json }
        // Choices of types have no word in version 2; both stand for text.
        if members["format"] == "int-or-string" { return ["type": "string", "format": "int-or-string"] }
        if members["oneOf"] == [["type": "string"], ["type": "number"]] { return ["type": "string"] }
        var result: [JSONObject.Member] = []
        for member in members {
            switch (member.key, member.value) {
            case ("$ref", .string(let target)):
                let name = target.split(separator: "/").last.map(String.init) ?? target
                result.append(.init("$ref", .string("#/definitions/" + name)))
            case ("allOf", .array(let parts)) where parts.count == 1:
                result += schema(parts[0]).object?.members ?? []
            case ("properties", .object(let properties)):
                let inner = properties.map { JSONObject.Member($0.key, schema($0.value)) }
                result.append(.init("properties", .object(JSONObject(inner))))
            case ("items", _), ("additionalProperties", .object):
                result.append(.init(member.key, schema(member.value)))
            case ("anyOf", _), ("oneOf", _), ("not", _), ("nullable", _): continue
            default: result.append(member)
            }
        }
        return .object(JSONObject(result))
    }
}
