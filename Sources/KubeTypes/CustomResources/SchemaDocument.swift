import Wire

/// An `openAPIV3Schema` of a CRD, checked to be one the server can work with: structural, with sound defaults and rules.
///
/// A schema is structural when each field and element it speaks of has a type outside of `allOf`, `anyOf`, `oneOf` and `not`,
/// and those only narrow values down.
struct SchemaDocument {
    let root: JSON
    let path: String
    let hasStatus: Bool

    init(_ root: JSON, path: String, hasStatus: Bool) {
        self.root = root
        self.path = path
        self.hasStatus = hasStatus
    }

    /// Expressions are compiled only where the form is right.
    func faults() -> [FieldFault] {
        var form = SchemaForm()
        form.check(root, path, isRoot: true)
        if hasStatus { form.checkRoot(root, path) }
        var structure = StructuralForm()
        structure.check(root, path)
        let found = form.faults + structure.faults
        if !found.isEmpty { return found }
        var defaults = SchemaDefaults()
        defaults.check(root, path, isRoot: true)
        var rules = SchemaRuleForm()
        rules.check(root, path)
        return defaults.faults + rules.faults
    }

    /// The schema of a field.
    static func part(of schema: JSON, at steps: [String]) -> JSON? {
        var schema = schema
        for step in steps {
            guard let next = schema["properties"]?[step] ?? (schema["properties"] == nil ? values(schema) : nil) else {
                return nil
            }
            schema = next
        }
        return schema
    }

    private static func values(_ schema: JSON) -> JSON? {
        guard case .object? = schema["additionalProperties"] else { return nil }
        return schema["additionalProperties"]
    }
}

extension JSON {
    /// A schema's parts by name, sorted, so that faults come in one order.
    var schemaProperties: [(name: String, schema: JSON)] {
        (self["properties"]?.object ?? JSONObject()).map { ($0.key, $0.value) }.sorted { $0.name < $1.name }
    }

    /// The schema of an object's other members, when it is one and not just true or false.
    var schemaOfMembers: JSON? {
        guard case .object? = self["additionalProperties"] else { return nil }
        return self["additionalProperties"]
    }

    func isTrue(_ member: String) -> Bool { self[member]?.bool ?? false }
    func text(_ member: String) -> String { self[member]?.string ?? "" }
}
