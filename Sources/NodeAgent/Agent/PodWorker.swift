import ContainerRuntime
import Kernel
import KubeClient
import KubeTypes
import Logging
import ServiceNetwork
import Wire

/// Brings one pod to what its manifest says, step by step, one step at a time: look, tell, plan, act.
///
/// Whatever happens (the API, the runtime, a probe, a timer) only rings the bell; each step looks at everything anew.
actor PodWorker {
    let node: NodeServices
    let places: PodPlaces
    var pod: PodDescription
    var attachment: PodAttachment?
    var setbacks: [PodObservation.Attempted: Setback] = [:]
    private var forgottenDeadline: Timestamp?
    private var barrier = PodObservation.Barrier.notAsked
    var runs: [String: WatchedRun] = [:]
    var stops: [String: Timestamp] = [:]
    var messages: [String: String] = [:]
    private var lastReported: JSON?
    private var reportRetry: Setback?
    private var isMeshOpen = false
    private var meshRetry: Setback?
    private var hasToldLimits = false
    private var toldBackOffs: Set<String> = []
    private var nextRefresh: Timestamp?
    private var isRemoved = false
    private var timer: Task<Void, Never>?
    private var errands: [Int: Task<Void, Never>] = [:]
    private var lastErrand = 0
    private let bell: AsyncStream<Void>
    private nonisolated let rope: AsyncStream<Void>.Continuation

    init(_ object: KubeObject, node: NodeServices, attachment: PodAttachment?) {
        pod = PodDescription(object)
        self.node = node
        self.attachment = attachment
        places = node.configuration.places(of: object.uid)
        (bell, rope) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    // MARK: What others say

    nonisolated func ring() { rope.yield() }

    func update(_ object: KubeObject) {
        guard object.uid == pod.uid, isNewer(object) else { return }
        if object.labels != pod.object.labels || object.annotations != pod.object.annotations {
            nextRefresh = node.now()
        }
        pod = PodDescription(object)
        ring()
    }

    /// The API no longer has the pod, though nobody here said it was gone: end it now.
    func forget() {
        if forgottenDeadline == nil { forgottenDeadline = node.now() + .seconds(2) }
        ring()
    }

    private func isNewer(_ object: KubeObject) -> Bool {
        guard let old = Int(pod.object.resourceVersion), let new = Int(object.resourceVersion) else { return true }
        return new >= old
    }

    // MARK: The loop

    /// Runs until the pod is removed or the task is cancelled, which leaves everything as it is.
    func run() async {
        ring()
        for await _ in bell {
            while !isRemoved, !Task.isCancelled, await step() {}
            if isRemoved || Task.isCancelled { break }
        }
        timer?.cancel()
        for run in runs.values { run.tasks.values.forEach { $0.cancel() } }
        errands.values.forEach { $0.cancel() }
    }

    /// - Returns: whether something was done, so that another look is due at once.
    private func step() async -> Bool {
        let seen: PodObservation
        do throws(RuntimeFailure) { seen = try await observe() } catch {
            node.logger.error("pod \(pod.label): the runtime does not answer: \(error)")
            wake(at: node.now() + .seconds(1))
            return false
        }
        await openMesh(seen)
        await report(seen)
        var now = seen
        now.now = node.now()
        let plan = PodPlan(pod, now)
        for action in plan.actions {
            await perform(action, now)
            if Task.isCancelled { return false }
        }
        if plan.actions.isEmpty {
            tellBackOffs(now)
            await refreshVolumes(now)
        }
        // Even if nothing is heard: what nobody told is found here.
        let again = now.now + .seconds(60)
        let times = [plan.wakeAt, nextRefresh, reportRetry?.retryAt, meshRetry?.retryAt].compactMap(\.self)
        wake(at: min(again, times.min() ?? again))
        return !plan.actions.isEmpty
    }

    private func observe() async throws(RuntimeFailure) -> PodObservation {
        var seen = PodObservation(now: node.now())
        seen.sandbox = try await node.runtime.sandbox(podUID: pod.uid)
        seen.nodeAddress = node.configuration.nodeAddress
        seen.address = pod.usesHostNetwork && seen.sandbox != nil ? node.configuration.nodeAddress : attachment?.address
        seen.deadline = [pod.deletionDeadline, forgottenDeadline].compactMap(\.self).min()
        seen.barrier = barrier
        follow(seen.sandbox)
        for (id, run) in runs {
            if run.isHooked { seen.hooked.insert(id) }
            var verdict = run.probes.verdict
            if let failure = run.hookFailure { verdict.mustRestart = failure }
            seen.verdicts[id] = verdict
        }
        seen.stops = stops
        seen.setbacks = setbacks
        seen.messages = messages
        seen.refusedResize = resizeRefusal(seen)
        return seen
    }

    private func wake(at time: Timestamp) {
        timer?.cancel()
        let pause = max(.milliseconds(5), time - node.now())
        timer = Task { [rope] in
            do { try await Task.sleep(for: pause) } catch { return }
            rope.yield()
        }
    }

    // MARK: Telling

    /// Writes the pod's status when it changed.
    private func report(_ seen: PodObservation) async {
        guard forgottenDeadline == nil else {
            reportRetry = nil
            return
        }
        let status = PodStatusPlan.status(pod, seen)
        // What the server did not take, it will not take the second time.
        let isRefused = status == lastReported && status["phase"] == pod.object.status["phase"]
        if status == pod.object.status || isRefused {
            reportRetry = nil
            return
        }
        if let retry = reportRetry, retry.retryAt > seen.now { return }
        var object = pod.object
        object.status = status
        do throws(APIFailure) {
            let written = try await node.api.updateStatus(.pods, object)
            reportRetry = nil
            lastReported = status
            adopt(written)
        } catch {
            if error.isConflict, await reload() { return ring() }
            if error.isNotFound { return forget() }
            reportRetry = Setback(reason: "StatusNotWritten", message: error.message, after: reportRetry, now: seen.now)
            node.logger.warning("pod \(pod.label): cannot write the status: \(error)")
        }
    }

    private func adopt(_ object: KubeObject) {
        if isNewer(object) { pod = PodDescription(object) }
    }

    /// - Returns: whether the pod is still there and was read anew.
    private func reload() async -> Bool {
        do throws(APIFailure) {
            let fresh = try await node.api.get(.pods, pod.object.key)
            guard fresh.uid == pod.uid else {
                forget()
                return true
            }
            pod = PodDescription(fresh)
            return true
        } catch {
            return false
        }
    }

    // MARK: Acting

    private func perform(_ action: PodAction, _ seen: PodObservation) async {
        switch action {
        case .prepare: await prepare()
        case .clearSandbox: await clearSandbox()
        case .start(let name, let attempt, let step): await start(name, attempt: attempt, backOffStep: step)
        case .stop(let id, let deadline, let why): stop(id, by: deadline, why)
        case .resize(let id, let name): await resize(id, name)
        case .forget(let id): await dropRun(id)
        case .awaitBarrier: awaitBarrier(until: seen.deadline ?? seen.now)
        case .release: await release()
        case .remove: await remove()
        }
    }

    private func dropRun(_ id: String) async {
        do throws(RuntimeFailure) { try await node.runtime.removeContainer(podUID: pod.uid, id: id) } catch {
            setback(.stop(id: id), "FailedRemove", error.message)
        }
    }

    private func clearSandbox() async {
        node.events.tell(
            .normal, pod.object, "SandboxChanged", "the pod's supervisor is gone; the pod is started again")
        do throws(RuntimeFailure) {
            try await node.runtime.removeSandbox(podUID: pod.uid)
            setbacks[.preparation] = Setback(
                reason: "SandboxChanged", message: "the pod's supervisor is gone", after: nil, now: node.now())
        } catch {
            setback(.preparation, "FailedKillPod", error.message)
        }
    }

    func setback(
        _ attempted: PodObservation.Attempted, _ reason: String, _ message: String, longest: Duration = .seconds(30)
    ) {
        setbacks[attempted] = Setback(
            reason: reason, message: message, after: setbacks[attempted], now: node.now(), longest: longest)
    }

    /// Work that takes its time, beside the loop. It ends by ringing.
    func errand(_ body: @escaping @Sendable () async -> Void) {
        lastErrand += 1
        let number = lastErrand
        errands[number] = Task {
            await body()
            self.endErrand(number)
        }
    }

    private func endErrand(_ number: Int) {
        errands[number] = nil
        ring()
    }

    private func awaitBarrier(until deadline: Timestamp) {
        // A pod the API has forgotten has no endpoints to wait for.
        guard let open = node.barrier, forgottenDeadline == nil else {
            barrier = .passed
            return
        }
        barrier = .waiting
        let now = node.now()
        // Half of the grace period at most, since the program needs its share; and not long, if nobody withdraws endpoints.
        let limit = now + min((deadline - now) / 2, .seconds(20))
        let object = pod.object
        errand {
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await open(object, limit) }
                group.addTask { try? await Task.sleep(for: max(.zero, limit - now)) }
                await group.next()
                group.cancelAll()
            }
            await self.passBarrier()
        }
    }

    private func passBarrier() { barrier = .passed }

    /// Gives back what a pod that has ended does not need: its sandbox, its address, its socket.
    private func release() async {
        do {
            try await node.runtime.removeSandbox(podUID: pod.uid)
            if attachment != nil { try await node.network.detach(podUID: pod.uid) }
            attachment = nil
            if PodVolumes.wantsMesh(pod.object) { await node.mesh?.close(podUID: pod.uid) }
            setbacks[.removal] = nil
        } catch {
            setback(.removal, "FailedKillPod", "\(error)")
            node.events.tell(.warning, pod.object, "FailedKillPod", "\(error)")
        }
    }

    /// Removes all of the pod from the node, then from the API.
    private func remove() async {
        await release()
        guard setbacks[.removal] == nil else { return }
        if let failure = await removeFiles() {
            node.events.tell(.warning, pod.object, "FailedUnMount", "\(failure)")
            return setback(.removal, "FailedUnMount", "\(failure)")
        }
        do throws(APIFailure) {
            if forgottenDeadline == nil {
                try await node.api.delete(.pods, pod.object.key, DeleteOptions(gracePeriodSeconds: 0, uid: pod.uid))
            }
            isRemoved = true
        } catch {
            // Gone, or another pod of the same name: ours is no more.
            if error.isNotFound || error.isConflict {
                isRemoved = true
            } else {
                setback(.removal, "FailedDelete", error.message)
            }
        }
    }

    private func removeFiles() async -> SystemCallFailed? {
        let places = places
        let logs = node.configuration.logDirectory(namespace: pod.namespace, name: pod.name, uid: pod.uid)
        return await onThread {
            do throws(SystemCallFailed) {
                for name in FileTree.names(in: "\(places.state)/volumes") {
                    try MemoryVolume.unmount(places.volume(name))
                }
                try FileTree.remove(places.run)
                try FileTree.remove(logs)
                // Last, since its record says that the pod was ours.
                try FileTree.remove(places.state)
                return nil
            } catch {
                return error
            }
        }
    }

    // MARK: Upkeep

    /// The mesh forgets its sockets with its process: after a restart they are opened again.
    private func openMesh(_ seen: PodObservation) async {
        guard !isMeshOpen, seen.sandbox != nil, !pod.hasEnded, forgottenDeadline == nil,
            PodVolumes.wantsMesh(pod.object)
        else {
            meshRetry = nil
            return
        }
        if let retry = meshRetry, retry.retryAt > seen.now { return }
        if let failure = await openMeshSocket() {
            node.logger.warning("pod \(pod.label): cannot open its mesh socket: \(failure)")
            meshRetry = Setback(reason: "MeshSocket", message: failure, after: meshRetry, now: node.now())
        } else {
            meshRetry = nil
        }
    }

    /// - Returns: what went wrong.
    func openMeshSocket() async -> String? {
        guard let mesh = node.mesh else {
            return "volume of the driver \(PodVolumes.meshDriver): no mesh control runs beside this node's agent"
        }
        do {
            try SmallFile.makeDirectories(places.mesh)
            try await mesh.open(pod: pod.object, directory: places.mesh)
            isMeshOpen = true
            return nil
        } catch {
            return "\(error)"
        }
    }

    private func refreshVolumes(_ seen: PodObservation) async {
        guard seen.sandbox?.isRunning == true, seen.deadline == nil, !pod.hasEnded else {
            nextRefresh = nil
            return
        }
        let volumes = volumes
        guard volumes.changesWithTime else {
            nextRefresh = nil
            return
        }
        if let due = nextRefresh, due <= seen.now {
            do throws(ContainerConfigFault) { try await volumes.refresh() } catch {
                node.events.tell(.warning, pod.object, "FailedMount", error.message)
            }
            nextRefresh = nil
        }
        if nextRefresh == nil { nextRefresh = seen.now + node.configuration.volumeRefresh }
    }

    /// Tells once for each run that its successor has to wait.
    private func tellBackOffs(_ seen: PodObservation) {
        guard seen.deadline == nil, !pod.hasEnded else { return }
        for container in PodProgress(pod, seen).all where !container.isFinal {
            guard let run = container.latest, let time = container.restartTime, time > seen.now,
                toldBackOffs.insert(run.id).inserted
            else { continue }
            let name = container.description.name
            let message = "Back-off restarting failed container \(name) in pod \(pod.label)"
            node.events.tell(.warning, pod.object, "BackOff", message, container: container.description)
        }
    }

    /// Tells once what the manifest asks for in vain.
    func tellLimits() {
        if hasToldLimits { return }
        hasToldLimits = true
        var ignored = UnsupportedFields.found(in: pod.spec)
        if node.tokens == nil, volumes.wantsToken { ignored.append("volumes.projected.sources.serviceAccountToken") }
        if ignored.isEmpty { return }
        let message = "this node does not support, and ignores: \(ignored.joined(separator: ", "))"
        node.events.tell(.warning, pod.object, "UnsupportedFields", message)
    }

    var fields: PodFields {
        PodFields(
            pod.object, address: attachment?.address ?? node.configuration.nodeAddress,
            nodeAddress: node.configuration.nodeAddress,
            machine: node.machine)
    }

    var volumes: PodVolumes {
        PodVolumes(
            pod.object, places: places, fields: fields, data: ConfigData(node.api, namespace: pod.namespace),
            tokens: node.tokens)
    }
}
