import ContainerRuntime
import KubeTypes
import Wire

/// How far one container of a pod has come: the runtime's record, joined with what the API remembers.
struct ContainerProgress: Sendable {
    enum State: Sendable {
        case idle
        case running(RunStatus)
        case ended(RunStatus, code: Int)
    }

    let description: ContainerDescription
    let state: State
    /// Known runs, newest first.
    let runs: [RunStatus]
    /// The run is known from the API only: the machine or its supervisor went down with it.
    let isLost: Bool
    /// The last run of a sandbox before this one, of a container that has not run in this one yet.
    let remembered: RunStatus?
    let nextAttempt: Int
    let verdict: ProbeVerdict

    init(_ container: ContainerDescription, pod: PodDescription, seen: PodObservation) {
        description = container
        let known = (seen.sandbox?.containers ?? []).filter { $0.name == container.name }.sorted {
            $0.attempt > $1.attempt
        }
        let remembered = RememberedRun(container.name, in: pod)
        var isLost = false
        var runs = known
        if let latest = known.first {
            switch latest.state {
            case .running where seen.sandbox?.isRunning == true:
                state = .running(latest)
            case .running:
                var ended = latest
                ended.state = .exited(code: 137, signal: 0, outOfMemory: false)
                ended.finishedAt = latest.finishedAt ?? latest.startedAt
                runs[0] = ended
                isLost = true
                state = .ended(ended, code: 137)
            case .exited(let code, let signal, _):
                state = .ended(latest, code: signal == 0 ? code : 128 + signal)
            }
        } else if let remembered, container.role == .main || container.role == .ephemeral {
            isLost = !remembered.hasEnded
            runs = [remembered.run]
            state = .ended(remembered.run, code: remembered.code)
        } else {
            isLost = remembered.map { !$0.hasEnded } ?? false
            state = .idle
        }
        self.remembered = known.isEmpty ? remembered?.run : nil
        self.runs = runs
        self.isLost = isLost
        nextAttempt = (known.first?.attempt ?? remembered?.run.attempt ?? -1) + 1
        let isRunning = if case .running = state { true } else { false }
        var verdict = ProbeVerdict(
            isStarted: isRunning && container.startupProbe == nil, isReady: isRunning && container.readinessProbe == nil
        )
        if isRunning, let id = runs.first?.id {
            if let known = seen.verdicts[id] { verdict = known }
            if seen.hooked.contains(id) { verdict.isStarted = false }
            if !verdict.isStarted { verdict.isReady = false }
        }
        self.verdict = verdict
    }

    var latest: RunStatus? { runs.first }
    var isIdle: Bool { if case .idle = state { true } else { false } }
    var isRunning: Bool { if case .running = state { true } else { false } }
    var isStarted: Bool { isRunning && verdict.isStarted }
    var isReady: Bool { isStarted && verdict.isReady }
    var exitCode: Int? { if case .ended(_, let code) = state { code } else { nil } }
    /// Ended, and no run follows.
    var isFinal: Bool { exitCode.map { !description.restarts(after: $0) } ?? false }

    /// What the present run may use; `nil` when nobody noted it.
    var presentResources: ContainerResources? {
        latest?.annotations[ContainerResources.annotation].flatMap { ContainerResources(text: $0) }
    }
    var hasWantedResources: Bool {
        guard let text = latest?.annotations[ContainerResources.annotation] else { return true }
        let wanted = ContainerResources(description.json["resources"])
        return wanted.json.text == text || presentResources == wanted
    }
    /// `resizePolicy` of something that changes says so.
    var mustRestartToResize: Bool {
        guard let present = presentResources else { return false }
        let changed = ContainerResources(description.json["resources"]).changed(from: present)
        return (description.json["resizePolicy"]?.array ?? []).contains { policy in
            policy["restartPolicy"]?.string == "RestartContainer"
                && changed.contains(policy["resourceName"]?.string ?? "")
        }
    }

    /// When the next run may start after one that ended; `nil` if at once.
    var restartTime: Timestamp? {
        guard case .ended(let run, _) = state else { return nil }
        let finished = run.finishedAt ?? run.startedAt
        let lasted: Duration = .nanoseconds(finished - run.startedAt)
        let step = BackOff.effective(step: run.backOffStep, run: lasted)
        let delay = BackOff.delay(step: step)
        return delay > .zero ? Timestamp(unixNanoseconds: finished) + delay : nil
    }

    var nextStep: Int {
        guard case .ended(let run, _) = state else { return 0 }
        return BackOff.next(
            after: run.backOffStep, run: .nanoseconds((run.finishedAt ?? run.startedAt) - run.startedAt))
    }
}

extension RunStatus {
    var backOffStep: Int { annotations[BackOff.annotation].flatMap { Int($0) } ?? 0 }
}

/// The last run of a container as the pod's status in the API tells it.
private struct RememberedRun {
    let run: RunStatus
    let code: Int
    let hasEnded: Bool

    init?(_ container: String, in pod: PodDescription) {
        guard let status = pod.statuses.first(where: { $0["name"]?.string == container }),
            let id = status["containerID"]?.string, !id.isEmpty
        else { return nil }
        let attempt = status["restartCount"]?.int ?? 0
        let current = status[path: ["state", "terminated"]]
        // While it waits for its next start, the run that ended is the last state.
        let ended =
            current ?? (status[path: ["state", "waiting"]] == nil ? nil : status[path: ["lastState", "terminated"]])
        hasEnded = ended != nil
        code = ended?["exitCode"]?.int ?? 137
        let started = (ended ?? status[path: ["state", "running"]])?["startedAt"]?.string.flatMap { Timestamp($0) }
        let finished = ended?["finishedAt"]?.string.flatMap { Timestamp($0) }
        run = RunStatus(
            id: "\(container)-\(attempt)", name: container, attempt: attempt, image: status["image"]?.string ?? "",
            imageDigest: status["imageID"]?.string ?? "",
            state: .exited(code: code, signal: 0, outOfMemory: ended?["reason"]?.string == "OOMKilled"), pid: 0,
            startedAt: started?.unixNanoseconds ?? 0, finishedAt: (finished ?? started)?.unixNanoseconds ?? 0)
    }
}
