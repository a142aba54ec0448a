import KubeClient
import KubeTypes
import Synchronization
import Wire

/// Changes the number of copies of workloads by what their pods use, as metrics.k8s.io tells it.
struct AutoscalingController: Controller {
    static let name = "horizontal-pod-autoscaler"
    private static let interval = Duration.seconds(15)
    /// The workloads it can change.
    private static let targets: [ResourceType] = [.deployments, .replicaSets, .replicationControllers, .statefulSets]

    private let plane: ControlPlane
    private let autoscalers: Informer
    private let pods: Informer
    private let events: EventRecorder
    private let memory = AutoscalerMemory()

    init(_ plane: ControlPlane) {
        self.plane = plane
        autoscalers = plane.informers.informer(.horizontalPodAutoscalers)
        pods = plane.informers.informer(.pods)
        events = plane.events("horizontal-pod-autoscaler")
    }

    var needs: [Informer] { [autoscalers, pods] }

    func feed(_ queue: WorkQueue<ObjectKey>) {
        autoscalers.onChange { change in
            // Its own status is no reason to look again.
            if case .changed(let old, let new) = change, old.spec == new.spec { return }
            queue.add(change.key)
        }
    }

    func reconcile(_ key: ObjectKey) async throws(APIFailure) -> NextLook {
        guard let autoscaler = autoscalers.cache[key], autoscaler.deletionTimestamp == nil else {
            memory.forget(key)
            return .onChange
        }
        var look = AutoscalerLook(autoscaler, now: plane.now())
        do throws(APIFailure) {
            try await decide(&look)
        } catch {
            look.tell("AbleToScale", "False", "FailedGetScale", error.message)
        }
        try await write(look)
        return .after(Self.interval)
    }

    private func decide(_ look: inout AutoscalerLook) async throws(APIFailure) {
        let reference = look.autoscaler.spec["scaleTargetRef"]
        let kind = reference?["kind"]?.string ?? ""
        let group =
            (reference?["apiVersion"]?.string ?? "").split(separator: "/").dropLast().first.map(String.init) ?? ""
        guard let type = Self.targets.first(where: { $0.kind == kind && $0.group == group }) else {
            throw .badRequest("the scale of \(reference?["apiVersion"]?.string ?? "") \(kind) is not followed here")
        }
        let key = ObjectKey(namespace: look.autoscaler.namespace, name: reference?["name"]?.string ?? "")
        let target = try await plane.api.get(type, key)
        look.tell(
            "AbleToScale", "True", "SucceededGetScale", "the HPA controller was able to get the target's current scale")
        let current = target.spec["replicas"]?.int ?? 1
        look.current = current
        look.desired = current
        if current == 0 {
            look.desired = 0
            return look.tell(
                "ScalingActive", "False", "ScalingDisabled",
                "scaling is disabled since the replica count of the target is zero")
        }
        if current > look.most {
            look.desired = look.most
            look.why = "Current number of replicas above Spec.MaxReplicas"
        } else if current < look.least {
            look.desired = look.least
            look.why = "Current number of replicas below Spec.MinReplicas"
        } else {
            guard try await measure(&look, target) else { return }
            pace(&look)
        }
        if look.desired != current { try await scale(type, target, &look) }
    }

    /// - Returns: whether the metrics said something.
    private func measure(_ look: inout AutoscalerLook, _ target: KubeObject) async throws(APIFailure) -> Bool {
        let selector = try workloadSelector(target)
        let covered = pods.cache.list(namespace: target.namespace, matching: selector)
        var measured: [KubeObject] = []
        var failure: String?
        do throws(APIFailure) {
            measured = try await plane.api.list(
                .podMetrics, namespace: target.namespace, Selection(labels: selector.description)
            ).items
        } catch {
            failure = "unable to fetch metrics from resource metrics API: \(error.message)"
        }
        var advice: Int?
        for metric in look.metrics {
            do throws(ScaleAdvice.Fault) {
                if let failure { throw .unknown(failure) }
                let wanted = try ScaleAdvice.Target(metric)
                let one = try ScaleAdvice(
                    wanted, replicas: look.current, pods: covered, usage: Self.usage(wanted, measured), now: look.now)
                look.found(metric, one.current)
                if one.replicas > advice ?? 0 {
                    advice = one.replicas
                    look.why =
                        one.replicas > look.current
                        ? "\(wanted.words) above target" : "All metrics below target"
                }
            } catch {
                guard case .unknown(let why) = error else { continue }
                look.missed(why)
            }
        }
        // A metric nobody knows must not make the number smaller.
        guard let advice, look.missing == nil || advice > look.current else {
            let why = look.missing ?? "no metrics are asked for"
            look.tell(
                "ScalingActive", "False", "FailedGetResourceMetric",
                "the HPA was unable to compute the replica count: \(why)")
            await events.record(.warning, about: look.autoscaler, reason: "FailedGetResourceMetric", message: why)
            return false
        }
        look.tell(
            "ScalingActive", "True", "ValidMetricFound",
            "the HPA was able to successfully calculate a replica count from \(look.metrics.count == 1 ? "the metric" : "the metrics")"
        )
        look.desired = advice
        return true
    }

