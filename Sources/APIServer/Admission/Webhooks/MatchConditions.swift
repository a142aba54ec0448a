import CEL
import KubeTypes
import Wire

/// Expressions that must all hold before a webhook or a policy is asked.
struct MatchConditions: Sendable {
    private struct Condition: Sendable {
        let name: String
        let program: Result<Program, CompilationFault>
    }
    enum Verdict: Sendable, Hashable {
        case holds
        /// The first that does not.
        case fails(String)
        case error(String)
    }

    private let conditions: [Condition]
    static let most = 64

    init(_ json: [JSON], environment: Environment = AdmissionExpressions.plain) {
        conditions = json.prefix(Self.most).map { one in
            let text = one["expression"]?.string ?? ""
            return Condition(
                name: one["name"]?.string ?? "", program: AdmissionExpressions.compile(text, .bool, environment))
        }
    }

    var isEmpty: Bool { conditions.isEmpty }

    /// A condition that does not hold outweighs errors of others.
    func verdict(_ inputs: [Value?]) -> Verdict {
        if conditions.isEmpty { return .holds }
        var budget = CostBudget(CostBudget.ofMatchConditions)
        var errors: [String] = []
        for condition in conditions {
            do {
                let value = try condition.program.get().evaluate(inputs, budget: &budget)
                if value.bool == false { return .fails(condition.name) }
            } catch {
                errors.append("expression '\(condition.name)' resulted in error: \(error)")
            }
        }
        return errors.isEmpty ? .holds : .error(errors.joined(separator: ", "))
    }
}
