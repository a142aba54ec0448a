import KubeTypes
import ProxyResources

/// Finds what a pod's proxy tells: the mesh's policy, changed by its namespace's, changed by its own.
/// Of several at one level the oldest counts.
struct TelemetryOfPods {
    private let state: MeshState
    private var mesh: TelemetryPolicy?
    private var namespaces: [String: TelemetryPolicy] = [:]
    private var workloads: [String: [TelemetryPolicy]] = [:]
    private(set) var findings: [PolicyFinding] = []
    /// By the name a policy gives its provider.
    private var collectors: [String: String] = [:]

    init(_ state: MeshState) {
        self.state = state
        var seen: Set<String> = []
        for policy in state.telemetries.values.oldestFirst() {
            let namespace = policy.key.namespace
            resolve(policy)
            if !policy.selector.isEmpty {
                workloads[namespace, default: []].append(policy)
            } else if !seen.insert(namespace).inserted {
                findings.append(
                    PolicyFinding(
                        policy.reference, "spec", .conflict, "an older policy for the whole namespace is in force"))
            } else if state.settings.rootNamespaces.contains(namespace) {
                mesh = mesh ?? policy
            } else {
                namespaces[namespace] = policy
            }
        }
    }

    func telemetry(for pod: MeshPod) -> Telemetry {
        var telemetry = Telemetry()
        let own = workloads[pod.key.namespace]?.first { pod.isSelected(by: $0.selector) }
        for policy in [mesh, namespaces[pod.key.namespace], own] {
            guard let policy else { continue }
            for rule in policy.tracing { apply(rule, to: &telemetry) }
            if !policy.logs.isEmpty {
                telemetry.accessLogs = policy.logs.filter { !$0.isDisabled }.map(\.log)
                    .prefix(Telemetry.mostAccessLogs).map { $0 }
            }
            telemetry.metrics.changes += policy.metrics
        }
        return telemetry
    }

    private func apply(_ rule: TelemetryPolicy.TracingRule, to telemetry: inout Telemetry) {
        var tracing = telemetry.tracing ?? Tracing()
        if let provider = rule.provider { tracing.collector = collectors[provider] ?? "" }
        if let percent = rule.samplePercent { tracing.samplePercent = min(100, max(0, percent)) }
        if let isDisabled = rule.isDisabled { tracing.isDisabled = isDisabled }
        if !rule.tags.isEmpty { tracing.tags = rule.tags }
        tracing.side = rule.side
        telemetry.tracing = tracing
    }

    // MARK: collectors

    private mutating func resolve(_ policy: TelemetryPolicy) {
        for rule in policy.tracing {
            guard let provider = rule.provider, collectors[provider] == nil else { continue }
            switch collector(state.settings.tracingProviders[provider] ?? provider) {
            case .success(let address): collectors[provider] = address
            case .failure(let fault):
                findings.append(PolicyFinding(policy.reference, rule.place, .notFound, fault.message))
            }
        }
    }

    private struct Unknown: Error { let message: String }

    /// `10.0.0.9:4318`, or the address of a service named as `otel.observability:4318`.
    private func collector(_ name: String) -> Result<String, Unknown> {
        let sides = name.split(separator: ":", maxSplits: 1)
        guard sides.count == 2, let port = Int(sides[1]), (1...65535).contains(port) else {
            return .failure(
                Unknown(
                    message: "\"\(name)\" is not a collector this mesh knows: name it as service.namespace:port"))
        }
        let labels = sides[0].split(separator: ".")
        if labels.count == 4, labels.allSatisfy({ UInt8($0) != nil }) { return .success(name) }
        let key = ObjectKey(namespace: labels.count > 1 ? String(labels[1]) : "default", name: String(labels[0]))
        guard let service = state.services[key] else {
            return .failure(Unknown(message: "there is no service \(key) to send spans to"))
        }
        if let address = service.addresses.first { return .success("\(address):\(port)") }
        return .failure(Unknown(message: "service \(key) has no address of its own: spans need one"))
    }
}
