struct ListStep: Step {
    let elements: [(step: any Step, isOptional: Bool)]

    func value(_ frame: inout Frame) throws(EvaluationFault) -> Value {
        var values: [Value] = []
        values.reserveCapacity(elements.count)
        for element in elements {
            let value = try element.step.value(&frame)
            if let value = try Present.value(value, element.isOptional) { values.append(value) }
        }
        try frame.charge(10)
        return .list(.array(values))
    }
}

struct MapStep: Step {
    let entries: [(key: any Step, value: any Step, isOptional: Bool)]

    func value(_ frame: inout Frame) throws(EvaluationFault) -> Value {
        var pairs: [(Value, Value)] = []
        pairs.reserveCapacity(entries.count)
        for entry in entries {
            let key = try entry.key.value(&frame)
            let value = try entry.value.value(&frame)
            if let value = try Present.value(value, entry.isOptional) { pairs.append((key, value)) }
        }
        try frame.charge(30)
        return .map(.entries(try Self.entries(pairs)))
    }

    static func entries(_ pairs: [(Value, Value)]) throws(EvaluationFault) -> MapEntries {
        if let made = MapEntries(pairs) { return made }
        for (key, _) in pairs {
            if case .double = key { throw .failed("unsupported key type: double") }
            if MapKey(key) == nil { throw .failed("unsupported key type: \(key.type.name)") }
        }
        throw .failed("Failed with repeated key")
    }
}

/// `Object{field: value}`
struct ObjectStep: Step {
    let type: ObjectType
    let fields: [(name: String, step: any Step, isOptional: Bool)]

    func value(_ frame: inout Frame) throws(EvaluationFault) -> Value {
        var values: [(String, Value)] = []
        for field in fields {
            let value = try field.step.value(&frame)
            if let value = try Present.value(value, field.isOptional) { values.append((field.name, value)) }
        }
        try frame.charge(40)
        return .map(.source(ObjectValue(type.name, values)))
    }
}

/// An object that an expression made.
package final class ObjectValue: FieldSource {
    package let typeName: String?
    package let keys: [String]
    private let values: [String: Value]

    package init(_ typeName: String, _ fields: [(String, Value)]) {
        self.typeName = typeName
        keys = fields.map(\.0)
        values = Dictionary(fields) { _, last in last }
    }

    package var count: Int { keys.count }
    package func field(_ name: String) -> Value? { values[name] }
}

private enum Present {
    /// What is written with `?` is left out when it is absent.
    static func value(_ value: Value, _ isOptional: Bool) throws(EvaluationFault) -> Value? {
        if !isOptional { return value }
        guard case .optional(let optional) = value else { throw .noOverload }
        return optional.value
    }
}
