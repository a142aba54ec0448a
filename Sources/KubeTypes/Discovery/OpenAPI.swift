import Synchronization
package import Wire

/// The OpenAPI v3 documents of a catalog, one a group and version, made when first asked for.
///
/// kubectl needs of them: the PATCH operation of each kind with its query parameters and body types, and the schemas with their merge keys.
package final class OpenAPIDocuments: Sendable {
    private struct Made {
        let hash: String
        let bytes: [UInt8]
    }
    private let catalog: SchemaCatalog
    private let made: Mutex<[String: Made]>
    /// Documents kept: most clients look at few, and a cluster may have hundreds.
    private static let mostKept = 64

    /// - Parameter before: what it made is taken over where nothing changed.
    package init(_ catalog: SchemaCatalog, after before: OpenAPIDocuments? = nil) {
        self.catalog = catalog
        made = Mutex(before?.made.withLock { $0 } ?? [:])
    }

    /// `api/v1`, `apis/apps/v1`: the paths of the index.
    private static func path(_ group: String, _ version: String) -> String {
        group.isEmpty ? "api/\(version)" : "apis/\(group)/\(version)"
    }

    /// `GET /openapi/v3`.
    package func index() -> JSON {
        var paths = JSONObject()
        for group in catalog.groups {
            for version in catalog.versions(of: group) {
                let path = Self.path(group, version)
                let url = "/openapi/v3/\(path)?hash=\(hash(group: group, version: version))"
                paths.members.append(.init(path, ["serverRelativeURL": .string(url)]))
            }
        }
        return ["paths": .object(paths)]
    }

    /// Changes when the document could: with the resources of the version, or with this program's data.
    package func hash(group: String, version: String) -> String {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        func mix(_ text: String) {
            for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        }
        mix(Self.dataVersion)
        for definition in catalog.definitions(group: group, version: version) {
            mix(
                "\(definition.type.description) \(definition.type.kind) \(definition.verbs.count) \(definition.subresources.count)"
            )
            if definition.schemaLink.isGiven { mix(String(definition.schemaLink.fingerprint)) }
        }
        return String(hash, radix: 16, uppercase: true)
    }

    /// Grows when the documents are made differently.
    private static let dataVersion = "1.36.3/1"

    /// `GET /openapi/v3/api/v1`, `GET /openapi/v3/apis/apps/v1`; `nil` for a version that is not served.
    package func document(group: String, version: String) -> [UInt8]? {
        let definitions = catalog.definitions(group: group, version: version)
        if definitions.isEmpty { return nil }
        let path = Self.path(group, version)
        let hash = hash(group: group, version: version)
        if let known = made.withLock({ $0[path] }), known.hash == hash { return known.bytes }
        let bytes = OpenAPIDocument(definitions).json.bytes
        made.withLock { made in
            if made.count >= Self.mostKept { made.removeAll() }
            made[path] = Made(hash: hash, bytes: bytes)
        }
        return bytes
    }
}

/// One document: the paths of the resources, and all schemas they lead to.
private struct OpenAPIDocument {
    private var paths = JSONObject()
    private var schemas: [String: JSON] = [:]

    private static let meta = "io.k8s.apimachinery.pkg.apis.meta.v1"

    init(_ definitions: [ResourceDefinition]) {
        add("\(Self.meta).Status")
        add("\(Self.meta).DeleteOptions")
        add("\(Self.meta).ListMeta")
        for definition in definitions { add(definition) }
    }

    var json: JSON {
        let sorted = schemas.sorted { $0.key < $1.key }.map { JSONObject.Member($0.key, $0.value) }
        return [
            "openapi": "3.0.0", "info": ["title": "Kubernetes", "version": "v1.36.3"], "paths": .object(paths),
            "components": ["schemas": .object(JSONObject(sorted))],
        ]
    }

    // MARK: Schemas

    /// A Kubernetes definition and all it refers to.
    private mutating func add(_ name: String) {
        guard schemas[name] == nil, let json = SchemaLibrary.builtIn.json(name) else { return }
        schemas[name] = .null  // it may lead back to itself
        schemas[name] = converted(json, name)
    }

