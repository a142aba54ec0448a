/// What an expression may have for a value, as far as is known before it runs.
package indirect enum ValueType: Sendable, Hashable {
    /// Anything: what is done with it is looked at when it is done.
    case dyn
    case null, bool, int, uint, double, string, bytes, timestamp, duration
    case list(ValueType)
    case map(ValueType, ValueType)
    case optional(ValueType)
    case type(ValueType)
    /// Fields with declared types.
    case object(ObjectType)
    /// A library's own type, or an object's by its name only.
    case named(String)
    /// Stands for one type throughout an overload.
    case parameter(String)
    /// Not known yet: the checker's own.
    case variable(Int)

    package var name: String {
        switch self {
        case .dyn: "dyn"
        case .null: "null_type"
        case .bool: "bool"
        case .int: "int"
        case .uint: "uint"
        case .double: "double"
        case .string: "string"
        case .bytes: "bytes"
        case .timestamp: "google.protobuf.Timestamp"
        case .duration: "google.protobuf.Duration"
        case .list: "list"
        case .map: "map"
        case .optional: "optional_type"
        case .type: "type"
        case .object(let type): type.name
        case .named(let name): name
        case .parameter(let name): name
        case .variable: "dyn"
        }
    }
}

extension ValueType: CustomStringConvertible {
    package var description: String {
        switch self {
        case .list(let element): "list(\(element))"
        case .map(let key, let value): "map(\(key), \(value))"
        case .optional(let value): "optional_type(\(value))"
        case .type(let type): type == .dyn ? "type" : "type(\(type))"
        case .timestamp: "timestamp"
        case .duration: "duration"
        case .null: "null"
        default: name
        }
    }
}

/// An object's fields and their types.
package final class ObjectType: Sendable, Hashable {
    package let name: String
    /// By the names expressions use.
    package let fields: [String: ValueType]
    /// It may have any fields; of those not declared nothing is known.
    package let isOpen: Bool

    package init(_ name: String, _ fields: [String: ValueType], isOpen: Bool = false) {
        self.name = name
        self.fields = fields
        self.isOpen = isOpen
    }

    func field(_ name: String) -> ValueType? { fields[name] ?? (isOpen ? .dyn : nil) }

    package static func == (one: ObjectType, other: ObjectType) -> Bool { one.name == other.name }
    package func hash(into hasher: inout Hasher) { hasher.combine(name) }
}

/// Where the types come from that expressions name.
package protocol TypeProvider: Sendable {
    func type(named name: String) -> ObjectType?
}
