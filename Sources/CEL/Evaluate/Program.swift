/// An expression that is ready to be evaluated, at the same time by any number of threads.
package final class Program: Sendable {
    package let text: String
    package let type: ValueType
    /// What it may cost, looked at before it runs.
    package let estimate: CostRange
    private let root: any Step
    private let locals: Int

    /// What one evaluation may cost.
    package static let costLimit: UInt64 = 1_000_000

    init(text: String, type: ValueType, root: any Step, locals: Int, estimate: CostRange) {
        self.text = text
        self.type = type
        self.root = root
        self.locals = locals
        self.estimate = estimate
    }

    /// The expression's value.
    ///
    /// - Parameter inputs: the variables' values, in the order the environment declares them.
    /// - Parameter budget: what this and other evaluations may cost together; lowered by what this one cost, also when it fails.
    package func evaluate(
        _ inputs: [Value?], limit: UInt64 = costLimit, budget: inout CostBudget,
        isInterrupted: (@Sendable () -> Bool)? = nil
    ) throws(EvaluationFault) -> Value {
        let isShort = budget.remaining < limit
        var frame = Frame(
            inputs, locals: locals, limit: min(limit, budget.remaining), overrun: isShort ? .budget : .costLimit,
            isInterrupted: isInterrupted)
        defer { budget.remaining -= min(budget.remaining, frame.cost) }
        return try root.value(&frame)
    }

    package func evaluate(_ inputs: [Value?] = []) throws(EvaluationFault) -> Value {
        var budget = CostBudget()
        return try evaluate(inputs, budget: &budget)
    }
}

/// What several evaluations may cost together.
package struct CostBudget: Sendable, Hashable {
    package var remaining: UInt64

    /// Of all rules that look at one object.
    package static let ofObject: UInt64 = 10_000_000
    /// Of all conditions of one webhook.
    package static let ofMatchConditions: UInt64 = 2_500_000

    package init(_ amount: UInt64 = ofObject) { remaining = amount }
}