    private mutating func converted(_ json: JSON, _ name: String? = nil) -> JSON {
        guard var members = json.object else { return json }
        if let reference = members["$ref"]?.string {
            add(reference)
            let link: JSON = ["$ref": .string("#/components/schemas/\(reference)")]
            members["$ref"] = nil
            if members.isEmpty { return link }
            members["allOf"] = [link]
            return .object(members)
        }
        if name == "io.k8s.apimachinery.pkg.api.resource.Quantity" {
            return ["oneOf": [["type": "string"], ["type": "number"]]]
        }
        if members["format"] == "int-or-string" {
            return ["format": "int-or-string", "oneOf": [["type": "integer"], ["type": "string"]]]
        }
        for index in members.members.indices {
            switch members.members[index].key {
            case "properties":
                guard var properties = members.members[index].value.object else { continue }
                for place in properties.members.indices {
                    properties.members[place].value = converted(properties.members[place].value)
                }
                members.members[index].value = .object(properties)
            case "items", "additionalProperties", "not":
                members.members[index].value = converted(members.members[index].value)
            case "allOf", "anyOf", "oneOf":
                members.members[index].value = .array((members.members[index].value.array ?? []).map { converted($0) })
            default: break
            }
        }
        return .object(members)
    }

    /// The schema of a kind, with its name in the document.
    private mutating func schema(of definition: ResourceDefinition) -> String {
        let type = definition.type
        if let name = definition.schemaLink.name {
            add(name)
            return name
        }
        let name = Self.customName(type)
        if schemas[name] == nil, let document = definition.schemaLink.document {
            var json = converted(document)
            json["x-kubernetes-group-version-kind"] = [Self.kind(type.group, type.version, type.kind)]
            schemas[name] = json
        }
        return name
    }

    /// `io.k8s.networking.gateway.v1.HTTPRoute` for `gateway.networking.k8s.io/v1`.
    private static func customName(_ type: ResourceType) -> String {
        type.group.split(separator: ".").reversed().joined(separator: ".") + ".\(type.version).\(type.kind)"
    }

    private mutating func list(of definition: ResourceDefinition, _ item: String) -> String {
        let name = item + "List"
        if SchemaLibrary.builtIn.json(name) != nil {
            add(name)
        } else if schemas[name] == nil {
            schemas[name] = [
                "type": "object", "required": ["items"],
                "properties": [
                    "apiVersion": ["type": "string"], "kind": ["type": "string"],
                    "metadata": ["$ref": .string("#/components/schemas/\(Self.meta).ListMeta")],
                    "items": ["type": "array", "items": ["$ref": .string("#/components/schemas/\(item)")]],
                ],
                "x-kubernetes-group-version-kind": [
                    Self.kind(definition.type.group, definition.type.version, definition.listKind)
                ],
            ]
        }
        return name
    }

    // MARK: Paths

    private static func kind(_ group: String, _ version: String, _ kind: String) -> JSON {
        ["group": .string(group), "version": .string(version), "kind": .string(kind)]
    }

