import Wire

/// What each part of a CRD's schema may say, whether or not it is structural.
struct SchemaForm {
    private(set) var faults: [FieldFault] = []

    /// Whether defaults may stand here, or why not.
    private struct Place {
        var isRoot = false
        var noDefaults: String?
        var isInMetadata = false
    }

    mutating func check(_ schema: JSON, _ path: String, isRoot: Bool) {
        var place = Place()
        place.isRoot = isRoot
        check(schema, path, place)
    }

    private mutating func add(_ kind: FieldFault.Kind, _ path: String, _ value: JSON?, _ detail: String) {
        faults.append(FieldFault(kind, path, value: value, detail))
    }

    private mutating func add(_ kind: FieldFault.Kind, _ path: String, _ detail: String) {
        faults.append(FieldFault(kind, path, detail))
    }

    private static let rootMembers: Set<String> = [
        "description", "type", "format", "title", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum",
        "maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "multipleOf", "required", "items",
        "properties",
        "externalDocs", "example", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations",
    ]

    /// With a status of its own, the root may only say what can be said of both halves.
    mutating func checkRoot(_ schema: JSON, _ path: String) {
        for member in schema.object ?? JSONObject() where !Self.rootMembers.contains(member.key) {
            add(
                .invalid, path, .string(member.key),
                "only \(Self.rootMembers.sorted()) fields are allowed at the root of the schema if the status subresource"
                    + " is enabled")
            return
        }
    }

    private static let types: Set<String> = ["string", "number", "integer", "boolean", "array", "object"]
    private static let unsupported = [
        "id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref",
    ]

