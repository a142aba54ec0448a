import KubeClient
import KubeTypes
import Wire

/// Waits for what a start promises, and says what is missing when it does not come.
struct StartWait {
    let api: any KubeAPI
    var patience: Duration = .seconds(60)

    func forNodes(_ count: Int) async throws {
        try await until {
            let nodes = try await api.list(.nodes).items
            let ready = nodes.filter { $0.isReady }.count
            return ready >= count ? nil : "\(ready) of \(count) nodes are ready"
        }
    }

    /// - Parameters:
    ///   - hopeless: what a pod says when waiting longer is in vain. Once may be a listener that is just going away.
    ///   - means: what that means for whoever starts the cluster.
    func forDeployment(_ key: ObjectKey, hopeless: String, means: String) async throws {
        let clock = ContinuousClock()
        var hopelessSince: ContinuousClock.Instant?
        try await until {
            let deployment = try await api.get(.deployments, key)
            let available = deployment.status["availableReplicas"]?.int ?? 0
            if available >= deployment.spec["replicas"]?.int ?? 1 { return nil }
            let pods = try await api.list(.pods, namespace: key.namespace, Selection(labels: "app=\(key.name)")).items
            let reasons = pods.map { "\($0.name): \($0.whyNotReady)" }
            if reasons.contains(where: { $0.contains(hopeless) }) {
                hopelessSince = hopelessSince ?? clock.now
                if let since = hopelessSince, clock.now - since > .seconds(5) { throw StartFailed(means) }
            } else {
                hopelessSince = nil
            }
            return "Deployment \(key) is not available (\(reasons.joined(separator: "; ")))"
        }
    }

    private func until(_ missing: () async throws -> String?) async throws {
        let deadline = ContinuousClock.now + patience
        var last = ""
        while ContinuousClock.now < deadline {
            guard let text = try await missing() else { return }
            last = text
            try await Task.sleep(for: .milliseconds(20))
        }
        throw StartFailed("\(last) after \(patience)")
    }
}

extension KubeObject {
    var isReady: Bool {
        status["conditions"]?.array?.contains { $0["type"]?.string == "Ready" && $0["status"]?.string == "True" }
            ?? false
    }

    /// The first reason a pod gives for not being ready.
    fileprivate var whyNotReady: String {
        let containers = (status["initContainerStatuses"]?.array ?? []) + (status["containerStatuses"]?.array ?? [])
        for container in containers {
            if let waiting = container["state"]?["waiting"] {
                let name = container["name"]?.string ?? ""
                return "\(name) \(waiting["reason"]?.string ?? "waits") \(waiting["message"]?.string ?? "")"
            }
        }
        return status["phase"]?.string ?? "no status yet"
    }
}
