import Glibc
import KubeClient
import KubeTypes
import Synchronization
import Testing
import Wire

@testable import APIServer

/// Answers when it is let go.
private final class Gate: APIExtension {
    let prefix = "/apis/slow.test/v1/waits"
    private let waiting = Mutex<[CheckedContinuation<Void, Never>]>([])
    private let isOpen = Mutex(false)

    var count: Int { waiting.withLock(\.count) }

    func answer(method: String, path: String, query: [(String, String)], body: [UInt8]) async throws(APIFailure) -> JSON
    {
        await withCheckedContinuation { continuation in
            if isOpen.withLock({ $0 }) { continuation.resume() } else { waiting.withLock { $0.append(continuation) } }
        }
        return [:]
    }

    func open() {
        isOpen.withLock { $0 = true }
        for continuation in waiting.withLock({ $0 }) { continuation.resume() }
    }
}

@Suite("Priority and fairness")
struct FairnessTests {
    private func level(_ name: String, shares: Int, lendable: Int = 0, queues: (Int, Int, Int)? = nil)
        -> PriorityLevelShape
    {
        var object = KubeObject(
            apiVersion: "flowcontrol.apiserver.k8s.io/v1", kind: "PriorityLevelConfiguration", name: name)
        var limited: JSON = [
            "nominalConcurrencyShares": .int(Int64(shares)), "lendablePercent": .int(Int64(lendable)),
            "limitResponse": ["type": "Reject"],
        ]
        if let queues {
            limited["limitResponse"] = [
                "type": "Queue",
                "queuing": [
                    "queues": .int(Int64(queues.0)), "handSize": .int(Int64(queues.1)),
                    "queueLengthLimit": .int(Int64(queues.2)),
                ],
            ]
        }
        object.json["spec"] = ["type": "Limited", "limited": limited]
        return PriorityLevelShape(object)
    }

    @Test("no configuration, however it was stored, makes hands or queues there cannot be")
    func nonsense() {
        #expect(FairQueues.hand(7, size: -1, of: 4) == [] && FairQueues.hand(7, size: 8, of: 0) == [])
        var shape = FairQueues.Shape()
        shape.queues = Int(Int32.max)
        shape.handSize = -1
        shape.lengthLimit = 1
        var queues = FairQueues(shape)
        let isTaken = queues.add(.init(id: 1, width: 1), flow: 7)
        #expect(!isTaken)
    }

    @Test("a flow's hand is its own, of different queues, and hands of different flows differ")
    func hands() {
        var hands: Set<[Int]> = []
        for flow in 0..<200 as Range<UInt64> {
            let number = flow &* 0x9E37_79B9_7F4A_7C15
            let hand = FairQueues.hand(number, size: 6, of: 64)
            #expect(hand == FairQueues.hand(number, size: 6, of: 64))
            #expect(Set(hand).count == 6 && hand.allSatisfy { (0..<64).contains($0) })
            hands.insert(hand)
        }
        #expect(hands.count > 190)
        #expect(Set(FairQueues.hand(.max, size: 4, of: 4)) == [0, 1, 2, 3])
    }

    @Test("a flow with many requests does not keep one with few waiting")
    func fair() throws {
        var queues = FairQueues(.init(queues: 2, handSize: 1, lengthLimit: 100))
        var added: [Bool] = []
        for id in 0..<50 { added.append(queues.add(.init(id: id, width: 1), flow: 0)) }
        for id in 100..<103 { added.append(queues.add(.init(id: id, width: 1), flow: 1)) }
        #expect(added.allSatisfy { $0 })
        var order: [Int] = []
        while let next = queues.take() { order.append(next.id) }
        #expect(order.count == 53)
        let late = try #require(order.firstIndex(of: 102))
        #expect(late < 8)
        #expect(order.filter { $0 < 100 } == Array(0..<50))
        let steps = [queues.add(.init(id: 1, width: 1), flow: 0), queues.remove(1), queues.remove(1)]
        #expect(steps == [true, true, false])
    }

    @Test("levels have their seats, borrow what others leave, and refuse when the queue is full")
    func seats() {
        var plan = SeatPlan(total: 10)
        _ = plan.configure([
            level("low", shares: 5, queues: (1, 1, 2)), level("high", shares: 5, lendable: 40, queues: (1, 1, 2)),
        ])
        var outcomes: [SeatPlan.Arrival] = []
        for id in 1...10 { outcomes.append(plan.arrive(id, at: "low", flow: 7, width: 1)) }
        // Five of its own, two borrowed, two in the queue.
        #expect(outcomes == Array(repeating: .runs, count: 7) + [.waits, .waits, .isRefused])
        let high = (20..<25).map { plan.arrive($0, at: "high", flow: 1, width: 1) }
        #expect(high.allSatisfy { $0 == .runs })
        let started = (0..<3).map { _ in plan.leave("low", width: 1) }
        #expect(started == [[], [], [8]])
        let given = [plan.giveUp(9, at: "low"), plan.giveUp(9, at: "low")]
        #expect(given == [true, false])
        let nowhere = plan.arrive(30, at: "nowhere", flow: 1, width: 1)
        #expect(nowhere == .isRefused)
        // One wider than its level runs when it is alone.
        var small = SeatPlan(total: 4)
        _ = small.configure([level("one", shares: 1)])
        let wide = [small.arrive(1, at: "one", flow: 1, width: 9), small.arrive(2, at: "one", flow: 1, width: 1)]
        #expect(wide == [.runs, .isRefused])
    }

