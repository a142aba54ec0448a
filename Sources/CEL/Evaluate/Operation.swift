/// An operator of two operands, on whatever types they are of.
enum Operation: String, Sendable, CaseIterable {
    case add = "_+_"
    case subtract = "_-_"
    case multiply = "_*_"
    case divide = "_/_"
    case remain = "_%_"
    case less = "_<_"
    case atMost = "_<=_"
    case greater = "_>_"
    case atLeast = "_>=_"
    case equal = "_==_"
    case unequal = "_!=_"
    case member = "@in"

    func cost(_ one: Value, _ two: Value) -> UInt64 {
        switch self {
        case .equal, .unequal:
            if case .opaque = one { return 1 }
            return CallCost.traversal(of: min(one.size, two.size))
        case .less, .atMost, .greater, .atLeast:
            switch one {
            case .string, .bytes: return CallCost.traversal(of: min(one.size, two.size))
            default: return 1
            }
        case .add:
            switch one {
            case .string, .bytes: return CallCost.traversal(of: one.size + two.size)
            default: return 1
            }
        case .member:
            if case .list(let list) = two { return UInt64(list.count) }
            return 1
        default: return 1
        }
    }

    func apply(_ one: Value, _ two: Value) throws(EvaluationFault) -> Value {
        switch self {
        case .add: return try Self.sum(one, two)
        case .subtract: return try Self.difference(one, two)
        case .multiply: return try Self.product(one, two)
        case .divide: return try Self.quotient(one, two)
        case .remain: return try Self.rest(one, two)
        case .equal: return .bool(one.equals(two))
        case .unequal: return .bool(!one.equals(two))
        case .less, .atMost, .greater, .atLeast:
            guard let order = one.order(two) else { throw .noOverload }
            switch self {
            case .less: return .bool(order == .before)
            case .atMost: return .bool(order == .before || order == .same)
            case .greater: return .bool(order == .behind)
            default: return .bool(order == .behind || order == .same)
            }
        case .member:
            switch two {
            case .list(let list): return .bool(list.contains(one))
            case .map(let map): return .bool(try map.value(at: one) != nil)
            default: throw .noOverload
            }
        }
    }

    private static func whole<Number: FixedWidthInteger>(
        _ result: (partialValue: Number, overflow: Bool)
    ) throws(EvaluationFault) -> Number {
        if result.overflow { throw Number.isSigned ? .overflow : .failed("unsigned integer overflow") }
        return result.partialValue
    }

    private static func moment(_ made: Timestamp?) throws(EvaluationFault) -> Value {
        guard let made else { throw .failed("timestamp overflow") }
        return .timestamp(made)
    }

    private static func span(_ result: (partialValue: Int64, overflow: Bool)) throws(EvaluationFault) -> Value {
        if result.overflow { throw .failed("duration overflow") }
        return .duration(TimeSpan(nanoseconds: result.partialValue))
    }

    private static func sum(_ one: Value, _ two: Value) throws(EvaluationFault) -> Value {
        switch (one, two) {
        case (.int(let one), .int(let two)): return .int(try whole(one.addingReportingOverflow(two)))
        case (.uint(let one), .uint(let two)): return .uint(try whole(one.addingReportingOverflow(two)))
        case (.double(let one), .double(let two)): return .double(one + two)
        case (.string(let one), .string(let two)): return .string(one + two)
        case (.bytes(let one), .bytes(let two)): return .bytes(one + two)
        case (.list(let one), .list(let two)): return .list(one.adding(two))
        case (.timestamp(let moment), .duration(let span)), (.duration(let span), .timestamp(let moment)):
            return try Self.moment(moment.adding(span))
        case (.duration(let one), .duration(let two)):
            return try span(one.nanoseconds.addingReportingOverflow(two.nanoseconds))
        default: throw .noOverload
        }
    }

    private static func difference(_ one: Value, _ two: Value) throws(EvaluationFault) -> Value {
        switch (one, two) {
        case (.int(let one), .int(let two)): return .int(try whole(one.subtractingReportingOverflow(two)))
        case (.uint(let one), .uint(let two)): return .uint(try whole(one.subtractingReportingOverflow(two)))
        case (.double(let one), .double(let two)): return .double(one - two)
        case (.timestamp(let one), .duration(let two)): return try moment(one.subtracting(two))
        case (.timestamp(let one), .timestamp(let two)):
            guard let span = one.since(two) else { throw .failed("duration overflow") }
            return .duration(span)
        case (.duration(let one), .duration(let two)):
            return try span(one.nanoseconds.subtractingReportingOverflow(two.nanoseconds))
        default: throw .noOverload
        }
    }

    private static func product(_ one: Value, _ two: Value) throws(EvaluationFault) -> Value {
        switch (one, two) {
        case (.int(let one), .int(let two)): return .int(try whole(one.multipliedReportingOverflow(by: two)))
        case (.uint(let one), .uint(let two)): return .uint(try whole(one.multipliedReportingOverflow(by: two)))
        case (.double(let one), .double(let two)): return .double(one * two)
        default: throw .noOverload
        }
    }

    private static func quotient(_ one: Value, _ two: Value) throws(EvaluationFault) -> Value {
        switch (one, two) {
        case (.int(let one), .int(let two)):
            if two == 0 { throw .failed("division by zero") }
            return .int(try whole(one.dividedReportingOverflow(by: two)))
        case (.uint(let one), .uint(let two)):
            if two == 0 { throw .failed("division by zero") }
            return .uint(one / two)
        case (.double(let one), .double(let two)): return .double(one / two)
        default: throw .noOverload
        }
    }

    private static func rest(_ one: Value, _ two: Value) throws(EvaluationFault) -> Value {
        switch (one, two) {
        case (.int(let one), .int(let two)):
            if two == 0 { throw .failed("modulus by zero") }
            return .int(try whole(one.remainderReportingOverflow(dividingBy: two)))
        case (.uint(let one), .uint(let two)):
            if two == 0 { throw .failed("modulus by zero") }
            return .uint(one % two)
        default: throw .noOverload
        }
    }
}
