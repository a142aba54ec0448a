import KubeClient
import KubeTypes
import NIOHTTP1
import Wire

extension RequestHandler {
    /// Deletes a pod as its own node would wish, gracefully, if the budget it counts for can spare it.
    func evict(
        _ request: APIRequest, _ route: ResourceRoute, _ definition: ResourceDefinition, _ answers: Answers,
        _ context: WriteContext
    ) async throws(APIFailure) {
        let (body, _) = try request.tree(try await request.body())
        if let name = body["metadata"]?["name"]?.string, name != route.name {
            throw .badRequest("name in URL does not match name in Eviction object: \(route.name) is not \(name)")
        }
        let asked = body["deleteOptions"]
        var options = DeleteOptions()
        options.gracePeriodSeconds = asked?["gracePeriodSeconds"]?.int
        options.uid = asked?["preconditions"]?["uid"]?.string
        options.resourceVersion = asked?["preconditions"]?["resourceVersion"]?.string
        var context = context
        if asked?["dryRun"]?.array?.contains("All") == true { context.isDryRun = true }
        var eviction = KubeObject(body)
        eviction.json["apiVersion"] = body["apiVersion"] ?? "policy/v1"
        eviction.json["kind"] = "Eviction"
        _ = try await registry.admitPart(definition.type, "eviction", route.key, eviction, context)
        context.isAdmitted = true
        try await registry.spend(definition, route.key, options, context)
        _ = try await registry.delete(definition, route.key, options, context)
        await answers.sendStatus([:], .created)
    }
}

extension Registry {
    /// Takes one pod out of the budget it counts for, and says on the pod why it goes.
    ///
    /// The budget is written before the pod is deleted: of two evictions at once, the second finds it spent. Its controller gives
    /// back what was taken for a pod that is not deleted in the end.
    fileprivate func spend(
        _ definition: ResourceDefinition, _ key: ObjectKey, _ options: DeleteOptions, _ context: WriteContext
    ) async throws(APIFailure) {
        let pod = try get(definition, key)
        if let uid = options.uid, uid != pod.uid {
            throw .conflict(
                .pods, key.name, "Precondition failed: UID in precondition: \(uid), UID in object meta: \(pod.uid)")
        }
        guard EvictionVerdict.isCounted(pod) else { return }
        let type = try self.definition(of: .podDisruptionBudgets)
        let budgets = try list(type, namespace: key.namespace, .all).items.filter { EvictionVerdict.covers($0, pod) }
        guard budgets.count <= 1 else {
            throw .internalError(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.")
        }
        if let budget = budgets.first, case .within = try EvictionVerdict.of(pod, budget, now: .now()) {
            _ = try await change(type, budget.key, subresource: "status", context) { old throws(APIFailure) in
                guard case .within(let spent) = try EvictionVerdict.of(pod, old, now: .now()) else { return old }
                return spent
            }
        }
        if context.isDryRun || options.resourceVersion != nil { return }
        _ = try await change(definition, key, subresource: "status", context) { old throws(APIFailure) in
            guard old.uid == pod.uid else { return old }
            var marked = old
            marked.setCondition(
                "DisruptionTarget", status: "True", reason: "EvictionByEvictionAPI", message: "Eviction API: evicting")
            return marked
        }
    }
}

/// What a budget says of taking one pod away.
enum EvictionVerdict {
    /// The pod is not healthy, so that nothing is lost with it.
    case free
    /// The budget as it is when the pod is gone.
    case within(KubeObject)

    /// A budget that remembers more than this has a controller that does not follow.
    private static let mostDisrupted = 2000

    /// Pods that never ran, have ended or go anyway are in nobody's way.
    static func isCounted(_ pod: KubeObject) -> Bool {
        if pod.deletionTimestamp != nil { return false }
        return !["Succeeded", "Failed", "Pending"].contains(pod.status["phase"]?.string ?? "Pending")
    }

    static func covers(_ budget: KubeObject, _ pod: KubeObject) -> Bool {
        guard let json = budget.spec["selector"], let selector = try? LabelSelector(json) else { return false }
        return selector.matches(pod.labels)
    }

    /// - Throws: 429 with the cause `DisruptionBudget`, which `kubectl drain` waits on.
    static func of(_ pod: KubeObject, _ budget: KubeObject, now: Timestamp) throws(APIFailure) -> EvictionVerdict {
        let status = budget.status
        func number(_ field: String) -> Int { status[field]?.int ?? 0 }
        let isReady = (pod.status["conditions"]?.array ?? []).contains {
            $0["type"] == "Ready" && $0["status"] == "True"
        }
        if !isReady {
            let policy = budget.spec["unhealthyPodEvictionPolicy"]?.string ?? "IfHealthyBudget"
            if policy == "AlwaysAllow" { return .free }
            if number("currentHealthy") >= number("desiredHealthy"), number("desiredHealthy") > 0 { return .free }
        }
        guard number("observedGeneration") >= budget.generation else {
            throw refusal(
                "The disruption budget \(budget.name) is still being processed by the server.", retryAfter: 10)
        }
        let allowed = number("disruptionsAllowed")
        if allowed < 0 { throw forbidden(budget, "pdb disruptions allowed is negative") }
        var disrupted = status["disruptedPods"]?.stringMap ?? [:]
        if disrupted.count > mostDisrupted {
            throw forbidden(budget, "DisruptedPods map too big - too many evictions not confirmed by PDB controller")
        }
        if allowed == 0 {
            let failed = (status["conditions"]?.array ?? []).first {
                $0["type"] == "DisruptionAllowed" && $0["reason"] == "SyncFailed"
            }
            if let failed {
                throw refusal(
                    "The disruption budget \(budget.name) does not allow evicting pods currently because it failed sync: "
                        + (failed["message"]?.string ?? ""))
            }
            throw refusal(
                "The disruption budget \(budget.name) needs \(number("desiredHealthy")) healthy pods and has"
                    + " \(number("currentHealthy")) currently")
        }
        var spent = budget
        disrupted[pod.name] = now.description
        spent.json[path: ["status", "disruptedPods"]] = JSON(disrupted)
        spent.json[path: ["status", "disruptionsAllowed"]] = .int(Int64(allowed - 1))
        if allowed == 1 { spent.setCondition("DisruptionAllowed", status: "False", reason: "InsufficientPods") }
        return .within(spent)
    }

    private static func refusal(_ cause: String, retryAfter: Int? = nil) -> APIFailure {
        var details: JSON = ["causes": [["reason": "DisruptionBudget", "message": .string(cause)]]]
        if let retryAfter { details["retryAfterSeconds"] = .int(Int64(retryAfter)) }
        return APIFailure(
            code: 429, reason: "TooManyRequests",
            message: "Cannot evict pod as it would violate the pod's disruption budget.", details: details)
    }

    private static func forbidden(_ budget: KubeObject, _ why: String) -> APIFailure {
        APIFailure(
            code: 403, reason: "Forbidden",
            message: "poddisruptionbudgets.policy \"\(budget.name)\" is forbidden: \(why)",
            details: ["name": .string(budget.name), "group": "policy", "kind": "poddisruptionbudgets"])
    }
}