    @Test("schemas choose by user, group, account, verb and path, the lowest precedence first; lists take more seats")
    func schemas() throws {
        let all = AccessDefaults.load().filter { $0.kind == "FlowSchema" }
        let schemas = all.map { FlowSchema($0) }.sorted { ($0.precedence, $0.name) < ($1.precedence, $1.name) }
        func chosen(_ user: User, _ verb: String = "get", _ type: ResourceType = .pods) -> String? {
            schemas.first { $0.fits(Attempt(user, verb, type, namespace: "demo", name: "x")) }?.name
        }
        #expect(chosen(.administrator) == "exempt")
        #expect(chosen(.account("kube-system", "dns")) == "kube-system-service-accounts")
        #expect(chosen(.account("demo", "robot")) == "service-accounts")
        #expect(chosen(.node("n1")) == "system-nodes")
        #expect(chosen(.node("n1"), "update", .leases) == "system-node-high")
        #expect(chosen(User(name: "system:kube-scheduler", groups: [User.authenticated])) == "kube-scheduler")
        #expect(chosen(User(name: "ann", groups: [User.authenticated])) == "global-default")
        let probe = Attempt(user: .anonymous, verb: "get", target: .path("/readyz"))
        #expect(schemas.first { $0.fits(probe) }?.name == "probes")
        let levels = Set(AccessDefaults.load().filter { $0.kind == "PriorityLevelConfiguration" }.map(\.name))
        #expect(schemas.allSatisfy { levels.contains($0.level) })
    }

    @Test(
        "a full level queues, then answers 429 with Retry-After; administrators pass; every answer names its schema and level"
    )
    func overload() async throws {
        let directory = try temporaryDirectory("weft-fair")
        defer { removeTree(directory) }
        let (descriptor, port) = try loopbackListener()
        var configuration = APIServerConfiguration(stateDirectory: directory, listeners: [descriptor])
        configuration.publicPort = port
        configuration.access.requestSeats = 1
        let server = try await APIServer.start(configuration)
        let gate = Gate()
        server.add(gate)
        let inside = server.api(as: .administrator)
        _ = try await inside.create(
            .serviceAccounts, KubeObject(apiVersion: "v1", kind: "ServiceAccount", namespace: "default", name: "robot"))
        let group = "flowcontrol.apiserver.k8s.io/v1"
        var level = KubeObject(apiVersion: group, kind: "PriorityLevelConfiguration", name: "narrow")
        level.json["spec"] = [
            "type": "Limited",
            "limited": [
                "nominalConcurrencyShares": 1,
                "limitResponse": ["type": "Queue", "queuing": ["queues": 1, "handSize": 1, "queueLengthLimit": 1]],
            ],
        ]
        level = try await inside.create(.priorityLevels, level)
        var schema = KubeObject(apiVersion: group, kind: "FlowSchema", name: "robots")
        schema.json["spec"] = [
            "priorityLevelConfiguration": ["name": "narrow"], "matchingPrecedence": 50,
            "rules": [
                [
                    "subjects": [
                        ["kind": "ServiceAccount", "serviceAccount": ["name": "robot", "namespace": "default"]]
                    ],
                    "nonResourceRules": [["verbs": ["*"], "nonResourceURLs": ["*"]]],
                    "resourceRules": [
                        [
                            "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"],
                            "clusterScope": true,
                        ]
                    ],
                ]
            ],
        ]
        schema = try await inside.create(.flowSchemas, schema)
        var binding = KubeObject(
            apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRoleBinding", name: "robot")
        binding.json["roleRef"] = [
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin",
        ]
        binding.json["subjects"] = [["kind": "ServiceAccount", "name": "robot", "namespace": "default"]]
        _ = try await inside.create(.clusterRoleBindings, binding)
        let token = try await inside.token(ObjectKey(namespace: "default", name: "robot"), [:])
        let admin = try HTTPAPI(try KubeconfigFile.load(directory + "/kubeconfig"))
        let robot = try HTTPAPI(
            try KubeconfigFile.load(try otherKubeconfig(directory, user: "    token: \(token)\n")))
        try await poll("the new schema and the binding") {
            let answer = try await robot.raw("GET", "/metrics")
            return answer.status == 200 && answer.headers["x-kubernetes-pf-flowschema-uid"] == schema.uid
        }
        try await withThrowingTaskGroup(of: HTTPAPI.Answer.self) { group in
            func ask() { group.addTask { try await robot.raw("GET", "/apis/slow.test/v1/waits") } }
            ask()
            try await poll("the first request's turn") { gate.count == 1 }
            // Of two more one waits in the queue, the other finds it full.
            ask()
            ask()
            let refused = try #require(try await group.next())
            #expect(refused.status == 429 && refused.headers["retry-after"] == "1")
            #expect(refused.headers["x-kubernetes-pf-prioritylevel-uid"] == nil)
            let text = String(decoding: refused.body, as: UTF8.self)
            #expect(text.contains("\"reason\":\"TooManyRequests\""))
            let free = try await admin.raw("GET", "/version")
            let exempt = try await inside.get(.priorityLevels, ObjectKey(name: "exempt"))
            #expect(free.status == 200 && free.headers["x-kubernetes-pf-prioritylevel-uid"] == exempt.uid)
            #expect(gate.count == 1)
            gate.open()
            for try await answer in group { #expect(answer.status == 200) }
        }
        #expect(try await robot.raw("GET", "/version").status == 200)
        await server.stop()
    }
}