    private mutating func add(_ definition: ResourceDefinition) {
        let type = definition.type
        let item = schema(of: definition)
        let list = list(of: definition, item)
        let gvk = Self.kind(type.group, type.version, type.kind)
        let root = (type.group.isEmpty ? "/api/" : "/apis/\(type.group)/") + type.version
        let base = type.isNamespaced ? "\(root)/namespaces/{namespace}/\(type.resource)" : "\(root)/\(type.resource)"
        let place: [JSON] = type.isNamespaced ? [Self.inPath("namespace")] : []
        var collection = JSONObject()
        if definition.verbs.contains("list") {
            collection["get"] = Self.operation("list", gvk, answer: list, Self.listParameters)
        }
        if definition.verbs.contains("create") {
            collection["post"] = Self.write("post", gvk, item, Self.jsonBody(item))
        }
        if definition.verbs.contains("deletecollection") {
            collection["delete"] = Self.operation(
                "deletecollection", gvk, answer: "\(Self.meta).Status", Self.listParameters)
        }
        collection["parameters"] = .array(place)
        paths[base] = .object(collection)
        if type.isNamespaced, definition.verbs.contains("list") {
            paths["\(root)/\(type.resource)"] = [
                "get": Self.operation("list", gvk, answer: list, Self.listParameters), "parameters": [],
            ]
        }
        guard definition.verbs.contains("get") else { return }
        var named = JSONObject()
        named["get"] = Self.operation("get", gvk, answer: item, [])
        if definition.verbs.contains("update") { named["put"] = Self.write("put", gvk, item, Self.jsonBody(item)) }
        if definition.verbs.contains("patch") {
            named["patch"] = Self.write("patch", gvk, item, Self.patchBody(definition))
        }
        if definition.verbs.contains("delete") {
            named["delete"] = Self.operation(
                "delete", gvk, answer: "\(Self.meta).Status",
                [
                    Self.query("dryRun", "string"), Self.query("gracePeriodSeconds", "integer"),
                    Self.query("propagationPolicy", "string"),
                ])
        }
        named["parameters"] = .array([Self.inPath("name")] + place)
        paths["\(base)/{name}"] = .object(named)
        for part in definition.subresources {
            var entry = JSONObject()
            let own = Self.kind(part.group, part.version, part.kind)
            let name = part.kind == type.kind ? item : "\(Self.meta).Status"
            if part.verbs.contains("get") { entry["get"] = Self.operation("get", own, answer: name, []) }
            if part.verbs.contains("update") { entry["put"] = Self.write("put", own, name, Self.jsonBody(name)) }
            if part.verbs.contains("patch") {
                entry["patch"] = Self.write("patch", own, name, Self.patchBody(definition))
            }
            if part.verbs.contains("create") { entry["post"] = Self.write("post", own, name, Self.jsonBody(name)) }
            if entry.isEmpty { continue }
            entry["parameters"] = .array([Self.inPath("name")] + place)
            paths["\(base)/{name}/\(part.name)"] = .object(entry)
        }
    }

    private static func operation(_ action: String, _ gvk: JSON, answer: String, _ parameters: [JSON]) -> JSON {
        let content: JSON = ["application/json": ["schema": ["$ref": .string("#/components/schemas/\(answer)")]]]
        return [
            "parameters": .array(parameters), "responses": ["200": ["description": "OK", "content": content]],
            "x-kubernetes-action": .string(action), "x-kubernetes-group-version-kind": gvk,
        ]
    }

    private static func write(_ action: String, _ gvk: JSON, _ answer: String, _ body: JSON) -> JSON {
        var parameters = [
            query("pretty", "string"), query("dryRun", "string"), query("fieldManager", "string"),
            query("fieldValidation", "string"),
        ]
        if action == "patch" { parameters.append(query("force", "boolean")) }
        var operation = operation(action, gvk, answer: answer, parameters)
        operation["requestBody"] = body
        return operation
    }

    private static func jsonBody(_ schema: String) -> JSON {
        [
            "required": true,
            "content": ["application/json": ["schema": ["$ref": .string("#/components/schemas/\(schema)")]]],
        ]
    }

    private static func patchBody(_ definition: ResourceDefinition) -> JSON {
        var content = JSONObject()
        for type in PatchType.allCases where !(definition.isCustom && type == .strategic) {
            content[type.rawValue] = ["schema": ["type": "object"]]
        }
        return ["required": true, "content": .object(content)]
    }

    private static let listParameters = [
        query("labelSelector", "string"), query("fieldSelector", "string"), query("limit", "integer"),
        query("continue", "string"),
        query("watch", "boolean"), query("resourceVersion", "string"), query("timeoutSeconds", "integer"),
    ]

    private static func query(_ name: String, _ type: String) -> JSON {
        ["name": .string(name), "in": "query", "schema": ["type": .string(type), "uniqueItems": true]]
    }
    private static func inPath(_ name: String) -> JSON {
        ["name": .string(name), "in": "path", "required": true, "schema": ["type": "string", "uniqueItems": true]]
    }
}
