import KubeClient
import KubeTypes
import Wire

/// Changes the number of copies of workloads by what their pods use, as metrics.k8s.io tells it. Of a workload it knows the Scale
/// only, so that any kind will do that has one.
struct AutoscalingController: Controller {
    static let name = "horizontal-pod-autoscaler"
    private static let interval = Duration.seconds(15)

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
            let target = try await target(of: autoscaler)
            look.tell(
                "AbleToScale", "True", "SucceededGetScale",
                "the HPA controller was able to get the target's current scale")
            await decide(&look, target)
        } catch {
            look.tell(
                "AbleToScale", "False", "FailedGetScale",
                "the HPA controller was unable to get the target's current scale: \(error.message)")
            await warn(look, "FailedGetScale", error.message)
        }
        try await write(look)
        return .after(Self.interval)
    }

    private struct Target {
        let type: ResourceType
        let scale: KubeObject
    }

    private func target(of autoscaler: KubeObject) async throws(APIFailure) -> Target {
        let reference = autoscaler.spec["scaleTargetRef"]
        let apiVersion = reference?["apiVersion"]?.string ?? ""
        if apiVersion.count(where: { $0 == "/" }) > 1 {
            throw .badRequest("unexpected GroupVersion string: \(apiVersion)")
        }
        let type = try await plane.api.served(reference?["kind"]?.string ?? "", apiVersion: apiVersion)
        let key = ObjectKey(
            namespace: type.isNamespaced ? autoscaler.namespace : "", name: reference?["name"]?.string ?? "")
        return Target(type: type, scale: try await plane.api.get(type, key, subresource: "scale"))
    }

    private func decide(_ look: inout AutoscalerLook, _ target: Target) async {
        let current = target.scale.spec["replicas"]?.int ?? 0
        look.current = current
        look.desired = current
        if current == 0, look.least != 0 {
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
            guard let covered = await selected(&look, target), await measure(&look, covered) else {
                look.desired = look.desiredBefore
                return
            }
            pace(&look)
        }
        if look.desired != current { await scale(target, &look) }
    }

    /// The pods behind a Scale, and how it chooses them.
    private struct Covered {
        let pods: [KubeObject]
        let selector: LabelSelector
    }

    /// - Returns: `nil` when the Scale does not say which pods, or another autoscaler works on them too.
    private func selected(_ look: inout AutoscalerLook, _ target: Target) async -> Covered? {
        let key = look.autoscaler.key
        let text = target.scale.status["selector"]?.string ?? ""
        if text.isEmpty {
            let message = "the HPA target's scale is missing a selector"
            look.tell("ScalingActive", "False", "InvalidSelector", message)
            await warn(look, "SelectorRequired", "selector is required")
            return nil
        }
        let selector: LabelSelector
        do throws(SelectorFault) { selector = try LabelSelector(parsing: text) } catch {
            let why = "couldn't convert selector into a corresponding internal selector object: \(error.message)"
            look.tell("ScalingActive", "False", "InvalidSelector", why)
            await warn(look, "InvalidSelector", why)
            return nil
        }
        let covered = Covered(pods: pods.cache.list(namespace: key.namespace, matching: selector), selector: selector)
        let others = memory.note(selector, of: covered.pods, for: key)
        if others.isEmpty { return covered }
        let all = (others + [key]).sorted().map(\.description).joined(separator: " ")
        let why = "pods by selector \(text) are controlled by multiple HPAs: [\(all)]"
        look.tell("ScalingActive", "False", "AmbiguousSelector", why)
        await warn(look, "AmbiguousSelector", why)
        return nil
    }

    private func warn(_ look: AutoscalerLook, _ reason: String, _ message: String) async {
        await events.record(.warning, about: look.autoscaler, reason: reason, message: message)
    }

    /// - Returns: whether the metrics said something.
    private func measure(_ look: inout AutoscalerLook, _ covered: Covered) async -> Bool {
        var measured: [KubeObject] = []
        var failure: String?
        do throws(APIFailure) {
            measured = try await plane.api.list(
                .podMetrics, namespace: look.autoscaler.namespace, Selection(labels: covered.selector.description)
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
                    wanted, replicas: look.current, pods: covered.pods, usage: Self.usage(wanted, measured),
                    now: look.now)
                look.found(metric, one.current)
                if one.replicas > advice ?? -1 {
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
            await warn(look, "FailedGetResourceMetric", why)
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
                sum = min((sum ?? 0) + amount.boundedMilli, Quantity.most)
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

    private func scale(_ target: Target, _ look: inout AutoscalerLook) async {
        var wanted = target.scale
        wanted.json[path: ["spec", "replicas"]] = .int(Int64(look.desired))
        do throws(APIFailure) {
            _ = try await plane.api.update(target.type, wanted, subresource: "scale")
        } catch {
            look.tell(
                "AbleToScale", "False", "FailedUpdateScale",
                "the HPA controller was unable to update the target scale: \(error.message)")
            let size = "New size: \(look.desired); reason: \(look.why)"
            await warn(look, "FailedRescale", "\(size); error: \(error.message)")
            look.desired = look.desiredBefore
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
            do throws(APIFailure) {
                _ = try await plane.api.updateStatus(.horizontalPodAutoscalers, changed)
            } catch {
                // What was done is told, though the cache was behind.
                guard error.isConflict, look.hasScaled else { throw error }
                changed = try await plane.api.get(.horizontalPodAutoscalers, changed.key)
                guard changed.uid == look.autoscaler.uid else { return }
                changed.status = status
                _ = try await plane.api.updateStatus(.horizontalPodAutoscalers, changed)
            }
        } catch {
            // Whoever changed it made us look again.
            guard error.isNotFound || error.isConflict else { throw error }
        }
    }
}
