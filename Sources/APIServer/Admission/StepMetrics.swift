import Synchronization

/// How long each step of admission takes, in the names Kubernetes has for its own.
final class StepMetrics: Sendable {
    enum Phase: String { case admit, validate }
    typealias Operation = AdmissionRequest.Operation

    /// Where in the chain a step stands.
    struct Places: Sendable {
        /// Of mutating policies; webhooks come next.
        let policies: Int
        /// Of the first step that refuses; the quota comes after the last.
        let validating: Int
        fileprivate let admit: Int
        fileprivate let validate: Int
        /// Laps of the phase with more of them.
        fileprivate var longest: Int { max(validating, admit - validating) + 1 }
    }

    /// Seconds, as Kubernetes has them.
    private static let bounds = [0.005, 0.025, 0.1, 0.5, 1, 2.5]
    private static let operations: [Operation] = [.create, .update, .delete, .connect]

    let places: Places
    private let names: [(name: String, phase: Phase)]
    /// By step, operation, and whether it refused.
    private let histograms: Mutex<[Histogram?]>

    init(_ chain: AdmissionChain) {
        var names: [(name: String, phase: Phase)] = []
        for step in chain.builtIn + chain.mutating { names.append((Self.name(step), .admit)) }
        let policies = names.count
        names += [("MutatingAdmissionPolicy", .admit), ("MutatingAdmissionWebhook", .admit)]
        let validating = names.count
        for step in chain.validating { names.append((Self.name(step), .validate)) }
        names.append(("ResourceQuota", .validate))
        places = Places(policies: policies, validating: validating, admit: names.count, validate: names.count + 1)
        self.names = names
        histograms = Mutex(Array(repeating: nil, count: (names.count + 2) * Self.operations.count * 2))
    }

    private static func name(_ step: any Sendable) -> String {
        switch step {
        case is ServiceAccountAdmission: "ServiceAccount"
        case is NewNodeTaint: "TaintNodesByCondition"
        case is PriorityAdmission: "Priority"
        case is DefaultTolerations: "DefaultTolerationSeconds"
        case is DefaultClassAdmission: "DefaultStorageClass"
        case is RuntimeClassAdmission: "RuntimeClass"
        case is PodSecurityAdmission: "PodSecurity"
        case is ClaimResizeAdmission: "PersistentVolumeClaimResize"
        case is ValidatingPolicyAdmission: "ValidatingAdmissionPolicy"
        case is WebhookAdmission: "ValidatingAdmissionWebhook"
        default: "\(type(of: step))"
        }
    }

    func timer(_ operation: Operation) -> Timer { Timer(self, Self.operations.firstIndex(of: operation) ?? 0) }

    /// Times the steps of one request, one after the other. All are noted at the end, under one lock.
    struct Timer {
        private let metrics: StepMetrics
        private let operation: Int
        private let began: ContinuousClock.Instant
        private var last: ContinuousClock.Instant
        private var laps: [Lap] = []

        fileprivate init(_ metrics: StepMetrics, _ operation: Int) {
            self.metrics = metrics
            self.operation = operation
            began = .now
            last = began
            laps.reserveCapacity(metrics.places.longest)
        }

        /// The step at a place has ended.
        mutating func lap(_ place: Int, isRejected: Bool = false) {
            let now = ContinuousClock.now
            laps.append(Lap(place: place, isRejected: isRejected, took: now - last))
            last = now
        }

        /// All steps of a phase have ended.
        mutating func end(_ phase: Phase, isRejected: Bool = false) {
            let place = phase == .admit ? metrics.places.admit : metrics.places.validate
            laps.append(Lap(place: place, isRejected: isRejected, took: .now - began))
            metrics.record(laps, operation)
        }
    }

    fileprivate struct Lap {
        let place: Int
        let isRejected: Bool
        let took: Duration
    }

    private func record(_ laps: [Lap], _ operation: Int) {
        histograms.withLock { histograms in
            for lap in laps {
                let index = (lap.place * Self.operations.count + operation) * 2 + (lap.isRejected ? 1 : 0)
                if histograms[index] == nil { histograms[index] = Histogram(Self.bounds) }
                histograms[index]?.observe(lap.took.inSeconds)
            }
        }
    }

    func write(to text: inout MetricText) {
        let histograms = histograms.withLock { $0 }
        func write(_ place: Int, _ labels: MetricText.Labels) {
            for (number, operation) in Self.operations.enumerated() {
                for isRejected in [false, true] {
                    let index = (place * Self.operations.count + number) * 2 + (isRejected ? 1 : 0)
                    guard let histogram = histograms[index] else { continue }
                    text.sample(
                        histogram, labels + [("operation", operation.rawValue), ("rejected", "\(isRejected)")])
                }
            }
        }
        text.family(
            "apiserver_admission_step_admission_duration_seconds", .histogram,
            "Time of all steps that change, or that refuse, for one request.")
        write(places.admit, [("type", Phase.admit.rawValue)])
        write(places.validate, [("type", Phase.validate.rawValue)])
        text.family(
            "apiserver_admission_controller_admission_duration_seconds", .histogram,
            "Time of one step of admission for one request.")
        for (place, step) in names.enumerated() { write(place, [("name", step.name), ("type", step.phase.rawValue)]) }
    }
}
