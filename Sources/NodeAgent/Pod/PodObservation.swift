package import ContainerRuntime
package import KubeTypes

/// Everything the agent knows of a pod at one moment, beside the pod object itself.
package struct PodObservation: Sendable {
    package enum Barrier: Sendable { case notAsked, waiting, passed }

    package var now: Timestamp
    package var sandbox: SandboxStatus?
    /// The pod's own address, once it has one.
    package var address: String?
    package var nodeAddress = ""
    /// When the pod must be gone: its deletion deadline, or soon if it vanished from the API.
    package var deadline: Timestamp?
    package var barrier = Barrier.notAsked
    /// By container id. A container without probes has no entry.
    package var verdicts: [String: ProbeVerdict] = [:]
    /// Containers whose `postStart` hook still runs, by id: they are not started yet.
    package var hooked: Set<String> = []
    /// Stops in progress, by container id: when SIGKILL comes.
    package var stops: [String: Timestamp] = [:]
    /// What failed lately, by what was attempted.
    package var setbacks: [Attempted: Setback] = [:]
    /// Termination messages, by container id.
    package var messages: [String: String] = [:]
    /// Why the node does not give the pod what it asks for now.
    package var refusedResize: ResizeRefusal?

    package init(now: Timestamp) { self.now = now }

    package enum Attempted: Sendable, Hashable {
        case preparation
        case start(container: String)
        case stop(id: String)
        case resize(id: String)
        case removal
    }
}

/// A failed attempt: shown in the pod's status, and repeated at `retryAt`.
package struct Setback: Sendable, Hashable {
    package var reason: String
    package var message: String
    package var count: Int
    package var retryAt: Timestamp

    package init(reason: String, message: String, count: Int, retryAt: Timestamp) {
        self.reason = reason
        self.message = message
        self.count = count
        self.retryAt = retryAt
    }

    /// The next failure of the same attempt: 1 s, doubling to `longest`.
    init(reason: String, message: String, after earlier: Setback?, now: Timestamp, longest: Duration = .seconds(30)) {
        let count = (earlier?.count ?? 0) + 1
        let delay: Duration = .seconds(1 << min(count - 1, 8))
        self.init(reason: reason, message: message, count: count, retryAt: now + min(delay, longest))
    }
}

/// What a container's probes say now.
package struct ProbeVerdict: Sendable, Hashable {
    package var isStarted: Bool
    package var isReady: Bool
    /// Set when the startup or liveness probe has failed often enough: which one, and how.
    package var mustRestart: String?
    /// The failed probe's own grace period.
    package var gracePeriod: Duration?

    package init(isStarted: Bool, isReady: Bool, mustRestart: String? = nil, gracePeriod: Duration? = nil) {
        self.isStarted = isStarted
        self.isReady = isReady
        self.mustRestart = mustRestart
        self.gracePeriod = gracePeriod
    }
}
