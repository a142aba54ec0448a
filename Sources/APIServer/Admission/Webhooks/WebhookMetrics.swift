import Synchronization

/// What came of asking webhooks, and of the conditions that come before them and before policies.
final class WebhookMetrics: Sendable {
    enum Failure: String, Sendable {
        case none = "no_error", call = "calling_webhook_error"
    }
    struct Call: Hashable, Sendable {
        let name: String
        let operation: AdmissionRequest.Operation
        let isMutating: Bool

        fileprivate var labels: MetricText.Labels {
            [
                ("name", name), ("operation", operation.rawValue), ("type", isMutating ? "admit" : "validating"),
            ]
        }
    }
    private struct Ended: Hashable {
        let call: Call
        let isRejected: Bool
    }
    private struct Rejection: Hashable {
        let call: Call
        let failure: Failure
        let code: Int
    }
    private struct Conditions: Hashable {
        let call: Call
        let isPolicy: Bool

        var labels: MetricText.Labels { call.labels + [("kind", isPolicy ? "policy" : "webhook")] }
    }
    private struct State {
        var times: [Ended: Histogram] = [:]
        var rejections: [Rejection: Int] = [:]
        var failedOpen: [Call: Int] = [:]
        var exclusions: [Conditions: Int] = [:]
        var errors: [Conditions: Int] = [:]
    }

    /// Seconds, as Kubernetes has them.
    private static let bounds = [0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 25]
    /// Webhooks come and go under ever new names; beyond so many series, new ones are not counted.
    private static let mostSeries = 2000
    private let state = Mutex(State())
    let policies = PolicyMetrics()

    /// One webhook was asked.
    /// - Parameter code: of the refusal, when it refused or could not be asked and had to be.
    func ended(_ call: Call, took: Duration, failure: Failure, code: Int?) {
        let seconds = took.inSeconds
        state.withLock { state in
            let ended = Ended(call: call, isRejected: code != nil)
            guard state.times[ended] != nil || state.times.count < Self.mostSeries else { return }
            state.times[ended, default: Histogram(Self.bounds)].observe(seconds)
            if let code { state.rejections[Rejection(call: call, failure: failure, code: code), default: 0] += 1 }
            if code == nil, failure != .none { state.failedOpen[call, default: 0] += 1 }
        }
    }

    /// What the conditions of a webhook or of a policy said.
    func note(_ verdict: MatchConditions.Verdict, _ call: Call, isPolicy: Bool) {
        if verdict == .holds { return }
        var isError = false
        if case .error = verdict { isError = true }
        let conditions = Conditions(call: call, isPolicy: isPolicy)
        state.withLock { state in
            let counts = isError ? state.errors : state.exclusions
            guard counts[conditions] != nil || counts.count < Self.mostSeries else { return }
            if isError {
                state.errors[conditions, default: 0] += 1
            } else {
                state.exclusions[conditions, default: 0] += 1
            }
        }
    }

    func write(to text: inout MetricText) {
        let state = state.withLock { $0 }
        text.family("apiserver_admission_webhook_admission_duration_seconds", .histogram, "Time a webhook takes.")
        for (ended, histogram) in state.times.sorted(by: { Self.order($0.key.call, $1.key.call) }) {
            text.sample(histogram, ended.call.labels + [("rejected", "\(ended.isRejected)")])
        }
        text.family("apiserver_admission_webhook_rejection_count", .counter, "Requests that a webhook has refused.")
        for (rejection, count) in state.rejections.sorted(by: { Self.order($0.key.call, $1.key.call) }) {
            text.sample(
                count,
                rejection.call.labels + [
                    ("error_type", rejection.failure.rawValue), ("rejection_code", "\(rejection.code)"),
                ])
        }
        text.family(
            "apiserver_admission_webhook_fail_open_count", .counter,
            "Requests let pass though a webhook could not be asked.")
        for (call, count) in state.failedOpen.sorted(by: { Self.order($0.key, $1.key) }) {
            text.sample(count, call.labels.filter { $0.name != "operation" })
        }
        text.family(
            "apiserver_admission_match_condition_exclusions_total", .counter,
            "Requests a webhook or a policy was not asked about, since a condition does not hold.")
        for (conditions, count) in state.exclusions.sorted(by: { Self.order($0.key.call, $1.key.call) }) {
            text.sample(count, conditions.labels)
        }
        text.family(
            "apiserver_admission_match_condition_evaluation_errors_total", .counter,
            "Conditions that could not be evaluated.")
        for (conditions, count) in state.errors.sorted(by: { Self.order($0.key.call, $1.key.call) }) {
            text.sample(count, conditions.labels)
        }
        policies.write(to: &text)
    }

    private static func order(_ one: Call, _ other: Call) -> Bool {
        (one.name, one.operation.rawValue) < (other.name, other.operation.rawValue)
    }
}
