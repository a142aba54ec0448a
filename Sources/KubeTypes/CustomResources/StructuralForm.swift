import Wire

/// Finds what keeps a schema from being structural (KEP: vanilla OpenAPI subset).
struct StructuralForm {
    private(set) var faults: [FieldFault] = []

    private enum Level { case root, item, field }

    mutating func check(_ schema: JSON, _ path: String) {
        check(schema, .root, path)
        complete(schema, path)
    }

    private mutating func add(_ kind: FieldFault.Kind, _ path: String, _ value: JSON?, _ detail: String) {
        faults.append(FieldFault(kind, path, value: value, detail))
    }

    private mutating func add(_ kind: FieldFault.Kind, _ path: String, _ detail: String) {
        faults.append(FieldFault(kind, path, detail))
    }

    // MARK: The structure

    private mutating func check(_ schema: JSON, _ level: Level, _ path: String) {
        let type = schema.text("type")
        if type == "array", schema["items"] == nil { add(.required, "\(path).items", "must be specified") }
        if case .object? = schema["items"], let items = schema["items"] { check(items, .item, "\(path).items") }
        for (name, inner) in schema.schemaProperties { check(inner, .field, "\(path).properties[\(name)]") }
        if schema["additionalProperties"] != nil {
            if level == .root { add(.forbidden, "\(path).additionalProperties", "must not be used at the root") }
            if schema.isTrue("x-kubernetes-embedded-resource") {
                add(
                    .forbidden, "\(path).additionalProperties",
                    "must not be used if x-kubernetes-embedded-resource is set")
            }
        }
        if let inner = schema.schemaOfMembers { check(inner, .field, "\(path).additionalProperties") }
        extensions(schema, path)
        narrowing(schema, path)
        checkType(schema, type, level, path)
        metadata(schema, level, path)
    }

    private mutating func extensions(_ schema: JSON, _ path: String) {
        guard schema.isTrue("x-kubernetes-int-or-string") else { return }
        for member in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"]
        where schema.isTrue(member) {
            add(.invalid, "\(path).\(member)", true, "must be false if x-kubernetes-int-or-string is true")
        }
    }

    private mutating func checkType(_ schema: JSON, _ type: String, _ level: Level, _ path: String) {
        let isEmbedded = schema.isTrue("x-kubernetes-embedded-resource")
        if isEmbedded, type != "object" {
            let need = "must be object if x-kubernetes-embedded-resource is true"
            if type.isEmpty {
                add(.required, "\(path).type", need)
            } else {
                add(.invalid, "\(path).type", .string(type), need)
            }
        } else if type.isEmpty, !schema.isTrue("x-kubernetes-int-or-string"),
            !schema.isTrue("x-kubernetes-preserve-unknown-fields")
        {
            switch level {
            case .root: add(.required, "\(path).type", "must not be empty at the root")
            case .item: add(.required, "\(path).type", "must not be empty for specified array items")
            case .field: add(.required, "\(path).type", "must not be empty for specified object fields")
            }
        }
        if level == .root, !type.isEmpty, type != "object" {
            add(.invalid, "\(path).type", .string(type), "must be object at the root")
        }
        if isEmbedded, !schema.isTrue("x-kubernetes-preserve-unknown-fields"),
            schema["properties"]?.object?.isEmpty ?? true
        {
            add(
                .required, "\(path).properties",
                "must not be empty if x-kubernetes-embedded-resource is true without"
                    + " x-kubernetes-preserve-unknown-fields")
        }
    }

    /// The fields every object has are described by the server; a schema may narrow an object's name only.
    private mutating func metadata(_ schema: JSON, _ level: Level, _ path: String) {
        guard level == .root || schema.isTrue("x-kubernetes-embedded-resource") else { return }
        for name in ["kind", "apiVersion"] {
            guard let own = schema["properties"]?[name], own.text("type") != "string" else { continue }
            add(.invalid, "\(path).properties[\(name)].type", own["type"] ?? "", "must be string")
        }
        guard let own = schema["properties"]?["metadata"] else { return }
        if own.text("type") != "object" {
            add(.invalid, "\(path).properties[metadata].type", own["type"] ?? "", "must be object")
        }
        guard level == .root else { return }
        let isPlain = (own.object ?? JSONObject()).allSatisfy { member in
            switch member.key {
            case "type", "description", "default": return true
            case "properties":
                return member.value.object?.allSatisfy { $0.key == "name" || $0.key == "generateName" } ?? true
            default: return false
            }
        }
        if !isPlain {
            add(
                .forbidden, "\(path).properties[metadata]",
                "must not specify anything other than name and generateName, but metadata is implicitly specified")
        }
    }

