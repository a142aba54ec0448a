import CEL
import Wire

/// Expressions: refused, or evaluated within their cost to a value of their type, the same each time.
enum CELTarget {
    private static let environment: Environment = {
        var environment = Environment.kubernetes
        for (name, type) in variables { environment.declare(name, type) }
        return environment
    }()
    private static let variables: [(String, ValueType)] = [
        ("self", .dyn), ("n", .int), ("s", .string), ("b", .bool), ("l", .list(.int)), ("m", .map(.string, .string)),
        ("d", .double), ("none", .dyn),
    ]
    private static let inputs: [Value?] = {
        let object: JSON = [
            "metadata": ["name": "web", "labels": ["app": "web"]],
            "spec": ["replicas": 2, "items": [["name": "a"], [:]]],
        ]
        return [
            Value(object), .int(-3), .string("a b,ç"), .bool(true), Value([1, 2, 3], as: .list(.int)),
            Value(["a": "1", "b": "2"], as: .map(.string, .string)), .double(1.5), nil,
        ]
    }()
    private static let limit: UInt64 = 50_000

    static func run(_ input: Input) {
        guard let program = try? environment.compile(String(decoding: input, as: UTF8.self)) else { return }
        precondition(program.estimate.least <= program.estimate.most, "an estimate that is none")
        let (first, cost) = evaluate(program)
        let (second, secondCost) = evaluate(program)
        precondition(cost == secondCost, "a cost that differs")
        switch (first, second) {
        case (.success(let one), .success(let other)):
            precondition(cost <= limit, "more than the limit was spent")
            // As in cel-go, the start of a path that is no name is counted only when it is walked.
            precondition(cost / 2 <= program.estimate.most, "more was spent than was thought possible")
            precondition(isOfType(one, program.type), "\(one.type) is not the \(program.type) it was said to be")
            precondition(one.type == other.type && one.json?.bytes == other.json?.bytes, "a value that differs")
        case (.failure(let one), .failure(let other)): precondition(one == other, "a fault that differs")
        default: preconditionFailure("a value once, and a fault another time")
        }
    }

    private static func evaluate(_ program: Program) -> (Result<Value, EvaluationFault>, cost: UInt64) {
        var budget = CostBudget(.max)
        let result: Result<Value, EvaluationFault>
        do throws(EvaluationFault) {
            result = .success(try program.evaluate(inputs, limit: limit, budget: &budget))
        } catch {
            result = .failure(error)
        }
        return (result, .max - budget.remaining)
    }

    private static func isOfType(_ value: Value, _ type: ValueType) -> Bool {
        switch type {
        case .null, .bool, .int, .uint, .double, .string, .bytes, .timestamp, .duration: value.type == type
        case .list: value.list != nil
        case .map: value.map != nil
        default: true
        }
    }
}
