import Wire

extension Cells {
    /// READY, STATUS and RESTARTS say in three words what the container statuses say at length.
    func pod() -> [String: JSON] {
        let summary = PodSummary(object, now)
        let gates = spec.list("readinessGates")
        let conditions = status.list("conditions")
        let passed = gates.count { gate in
            conditions.contains { $0["type"] == gate["conditionType"] && $0["status"] == "True" }
        }
        return [
            "Ready": .string("\(summary.ready)/\(summary.total)"), "Status": .string(summary.reason),
            "Restarts": .string(summary.restartText), "IP": text("status", "podIP"), "Node": text("spec", "nodeName"),
            "Nominated Node": text("status", "nominatedNodeName"),
            "Readiness Gates": gates.isEmpty ? Self.none : .string("\(passed)/\(gates.count)"),
        ]
    }
}

/// A pod's state in a word: `Running`, `Init:1/2`, `CrashLoopBackOff`, `Completed`, `Terminating`.
package struct PodSummary: Sendable {
    package private(set) var reason: String
    package private(set) var ready = 0
    package private(set) var total: Int
    package private(set) var restarts = 0
    private var lastRestart: Timestamp?
    private let now: Timestamp

    package init(_ pod: KubeObject, _ now: Timestamp) {
        self.now = now
        let phase = pod[Pod.phase] ?? ""
        let ownReason = pod[Pod.reason] ?? ""
        reason = ownReason.isEmpty ? phase : ownReason
        let conditions = pod[Pod.conditions] ?? []
        func isTrue(_ type: String) -> Bool {
            conditions.contains { $0[Condition.type] == type && $0[Condition.status] == "True" }
        }
        if conditions.contains(where: {
            $0[Condition.type] == "PodScheduled" && $0[Condition.reason] == "SchedulingGated"
        }) {
            reason = "SchedulingGated"
        }
        let initial = pod[Pod.initContainers] ?? []
        let sidecars = Set(initial.filter { $0[Container.restartPolicy] == "Always" }.compactMap { $0[Container.name] })
        total = (pod[Pod.containers] ?? []).count + sidecars.count
        let initializing = readInitial(pod[Pod.initContainerStatuses] ?? [], count: initial.count, sidecars)
        if !initializing || isTrue("Initialized") {
            restarts = (pod[Pod.initContainerStatuses] ?? []).filter { sidecars.contains($0["name"]?.string ?? "") }
                .reduce(0) {
                    $0 &+ ($1["restartCount"]?.int ?? 0)
                }
            readMain(pod[Pod.containerStatuses] ?? [], isReady: isTrue("Ready"))
        }
        guard pod.deletionTimestamp != nil else { return }
        if ownReason == "NodeLost" {
            reason = "Unknown"
        } else if phase != "Succeeded", phase != "Failed" {
            reason = "Terminating"
        }
    }

    /// Whether the init containers are still at work; if so, the reason says where they are.
    private mutating func readInitial(_ statuses: [JSON], count: Int, _ sidecars: Set<String>) -> Bool {
        for (index, container) in statuses.enumerated() {
            note(container)
            let state = container["state"]
            let isSidecar = sidecars.contains(container["name"]?.string ?? "")
            if state?["terminated"]?["exitCode"] == 0 { continue }
            if isSidecar, container["started"] == true {
                if container["ready"] == true { ready += 1 }
                continue
            }
            if let ended = state?["terminated"] {
                reason = "Init:" + Self.ending(ended)
            } else if let waiting = state?["waiting"]?["reason"]?.string, !waiting.isEmpty, waiting != "PodInitializing"
            {
                reason = "Init:" + waiting
            } else {
                reason = "Init:\(index)/\(count)"
            }
            return true
        }
        return false
    }

    private mutating func readMain(_ statuses: [JSON], isReady: Bool) {
        var isRunning = false
        for container in statuses.reversed() {
            note(container)
            let state = container["state"]
            if let waiting = state?["waiting"]?["reason"]?.string, !waiting.isEmpty {
                reason = waiting
            } else if let ended = state?["terminated"] {
                reason = Self.ending(ended)
            } else if container["ready"] == true, state?["running"] != nil {
                isRunning = true
                ready += 1
            }
        }
        // One container is done, another still runs.
        if reason == "Completed", isRunning { reason = isReady ? "Running" : "NotReady" }
    }

    private mutating func note(_ container: JSON) {
        restarts &+= container["restartCount"]?.int ?? 0
        guard let text = container["lastState"]?["terminated"]?["finishedAt"]?.string, let moment = Timestamp(text)
        else { return }
        if lastRestart.map({ $0 < moment }) ?? true { lastRestart = moment }
    }

    private static func ending(_ ended: JSON) -> String {
        if let reason = ended["reason"]?.string, !reason.isEmpty { return reason }
        if let signal = ended["signal"]?.int, signal != 0 { return "Signal:\(signal)" }
        return "ExitCode:\(ended["exitCode"]?.int ?? 0)"
    }

    package var restartText: String {
        guard restarts > 0, let lastRestart else { return String(restarts) }
        return "\(restarts) (\((now - lastRestart).ageText) ago)"
    }
}
