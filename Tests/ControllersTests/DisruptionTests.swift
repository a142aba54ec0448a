import KubeTypes
import Testing
import Wire

@testable import Controllers

private let now = Timestamp(seconds: 1_800_000_000)

private func budget(_ spec: JSON, status: JSON = [:]) -> KubeObject {
    var budget = KubeObject(apiVersion: "policy/v1", kind: "PodDisruptionBudget", namespace: "shop", name: "b")
    budget.spec = spec
    budget.status = status
    budget.json[path: ["metadata", "generation"]] = 3
    return budget
}

private func pods(_ count: Int, ready: Int) -> [KubeObject] {
    (0..<count).map { number in
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "shop", name: "p\(number)")
        pod[Pod.phase] = "Running"
        pod[Pod.conditions] = [["type": "Ready", "status": number < ready ? "True" : "False"]]
        return pod
    }
}

@Suite("Budgets for disruptions")
struct DisruptionTests {
    @Test(
        "how many pods may go",
        arguments: [
            (["minAvailable": 2], 3, 3, 3, 3, 2, 1), (["minAvailable": 2], 3, 2, 3, 3, 2, 0),
            (["minAvailable": "50%"], 5, 5, 5, 5, 3, 2), (["maxUnavailable": 1], 3, 3, 3, 3, 2, 1),
            (["maxUnavailable": "30%"], 4, 4, 4, 4, 2, 2), (["maxUnavailable": 1], 2, 2, 4, 4, 3, 0),
            (["minAvailable": 0], 0, 0, 0, 0, 0, 0), (["maxUnavailable": "100%"], 2, 0, 2, 2, 0, 0),
            (["minAvailable": "9223372036854775807%"], 2, 2, 2, 2, 2, 0),
            (["maxUnavailable": .int(.max)], 2, 2, 2, 2, 0, 2),
        ] as [(JSON, Int, Int, Int, Int, Int, Int)])
    func allowed(spec: JSON, count: Int, ready: Int, replicas: Int, expected: Int, desired: Int, allowed: Int) {
        let plan = DisruptionPlan(budget: budget(spec), pods: pods(count, ready: ready), replicas: replicas, now: now)
        #expect((plan.expected, plan.desired, plan.healthy, plan.allowed) == (expected, desired, ready, allowed))
    }

    @Test("a pod whose eviction was allowed counts as gone until it is, or for two minutes")
    func disrupted() {
        let since = now + .seconds(-30)
        let old = now + .seconds(-121)
        let known = budget(
            ["minAvailable": 1],
            status: [
                "disruptedPods": [
                    "p0": .string(since.description), "p1": .string(old.description),
                    "gone": .string(since.description),
                ]
            ])
        let plan = DisruptionPlan(budget: known, pods: pods(3, ready: 3), replicas: 3, now: now)
        #expect(plan.disrupted == ["p0": since] && plan.healthy == 2 && plan.allowed == 1)
        #expect(plan.lookAgain == since + .seconds(120))
        let status = plan.status(of: known, now: now)
        #expect(status["disruptedPods"]?.object?.count == 1 && status["observedGeneration"] == 3)
        let condition = status["conditions"]?[0]
        #expect(condition?["type"] == "DisruptionAllowed" && condition?["reason"] == "SufficientPods")
    }

    @Test("pods that end are neither healthy nor lost")
    func ending() {
        var all = pods(3, ready: 3)
        all[0].json[path: ["metadata", "deletionTimestamp"]] = now.json
        all[1][Pod.phase] = "Succeeded"
        let plan = DisruptionPlan(budget: budget(["minAvailable": 1]), pods: all, replicas: 3, now: now)
        #expect(plan.healthy == 1 && plan.allowed == 0)
    }
}
