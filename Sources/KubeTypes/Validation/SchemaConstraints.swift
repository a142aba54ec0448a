import Synchronization
import Wire

/// Checks a value against what its schema says beyond types: required members, enums, patterns, ranges, sizes, choices.
///
/// A custom kind's faults are worded as Kubernetes' own validator words them, since tools look for them. What an update leaves as
/// it was is not looked at again, so that an object stays changeable when its schema becomes stricter (KEP-4008).
struct SchemaConstraints {
    private(set) var faults: [FieldFault] = []
    private var path = FieldPath()
    /// Whether the walk begins within an object.
    private var isPart = false

    mutating func check(_ object: KubeObject, old: KubeObject? = nil, _ schema: Schema) {
        // Nearly every object is right, and that is seen without noting where in it the walk stands.
        if withExtendedLifetime(schema, { Self.holds(object.json, schema.node, isWhole: true) }) { return }
        check(object.json, old: schema.isCustom ? old?.json : nil, schema)
    }

    private mutating func fault(_ kind: FieldFault.Kind, _ value: JSON?, _ detail: String) {
        faults.append(FieldFault(kind, path.text, value: value, detail))
    }

    private mutating func invalid(_ value: JSON, _ schema: Schema, _ detail: String) {
        fault(.invalid, value, schema.isCustom ? "\(path.text) in body \(detail)" : detail)
    }

    private mutating func check(_ value: JSON, old: JSON?, _ schema: Schema) {
        if value.isNull || old == value { return }
        if !schema.allowed.isEmpty, !schema.allowed.contains(value) {
            let list = schema.allowed.map(\.text).joined(separator: ", ")
            fault(.unsupported, value, "supported values: \(list)")
        }
        switch value {
        case .object(let members): check(members, value, old: old, schema)
        case .array(let elements): check(elements, value, old: old, schema)
        case .string(let text): check(text, value, schema)
        case .int(let number): range(Double(number), value, schema)
        case .double(let number): range(number, value, schema)
        case .null, .bool: break
        }
        choices(value, schema)
    }

    private mutating func check(_ members: JSONObject, _ value: JSON, old: JSON?, _ schema: Schema) {
        for name in schema.required where members[name] == nil {
            if schema.mayLack(name) { continue }
            faults.append(FieldFault(.required, path.text(name)))
        }
        if schema.isEmbeddedResource { embedded(members) }
        if let most = schema.maxProperties, members.count > most {
            fault(.tooMany, nil, "\(members.count): must have at most \(most) entries")
        }
        if let least = schema.minProperties, members.count < least {
            invalid(value, schema, "should have at least \(least) properties")
        }
        for member in members {
            // What we write ourselves, and what controllers report, is not checked here.
            if path.steps.isEmpty, !isPart, Self.isOurs(member.key, isCustom: schema.isCustom) { continue }
            guard let link = schema.link(member.key) else { continue }
            path.enter(member.key, isKey: schema.isCustom && schema.properties[member.key] == nil)
            check(member.value, old: old?[member.key], link.schema)
            path.leave()
        }
    }

    /// A member of the whole object that we write ourselves, or that controllers report.
    private static func isOurs(_ name: String, isCustom: Bool) -> Bool {
        name == "metadata" || !isCustom && name == "status"
    }

    /// Whether `check` would find nothing, without regard to what was there before.
    private static func holds(_ value: JSON, _ node: SchemaNode.Pointer, isWhole: Bool = false) -> Bool {
        switch node.pointee.scrutiny {
        case .nothing: return true
        case .structure: break
        case .thorough:
            if isWhole { return false }
            var walk = SchemaConstraints()
            walk.isPart = true
            node.pointee.schema._withUnsafeGuaranteedRef { walk.check(value, old: nil, $0) }
            return walk.faults.isEmpty
        }
        switch value {
        case .object(let object):
            let isCustom = node.pointee.flags.contains(.isCustom)
            var needed = 0
            for place in 0..<object.members.count {
                let found = node.pointee.names.place(of: object.members[place].key)
                if let found, node.pointee.fields[found].isNeeded { needed += 1 }
                if isWhole, isOurs(object.members[place].key, isCustom: isCustom) { continue }
                guard let inner = found.map({ node.pointee.fields[$0].node }) ?? node.pointee.others else { continue }
                if !holds(object.members[place].value, inner) { return false }
            }
            return needed == node.pointee.neededCount
        case .array(let elements):
            guard let inner = node.pointee.items else { return true }
            for place in 0..<elements.count where !holds(elements[place], inner) { return false }
            return true
        default: return true
        }
    }

    /// An object within an object must say what it is.
    private mutating func embedded(_ members: JSONObject) {
        for name in ["apiVersion", "kind"] where members[name]?.string?.isEmpty ?? true {
            faults.append(FieldFault(.required, path.text(name), "must not be empty"))
        }
    }