    // MARK: What narrows values down

    private static let intOrString: JSON = [["type": "integer"], ["type": "string"]]

    private mutating func narrowing(_ schema: JSON, _ path: String) {
        let isEither = schema.isTrue("x-kubernetes-int-or-string")
        if schema["anyOf"] != Self.intOrString || !isEither {
            for (index, part) in schema.list("anyOf").enumerated() { narrow(part, "\(path).anyOf[\(index)]") }
        }
        for (index, part) in schema.list("allOf").enumerated() {
            let isPattern = isEither && index == 0 && part["anyOf"] == Self.intOrString
            narrow(part, "\(path).allOf[\(index)]", skipsAnyOf: isPattern)
        }
        for (index, part) in schema.list("oneOf").enumerated() { narrow(part, "\(path).oneOf[\(index)]") }
        if let part = schema["not"] { narrow(part, "\(path).not") }
    }

    private static let emptyMembers = [
        "type", "title", "description", "x-kubernetes-list-map-keys", "x-kubernetes-validations",
    ]
    private static let falseMembers = [
        "nullable", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
    ]
    private static let undefinedMembers = [
        "additionalProperties", "default", "externalDocs", "x-kubernetes-list-type", "x-kubernetes-map-type",
    ]

    private mutating func narrow(_ schema: JSON, _ path: String, skipsAnyOf: Bool = false) {
        for member in Self.emptyMembers where schema[member] != nil && schema[member] != "" && schema[member] != [] {
            add(.forbidden, "\(path).\(member)", "must be empty to be structural")
        }
        for member in Self.falseMembers where schema.isTrue(member) {
            add(.forbidden, "\(path).\(member)", "must be false to be structural")
        }
        for member in Self.undefinedMembers where schema[member] != nil {
            add(.forbidden, "\(path).\(member)", "must be undefined to be structural")
        }
        if schema["properties"]?["metadata"] != nil {
            add(.forbidden, "\(path).properties[metadata]", "must not be specified in a nested context")
        }
        var rest = schema
        if skipsAnyOf { rest["anyOf"] = nil }
        rest["x-kubernetes-int-or-string"] = nil
        narrowing(rest, path)
        if let items = schema["items"] { narrow(items, "\(path).items") }
        for (name, inner) in schema.schemaProperties { narrow(inner, "\(path).properties[\(name)]") }
    }

    // MARK: Completeness

    /// What narrows a field down speaks of one that the structure has.
    private mutating func complete(_ schema: JSON, _ path: String) {
        complete(narrowing: schema, schema, path, path)
        if case .object? = schema["items"], let items = schema["items"] { complete(items, "\(path).items") }
        for (name, inner) in schema.schemaProperties { complete(inner, "\(path).properties[\(name)]") }
        if let inner = schema.schemaOfMembers { complete(inner, "\(path).additionalProperties") }
    }

    private mutating func complete(narrowing part: JSON, _ schema: JSON, _ place: String, _ path: String) {
        for member in ["allOf", "anyOf", "oneOf"] {
            for (index, inner) in part.list(member).enumerated() {
                complete(nested: inner, schema, place, "\(path).\(member)[\(index)]")
            }
        }
        if let inner = part["not"] { complete(nested: inner, schema, place, "\(path).not") }
    }

    private mutating func complete(nested part: JSON, _ schema: JSON?, _ place: String, _ path: String) {
        guard let schema else { return add(.required, place, "because it is defined in \(path)") }
        complete(narrowing: part, schema, place, path)
        if let items = part["items"] {
            complete(nested: items, schema["items"], "\(place).items", "\(path).items")
        }
        for (name, inner) in part.schemaProperties {
            complete(
                nested: inner, schema["properties"]?[name], "\(place).properties[\(name)]",
                "\(path).properties[\(name)]")
        }
    }
}