    /// By pod name, in thousandths.
    private static func usage(_ target: ScaleAdvice.Target, _ measured: [KubeObject]) -> [String: Int64] {
        var usage: [String: Int64] = [:]
        for pod in measured {
            var sum: Int64?
            for container in pod.json["containers"]?.array ?? [] {
                if let only = target.container, container["name"]?.string != only { continue }
                guard let amount = container["usage"]?[target.resource].flatMap({ Quantity(json: $0) }) else {
                    continue
                }
                sum = (sum ?? 0) + amount.milli
            }
            usage[pod.name] = sum
        }
        return usage
    }

    /// From what the metrics say to what is done now.
    private func pace(_ look: inout AutoscalerLook) {
        let pace = ScalePace(look.autoscaler.spec["behavior"])
        let (key, now, advice) = (look.autoscaler.key, look.now, look.desired)
        let past = memory.note(advice, current: look.current, for: key, at: now)
        let steady = pace.stabilized(advice, current: look.current, recent: past.advices, now: now)
        if steady != advice {
            let isDown = advice < steady
            look.tell(
                "AbleToScale", "True", isDown ? "ScaleDownStabilized" : "ScaleUpStabilized",
                "recent recommendations were \(isDown ? "higher" : "lower") than current one, applying the "
                    + "\(isDown ? "highest" : "lowest") recent recommendation")
        } else {
            look.tell("AbleToScale", "True", "ReadyForNewScale", "recommended size matches current size")
        }
        let limited = pace.limited(steady, current: look.current, changes: past.changes, now: now)
        look.desired = min(max(limited, look.least), look.most)
        if look.desired < limited {
            look.tell(
                "ScalingLimited", "True", "TooManyReplicas",
                "the desired replica count is more than the maximum replica count")
        } else if look.desired > limited {
            look.tell(
                "ScalingLimited", "True", "TooFewReplicas",
                "the desired replica count is less than the minimum replica count")
        } else if limited != steady {
            let isUp = steady > limited
            look.tell(
                "ScalingLimited", "True", isUp ? "ScaleUpLimit" : "ScaleDownLimit",
                "the desired replica count is \(isUp ? "increasing" : "decreasing") faster than the maximum scale rate")
        } else {
            look.tell(
                "ScalingLimited", "False", "DesiredWithinRange", "the desired count is within the acceptable range")
        }
    }

    private func scale(_ type: ResourceType, _ target: KubeObject, _ look: inout AutoscalerLook)
        async throws(APIFailure)
    {
        var wanted = target
        wanted.json[path: ["spec", "replicas"]] = .int(Int64(look.desired))
        do throws(APIFailure) {
            _ = try await plane.api.update(type, wanted)
        } catch {
            look.tell(
                "AbleToScale", "False", "FailedUpdateScale",
                "the HPA controller was unable to update the target scale: \(error.message)")
            look.desired = look.current
            return
        }
        memory.changed(by: look.desired - look.current, for: look.autoscaler.key, at: look.now)
        look.hasScaled = true
        look.tell(
            "AbleToScale", "True", "SucceededRescale",
            "the HPA controller was able to update the target scale to \(look.desired)")
        await events.record(
            about: look.autoscaler, reason: "SuccessfulRescale",
            message: "New size: \(look.desired); reason: \(look.why)")
    }

    private func write(_ look: AutoscalerLook) async throws(APIFailure) {
        let status = look.status
        if status == look.autoscaler.status { return }
        var changed = look.autoscaler
        changed.status = status
        do throws(APIFailure) {
            _ = try await plane.api.updateStatus(.horizontalPodAutoscalers, changed)
        } catch {
            // Whoever changed it made us look again.
            guard error.isNotFound || error.isConflict else { throw error }
        }
    }
}