    private mutating func check(_ elements: [JSON], _ value: JSON, old: JSON?, _ schema: Schema) {
        if let most = schema.maxItems, elements.count > most {
            fault(.tooMany, nil, "\(elements.count): must have at most \(most) items")
        }
        if let least = schema.minItems, elements.count < least {
            invalid(value, schema, "should have at least \(least) items")
        }
        if schema.isCustom, schema.listType == .map || schema.listType == .set { unique(elements, schema) }
        guard let inner = schema.items?.schema else { return }
        let before = OldElements(old?.array, schema)
        for (index, element) in elements.enumerated() {
            path.enter(index)
            check(element, old: before.match(element), inner)
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
            return fault(.tooLong, nil, "may not be more than \(most) \(schema.isCustom ? "bytes" : "characters")")
        }
        if let least = schema.minLength, text.unicodeScalars.count < least {
            let what = schema.isCustom ? "chars" : "characters"
            invalid(value, schema, "should be at least \(least) \(what) long")
        }
        if let pattern = schema.pattern, !Patterns.matches(pattern, text) {
            invalid(value, schema, "should match '\(pattern)'")
        }
        guard let format = schema.format, !TextFormats.matches(format, text) else { return }
        if schema.isCustom {
            fault(.wrongType, value, "\(path.text) in body must be of type \(format): \(value.text)")
        } else {
            fault(.invalid, value, TextFormats.expectation(format))
        }
    }

    private mutating func range(_ number: Double, _ value: JSON, _ schema: Schema) {
        if let least = schema.minimum, schema.excludesMinimum ? number <= least : number < least {
            let equal = schema.excludesMinimum ? "" : "or equal to "
            invalid(value, schema, "should be greater than \(equal)\(JSON.number(least))")
        }
        if let most = schema.maximum, schema.excludesMaximum ? number >= most : number > most {
            let equal = schema.excludesMaximum ? "" : "or equal to "
            invalid(value, schema, "should be less than \(equal)\(JSON.number(most))")
        }
        guard let step = schema.multipleOf, step > 0 else { return }
        let quotient = number / step
        if quotient != quotient.rounded() {
            invalid(value, schema, "should be a multiple of \(JSON.number(step))")
        }
    }

    private mutating func choices(_ value: JSON, _ schema: Schema) {
        if schema.allOf.isEmpty, schema.anyOf.isEmpty, schema.oneOf.isEmpty, schema.not == nil { return }
        for part in schema.allOf { check(value, old: nil, part) }
        let name = "\"\(path.text)\""
        if !schema.anyOf.isEmpty, !schema.isIntOrString, !schema.anyOf.contains(where: { Self.fits(value, $0) }) {
            fault(.invalid, value, "\(name) must validate at least one schema (anyOf)\(Self.forms(schema.anyOf))")
        }
        if !schema.oneOf.isEmpty {
            let count = schema.oneOf.count { Self.fits(value, $0) }
            if count != 1 {
                let what = count == 0 ? "Found none valid" : "Found \(count) valid alternatives"
                fault(
                    .invalid, value,
                    "\(name) must validate one and only one schema (oneOf). \(what)\(Self.forms(schema.oneOf))")
            }
        }
        if let not = schema.not, Self.fits(value, not) {
            fault(.invalid, value, "\(name) must not validate the schema (not)\(Self.forms([not]))")
        }
    }

    /// The fields the alternatives ask for, which says more than that none fits.
    private static func forms(_ schemas: [Schema]) -> String {
        let names = schemas.flatMap { $0.required.isEmpty ? $0.anyOf.flatMap(\.required) : $0.required }
        return names.isEmpty ? "" : ": " + names.map { "'\($0)'" }.joined(separator: ", ")
    }

    private static func fits(_ value: JSON, _ schema: Schema) -> Bool {
        var inner = SchemaConstraints()
        inner.check(value, old: nil, schema)
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

/// Regular expressions of schemas (RE2's syntax, as in Go), compiled once each; matching takes time linear in the text.
enum Patterns {
    private static let compiled = Mutex<[String: Pattern]>([:])
    private static let most = 4096

    /// Whether the pattern is found in the text. A pattern that cannot be compiled matches everything: better than to refuse all.
    static func matches(_ pattern: String, _ text: String) -> Bool {
        if let known = compiled.withLock({ $0[pattern] }) { return known.first(in: text) != nil }
        guard let made = try? Pattern(pattern) else { return true }
        compiled.withLock { compiled in
            if compiled.count >= most { compiled.removeAll() }
            compiled[pattern] = made
        }
        return made.first(in: text) != nil
    }

    /// What is wrong with the pattern.
    static func fault(_ pattern: String) -> String? {
        do {
            _ = try Pattern(pattern)
            return nil
        } catch {
            return "\(error)"
        }
    }
}
