import Wire

/// Fits a value to its schema: drops what the schema does not know, and finds values of the wrong type.
///
/// - Unknown members are removed and told. Members that are `null` count as unset, except where a custom kind allows null.
/// - Whole numbers written as `1.0` become integers.
package struct Structure {
    /// `spec.foo` for each member that was removed.
    package private(set) var unknown: [String] = []
    package private(set) var faults: [FieldFault] = []
    private var path = FieldPath()

    package init() {}

    package mutating func fit(_ object: inout KubeObject, _ schema: Schema) {
        // Most objects fit as they are, and that is seen without noting where in them the walk stands.
        if withExtendedLifetime(schema, { Self.isFit(object.json, schema.node) }) { return }
        if let changed = fit(object.json, schema) { object.json = changed }
    }

    /// Whether `fit` would find nothing to change or to tell; a `false` may be too careful.
    private static func isFit(_ value: JSON, _ node: SchemaNode.Pointer) -> Bool {
        let flags = node.pointee.flags
        switch value {
        case .object(let object):
            guard flags.contains(.takesObject) else { return false }
            if !flags.contains(.knowsMembers) { return true }
            for place in 0..<object.members.count {
                guard let inner = node.pointee.member(object.members[place].key) else {
                    if flags.contains(.allowsOthers) { continue }
                    return false
                }
                if !isFit(object.members[place].value, inner) { return false }
            }
            return true
        case .array(let elements):
            guard flags.contains(.takesArray) else { return false }
            guard let inner = node.pointee.items else { return true }
            for place in 0..<elements.count where !isFit(elements[place], inner) { return false }
            return true
        case .string: return flags.contains(.takesString)
        case .int(let number):
            return flags.contains(.takesInteger) && (!flags.contains(.isNarrow) || Int32(exactly: number) != nil)
        case .double: return flags.contains(.takesDouble)
        case .bool: return flags.contains(.takesBool)
        case .null: return false
        }
    }

    static func looksInto(_ schema: Schema) -> Bool {
        !schema.properties.isEmpty || schema.isCustom && !schema.preservesUnknown
    }

    /// The value to put in place, or `nil` when it may stay as it is.
    private mutating func fit(_ value: JSON, _ schema: Schema) -> JSON? {
        if schema.isIntOrString {
            switch value {
            case .int, .string: return nil
            case .double(let number) where Int32(exactly: number) != nil: return .int(Int64(number))
            default: return wrongType(value, schema)
            }
        }
        if schema.isQuantity {
            switch value {
            case .string, .int, .double: return nil
            default: return wrongType(value, schema)
            }
        }
        switch (schema.kind, value) {
        case (.any, .object(let members)) where Self.looksInto(schema): return fit(members, schema)
        case (.any, _): return nil
        case (.object, .object(let members)): return fit(members, schema)
        case (.array, .array(let elements)): return fit(elements, schema)
        case (.string, .string), (.boolean, .bool), (.number, .int), (.number, .double): return nil
        case (.integer, .int(let number)):
            if schema.format == "int32", Int32(exactly: number) == nil {
                faults.append(FieldFault(.invalid, path.text, value: value, "must fit in 32 bits"))
            }
            return nil
        case (.integer, .double(let number)):
            guard let whole = Int64(exactly: number) else { return wrongType(value, schema) }
            return .int(whole)
        default: return wrongType(value, schema)
        }
    }

    private mutating func fit(_ members: JSONObject, _ schema: Schema) -> JSON? {
        var changed: [JSONObject.Member]?
        for (index, member) in members.members.enumerated() {
            path.enter(member.key)
            defer { path.leave() }
            guard let link = schema.link(member.key) else {
                if schema.allows(member.key) {
                    changed?.append(member)
                } else {
                    unknown.append(path.text)
                    if changed == nil { changed = Array(members.members[..<index]) }
                }
                continue
            }
            if member.value.isNull {
                let inner = link.schema
                if inner.isCustom ? !inner.isNullable : inner.kind != .any {
                    // An entry of a map of strings becomes the empty string, as in Go.
                    if case .of = schema.additional, schema.properties[member.key] == nil, !inner.isCustom,
                        inner.kind == .string
                    {
                        if changed == nil { changed = Array(members.members[..<index]) }
                        changed?.append(.init(member.key, ""))
                        continue
                    }
                    if inner.isCustom, link.defaultValue == nil, schema.required.contains(member.key) {
                        faults.append(FieldFault(.wrongType, path.text, value: "null", "must be \(inner.expectation)"))
                    }
                    if changed == nil { changed = Array(members.members[..<index]) }
                    continue
                }
                changed?.append(member)
                continue
            }
            if let replaced = fit(member.value, link.schema) {
                if changed == nil { changed = Array(members.members[..<index]) }
                changed?.append(.init(member.key, replaced))
            } else {
                changed?.append(member)
            }
        }
        return changed.map { .object(JSONObject($0)) }
    }

    private mutating func fit(_ elements: [JSON], _ schema: Schema) -> JSON? {
        guard let inner = schema.items?.schema else { return nil }
        var changed: [JSON]?
        for (index, element) in elements.enumerated() {
            path.enter(index)
            if let replaced = fit(element, inner) {
                if changed == nil { changed = elements }
                changed?[index] = replaced
            }
            path.leave()
        }
        return changed.map { .array($0) }
    }

    private mutating func wrongType(_ value: JSON, _ schema: Schema) -> JSON? {
        if schema.isCustom {
            let name = Self.typeName(value)
            let wanted = schema.isIntOrString ? "integer,string" : schema.kind.rawValue
            faults.append(
                FieldFault(
                    .wrongType, path.text, value: .string(name),
                    "\(path.text) in body must be of type \(wanted): \"\(name)\""))
            return nil
        }
        let (expected, found) = (schema.expectation, Self.found(value))
        faults.append(FieldFault(.wrongType, path.text, value: value, "expected \(expected), found \(found)"))
        return nil
    }

    /// As JSON schemas call it.
    private static func typeName(_ value: JSON) -> String {
        switch value {
        case .null: "null"
        case .bool: "boolean"
        case .int: "integer"
        case .double: "number"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        }
    }

    private static func found(_ value: JSON) -> String {
        switch value {
        case .null: return "null"
        case .bool(let flag): return flag ? "true" : "false"
        case .int, .double: return "the number \(value.text)"
        case .string(let text): return text.utf8.count <= 80 ? "the string \(value.text)" : "a string"
        case .array: return "a list"
        case .object: return "an object"
        }
    }
}