extension ScaleAdvice.Target {
    /// - Parameter metric: an element of `spec.metrics`.
    init(_ metric: JSON) throws(ScaleAdvice.Fault) {
        let type = metric["type"]?.string ?? ""
        guard type == "Resource" || type == "ContainerResource" else {
            throw .unknown("metrics of type \(type) need an API for custom or external metrics, and none is installed")
        }
        let source = metric[type == "Resource" ? "resource" : "containerResource"]
        self.init(
            resource: source?["name"]?.string ?? "", container: source?["container"]?.string,
            utilization: source?["target"]?["averageUtilization"]?.int,
            averageValue: source?["target"]?["averageValue"].flatMap { Quantity(json: $0) })
    }

    var words: String {
        utilization == nil ? "\(resource) resource" : "\(resource) resource utilization (percentage of request)"
    }
}

/// One look at an autoscaler, on its way to the status.
private struct AutoscalerLook {
    let autoscaler: KubeObject
    let now: Timestamp
    var current: Int
    var desired: Int
    var why = ""
    var hasScaled = false
    private(set) var missing: String?
    private var conditions: Conditions
    private var currentMetrics: [JSON] = []

    init(_ autoscaler: KubeObject, now: Timestamp) {
        self.autoscaler = autoscaler
        self.now = now
        current = autoscaler.status["currentReplicas"]?.int ?? 0
        desired = autoscaler.status["desiredReplicas"]?.int ?? 0
        conditions = Conditions(autoscaler.status["conditions"]?.array ?? [])
    }

    var least: Int { autoscaler.spec["minReplicas"]?.int ?? 1 }
    var most: Int { max(1, autoscaler.spec["maxReplicas"]?.int ?? 1) }

    /// Without any, 80 % of the processor time asked for.
    var metrics: [JSON] {
        let asked = autoscaler.spec["metrics"]?.array ?? []
        if !asked.isEmpty { return asked }
        return [
            [
                "type": "Resource",
                "resource": ["name": "cpu", "target": ["type": "Utilization", "averageUtilization": 80]],
            ]
        ]
    }

    mutating func tell(_ type: String, _ status: String, _ reason: String, _ message: String) {
        conditions.set(type, status, reason: reason, message: message, now: now)
    }

    mutating func found(_ metric: JSON, _ value: JSON) {
        let type = metric["type"]?.string ?? ""
        let field = type == "ContainerResource" ? "containerResource" : "resource"
        var source: JSON = ["name": metric[field]?["name"] ?? "", "current": value]
        source["container"] = metric[field]?["container"]
        var entry: JSON = ["type": .string(type)]
        entry[field] = source
        currentMetrics.append(entry)
    }

    mutating func missed(_ why: String) { missing = missing ?? why }

    var status: JSON {
        var status = autoscaler.status
        status["observedGeneration"] = autoscaler.generation > 0 ? .int(Int64(autoscaler.generation)) : nil
        status["currentReplicas"] = .int(Int64(current))
        status["desiredReplicas"] = .int(Int64(desired))
        if !currentMetrics.isEmpty { status["currentMetrics"] = .array(currentMetrics) }
        if hasScaled { status["lastScaleTime"] = now.json }
        status["conditions"] = .array(conditions.list)
        return status
    }
}

/// What was advised and done lately, by autoscaler. A new process begins without: it is as careful as with the first look.
private final class AutoscalerMemory: Sendable {
    struct Past {
        var advices: [(at: Timestamp, replicas: Int)] = []
        var changes: [ScalePace.Change] = []
    }
    /// The longest window and period the API takes.
    private static let longest: Duration = .seconds(3600)
    private let pasts = Mutex<[ObjectKey: Past]>([:])

    /// The first look counts the present number as an advice: it holds for the window, as after any other.
    func note(_ advice: Int, current: Int, for key: ObjectKey, at now: Timestamp) -> Past {
        pasts.withLock { pasts in
            var past = pasts[key] ?? Past(advices: [(now, current)])
            past.advices.append((now, advice))
            past.advices.removeAll { $0.at + Self.longest < now }
            past.changes.removeAll { $0.at + Self.longest < now }
            pasts[key] = past
            return past
        }
    }

    func changed(by count: Int, for key: ObjectKey, at now: Timestamp) {
        pasts.withLock { $0[key, default: Past()].changes.append(ScalePace.Change(at: now, by: count)) }
    }

    func forget(_ key: ObjectKey) { pasts.withLock { $0[key] = nil } }
}
