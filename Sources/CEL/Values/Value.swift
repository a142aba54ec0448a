/// What a CEL expression works on and results in.
package enum Value: Sendable {
    case null
    case bool(Bool)
    case int(Int64)
    case uint(UInt64)
    case double(Double)
    case string(String)
    case bytes([UInt8])
    case list(ValueList)
    case map(ValueMap)
    case timestamp(Timestamp)
    case duration(TimeSpan)
    case type(ValueType)
    case optional(OptionalValue)
    /// A value of a library's own type: a quantity, an address.
    case opaque(any OpaqueValue)
}

/// A value that may be absent.
package final class OptionalValue: Sendable {
    package let value: Value?
    package init(_ value: Value?) { self.value = value }

    package static let none = OptionalValue(nil)
}

/// A value of a type that a library adds.
package protocol OpaqueValue: AnyObject, Sendable {
    var type: ValueType { get }
    func equals(_ other: any OpaqueValue) -> Bool
    /// How the cost counts it, as other values' sizes do.
    var size: Int { get }
}

extension OpaqueValue {
    package var size: Int { 1 }
}

extension Value {
    package static func list(_ values: [Value]) -> Value { .list(.array(values)) }
    package static func strings(_ texts: some Sequence<String>) -> Value { .list(.array(texts.map { .string($0) })) }
    package static func optional(of value: Value?) -> Value { .optional(value.map { OptionalValue($0) } ?? .none) }

    package var bool: Bool? {
        guard case .bool(let value) = self else { return nil }
        return value
    }

    package var int: Int64? {
        guard case .int(let value) = self else { return nil }
        return value
    }

    package var string: String? {
        guard case .string(let value) = self else { return nil }
        return value
    }

    package var list: ValueList? {
        guard case .list(let value) = self else { return nil }
        return value
    }

    package var map: ValueMap? {
        guard case .map(let value) = self else { return nil }
        return value
    }

    /// The type as `type(x)` tells it: lists and maps without what is in them.
    package var type: ValueType {
        switch self {
        case .null: .null
        case .bool: .bool
        case .int: .int
        case .uint: .uint
        case .double: .double
        case .string: .string
        case .bytes: .bytes
        case .list: .list(.dyn)
        case .map(let map): map.typeName.map { .named($0) } ?? .map(.dyn, .dyn)
        case .timestamp: .timestamp
        case .duration: .duration
        case .type: .type(.dyn)
        case .optional: .optional(.dyn)
        case .opaque(let value): value.type
        }
    }

    /// How much of it there is, in the cost's units: characters, bytes, elements; 1 for all else.
    package var size: Int {
        switch self {
        case .string(let text): text.unicodeScalars.count
        case .bytes(let bytes): bytes.count
        case .list(let list): list.count
        case .map(let map): map.typeName == nil ? map.count : 1
        case .optional(let optional): optional.value?.size ?? 1
        case .opaque(let value): value.size
        default: 1
        }
    }
}
