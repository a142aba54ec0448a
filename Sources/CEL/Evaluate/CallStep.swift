/// A function's call: of the overloads the checker found, the first that takes the values.
struct CallStep: Step {
    let overloads: [Overload]
    let arguments: [any Step]

    func value(_ frame: inout Frame) throws(EvaluationFault) -> Value {
        var values: [Value] = []
        values.reserveCapacity(arguments.count)
        for argument in arguments { values.append(try argument.value(&frame)) }
        for overload in overloads where Self.takes(overload, values) {
            // All other work is counted before it is done.
            if case .result = overload.cost {
                let result = try overload.body(values)
                try frame.keep(result)
                try frame.charge(overload.cost.count(values, result))
                return result
            }
            try frame.charge(overload.cost.count(values, .null))
            let result = try overload.body(values)
            try frame.keep(result)
            return result
        }
        try frame.charge(1)
        throw .noOverload
    }

    private static func takes(_ overload: Overload, _ values: [Value]) -> Bool {
        for (value, parameter) in zip(values, overload.parameters) where !value.fits(parameter) { return false }
        return true
    }
}
