import CEL
import Wire

/// How large the values of a schema can be, for what rules may cost before they run.
///
/// What a schema leaves open is bounded by what fits into one request. Sizes are as Kubernetes counts them, where keys and
/// objects have none, so that a rule passes here when it passes there.
struct SchemaSizes: Sendable {
    /// Bytes of a request's body.
    static let request: UInt64 = 3 << 20
    let root: Schema

    /// - Parameter path: a variable, then escaped field names, `@items`, `@keys`, `@values`.
    func size(at path: [String]) -> UInt64? {
        var schema = root
        for step in path.dropFirst() {
            switch step {
            case "@items":
                guard let items = schema.items?.schema else { return nil }
                schema = items
            case "@values":
                guard case .of(let link) = schema.additional else { return nil }
                schema = link.schema
            case "@keys": return 0
            default:
                guard let link = schema.link(FieldName.unescaped(step)) else { return nil }
                schema = link.schema
            }
        }
        return Self.size(of: schema)
    }

    private static func size(of schema: Schema) -> UInt64 {
        if schema.isIntOrString { return request - 2 }
        switch schema.kind {
        case .array: return schema.maxItems.map(count) ?? mostItems(schema)
        case .object:
            guard case .of(let link) = schema.additional, schema.properties.isEmpty else { return 0 }
            return schema.maxProperties.map(count) ?? (request - 2) / (least(link.schema) + 6)
        case .string: return text(schema)
        default: return 0
        }
    }

    private static func count(_ number: Int) -> UInt64 { UInt64(max(0, number)) }

    /// `maxLength` counts characters, of up to four bytes each.
    private static func text(_ schema: Schema) -> UInt64 {
        switch schema.format {
        case "byte": return schema.maxLength.map(count) ?? request - 2
        case "duration": return 32
        case "date": return 12
        case "date-time": return 37
        default: break
        }
        if let most = schema.maxLength { return min(count(most), .max / 4) * 4 }
        if schema.allowed.isEmpty { return request - 2 }
        return UInt64(schema.allowed.map { ($0.string ?? "").utf8.count }.max() ?? 0)
    }

    static func mostItems(_ schema: Schema) -> UInt64 {
        guard let items = schema.items?.schema else { return request - 2 }
        return (request - 2) / (least(items) + 1)
    }

    /// How often a value of this size can stand in one request.
    static func cardinality(_ schema: Schema) -> UInt64 { (request - 2) / (least(schema) + 1) }

    /// The fewest bytes a value can be written in.
    private static func least(_ schema: Schema) -> UInt64 {
        if schema.isIntOrString { return 1 }
        switch schema.kind {
        case .any: return 1
        case .integer, .number: return 1
        case .boolean: return 4
        case .array: return 2
        case .string:
            switch schema.format {
            case "duration": return 4
            case "date": return 12
            case "date-time": return 21
            default: return 2
            }
        case .object:
            if schema.properties.isEmpty { return 2 }
            var sum: UInt64 = 2
            for name in schema.required {
                guard let link = schema.properties[name], link.defaultValue == nil else { continue }
                sum += UInt64(name.utf8.count) + least(link.schema) + 4
            }
            return sum
        }
    }
}
