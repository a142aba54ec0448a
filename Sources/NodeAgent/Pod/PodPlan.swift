import ContainerRuntime
package import KubeTypes
import Wire

/// One step the agent takes for a pod.
package enum PodAction: Sendable, Hashable {
    /// Volumes, the mesh socket, the network, the sandbox. Joins what is already there.
    case prepare
    /// The supervisor is gone: clear what it left, before preparing again.
    case clearSandbox
    case start(container: String, attempt: Int, backOffStep: Int)
    /// `preStop`, the stop signal, and SIGKILL at `by`.
    case stop(id: String, by: Timestamp, why: StopReason)
    /// What the container may use changes while it runs.
    case resize(id: String, container: String)
    /// Drops the record and the writable layer of an old run.
    case forget(id: String)
    /// Waits until nobody sends the pod traffic.
    case awaitBarrier
    /// The pod has ended: gives back sandbox and network, keeps logs and status.
    case release
    /// Nothing runs: removes all of the pod, and the object from the API.
    case remove
}

package enum StopReason: Sendable, Hashable {
    case deleted
    /// Which probe failed, and how.
    case unhealthy(String)
    case imageChanged
    /// Its manifest asks for other resources, which it takes only with a new start.
    case resized
    /// A sidecar whose pod has ended.
    case podEnded
    case deadlineExceeded
}

/// What to do next for a pod, and when to look again if nothing happens until then.
///
/// A pure function of what is seen: init containers in order, sidecars started before their followers, then the others; back in
/// the reverse order.
package struct PodPlan: Sendable, Hashable {
    package private(set) var actions: [PodAction] = []
    package private(set) var wakeAt: Timestamp?

    /// The annotation that remembers which image a run was started with.
    static let imageAnnotation = "weft.dev/image"

    package init(_ pod: PodDescription, _ seen: PodObservation) {
        let progress = PodProgress(pod, seen)
        if let deadline = seen.deadline {
            end(progress, by: deadline)
        } else if pod.hasEnded {
            if seen.sandbox != nil || seen.address != nil, isDue(.removal, seen) { actions = [.release] }
        } else if progress.isOver {
            finish(progress)
        } else {
            run(progress)
        }
    }

    // MARK: Living

    private mutating func run(_ progress: PodProgress) {
        let seen = progress.seen
        guard let sandbox = seen.sandbox, sandbox.isRunning else {
            if isDue(.preparation, seen) { actions = [seen.sandbox == nil ? .prepare : .clearSandbox] }
            return
        }
        if let deadline = progress.activeDeadline { look(at: deadline) }
        forgetOldRuns(progress)
        resize(progress)
        // To look at a pod that does not get on, too: they wait for nobody.
        for container in progress.ephemeralContainers where container.isIdle { start(container, seen) }
        for container in progress.initContainers {
            guard advance(container, progress) else { return }
        }
        for container in progress.containers {
            if container.isRunning {
                keepHealthy(container, progress)
            } else if !container.isFinal {
                start(container, seen)
            }
        }
    }

    /// - Returns: whether the containers after this one may start.
    private mutating func advance(_ container: ContainerProgress, _ progress: PodProgress) -> Bool {
        if container.description.role == .sidecar {
            if container.isRunning { keepHealthy(container, progress) } else { start(container, progress.seen) }
            return container.isStarted || progress.hasBegun
        }
        if container.isRunning { return false }
        if progress.hasBegun || container.exitCode == 0 { return true }
        start(container, progress.seen)
        return false
    }

    private mutating func start(_ container: ContainerProgress, _ seen: PodObservation) {
        let name = container.description.name
        guard isDue(.start(container: name), seen) else { return }
        if let time = container.restartTime, time > seen.now { return look(at: time) }
        actions.append(.start(container: name, attempt: container.nextAttempt, backOffStep: container.nextStep))
    }

    private mutating func keepHealthy(_ container: ContainerProgress, _ progress: PodProgress) {
        guard let run = container.latest else { return }
        let grace = container.verdict.gracePeriod ?? progress.pod.gracePeriod
        if let cause = container.verdict.mustRestart {
            stop(run, by: progress.seen.now + grace, .unhealthy(cause), progress.seen)
        } else if let image = run.annotations[PodPlan.imageAnnotation], image != container.description.image {
            stop(run, by: progress.seen.now + progress.pod.gracePeriod, .imageChanged, progress.seen)
        }
    }

    /// Containers whose manifest asks for other resources than they have get them, unless the node has no room for that.
    private mutating func resize(_ progress: PodProgress) {
        let seen = progress.seen
        if let refusal = seen.refusedResize {
            // Room comes when other pods go, which nobody tells this one.
            if refusal.reason == "Deferred" { look(at: seen.now + .seconds(5)) }
            return
        }
        for container in progress.resizing {
            guard let run = container.latest else { continue }
            if container.mustRestartToResize {
                stop(run, by: seen.now + progress.pod.gracePeriod, .resized, seen)
            } else if isDue(.resize(id: run.id), seen) {
                actions.append(.resize(id: run.id, container: container.description.name))
            }
        }
    }

    /// Keeps the latest run and the one before, which `logs --previous` and `lastState` show.
    private mutating func forgetOldRuns(_ progress: PodProgress) {
        for container in progress.all {
            for run in container.runs.dropFirst(2)
            where run.state != .running && isDue(.stop(id: run.id), progress.seen) {
                actions.append(.forget(id: run.id))
            }
        }
    }

    // MARK: Ending

    /// The pod came to its end by itself, or ran too long: what still runs goes, sidecars last. Then its status says so.
    private mutating func finish(_ progress: PodProgress) {
        let seen = progress.seen
        let reason: StopReason = progress.isPastActiveDeadline ? .deadlineExceeded : .podEnded
        let others = progress.running.filter { $0.description.role != .sidecar }
        let next = others.isEmpty ? progress.running.suffix(1) : others[...]
        for container in next {
            guard let run = container.latest else { continue }
            stop(run, by: seen.now + progress.pod.gracePeriod, reason, seen)
        }
    }

    private mutating func end(_ progress: PodProgress, by deadline: Timestamp) {
        let seen = progress.seen
        let running = progress.running
        if running.isEmpty {
            if isDue(.removal, seen) { actions = [.remove] }
            return
        }
        let others = running.filter { $0.description.role != .sidecar }
        if seen.barrier != .passed, seen.now < deadline {
            if seen.barrier == .notAsked { actions = [.awaitBarrier] }
            look(at: deadline)
            return
        }
        if others.isEmpty {
            // A sidecar gets two seconds even when the grace period is used up, so that it can flush what it holds.
            guard let run = running.last?.latest else { return }
            stop(run, by: max(deadline, seen.now + .seconds(2)), .deleted, seen)
        } else {
            for container in others {
                guard let run = container.latest else { continue }
                stop(run, by: deadline, .deleted, seen)
            }
        }
    }

    /// A stop in progress is repeated only when its SIGKILL must come much earlier now.
    private mutating func stop(_ run: RunStatus, by deadline: Timestamp, _ why: StopReason, _ seen: PodObservation) {
        if let planned = seen.stops[run.id], planned <= deadline + .seconds(2) { return }
        guard isDue(.stop(id: run.id), seen) else { return }
        actions.append(.stop(id: run.id, by: deadline, why: why))
    }

    private mutating func isDue(_ attempted: PodObservation.Attempted, _ seen: PodObservation) -> Bool {
        guard let setback = seen.setbacks[attempted], setback.retryAt > seen.now else { return true }
        look(at: setback.retryAt)
        return false
    }

    private mutating func look(at time: Timestamp) { wakeAt = min(wakeAt ?? time, time) }
}

