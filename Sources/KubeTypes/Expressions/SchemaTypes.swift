package import CEL

/// Turns schemas into the types that expressions see.
///
/// Named schemas may lead back to themselves; where one does, expressions may say anything of it.
package struct SchemaTypes {
    private var made: [String: ValueType] = [:]
    private var open: Set<String> = []

    package init() {}

    /// The type of a whole object of a kind.
    ///
    /// A custom kind's metadata shows its name only, as Kubernetes has it.
    /// - Parameter name: tells object types apart; fields' types are named after it.
    package mutating func root(_ schema: Schema, name: String) -> ValueType {
        type(schema, name: name) ?? .dyn
    }

    /// - Returns: `nil` for what has no type an expression could use: a free object, a list of anything.
    package mutating func type(_ schema: Schema, name: String) -> ValueType? {
        guard let known = schema.name else { return structure(schema, name) }
        if let type = made[known] { return type }
        guard open.insert(known).inserted else { return .dyn }
        defer { open.remove(known) }
        let type = structure(schema, known) ?? .dyn
        made[known] = type
        return type
    }

    private mutating func structure(_ schema: Schema, _ name: String) -> ValueType? {
        if schema.isIntOrString { return .dyn }
        // As text: `quantity()` reads it.
        if schema.isQuantity { return .string }
        switch schema.kind {
        case .any: return schema.isCustom ? nil : .dyn
        case .boolean: return .bool
        case .integer: return .int
        case .number: return .double
        case .string:
            switch schema.format {
            case "byte": return .bytes
            case "duration": return .duration
            case "date", "date-time": return .timestamp
            default: return .string
            }
        case .array:
            guard let items = schema.items?.schema else { return schema.isCustom ? nil : .list(.dyn) }
            return type(items, name: name + ".@items").map { .list($0) }
        case .object:
            if case .of(let link) = schema.additional, schema.properties.isEmpty {
                return type(link.schema, name: name + ".@values").map { .map(.string, $0) }
            }
            if schema.properties.isEmpty, !schema.isCustom { return .map(.string, .dyn) }
            return .object(object(schema, name))
        }
    }

    private mutating func object(_ schema: Schema, _ name: String) -> ObjectType {
        var fields: [String: ValueType] = [:]
        for (property, link) in schema.properties {
            guard let escaped = FieldName.escaped(property) else { continue }
            if schema.isCustom, property == "metadata", link.name == SchemaLibrary.objectMeta {
                fields[escaped] = .object(Self.metadata)
            } else if let type = type(link.schema, name: "\(name).\(property)") {
                fields[escaped] = type
            }
        }
        return ObjectType(name, fields)
    }

    private static let metadata = ObjectType("metadata", ["name": .string, "generateName": .string])
}