    private mutating func check(_ schema: JSON, _ path: String, _ place: Place) {
        let type = schema.text("type")
        if type == "null" {
            add(.forbidden, "\(path).type", "type cannot be set to null, use nullable as an alternative")
        } else if !type.isEmpty, !Self.types.contains(type) {
            let list = Self.types.sorted().map { "\"\($0)\"" }.joined(separator: ", ")
            add(.unsupported, "\(path).type", .string(type), "supported values: \(list)")
        }
        if place.isRoot, schema.isTrue("nullable") {
            add(.forbidden, "\(path).nullable", "nullable cannot be true at the root")
        }
        if schema["default"] != nil, let reason = place.noDefaults {
            add(.forbidden, "\(path).default", "must not be set \(reason)")
        }
        for member in Self.unsupported where schema[member] != nil {
            add(.forbidden, "\(path).\(member)", "\(member) is not supported")
        }
        if case .array? = schema["items"] {
            add(.forbidden, "\(path).items", "items must be a schema object and not an array")
        }
        if schema.isTrue("uniqueItems") {
            add(
                .forbidden, "\(path).uniqueItems",
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic")
        }
        if place.isInMetadata, schema.isTrue("x-kubernetes-embedded-resource") {
            add(.forbidden, "\(path).x-kubernetes-embedded-resource", "must not be used inside of resource meta")
        }
        if let additional = schema["additionalProperties"], additional != true,
            !(schema["properties"]?.object?.isEmpty ?? true)
        {
            add(
                .forbidden, "\(path).additionalProperties",
                "additionalProperties and properties are mutual exclusive")
        }
        if schema["x-kubernetes-preserve-unknown-fields"] == false {
            add(.invalid, "\(path).x-kubernetes-preserve-unknown-fields", false, "must be true or undefined")
        }
        if let pattern = schema["pattern"]?.string, let fault = Patterns.fault(pattern) {
            add(
                .invalid, "\(path).pattern", .string(pattern),
                "must be a valid regular expression, but isn't: \(fault)")
        }
        mapType(schema, type, path)
        listType(schema, type, path)
        rules(schema, path)
        parts(schema, path, place)
    }

    private mutating func parts(_ schema: JSON, _ path: String, _ place: Place) {
        if let inner = schema.schemaOfMembers {
            var next = Place(isInMetadata: place.isInMetadata)
            next.noDefaults =
                place.isInMetadata ? "inside additionalProperties applying to object metadata" : place.noDefaults
            check(inner, "\(path).additionalProperties", next)
        }
        for (name, inner) in schema.schemaProperties {
            var next = Place(noDefaults: place.noDefaults, isInMetadata: place.isInMetadata)
            let isOwn = place.isRoot || schema.isTrue("x-kubernetes-embedded-resource")
            if isOwn, ["metadata", "kind", "apiVersion"].contains(name) {
                next.isInMetadata = true
                if place.isRoot { next.noDefaults = "in top-level \(name)" }
            }
            check(inner, "\(path).properties[\(name)]", next)
        }
        let next = Place(noDefaults: place.noDefaults, isInMetadata: place.isInMetadata)
        if case .object? = schema["items"], let inner = schema["items"] { check(inner, "\(path).items", next) }
        if let inner = schema["not"] { check(inner, "\(path).not", next) }
        for member in ["allOf", "oneOf", "anyOf"] {
            for (index, inner) in schema.list(member).enumerated() { check(inner, "\(path).\(member)[\(index)]", next) }
        }
    }

    private mutating func mapType(_ schema: JSON, _ type: String, _ path: String) {
        guard let mapType = schema["x-kubernetes-map-type"]?.string else { return }
        let need = "must be object if x-kubernetes-map-type is specified"
        if type.isEmpty { add(.required, "\(path).type", need) }
        if !type.isEmpty, type != "object" { add(.invalid, "\(path).type", .string(type), need) }
        if mapType != "atomic", mapType != "granular" {
            add(
                .unsupported, "\(path).x-kubernetes-map-type", .string(mapType),
                "supported values: \"atomic\", \"granular\"")
        }
    }

    private mutating func listType(_ schema: JSON, _ type: String, _ path: String) {
        let listType = schema["x-kubernetes-list-type"]?.string
        let keys = schema.list("x-kubernetes-list-map-keys").compactMap(\.string)
        if !keys.isEmpty, listType != "map" {
            let need = "must be map if x-kubernetes-list-map-keys is non-empty"
            let place = "\(path).x-kubernetes-list-type"
            if let listType { add(.invalid, place, .string(listType), need) } else { add(.required, place, need) }
        }
        guard let listType else { return }
        if type != "array" {
            let need = "must be array if x-kubernetes-list-type is specified"
            if type.isEmpty {
                add(.required, "\(path).type", need)
            } else {
                add(.invalid, "\(path).type", .string(type), need)
            }
        }
        let items = schema["items"]
        switch listType {
        case "atomic": return
        case "set":
            guard let items else { return }
            let need = "must be atomic as item of a list with x-kubernetes-list-type=set"
            if items.text("type") == "array", let inner = items["x-kubernetes-list-type"], inner != "atomic" {
                add(.invalid, "\(path).items.x-kubernetes-list-type", inner, need)
            }
            if items.text("type") == "object", items["x-kubernetes-map-type"] != "atomic" {
                add(.invalid, "\(path).items.x-kubernetes-map-type", items["x-kubernetes-map-type"], need)
            }
        case "map": mapKeys(schema, items, keys, path)
        default:
            add(
                .unsupported, "\(path).x-kubernetes-list-type", .string(listType),
                "supported values: \"atomic\", \"map\", \"set\"")
            return
        }
        if items?.isTrue("nullable") == true {
            add(.forbidden, "\(path).items.nullable", "cannot be nullable when x-kubernetes-list-type is \(listType)")
        }
    }

    private mutating func mapKeys(_ schema: JSON, _ items: JSON?, _ keys: [String], _ path: String) {
        let place = "\(path).x-kubernetes-list-map-keys"
        if keys.isEmpty { add(.required, place, "must not be empty if x-kubernetes-list-type is map") }
        guard let items else {
            return add(.required, "\(path).items", "must have a schema if x-kubernetes-list-type is map")
        }
        guard items.text("type") == "object" else {
            return add(
                .invalid, "\(path).items.type", items["type"] ?? "",
                "must be object if parent array's x-kubernetes-list-type is map")
        }
        let required = items.list("required")
        for (index, key) in keys.enumerated() {
            if keys[..<index].contains(key) {
                add(.invalid, place, .array(keys.map(JSON.string)), "must not contain duplicate entries")
            }
            let own = "\(path).items.properties[\(key)]"
            guard let property = items["properties"]?[key] else {
                add(.invalid, place, .array(keys.map(JSON.string)), "entries must all be names of item properties")
                continue
            }
            if ["array", "object"].contains(property.text("type")) {
                add(
                    .invalid, "\(own).type", property["type"],
                    "must be a scalar type if parent array's x-kubernetes-list-type is map")
            }
            if !required.contains(.string(key)), property["default"] == nil {
                add(
                    .required, "\(own).default",
                    "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
                )
            }
            if property.isTrue("nullable") {
                add(
                    .forbidden, "\(own).nullable",
                    "this property is in x-kubernetes-list-map-keys, so it cannot be nullable")
            }
        }
    }

    private static let reasons = [
        "FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired",
    ]

    private mutating func rules(_ schema: JSON, _ path: String) {
        for (index, json) in schema.list("x-kubernetes-validations").enumerated() {
            let place = "\(path).x-kubernetes-validations[\(index)]"
            let rule = Schema.Rule(json)
            let (text, message) = (rule.rule.trimmed, rule.message.trimmed)
            func isBroken(_ text: String) -> Bool { text.unicodeScalars.contains { $0 == "\n" || $0 == "\r" } }
            if text.isEmpty {
                add(.required, "\(place).rule", "rule is not specified")
            } else if !rule.message.isEmpty, message.isEmpty {
                add(.invalid, "\(place).message", .string(rule.message), "message must be non-empty if specified")
            } else if isBroken(message) {
                add(.invalid, "\(place).message", .string(rule.message), "message must not contain line breaks")
            } else if isBroken(text), message.isEmpty {
                add(.required, "\(place).message", "message must be specified if rule contains line breaks")
            }
            if !rule.messageExpression.isEmpty, rule.messageExpression.trimmed.isEmpty {
                add(.required, "\(place).messageExpression", "messageExpression must be non-empty if specified")
            }
            if !rule.reason.isEmpty, !Self.reasons.contains(rule.reason) {
                let list = Self.reasons.map { "\"\($0)\"" }.joined(separator: ", ")
                add(.unsupported, "\(place).reason", .string(rule.reason), "supported values: \(list)")
            }
            guard !rule.fieldPath.isEmpty else { continue }
            let steps = FieldSteps(rule.fieldPath)?.steps
            if steps.map({ !$0.isEmpty && SchemaDocument.part(of: schema, at: $0) != nil }) != true {
                add(.invalid, "\(place).fieldPath", .string(rule.fieldPath), "fieldPath must be a valid path")
            }
        }
    }
}
