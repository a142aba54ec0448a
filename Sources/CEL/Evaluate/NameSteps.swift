struct ConstantStep: Step {
    let constant: Value
    func value(_ frame: inout Frame) throws(EvaluationFault) -> Value { constant }
}

struct InputStep: Step {
    let place: Int
    let name: String
    let cost: UInt64

    func value(_ frame: inout Frame) throws(EvaluationFault) -> Value {
        try frame.charge(cost)
        guard place < frame.inputs.count, let value = frame.inputs[place] else {
            throw .failed("no such attribute(s): \(name)")
        }
        return value
    }
}

struct LocalStep: Step {
    let place: Int
    let cost: UInt64

    func value(_ frame: inout Frame) throws(EvaluationFault) -> Value {
        try frame.charge(cost)
        return frame.locals[place]
    }
}

/// Looks for a field of what comes before it.
protocol FieldStep: Step {
    var operand: any Step { get }
    var field: String { get }
    var cost: UInt64 { get }
    func found(in whole: Value) throws(EvaluationFault) -> Value
}

extension FieldStep {
    func value(_ frame: inout Frame) throws(EvaluationFault) -> Value {
        let whole = try operand.value(&frame)
        try frame.charge(cost)
        return try found(in: whole)
    }
}

/// `a.b`
struct SelectStep: FieldStep {
    let operand: any Step
    let field: String
    let cost: UInt64

    func found(in whole: Value) throws(EvaluationFault) -> Value { try Self.field(field, of: whole) }

    static func field(_ name: String, of whole: Value) throws(EvaluationFault) -> Value {
        switch whole {
        case .map(let map):
            guard let value = try map.field(name) else { throw .noKey(name) }
            return value
        case .optional(let optional): return try optionalField(name, of: optional.value)
        default: throw .noOverload
        }
    }

    static func optionalField(_ name: String, of whole: Value?) throws(EvaluationFault) -> Value {
        switch whole {
        case nil: .optional(.none)
        case .map(let map): .optional(of: try map.field(name))
        case .optional(let optional): try optionalField(name, of: optional.value)
        default: throw .noOverload
        }
    }
}

/// `a.?b`
struct OptionalSelectStep: FieldStep {
    let operand: any Step
    let field: String
    let cost: UInt64

    func found(in whole: Value) throws(EvaluationFault) -> Value { try SelectStep.optionalField(field, of: whole) }
}

/// `has(a.b)`
struct PresenceStep: FieldStep {
    let operand: any Step
    let field: String
    let cost: UInt64

    func found(in whole: Value) throws(EvaluationFault) -> Value {
        switch whole {
        case .map(let map): return .bool(try map.field(field) != nil)
        case .optional(let optional):
            guard case .optional(let found) = try SelectStep.optionalField(field, of: optional.value) else {
                return .bool(false)
            }
            return .bool(found.value != nil)
        default: throw .noOverload
        }
    }
}

/// `a[b]`, `a[?b]`
struct IndexStep: Step {
    let operand: any Step
    let index: any Step
    let isOptional: Bool
    let cost: UInt64

    func value(_ frame: inout Frame) throws(EvaluationFault) -> Value {
        let whole = try operand.value(&frame)
        let index = try index.value(&frame)
        try frame.charge(cost)
        if case .optional(let optional) = whole {
            guard let inner = optional.value else { return .optional(.none) }
            return .optional(of: try Self.element(index, of: inner, isOptional: true))
        }
        let found = try Self.element(index, of: whole, isOptional: isOptional)
        if isOptional { return .optional(of: found) }
        guard let found else { throw .noKey(index.plainText) }
        return found
    }

    static func element(
        _ index: Value, of whole: Value, isOptional: Bool
    ) throws(EvaluationFault) -> Value? {
        switch whole {
        case .list(let list):
            let place: Int?
            switch index {
            case .int(let value): place = Int(value)
            case .uint(let value): place = Int(exactly: value)
            case .double(let value): place = Int(exactly: value)
            default: throw .failed("unsupported index type '\(index.type.name)' in list")
            }
            guard let place, place >= 0, place < list.count else {
                if isOptional { return nil }
                throw .failed("index out of bounds: \(index.plainText)")
            }
            return list[place]
        case .map(let map): return try map.value(at: index)
        default: throw .noOverload
        }
    }
}
