import KubeClient
import KubeTypes
import TestSupport
import Testing
import Wire

@testable import Controllers

private let now = Timestamp(seconds: 1_800_000_000)

/// Pods that ask for 100m of a processor each.
private func pods(_ count: Int, ready: Bool = true, since: Duration = .seconds(600)) -> [KubeObject] {
    (0..<count).map { number in
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "shop", name: "p\(number)")
        pod[Pod.containers] = [["name": "app", "resources": ["requests": ["cpu": "100m", "memory": "100"]]]]
        pod[Pod.phase] = "Running"
        pod[Pod.startTime] = now + (.zero - since)
        pod[Pod.conditions] = [["type": "Ready", "status": ready ? "True" : "False"]]
        return pod
    }
}

private func advice(_ used: [Int64?], percent: Int = 50, pods all: [KubeObject]? = nil) throws -> ScaleAdvice {
    var usage: [String: Int64] = [:]
    for (number, amount) in used.enumerated() { usage["p\(number)"] = amount }
    let target = ScaleAdvice.Target(resource: "cpu", container: nil, utilization: percent, averageValue: nil)
    return try ScaleAdvice(
        target, replicas: used.count, pods: all ?? pods(used.count), usage: usage, now: now)
}

@Suite("The autoscaler")
struct AutoscalingTests {
    @Test(
        "copies follow what they use over what they should",
        arguments: [
            ([100, 100], 4), ([50, 50], 2), ([52, 53], 2), ([56, 56], 3), ([10, 10, 10], 1), ([0, 0], 0), ([200], 4),
        ] as [([Int64?], Int)])
    func utilization(used: [Int64?], wanted: Int) throws {
        #expect(try advice(used).replicas == wanted)
    }

    @Test("what was not measured makes the change smaller, never turns it")
    func missing() throws {
        // Measured alone: 4 of 2. The missing one counts as idle.
        #expect(try advice([100, 100, nil]).replicas == 4)
        // Measured alone it would be fewer; the missing one counts as busy.
        #expect(try advice([10, 10, nil]).replicas == 3)
        #expect(throws: ScaleAdvice.Fault.self) { try advice([nil, nil]) }
    }

    @Test("a pod that starts is not counted when more are wanted")
    func starting() throws {
        var all = pods(3)
        all[2] = pods(3, ready: false, since: .seconds(5))[2]
        #expect(try advice([100, 100, 400], pods: all).replicas == 4)
    }

    @Test("an average value needs no requests; utilization without them is an error that names the container")
    func values() throws {
        var all = pods(2)
        for place in all.indices { all[place][Pod.containers] = [["name": "app"]] }
        let target = ScaleAdvice.Target(
            resource: "memory", container: nil, utilization: nil, averageValue: Quantity(100))
        let found = try ScaleAdvice(
            target, replicas: 2, pods: all, usage: ["p0": 200_000, "p1": 200_000], now: now)
        #expect(found.replicas == 4 && found.current["averageValue"] == "200")
        #expect(throws: ScaleAdvice.Fault.unknown("missing request for cpu in container app of Pod p0")) {
            try advice([1, 1], pods: all)
        }
    }

    @Test("the highest advice of the window holds before fewer copies run")
    func stabilized() {
        let pace = ScalePace(nil)
        let recent: [(at: Timestamp, replicas: Int)] = [
            (now + .seconds(-400), 9), (now + .seconds(-200), 6), (now, 2),
        ]
        #expect(pace.stabilized(2, current: 8, recent: recent, now: now) == 6)
        #expect(pace.stabilized(9, current: 8, recent: recent + [(now, 9)], now: now) == 9)
        let quick = ScalePace(["scaleDown": ["stabilizationWindowSeconds": 0]])
        #expect(quick.stabilized(2, current: 8, recent: [(now + .seconds(-1), 6), (now, 2)], now: now) == 2)
    }

    @Test("policies limit how fast the number changes")
    func limited() {
        let usual = ScalePace(nil)
        #expect(usual.limited(20, current: 2, changes: [], now: now) == 6)
        #expect(usual.limited(50, current: 10, changes: [], now: now) == 20)
        let done = [ScalePace.Change(at: now + .seconds(-5), by: 4)]
        #expect(usual.limited(50, current: 6, changes: done, now: now) == 6)
        #expect(usual.limited(0, current: 10, changes: [], now: now) == 0)
        let slow = ScalePace([
            "scaleDown": [
                "selectPolicy": "Min",
                "policies": [
                    ["type": "Pods", "value": 1, "periodSeconds": 60],
                    ["type": "Percent", "value": 50, "periodSeconds": 60],
                ],
            ],
            "scaleUp": ["selectPolicy": "Disabled"],
        ])
        #expect(slow.limited(1, current: 10, changes: [], now: now) == 9)
        #expect(slow.limited(20, current: 10, changes: [], now: now) == 10)
    }

    @Test("a scale that somebody else changed meanwhile is left as it is, and looked at again")
    func conflict() async throws {
        let api = MemoryAPI()
        var set = KubeObject(apiVersion: "apps/v1", kind: "StatefulSet", namespace: "shop", name: "db")
        set.spec = ["replicas": 1, "selector": ["matchLabels": ["app": "db"]]]
        api.seed(.statefulSets, set)
        var autoscaler = KubeObject(
            apiVersion: "autoscaling/v2", kind: "HorizontalPodAutoscaler", namespace: "shop", name: "db")
        autoscaler.spec = [
            "scaleTargetRef": ["apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db"], "minReplicas": 2,
            "maxReplicas": 3,
        ]
        api.seed(.horizontalPodAutoscalers, autoscaler)
        api.refuse { request in
            guard request.verb == .update, request.subresource == "scale" else { return nil }
            return .conflict(.statefulSets, "db", "the object has been modified")
        }
        let informers = InformerSet(api)
        let controller = AutoscalingController(ControlPlane(api: api, informers: informers))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await informers.run() }
            defer { group.cancelAll() }
            func told(_ reason: String) async throws -> Bool {
                _ = try await controller.reconcile(autoscaler.key)
                let found = try await api.get(.horizontalPodAutoscalers, autoscaler.key)
                return found.status["conditions"]?.array?.contains {
                    $0["type"] == "AbleToScale" && $0["reason"]?.string == reason
                } == true
            }
            #expect(try await eventually { try await told("FailedUpdateScale") })
            let left = try await api.get(.horizontalPodAutoscalers, autoscaler.key)
            #expect(left.status["currentReplicas"] == 1 && left.status["desiredReplicas"] == 0)
            #expect(try await api.get(.statefulSets, set.key).spec["replicas"] == 1)
            api.refuse(nil)
            let isScaled = try await eventually {
                let isTold = try await told("SucceededRescale")
                let count = try await api.get(.statefulSets, set.key).spec["replicas"]
                #expect(isTold == (count == 2))
                return isTold
            }
            #expect(isScaled)
        }
    }
}
