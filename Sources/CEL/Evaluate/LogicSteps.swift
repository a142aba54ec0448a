/// `&&` and `||`: a term that decides makes up for errors of others, on either side.
struct LogicStep: Step {
    let terms: [any Step]
    /// What one term alone decides: `false` for `&&`.
    let deciding: Bool

    func value(_ frame: inout Frame) throws(EvaluationFault) -> Value {
        var failure: EvaluationFault?
        for term in terms {
            do throws(EvaluationFault) {
                guard case .bool(let truth) = try term.value(&frame) else { throw .noOverload }
                if truth == deciding { return .bool(deciding) }
            } catch {
                guard case .failed = error else { throw error }
                if failure == nil { failure = error }
            }
        }
        if let failure { throw failure }
        return .bool(!deciding)
    }
}

struct ConditionalStep: Step {
    let condition: any Step
    let then: any Step
    let otherwise: any Step

    func value(_ frame: inout Frame) throws(EvaluationFault) -> Value {
        guard case .bool(let truth) = try condition.value(&frame) else { throw .noOverload }
        return truth ? try then.value(&frame) : try otherwise.value(&frame)
    }
}

struct NotStep: Step {
    let operand: any Step

    func value(_ frame: inout Frame) throws(EvaluationFault) -> Value {
        guard case .bool(let truth) = try operand.value(&frame) else { throw .noOverload }
        try frame.charge(1)
        return .bool(!truth)
    }
}

struct NegateStep: Step {
    let operand: any Step

    func value(_ frame: inout Frame) throws(EvaluationFault) -> Value {
        let value = try operand.value(&frame)
        try frame.charge(1)
        switch value {
        case .int(.min): throw .overflow
        case .int(let value): return .int(-value)
        case .double(let value): return .double(-value)
        default: throw .noOverload
        }
    }
}

struct OperationStep: Step {
    let operation: Operation
    let one: any Step
    let two: any Step

    func value(_ frame: inout Frame) throws(EvaluationFault) -> Value {
        let first = try one.value(&frame)
        let second = try two.value(&frame)
        try frame.charge(operation.cost(first, second))
        return try operation.apply(first, second)
    }
}
