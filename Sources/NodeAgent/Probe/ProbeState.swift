package import KubeTypes

/// What one attempt of a probe found.
package enum ProbeOutcome: Sendable, Hashable {
    case success
    case failure(String)
    /// The probe itself could not be made: counts for neither side.
    case unknown(String)
}

package enum ProbeKind: String, Sendable { case startup = "Startup", liveness = "Liveness", readiness = "Readiness" }

/// The attempts of one probe of one run, reduced to what they mean.
package struct ProbeState: Sendable {
    package let kind: ProbeKind
    package let description: ProbeDescription
    package private(set) var isPassing: Bool
    private var successes = 0
    private var failures = 0
    private var hasEverSucceeded = false
    private var attempts = 0
    private var lastCounted: Timestamp?

    /// - Parameter isPassing: what held before the first attempt; liveness is believed until it fails.
    package init(_ kind: ProbeKind, _ description: ProbeDescription, isPassing: Bool? = nil) {
        self.kind = kind
        self.description = description
        self.isPassing = isPassing ?? (kind == .liveness)
        hasEverSucceeded = isPassing ?? false
    }

    /// How long to wait until the next attempt. Until the first success, attempts of startup and readiness come quickly at
    /// first, so that a container that is ready after milliseconds does not wait for a whole period.
    package var pause: Duration {
        guard !hasEverSucceeded, kind != .liveness, attempts < 16 else { return description.period }
        return min(.milliseconds(20) * (1 << max(0, attempts - 1)), description.period)
    }

    /// A failure counts at most once in a period, however often the probe is made.
    /// - Returns: whether it was a failure that counts.
    @discardableResult
    package mutating func record(_ outcome: ProbeOutcome, at now: Timestamp) -> Bool {
        attempts += 1
        switch outcome {
        case .success:
            hasEverSucceeded = true
            failures = 0
            successes += 1
            if successes >= description.successThreshold { isPassing = true }
            return false
        case .failure:
            successes = 0
            // Attempts are made by timers: one that comes a little early is still the next one.
            if let last = lastCounted, now - last < description.period * 0.9 { return false }
            let isFirstOfMany = lastCounted == nil && !hasEverSucceeded && kind != .liveness
            lastCounted = now
            // The quick attempts of the first period say only that the program is not up yet.
            if isFirstOfMany { return false }
            failures += 1
            if failures >= description.failureThreshold { isPassing = false }
            return true
        case .unknown:
            return false
        }
    }

    /// As many failures in a row as the manifest allows.
    package var hasFailed: Bool { failures >= description.failureThreshold }
}

/// The probes of one run of a container together.
package struct RunProbes: Sendable {
    package private(set) var startup: ProbeState?
    package private(set) var liveness: ProbeState?
    package private(set) var readiness: ProbeState?
    private var lastFailure: [ProbeKind: String] = [:]

    /// - Parameter earlier: what was true of this very run when an agent last looked: a restarted agent believes it.
    package init(_ container: ContainerDescription, earlier: ProbeVerdict? = nil) {
        startup = container.startupProbe.map { ProbeState(.startup, $0, isPassing: earlier?.isStarted) }
        liveness = container.livenessProbe.map { ProbeState(.liveness, $0) }
        readiness = container.readinessProbe.map { ProbeState(.readiness, $0, isPassing: earlier?.isReady) }
    }

    package subscript(kind: ProbeKind) -> ProbeState? {
        switch kind {
        case .startup: startup
        case .liveness: liveness
        case .readiness: readiness
        }
    }

    /// - Returns: whether it was a failure that counts.
    @discardableResult
    package mutating func record(_ kind: ProbeKind, _ outcome: ProbeOutcome, at now: Timestamp) -> Bool {
        if case .failure(let message) = outcome { lastFailure[kind] = message }
        switch kind {
        case .startup: return startup?.record(outcome, at: now) ?? false
        case .liveness: return liveness?.record(outcome, at: now) ?? false
        case .readiness: return readiness?.record(outcome, at: now) ?? false
        }
    }

    package var isStarted: Bool { startup?.isPassing ?? true }

    package var verdict: ProbeVerdict {
        var verdict = ProbeVerdict(isStarted: isStarted, isReady: isStarted && (readiness?.isPassing ?? true))
        let failed = [startup, liveness].compactMap(\.self).first {
            $0.hasFailed && !($0.kind == .startup && $0.isPassing)
        }
        if let failed {
            verdict.mustRestart =
                "\(failed.kind.rawValue.lowercased()) probe failed: \(lastFailure[failed.kind] ?? "no answer")"
            verdict.gracePeriod = failed.description.gracePeriod
        }
        return verdict
    }
}
