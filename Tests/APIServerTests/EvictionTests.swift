import APIServer
import KubeClient
import KubeTypes
import Testing
import Wire

@Suite("Evictions and the budgets that hold them back")
struct EvictionTests {
    private func runningPod(_ api: InProcessAPI, _ name: String, isReady: Bool = true) async throws -> KubeObject {
        let made = try await api.create(.pods, pod(name))
        try await api.bind(made.key, uid: made.uid, node: "node-1")
        var running = try await api.get(.pods, made.key)
        running.status = [
            "phase": "Running", "conditions": [["type": "Ready", "status": isReady ? "True" : "False"]],
        ]
        return try await api.updateStatus(.pods, running)
    }

    /// A budget for all pods of the namespace, as its controller would have counted it.
    private func budget(
        _ api: InProcessAPI, _ name: String = "all", allowed: Int, desired: Int = 1, healthy: Int = 1,
        policy: String? = nil, isCounted: Bool = true
    ) async throws {
        var budget = KubeObject(
            apiVersion: "policy/v1", kind: "PodDisruptionBudget", namespace: "default", name: name)
        budget.spec = ["minAvailable": 1, "selector": [:]]
        budget.spec["unhealthyPodEvictionPolicy"] = policy.map { .string($0) }
        var made = try await api.create(.podDisruptionBudgets, budget)
        made.status = [
            "disruptionsAllowed": .int(Int64(allowed)), "desiredHealthy": .int(Int64(desired)),
            "currentHealthy": .int(Int64(healthy)), "expectedPods": 1,
            "observedGeneration": .int(isCounted ? Int64(made.generation) : 0),
        ]
        _ = try await api.updateStatus(.podDisruptionBudgets, made)
    }

    private func evict(_ kubectl: Kubectl, _ name: String, dryRun: Bool = false) async throws -> Kubectl.Outcome {
        let options = dryRun ? #","deleteOptions":{"dryRun":["All"]}"# : ""
        return try await kubectl(
            "create", "--raw", "/api/v1/namespaces/default/pods/\(name)/eviction", "-f", "-",
            input: #"{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"\#(name)"}\#(options)}"#)
    }

    private func isGoing(_ api: InProcessAPI, _ name: String) async throws -> Bool {
        try await api.get(.pods, ObjectKey(namespace: "default", name: name)).deletionTimestamp != nil
    }

    @Test("a budget is spent by one eviction, and the next is refused")
    func spent() async throws {
        try await withKubectl { kubectl, api in
            _ = try await runningPod(api, "one")
            _ = try await runningPod(api, "two")
            try await budget(api, allowed: 1, healthy: 2)
            let tried = try await evict(kubectl, "one", dryRun: true)
            #expect(tried.code == 0, "\(tried.errors)")
            #expect(try await isGoing(api, "one") == false)
            #expect(try await evict(kubectl, "one").code == 0)
            #expect(try await isGoing(api, "one"))
            let gone = try await api.get(.pods, ObjectKey(namespace: "default", name: "one"))
            let target = gone.status["conditions"]?.array?.first { $0["type"] == "DisruptionTarget" }
            #expect(target?["reason"] == "EvictionByEvictionAPI")
            let left = try await api.get(.podDisruptionBudgets, ObjectKey(namespace: "default", name: "all"))
            #expect(left.status["disruptionsAllowed"] == 0 && left.status["disruptedPods"]?["one"] != nil)
            let refused = try await evict(kubectl, "two")
            #expect(refused.code == 1 && refused.errors.contains("Cannot evict pod as it would violate"))
            #expect(try await isGoing(api, "two") == false)
            // `kubectl drain` and client-go tell a budget's refusal from a busy server's by its cause.
            let remote = try HTTPAPI(try KubeconfigFile.load(kubectl.kubeconfig))
            let answer = try await remote.raw(
                "POST", "/api/v1/namespaces/default/pods/two/eviction", headers: [("content-type", "application/json")],
                body: Array(#"{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"two"}}"#.utf8))
            let status = try JSON(parsing: answer.body)
            #expect(answer.status == 429 && status["code"] == 429 && status["reason"] == "TooManyRequests")
            #expect(
                status["details"]?["causes"] == [
                    [
                        "reason": "DisruptionBudget",
                        "message": "The disruption budget all needs 1 healthy pods and has 2 currently",
                    ]
                ])
        }
    }

    @Test(
        "pods that are not ready go by the budget's policy",
        arguments: [(nil, 1, true), (nil, 0, false), ("AlwaysAllow", 0, true), ("IfHealthyBudget", 0, false)]
            as [(String?, Int, Bool)])
    func unhealthy(policy: String?, healthy: Int, goes: Bool) async throws {
        try await withKubectl { kubectl, api in
            _ = try await runningPod(api, "sick", isReady: false)
            try await budget(api, allowed: 0, desired: 1, healthy: healthy, policy: policy)
            let told = try await evict(kubectl, "sick")
            #expect((told.code == 0) == goes, "\(told.errors)")
            #expect(try await isGoing(api, "sick") == goes)
        }
    }

    @Test("a budget nobody has counted yet refuses; two budgets for one pod are an error; pods that never ran are free")
    func uncounted() async throws {
        try await withKubectl { kubectl, api in
            _ = try await runningPod(api, "one")
            try await budget(api, allowed: 3, isCounted: false)
            let early = try await kubectl(
                "create", "--raw", "/api/v1/namespaces/default/pods/one/eviction", "-f", "-", "--request-timeout=3s",
                input: #"{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"one"}}"#)
            #expect(early.code == 1)
            #expect(try await isGoing(api, "one") == false)
            try await budget(api, "other", allowed: 3)
            let twice = try await evict(kubectl, "one")
            #expect(twice.code == 1 && twice.errors.contains("more than one PodDisruptionBudget"))
            _ = try await api.create(.pods, pod("waiting"))
            #expect(try await evict(kubectl, "waiting").code == 0)
        }
    }
}