/// All containers of a pod, and what follows from them together.
struct PodProgress {
    let pod: PodDescription
    let seen: PodObservation
    let initContainers: [ContainerProgress]
    let containers: [ContainerProgress]
    let ephemeralContainers: [ContainerProgress]

    init(_ pod: PodDescription, _ seen: PodObservation) {
        self.pod = pod
        self.seen = seen
        initContainers = pod.initContainers.map { ContainerProgress($0, pod: pod, seen: seen) }
        containers = pod.containers.map { ContainerProgress($0, pod: pod, seen: seen) }
        ephemeralContainers = pod.ephemeralContainers.map { ContainerProgress($0, pod: pod, seen: seen) }
    }

    var all: [ContainerProgress] { initContainers + containers + ephemeralContainers }
    var running: [ContainerProgress] { all.filter(\.isRunning) }
    /// Those that run with other resources than the manifest asks for now.
    var resizing: [ContainerProgress] { all.filter { $0.isRunning && !$0.hasWantedResources } }

    /// A main container has started in this sandbox: initialisation is behind it, even if its records are gone.
    var hasBegun: Bool {
        seen.sandbox?.containers.contains { run in containers.contains { $0.description.name == run.name } } ?? false
    }

    var isInitialized: Bool {
        if hasBegun || pod.hasEnded { return true }
        return initContainers.allSatisfy { $0.description.role == .sidecar ? $0.isStarted : $0.exitCode == 0 }
    }

    /// An init container failed, and its policy allows no other try.
    var failedInit: ContainerProgress? {
        if hasBegun { return nil }
        return initContainers.first { $0.description.role == .initial && $0.exitCode != 0 && $0.isFinal }
    }

    var activeDeadline: Timestamp? {
        guard let seconds = pod.spec["activeDeadlineSeconds"]?.int,
            let start = pod.object.status["startTime"]?.string.flatMap({ Timestamp($0) })
        else { return nil }
        return start + .seconds(seconds)
    }

    var isPastActiveDeadline: Bool { activeDeadline.map { $0 <= seen.now } ?? false }

    /// Nothing more will run but what is being stopped.
    var isOver: Bool {
        if failedInit != nil || isPastActiveDeadline { return true }
        return !containers.isEmpty && containers.allSatisfy(\.isFinal)
    }
}
