/// The entries of a map or the fields of an object.
package enum ValueMap: Sendable {
    case entries(MapEntries)
    case source(any FieldSource)
}

/// A map with text for keys, or an object, that makes its values when they are asked for.
package protocol FieldSource: AnyObject, Sendable {
    var count: Int { get }
    var keys: [String] { get }
    func field(_ name: String) throws(EvaluationFault) -> Value?
    /// Of an object; `nil` for a map.
    var typeName: String? { get }
}

extension FieldSource {
    package var typeName: String? { nil }
}

/// What a map's entries are found by: numbers of different types that are equal are one key.
package enum MapKey: Sendable, Hashable {
    case bool(Bool)
    case int(Int64)
    case uint(UInt64)
    case string(String)

    /// `nil` for a value no map has.
    package init?(_ value: Value) {
        switch value {
        case .bool(let value): self = .bool(value)
        case .int(let value): self = .int(value)
        case .uint(let value): self = Int64(exactly: value).map { .int($0) } ?? .uint(value)
        case .string(let value): self = .string(value)
        case .double(let value):
            if let whole = Int64(exactly: value) {
                self = .int(whole)
            } else if let whole = UInt64(exactly: value) {
                self = .uint(whole)
            } else {
                return nil
            }
        default: return nil
        }
    }
}

/// A map's entries in the order they were written.
package final class MapEntries: Sendable {
    package let keys: [Value]
    package let values: [Value]
    private let places: [MapKey: Int]

    /// - Returns: `nil` when a key is there twice, or is of no type that keys have.
    package init?(_ entries: [(Value, Value)]) {
        var places: [MapKey: Int] = [:]
        places.reserveCapacity(entries.count)
        for (place, entry) in entries.enumerated() {
            if case .double = entry.0 { return nil }
            guard let key = MapKey(entry.0), places.updateValue(place, forKey: key) == nil else { return nil }
        }
        keys = entries.map(\.0)
        values = entries.map(\.1)
        self.places = places
    }

    subscript(key: MapKey) -> Value? { places[key].map { values[$0] } }
}

extension ValueMap {
    package var count: Int {
        switch self {
        case .entries(let entries): entries.keys.count
        case .source(let source): source.count
        }
    }

    package var keys: [Value] {
        switch self {
        case .entries(let entries): entries.keys
        case .source(let source): source.keys.map { .string($0) }
        }
    }

    package var typeName: String? {
        guard case .source(let source) = self else { return nil }
        return source.typeName
    }

    package func field(_ name: String) throws(EvaluationFault) -> Value? {
        switch self {
        case .entries(let entries): entries[.string(name)]
        case .source(let source): try source.field(name)
        }
    }

    package func value(at key: Value) throws(EvaluationFault) -> Value? {
        switch self {
        case .entries(let entries): return MapKey(key).flatMap { entries[$0] }
        case .source(let source):
            guard case .string(let name) = key else { return nil }
            return try source.field(name)
        }
    }

    func equals(_ other: ValueMap) -> Bool {
        if typeName != other.typeName || count != other.count { return false }
        for key in keys {
            guard let one = try? value(at: key), let two = try? other.value(at: key), one.equals(two) else {
                return false
            }
        }
        return true
    }
}
