import Wire

/// Checks that each default of a schema is a value its own schema accepts.
struct SchemaDefaults {
    private(set) var faults: [FieldFault] = []

    mutating func check(_ schema: JSON, _ path: String, isRoot: Bool = false) {
        if let value = schema["default"] { check(value, schema, "\(path).default") }
        for (name, inner) in schema.schemaProperties {
            // What metadata may hold is the server's to say.
            if isRoot, name == "metadata" { continue }
            check(inner, "\(path).properties[\(name)]")
        }
        if case .object? = schema["items"], let items = schema["items"] { check(items, "\(path).items") }
        if let inner = schema.schemaOfMembers { check(inner, "\(path).additionalProperties") }
    }

    private mutating func check(_ value: JSON, _ schema: JSON, _ path: String) {
        let compiled = Schema(schema, isCustom: true)
        if value.isNull {
            if !compiled.isNullable {
                faults.append(
                    FieldFault(.wrongType, path, value: "null", "must be of type \(compiled.kind.rawValue): \"null\""))
            }
            return
        }
        // A value within an object, since that is what is fitted and checked.
        let holder = Schema(["type": "object", "properties": ["default": schema]], isCustom: true)
        var object = KubeObject(["default": value])
        var structure = Structure()
        structure.fit(&object, holder)
        if !structure.unknown.isEmpty {
            faults.append(FieldFault(.invalid, path, value: value, "must not have unknown fields"))
        }
        Defaults.apply(&object.json, holder)
        var constraints = SchemaConstraints()
        constraints.check(object, holder)
        let prefix = String(path.dropLast("default".count))
        for fault in structure.faults + constraints.faults {
            faults.append(FieldFault(fault.kind, prefix + fault.path, value: fault.value, fault.detail))
        }
    }
}
