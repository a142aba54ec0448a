import Synchronization

/// What validating policies found, in the names Kubernetes has for it.
final class PolicyMetrics: Sendable {
    /// What was done about a finding.
    enum Action: String { case allow, deny, audit, warn }
    enum Failure: String {
        case none = "no_error"
        case compilation = "compile_error"
        case evaluation = "invalid_error"
        case budget = "out_of_budget"
    }
    struct Series: Hashable {
        let policy: String
        let binding: String
        let action: Action
        let failure: Failure

        fileprivate var labels: MetricText.Labels {
            [
                ("enforcement_action", action.rawValue), ("error_type", failure.rawValue), ("policy", policy),
                ("policy_binding", binding),
            ]
        }
        fileprivate var order: [String] { [policy, binding, action.rawValue, failure.rawValue] }
    }

    /// Seconds, as Kubernetes has them.
    private static let bounds = [0.0000005, 0.001, 0.01, 0.1, 1]
    /// Policies come and go under ever new names; beyond so many series, new ones are not counted.
    private static let mostSeries = 2000
    private let times = Mutex<[Series: Histogram]>([:])

    /// As in Kubernetes, an expression that holds is not counted.
    /// - Parameter took: of the one expression.
    func note(_ series: Series, took: Duration) {
        let seconds = took.inSeconds
        times.withLock { times in
            guard times[series] != nil || times.count < Self.mostSeries else { return }
            times[series, default: Histogram(Self.bounds)].observe(seconds)
        }
    }

    func write(to text: inout MetricText) {
        let times = times.withLock { $0 }.sorted { $0.key.order.lexicographicallyPrecedes($1.key.order) }
        text.family(
            "apiserver_validating_admission_policy_check_total", .counter,
            "Expressions of policies that did not hold, by what was done about it.")
        for (series, histogram) in times { text.sample(histogram.total, series.labels) }
        text.family(
            "apiserver_validating_admission_policy_check_duration_seconds", .histogram,
            "Time of such an expression.")
        for (series, histogram) in times { text.sample(histogram, series.labels) }
    }
}
