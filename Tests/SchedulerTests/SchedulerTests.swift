import KubeClient
import KubeTypes
import TestSupport
import Testing
import Wire

@testable import Scheduler

private func withScheduler(_ api: MemoryAPI, _ body: () async throws -> Void) async throws {
    let informers = InformerSet(api)
    let scheduler = Scheduler(api: api, informers: informers, seed: 1)
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { await informers.run() }
        group.addTask { await scheduler.run() }
        do {
            try await body()
        } catch {
            group.cancelAll()
            throw error
        }
        group.cancelAll()
    }
}

private func bound(_ api: MemoryAPI) async throws -> [KubeObject] {
    try await api.list(.pods).items.filter { !($0[Pod.nodeName] ?? "").isEmpty }
}

@Test("a thousand pods find their place on a hundred nodes, each bound once and no node overfilled")
func hundredNodes() async throws {
    let api = MemoryAPI()
    for number in 0..<100 { api.seed(.nodes, node("n\(number)", cpu: "4", memory: "16Gi")) }
    try await withScheduler(api) {
        for number in 0..<1000 { _ = try await api.create(.pods, pod("p\(number)", cpu: "400m", memory: "1Gi")) }
        #expect(try await eventually { try await bound(api).count == 1000 })
        var counts: [String: Int] = [:]
        for pod in try await bound(api) { counts[pod[Pod.nodeName] ?? "", default: 0] += 1 }
        // 10 pods a node by cpu and by the node's limit; all room is used.
        #expect(counts.count == 100)
        #expect(counts.values.allSatisfy { $0 == 10 })
        #expect(api.writes.filter { $0.verb == .bind }.count == 1000)
    }
}

@Test("a pod nothing can take says why, and is placed when room comes")
func unschedulable() async throws {
    let api = MemoryAPI()
    api.seed(.nodes, node("n1", cpu: "1"))
    try await withScheduler(api) {
        let big = try await api.create(.pods, pod("big", cpu: "2"))
        #expect(
            try await eventually {
                let condition = try await api.get(.pods, big.key)[Pod.conditions]?.first
                return condition?["reason"] == "Unschedulable"
                    && condition?["message"] == "0/1 nodes are available: 1 Insufficient cpu."
            })
        #expect(
            try await eventually {
                try await api.list(.events).items.contains {
                    $0.json["reason"] == "FailedScheduling" && $0.json["type"] == "Warning"
                }
            })
        api.seed(.nodes, node("n2", cpu: "4"))
        #expect(try await eventually { try await api.get(.pods, big.key)[Pod.nodeName] == "n2" })
        #expect(
            try await eventually { try await api.list(.events).items.contains { $0.json["reason"] == "Scheduled" } })
    }
}

@Test("a pod that leaves makes room for one that waits")
func roomByDeletion() async throws {
    let api = MemoryAPI()
    api.seed(.nodes, node("n1", cpu: "1"))
    try await withScheduler(api) {
        let first = try await api.create(.pods, pod("first", cpu: "800m"))
        #expect(try await eventually { try await bound(api).count == 1 })
        let second = try await api.create(.pods, pod("second", cpu: "800m"))
        #expect(try await eventually { try await api.get(.pods, second.key)[Pod.conditions] != nil })
        try await api.delete(.pods, first.key, DeleteOptions(gracePeriodSeconds: 0))
        #expect(try await eventually { try await api.get(.pods, second.key)[Pod.nodeName] == "n1" })
    }
}

@Test("refused bindings are tried again, and give back what they assumed")
func refusedBinding() async throws {
    let api = MemoryAPI()
    api.seed(.nodes, node("n1", cpu: "1"))
    let left = Shared(1)
    api.refuse { request in
        guard request.verb == .bind else { return nil }
        return left.withLock { count in
            count -= 1
            return count >= 0 ? .internalError("the store is away") : nil
        }
    }
    try await withScheduler(api) {
        _ = try await api.create(.pods, pod("p", cpu: "800m"))
        #expect(try await eventually { try await bound(api).count == 1 })
    }
}

@Test("pods of other schedulers, gated ones and those being deleted are left alone")
func othersPods() async throws {
    let api = MemoryAPI()
    api.seed(.nodes, node("n1"))
    try await withScheduler(api) {
        _ = try await api.create(.pods, pod("theirs", spec: ["schedulerName": "other"]))
        let gated = try await api.create(.pods, pod("gated", spec: ["schedulingGates": [["name": "wait"]]]))
        _ = try await api.create(.pods, pod("ours"))
        #expect(try await eventually { try await bound(api).map(\.name) == ["ours"] })
        _ = try await api.patch(.pods, gated.key, .merge, ["spec": ["schedulingGates": .null]], subresource: nil)
        #expect(try await eventually { try await bound(api).map(\.name) == ["gated", "ours"] })
    }
}
