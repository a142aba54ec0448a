package import Wire

extension Value {
    /// A look at a JSON value; lists and objects in it are looked at when an expression does.
    ///
    /// - Parameter type: what a schema says it is: it tells times and bytes from text, doubles from whole numbers and objects,
    ///   whose fields have names for expressions, from maps.
    package init(_ json: JSON, as type: ValueType = .dyn) {
        switch (json, type) {
        case (.null, _): self = .null
        case (.bool(let value), _): self = .bool(value)
        case (.int(let value), .double): self = .double(Double(value))
        case (.int(let value), .uint) where value >= 0: self = .uint(UInt64(value))
        case (.int(let value), _): self = .int(value)
        case (.double(let value), .int): self = Int64(exactly: value).map { .int($0) } ?? .double(value)
        case (.double(let value), _): self = .double(value)
        case (.string(let text), .timestamp):
            let moment = Timestamp(text) ?? (text.utf8.count == 10 ? Timestamp(text + "T00:00:00Z") : nil)
            self = moment.map { .timestamp($0) } ?? .string(text)
        case (.string(let text), .duration): self = TimeSpan(text).map { .duration($0) } ?? .string(text)
        case (.string(let text), .bytes): self = Base64.decode(text).map { .bytes($0) } ?? .string(text)
        case (.string(let text), _): self = .string(text)
        case (.array(let values), .list(let element)): self = .list(.source(JSONList(values, element)))
        case (.array(let values), _): self = .list(.source(JSONList(values, .dyn)))
        case (.object(let object), .object(let type)): self = .map(.source(JSONFields(object, type)))
        case (.object(let object), .map(_, let value)): self = .map(.source(JSONMap(object, value)))
        case (.object(let object), _): self = .map(.source(JSONMap(object, .dyn)))
        }
    }

    /// The value as JSON, for what an expression makes: a patch, an object. `nil` for what JSON cannot say.
    package var json: JSON? {
        switch self {
        case .null: return .null
        case .bool(let value): return .bool(value)
        case .int(let value): return .int(value)
        case .uint(let value): return Int64(exactly: value).map { .int($0) } ?? .double(Double(value))
        case .double(let value): return value.isFinite ? .double(value) : nil
        case .string(let text): return .string(text)
        case .bytes(let bytes): return .string(Base64.encode(bytes))
        case .timestamp, .duration: return .string(plainText)
        case .optional(let optional): return optional.value?.json
        case .type, .opaque: return nil
        case .list(let list):
            var made: [JSON] = []
            for value in list.values {
                guard let json = value.json else { return nil }
                made.append(json)
            }
            return .array(made)
        case .map(let map):
            let isObject = map.typeName != nil
            var made = JSONObject()
            for key in map.keys {
                guard case .string(let name) = key, let value = try? map.field(name), let json = value.json else {
                    return nil
                }
                made[isObject ? FieldName.unescaped(name) : name] = json
            }
            return .object(made)
        }
    }
}

/// A JSON array as a list.
package final class JSONList: ListSource {
    private let values: [JSON]
    private let element: ValueType
    package let merge: ListMerge

    package init(_ values: [JSON], _ element: ValueType, merge: ListMerge = .atomic) {
        self.values = values
        self.element = element
        self.merge = merge
    }

    package var count: Int { values.count }
    package func element(at index: Int) -> Value { Value(values[index], as: element) }
}

/// A JSON object as a map.
private final class JSONMap: FieldSource {
    private let object: JSONObject
    private let value: ValueType

    init(_ object: JSONObject, _ value: ValueType) {
        self.object = object
        self.value = value
    }

    var count: Int { object.count }
    var keys: [String] { object.keys }
    func field(_ name: String) -> Value? { object[name].map { Value($0, as: value) } }
}

/// A JSON object whose fields a schema declares; those it does not declare cannot be seen.
private final class JSONFields: FieldSource {
    private let object: JSONObject
    private let type: ObjectType

    init(_ object: JSONObject, _ type: ObjectType) {
        self.object = object
        self.type = type
    }

    var typeName: String? { type.name }
    var count: Int { keys.count }
    var keys: [String] { object.keys.compactMap { FieldName.escaped($0) }.filter { type.fields[$0] != nil } }

    func field(_ name: String) -> Value? {
        guard let declared = type.fields[name] else { return nil }
        return object[FieldName.unescaped(name)].map { Value($0, as: declared) }
    }
}
