import Synchronization
import Wire

/// Checks a value against what its schema says beyond types: required members, enums, patterns, ranges, sizes, choices.
struct SchemaConstraints {
    private(set) var faults: [FieldFault] = []
    private var path = FieldPath()

    mutating func check(_ object: KubeObject, _ schema: Schema) { check(object.json, schema) }

    private mutating func fault(_ kind: FieldFault.Kind, _ value: JSON?, _ detail: String) {
        faults.append(FieldFault(kind, path.text, value: value, detail))
    }

    private mutating func check(_ value: JSON, _ schema: Schema) {
        if value.isNull { return }
        if !schema.allowed.isEmpty, !schema.allowed.contains(value) {
            let list = schema.allowed.map(\.text).joined(separator: ", ")
            fault(.unsupported, value, "supported values: \(list)")
        }
        switch value {
        case .object(let members): check(members, value, schema)
        case .array(let elements): check(elements, value, schema)
        case .string(let text): check(text, value, schema)
        case .int(let number): range(Double(number), value, schema)
        case .double(let number): range(number, value, schema)
        case .null, .bool: break
        }
        choices(value, schema)
    }

    private mutating func check(_ members: JSONObject, _ value: JSON, _ schema: Schema) {
        for name in schema.required where members[name] == nil {
            // Kubernetes' own lists and structs may be left out and are then empty; its checks of kinds say which may not.
            if !schema.isCustom, let inner = schema.link(name)?.schema, inner.kind == .object || inner.kind == .array {
                continue
            }
            if !schema.isCustom, name == "value" { continue }
            faults.append(FieldFault(.required, path.text(name)))
        }
        if let most = schema.maxProperties, members.count > most {
            fault(.tooMany, nil, "\(members.count): must have at most \(most) entries")
        }
        if let least = schema.minProperties, members.count < least {
            fault(.invalid, value, "must have at least \(least) entries")
        }
        for member in members {
            // What we write ourselves, and what controllers report, is not checked here.
            if path.steps.isEmpty, member.key == "metadata" || !schema.isCustom && member.key == "status" { continue }
            guard let link = schema.link(member.key) else { continue }
            path.enter(member.key)
            check(member.value, link.schema)
            path.leave()
        }
    }

    private mutating func check(_ elements: [JSON], _ value: JSON, _ schema: Schema) {
        if let most = schema.maxItems, elements.count > most {
            fault(.tooMany, nil, "\(elements.count): must have at most \(most) items")
        }
        if let least = schema.minItems, elements.count < least {
            fault(.invalid, value, "should have at least \(least) items")
        }
        if schema.isCustom, schema.listType == .map || schema.listType == .set { unique(elements, schema) }
        guard let inner = schema.items?.schema else { return }
        for (index, element) in elements.enumerated() {
            path.enter(index)
            check(element, inner)
            path.leave()
        }
    }

    private mutating func unique(_ elements: [JSON], _ schema: Schema) {
        var seen: Set<JSON> = []
        for (index, element) in elements.enumerated() {
            var key = element
            if schema.listType == .map {
                key = .object(
                    JSONObject(schema.listMapKeys.compactMap { name in element[name].map { .init(name, $0) } }))
            }
            if !seen.insert(key).inserted {
                faults.append(FieldFault(.duplicate, path.text(index), value: key))
            }
        }
    }

    private mutating func check(_ text: String, _ value: JSON, _ schema: Schema) {
        if let most = schema.maxLength, text.unicodeScalars.count > most {
            // A pattern is not tried on text of any length.
            return fault(.tooLong, nil, "may not be more than \(most) characters")
        }
        if let least = schema.minLength, text.unicodeScalars.count < least {
            fault(.invalid, value, least == 1 ? "must not be empty" : "should be at least \(least) characters long")
        }
        if let pattern = schema.pattern, !Patterns.matches(pattern, text) {
            fault(.invalid, value, "should match '\(pattern)'")
        }
        if schema.format == "date-time", Timestamp(text) == nil {
            fault(.invalid, value, "must be a time in RFC 3339 form, such as 2026-01-02T15:04:05Z")
        }
        if schema.format == "byte", Base64.decode(text) == nil { fault(.invalid, value, "must be base64") }
    }

    private mutating func range(_ number: Double, _ value: JSON, _ schema: Schema) {
        if let least = schema.minimum, number < least {
            fault(.invalid, value, "should be greater than or equal to \(JSON.number(least))")
        }
        if let most = schema.maximum, number > most {
            fault(.invalid, value, "should be less than or equal to \(JSON.number(most))")
        }
    }

    private mutating func choices(_ value: JSON, _ schema: Schema) {
        for part in schema.allOf { check(value, part) }
        if !schema.anyOf.isEmpty, !schema.isIntOrString, !schema.anyOf.contains(where: { Self.fits(value, $0) }) {
            fault(.invalid, value, "must have at least one of the allowed forms: \(Self.forms(schema.anyOf))")
        }
        if !schema.oneOf.isEmpty {
            let count = schema.oneOf.count { Self.fits(value, $0) }
            if count != 1 {
                let what = count == 0 ? "none" : "more than one"
                fault(.invalid, value, "must have exactly one of \(Self.forms(schema.oneOf)), found \(what)")
            }
        }
        if let not = schema.not, Self.fits(value, not) { fault(.invalid, value, "must not have \(Self.forms([not]))") }
    }

    private static func forms(_ schemas: [Schema]) -> String {
        let names = schemas.flatMap { $0.required.isEmpty ? $0.anyOf.flatMap(\.required) : $0.required }
        return names.isEmpty ? "its forms" : names.map { "'\($0)'" }.joined(separator: ", ")
    }

    private static func fits(_ value: JSON, _ schema: Schema) -> Bool {
        var inner = SchemaConstraints()
        inner.check(value, schema)
        if !inner.faults.isEmpty { return false }
        switch (schema.kind, value) {
        case (.any, _), (.object, .object), (.array, .array), (.string, .string), (.boolean, .bool), (.integer, .int),
            (.number, .int), (.number, .double):
            return true
        default: return false
        }
    }
}

extension JSON {
    /// A number without a needless fraction.
    fileprivate static func number(_ value: Double) -> String { Int64(exactly: value).map(String.init) ?? "\(value)" }
}

/// Regular expressions of schemas, compiled once each.
enum Patterns {
    private static let compiled = Mutex<[String: Regex<AnyRegexOutput>]>([:])

    /// Whether the pattern is found in the text. A pattern that cannot be compiled matches everything: better than to refuse all.
    static func matches(_ pattern: String, _ text: String) -> Bool {
        compiled.withLock { compiled in
            if let regex = compiled[pattern] { return (try? regex.firstMatch(in: text)) != nil }
            guard let regex = try? Regex(pattern).matchingSemantics(.unicodeScalar) else { return true }
            let found = (try? regex.firstMatch(in: text)) != nil
            compiled[pattern] = regex
            return found
        }
    }

    static func compiles(_ pattern: String) -> Bool { (try? Regex(pattern)) != nil }
}
