package import CEL
package import Wire

extension Value {
    /// A look at a JSON value of a schema; what is within it is looked at when an expression does.
    ///
    /// Beside what the type says, lists compare and add up as their list type asks.
    /// - Parameter type: what `SchemaTypes` made of the schema.
    package init(_ json: JSON, _ schema: Schema, as type: ValueType) {
        switch (json, type) {
        case (.array(let values), .list(let element)):
            guard let items = schema.items?.schema else {
                self = Value(json, as: type)
                return
            }
            self = .list(.source(SchemaList(values, items, element, Self.merge(schema))))
        case (.object(let members), .object(let type)):
            self = .map(.source(SchemaFields(members, schema, type)))
        case (.object(let members), .map(_, let value)):
            guard case .of(let link) = schema.additional else {
                self = Value(json, as: type)
                return
            }
            self = .map(.source(SchemaEntries(members, link.schema, value)))
        default: self = Value(json, as: type)
        }
    }

    private static func merge(_ schema: Schema) -> ListMerge {
        switch schema.listType {
        case .set: .set
        case .map: .map(keys: schema.listMapKeys.compactMap(FieldName.escaped))
        case .atomic, nil: .atomic
        }
    }
}

private final class SchemaList: ListSource {
    private let values: [JSON]
    private let schema: Schema
    private let type: ValueType
    let merge: ListMerge

    init(_ values: [JSON], _ schema: Schema, _ type: ValueType, _ merge: ListMerge) {
        self.values = values
        self.schema = schema
        self.type = type
        self.merge = merge
    }

    var count: Int { values.count }
    func element(at index: Int) -> Value { Value(values[index], schema, as: type) }
}

private final class SchemaEntries: FieldSource {
    private let members: JSONObject
    private let schema: Schema
    private let type: ValueType

    init(_ members: JSONObject, _ schema: Schema, _ type: ValueType) {
        self.members = members
        self.schema = schema
        self.type = type
    }

    var count: Int { members.count }
    var keys: [String] { members.keys }
    func field(_ name: String) -> Value? { members[name].map { Value($0, schema, as: type) } }
}

/// An object: fields its schema does not name cannot be seen.
private final class SchemaFields: FieldSource {
    private let members: JSONObject
    private let schema: Schema
    private let type: ObjectType

    init(_ members: JSONObject, _ schema: Schema, _ type: ObjectType) {
        self.members = members
        self.schema = schema
        self.type = type
    }

    var typeName: String? { type.name }
    var count: Int { keys.count }
    var keys: [String] { members.keys.compactMap(FieldName.escaped).filter { type.fields[$0] != nil } }

    func field(_ name: String) -> Value? {
        guard let declared = type.fields[name] else { return nil }
        let plain = FieldName.unescaped(name)
        guard let json = members[plain] else { return nil }
        guard let inner = schema.link(plain)?.schema else { return Value(json, as: declared) }
        return Value(json, inner, as: declared)
    }
}
