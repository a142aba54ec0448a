/// Why an expression has no value.
package enum EvaluationFault: Error, Sendable, Hashable, CustomStringConvertible {
    /// The expression's own error, which `&&` and `||` may make up for.
    case failed(String)
    /// One evaluation cost more than one may.
    case costLimit
    /// What all evaluations together may cost is spent.
    case budget
    case interrupted

    package var description: String {
        switch self {
        case .failed(let message): message
        case .costLimit: "operation cancelled: actual cost limit exceeded"
        case .budget: "the expressions' cost budget is spent"
        case .interrupted: "operation interrupted"
        }
    }

    static let overflow = Self.failed("integer overflow")
    static let noOverload = Self.failed("no such overload")
    static func noKey(_ key: String) -> Self { .failed("no such key: \(key)") }
}
