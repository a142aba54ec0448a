import ContainerRuntime
import KubeTypes
package import Wire

/// The pod's status object, from the same facts the plan is made of.
package enum PodStatusPlan {
    /// - Returns: the whole status; what others wrote into it (conditions of other controllers) is kept.
    package static func status(_ pod: PodDescription, _ seen: PodObservation) -> JSON {
        if pod.hasEnded { return pod.object.status }
        let progress = PodProgress(pod, seen)
        let old = pod.object.status
        var status = old
        let verdict = phase(progress)
        status["observedGeneration"] = pod.object.generation > 0 ? .int(Int64(pod.object.generation)) : nil
        status["phase"] = .string(verdict.phase)
        status["reason"] = verdict.reason.map(JSON.string)
        status["message"] = verdict.message.map(JSON.string)
        if old["startTime"]?.string == nil { status["startTime"] = .string(seen.now.description) }
        if status["qosClass"] == nil { status["qosClass"] = .string(QualityOfService(pod.spec).rawValue) }
        if !seen.nodeAddress.isEmpty {
            status["hostIP"] = .string(seen.nodeAddress)
            status["hostIPs"] = [["ip": .string(seen.nodeAddress)]]
        }
        if let address = seen.address {
            status["podIP"] = .string(address)
            status["podIPs"] = [["ip": .string(address)]]
        }
        if !progress.initContainers.isEmpty {
            status["initContainerStatuses"] = .array(
                progress.initContainers.map { containerStatus($0, progress, verdict) })
        }
        status["containerStatuses"] = .array(progress.containers.map { containerStatus($0, progress, verdict) })
        if !progress.ephemeralContainers.isEmpty {
            status["ephemeralContainerStatuses"] = .array(
                progress.ephemeralContainers.map { containerStatus($0, progress, verdict) })
        }
        status["conditions"] = .array(PodConditions(progress, phase: verdict.phase).all)
        return status
    }

    struct PhaseVerdict {
        var phase: String
        var reason: String?
        var message: String?
    }

    static func phase(_ progress: PodProgress) -> PhaseVerdict {
        let isQuiet = progress.running.isEmpty
        if progress.isPastActiveDeadline {
            let seconds = progress.pod.spec["activeDeadlineSeconds"]?.int ?? 0
            return PhaseVerdict(
                phase: isQuiet ? "Failed" : "Running", reason: "DeadlineExceeded",
                message: "the pod was active longer than its activeDeadlineSeconds, \(seconds)")
        }
        if progress.failedInit != nil { return PhaseVerdict(phase: isQuiet ? "Failed" : "Pending") }
        let isOver = progress.isOver || (progress.seen.deadline != nil && progress.hasBegun)
        if isOver, isQuiet {
            let allWell = progress.containers.allSatisfy { $0.exitCode == 0 }
            return PhaseVerdict(phase: allWell ? "Succeeded" : "Failed")
        }
        let isPending = !progress.isInitialized || progress.containers.contains { $0.latest == nil }
        return PhaseVerdict(phase: isPending ? "Pending" : "Running")
    }

    // MARK: One container

    private static func containerStatus(
        _ container: ContainerProgress, _ progress: PodProgress, _ verdict: PhaseVerdict
    ) -> JSON {
        let seen = progress.seen
        let shown = state(container, progress, verdict)
        var json: JSON = ["name": .string(container.description.name), "state": shown.state, "lastState": [:]]
        if let last = shown.last {
            json["lastState"] = ["terminated": terminated(last, seen, progress)]
        } else if let earlier = endBefore(container, progress.pod) {
            json["lastState"] = ["terminated": earlier]
        }
        let isDoneInit = container.description.role == .initial && container.exitCode == 0
        json["ready"] = .bool(isDoneInit || container.isReady && container.description.role != .ephemeral)
        json["restartCount"] = .int(Int64(container.latest?.attempt ?? max(0, container.nextAttempt - 1)))
        let image = container.latest?.image ?? ""
        json["image"] = .string(image.isEmpty ? container.description.image : image)
        json["imageID"] = .string(container.latest?.imageDigest ?? "")
        // An ID tells that there was a run, so that runs are counted on from it in the next sandbox.
        if let run = container.latest ?? container.remembered {
            json["containerID"] = .string(containerID(run, progress.pod))
        }
        tellResources(of: container, progress, in: &json)
        json["started"] = .bool(container.isStarted)
        return json
    }

    /// What it was promised, and what it has.
    private static func tellResources(
        of container: ContainerProgress, _ progress: PodProgress, in json: inout JSON
    ) {
        guard let present = container.presentResources else { return }
        let wanted = ContainerResources(container.description.json["resources"])
        let promised = container.isRunning && progress.seen.refusedResize != nil ? present : wanted
        json["allocatedResources"] = promised.json["requests"]
        json["resources"] = present.isEmpty ? nil : present.json
    }

    /// How the run before ended, when only the API still knows: it was in a sandbox that is gone.
    private static func endBefore(_ container: ContainerProgress, _ pod: PodDescription) -> JSON? {
        guard let run = container.latest ?? container.remembered, run.attempt > 0 else { return nil }
        let known = pod.statuses.first { $0["name"]?.string == container.description.name }
        let isSameRun = known?["containerID"]?.string == containerID(run, pod)
        let ended = isSameRun ? nil : known?[path: ["state", "terminated"]]
        return ended ?? known?[path: ["lastState", "terminated"]]
    }

    private static func state(
        _ container: ContainerProgress, _ progress: PodProgress, _ verdict: PhaseVerdict
    ) -> (state: JSON, last: RunStatus?) {
        let seen = progress.seen
        let older = container.runs.dropFirst().first
        switch container.state {
        case .running(let run):
            return (["running": ["startedAt": .string(Timestamp(unixNanoseconds: run.startedAt).description)]], older)
        case .ended(let run, _):
            let runsAgain =
                !container.isFinal && !progress.isOver && seen.deadline == nil && !isDoneInit(container, progress)
            guard runsAgain else { return (["terminated": terminated(run, seen, progress)], older) }
            if let setback = seen.setbacks[.start(container: container.description.name)] {
                return (waiting(setback.reason, setback.message), run)
            }
            if let time = container.restartTime, time > seen.now {
                let delay = BackOff.delay(step: run.backOffStep).components.seconds
                let message =
                    "back-off \(delay)s restarting failed container=\(container.description.name) pod=\(progress.pod.label)"
                return (waiting("CrashLoopBackOff", message), run)
            }
            return (["terminated": terminated(run, seen, progress)], older)
        case .idle:
            if let setback = seen.setbacks[.start(container: container.description.name)] {
                return (waiting(setback.reason, setback.message), container.remembered)
            }
            let waitsForInit = !progress.isInitialized && container.description.role == .main
            let isLater = [.initial, .sidecar].contains(container.description.role) && !isNext(container, progress)
            let reason =
                waitsForInit && !progress.initContainers.isEmpty || isLater ? "PodInitializing" : "ContainerCreating"
            return (waiting(reason, seen.setbacks[.preparation]?.message), container.remembered)
        }
    }

    private static func isDoneInit(_ container: ContainerProgress, _ progress: PodProgress) -> Bool {
        container.description.role == .initial && (container.exitCode == 0 || progress.hasBegun)
    }

    /// Whether this init container is the first that has not done its part.
    private static func isNext(_ container: ContainerProgress, _ progress: PodProgress) -> Bool {
        let open = progress.initContainers.first { $0.description.role == .sidecar ? !$0.isStarted : $0.exitCode != 0 }
        return open?.description.name == container.description.name
    }

    private static func waiting(_ reason: String, _ message: String?) -> JSON {
        var inner: JSON = ["reason": .string(reason)]
        inner["message"] = message.map(JSON.string)
        return ["waiting": inner]
    }

    private static func terminated(_ run: RunStatus, _ seen: PodObservation, _ progress: PodProgress) -> JSON {
        guard case .exited(let code, let signal, let outOfMemory) = run.state else { return [:] }
        let exitCode = signal == 0 ? code : 128 + signal
        let isLost = progress.all.contains { $0.isLost && ($0.latest ?? $0.remembered)?.id == run.id }
        var json: JSON = ["exitCode": .int(Int64(exitCode))]
        if signal != 0 { json["signal"] = .int(Int64(signal)) }
        json["reason"] = .string(
            isLost ? "ContainerStatusUnknown" : outOfMemory ? "OOMKilled" : exitCode == 0 ? "Completed" : "Error")
        var message = seen.messages[run.id].flatMap { $0.isEmpty ? nil : $0 }
        if isLost { message = "the container could not be found any more: its supervisor or the machine went down" }
        json["message"] = message.map(JSON.string)
        if run.startedAt > 0 { json["startedAt"] = .string(Timestamp(unixNanoseconds: run.startedAt).description) }
        if let finished = run.finishedAt, finished > 0 {
            json["finishedAt"] = .string(Timestamp(unixNanoseconds: finished).description)
        }
        json["containerID"] = .string(containerID(run, progress.pod))
        return json
    }

    static func containerID(_ run: RunStatus, _ pod: PodDescription) -> String { "weft://\(pod.uid)/\(run.id)" }
}
