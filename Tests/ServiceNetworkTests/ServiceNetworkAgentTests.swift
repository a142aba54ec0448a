import Glibc
import Kernel
import KubeClient
import KubeTypes
import TestSupport
import Testing
import Wire

@testable import ServiceNetwork

/// A cluster with agents on each node, driven by an API in memory.
struct LiveCluster {
    let cluster: TestCluster
    let api = MemoryAPI()
    let agents: [ServiceNetworkAgent]

    static func with(nodes: Int, _ body: (LiveCluster) async throws -> Void) async throws {
        try await TestCluster.with(nodes: nodes) { cluster in
            let live = try LiveCluster(cluster)
            try await withThrowingTaskGroup { tasks in
                for agent in live.agents { tasks.addTask { try? await agent.run() } }
                defer { tasks.cancelAll() }
                try await body(live)
            }
        }
    }

    private init(_ cluster: TestCluster) throws {
        self.cluster = cluster
        let api = api
        agents = try cluster.fabric.nodes.map { try ServiceNetworkAgent(cluster.fabric, node: $0, api: api) }
    }

    /// Asks again until the answer is as wanted, for five seconds at most; the last answer.
    func eventually<Value>(_ ask: () async throws -> Value, is wanted: (Value) -> Bool) async throws -> Value {
        let deadline = ContinuousClock.now + .seconds(60)
        while true {
            let value = try await ask()
            if wanted(value) || ContinuousClock.now > deadline { return value }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    func put(_ service: KubeObject) { api.seed(.services, service) }
    func put(slice: KubeObject) { api.seed(.endpointSlices, slice) }
}

@Suite struct ServiceNetworkAgentTests {
    private static let address = IPv4Address(10, 96, 7, 7)
    private static let http = [Manifest.port(8080, name: "http"), Manifest.port(8080, name: "udp", "UDP")]

    /// Pods `a` on node 1, `b` and `c` on node 2, each answering TCP and UDP on 8080 with its name.
    private static func withPods(_ body: (LiveCluster, [TestPod]) async throws -> Void) async throws {
        try await LiveCluster.with(nodes: 2) { live in
            var pods: [TestPod] = []
            for (uid, node) in [("a", 1), ("b", 2), ("c", 2)] { pods.append(try await live.cluster.pod(uid, on: node)) }
            let servers = try pods.map { try Answerer($0.uid, in: $0.namespace, port: 8080, udp: true) }
            try await body(live, pods)
            for server in servers { server.stop() }
        }
    }

    private static func service(_ more: [String: JSON] = [:], nodePort: Int? = nil) -> KubeObject {
        Manifest.service(
            "web", address: address.description,
            ports: [Manifest.port(80, name: "http", nodePort: nodePort), Manifest.port(80, name: "udp", "UDP")], more)
    }
    private static func slice(_ pods: [TestPod]) -> KubeObject {
        Manifest.slice("web", ports: http, pods.map { Manifest.endpoint($0.address.description) })
    }

    /// The names that answer in so many connections.
    private static func names(_ count: Int, from namespace: String, udp: Bool = false) async throws -> [String: Int] {
        var names: [String: Int] = [:]
        for _ in 0..<count {
            let outcome =
                udp
                ? try await Client.udp(address, 80, in: namespace) : try await Client.tcp(address, 80, in: namespace)
            names[outcome.name ?? outcome.description, default: 0] += 1
        }
        return names
    }

    @Test("a service spreads over its endpoints on all nodes, from pods and from nodes, itself included")
    func spread() async throws {
        try await Self.withPods { (live, pods) async throws in
            live.put(Self.service())
            live.put(slice: Self.slice(pods))
            for place in [pods[0].namespace, live.cluster.namespace(1), live.cluster.namespace(2)] {
                let first = try await live.eventually({ try await Client.tcp(Self.address, 80, in: place) }) {
                    $0.name != nil
                }
                #expect(first.name != nil, "\(first)")
            }
            let names = try await Self.names(60, from: pods[0].namespace)
            #expect(Set(names.keys) == ["a", "b", "c"], "\(names)")
            #expect(names.values.allSatisfy { $0 >= 5 }, "\(names)")
            #expect(Set(try await Self.names(30, from: live.cluster.namespace(2)).keys) == ["a", "b", "c"])
            #expect(Set(try await Self.names(30, from: pods[1].namespace, udp: true).keys) == ["a", "b", "c"])

            live.put(slice: Self.slice([pods[0]]))
            // Each node hears of it in its own time.
            for pod in pods[..<2] {
                _ = try await live.eventually({ try await Self.names(8, from: pod.namespace) }) { $0 == ["a": 8] }
            }
            // To itself: the answer must come back through the node, so the node's address is the source.
            let hairpin = try await Client.tcp(Self.address, 80, in: pods[0].namespace)
            #expect(hairpin == .answer(name: "a", source: "10.244.1.1", destination: hairpin.destination))
            // From elsewhere the source stays.
            let plain = try await Client.tcp(Self.address, 80, in: pods[1].namespace)
            #expect(plain == .answer(name: "a", source: "\(pods[1].address)", destination: plain.destination))
        }
    }

    @Test("no endpoint, no such port and no such service are refused at once, and the next endpoint is found")
    func refusals() async throws {
        try await Self.withPods { (live, pods) async throws in
            live.put(Self.service())
            let places = [pods[0].namespace, live.cluster.namespace(1)]
            for place in places {
                let none = try await live.eventually({ try await Client.tcp(Self.address, 80, in: place, timeout: 200) }
                ) { $0 == .refused }
                #expect(none == .refused)
                // A node's own datagram is refused before it is sent.
                let datagram = place == places[0] ? Outcome.refused : .failed(EPERM)
                let udp = try await Client.udp(Self.address, 80, in: place)
                #expect(udp == datagram, "\(udp)")
                #expect(try await Client.tcp(Self.address, 81, in: place) == .refused)
                #expect(try await Client.tcp(IPv4Address(10, 96, 200, 200), 80, in: place) == .refused)
                #expect(try await Client.udp(IPv4Address(10, 96, 200, 200), 80, in: place) == datagram)
            }
            live.put(slice: Self.slice([pods[2]]))
            let found = try await live.eventually({ try await Client.tcp(Self.address, 80, in: pods[0].namespace) }) {
                $0.name == "c"
            }
            #expect(found.name == "c")
            try await live.api.delete(.services, ObjectKey(namespace: "demo", name: "web"))
            let gone = try await live.eventually({ try await Client.tcp(Self.address, 80, in: pods[0].namespace) }) {
                $0 == .refused
            }
            #expect(gone == .refused)
        }
    }

    @Test("with affinity a client keeps its endpoint, until that is gone; others have theirs")
    func affinity() async throws {
        try await Self.withPods { (live, pods) async throws in
            let affinity: [String: JSON] = [
                "sessionAffinity": "ClientIP", "sessionAffinityConfig": ["clientIP": ["timeoutSeconds": 100]],
            ]
            live.put(Self.service(affinity))
            live.put(slice: Self.slice(pods))
            let client = pods[0].namespace
            _ = try await live.eventually({ try await Client.tcp(Self.address, 80, in: client) }) { $0.name != nil }
            let names = try await Self.names(20, from: client)
            #expect(names.count == 1, "\(names)")
            let kept = try #require(names.keys.first)

            // Another endpoint goes: the client stays where it is.
            let other = try #require(pods.first { $0.uid != kept })
            live.put(slice: Self.slice(pods.filter { $0.uid != other.uid }))
            _ = try await live.eventually({ await live.agents[0].work.transactions }) { $0 >= 2 }
            let stayed = try await Self.names(20, from: client)
            #expect(stayed == [kept: 20], "\(stayed)")

            // Its own goes: it gets another and keeps that.
            live.put(slice: Self.slice(pods.filter { $0.uid != kept }))
            let moved = try await live.eventually({ try await Client.tcp(Self.address, 80, in: client) }) {
                $0.name != kept && $0.name != nil
            }
            #expect(try await Self.names(20, from: client) == [moved.name ?? "": 20])
        }
    }

    @Test("a node port answers at each node's address, wherever the endpoint is, and never at loopback")
    func nodePort() async throws {
        try await Self.withPods { (live, pods) async throws in
            live.put(Self.service(["type": "NodePort"], nodePort: 30080))
            live.put(slice: Self.slice([pods[0]]))
            let addresses = live.cluster.fabric.addresses
            for node in 1...2 {
                for place in [live.cluster.fabric.namespace, pods[1].namespace, live.cluster.namespace(node)] {
                    let outcome = try await live.eventually({
                        try await Client.tcp(addresses.node(node), 30080, in: place)
                    }) { $0.name == "a" }
                    #expect(outcome.name == "a", "node \(node) from \(place): \(outcome)")
                }
                #expect(
                    try await Client.tcp(IPv4Address(127, 0, 0, 1), 30080, in: live.cluster.namespace(node)) == .refused
                )
            }
        }
    }

    @Test("endpoints come and go under connections, and none fails")
    func churn() async throws {
        try await Self.withPods { (live, pods) async throws in
            live.put(Self.service())
            live.put(slice: Self.slice(pods))
            _ = try await live.eventually({ try await Client.tcp(Self.address, 80, in: pods[0].namespace) }) {
                $0.name != nil
            }
            let before = await live.agents[0].work
            async let churned: Void = {
                for round in 0..<40 {
                    let seen = await live.agents[0].work.transactions
                    live.put(
                        slice: Self.slice(round % 3 == 0 ? [pods[0]] : round % 3 == 1 ? pods : [pods[2], pods[1]]))
                    #expect(await eventually { await live.agents[0].work.transactions > seen }, "change \(round)")
                }
            }()
            let names = try await Self.names(300, from: pods[0].namespace)
            await churned
            #expect(Set(names.keys).isSubset(of: ["a", "b", "c"]), "\(names)")
            let after = await live.agents[0].work
            #expect(after.transactions - before.transactions >= 40, "the endpoints did change meanwhile")
            #expect(after.wholeTables == before.wholeTables, "each by elements alone")
        }
    }

    @Test("a UDP flow to an endpoint that is gone finds another, or is refused")
    func udpFlows() async throws {
        try await Self.withPods { (live, pods) async throws in
            live.put(Self.service())
            live.put(slice: Self.slice([pods[1]]))
            let client = pods[0].namespace
            func ask() async throws -> Outcome {
                try await Client.udp(Self.address, 80, in: client, from: 5555, timeout: 300)
            }
            #expect(try await live.eventually(ask) { $0.name == "b" }.name == "b")
            live.put(slice: Self.slice([pods[2]]))
            #expect(try await live.eventually(ask) { $0.name == "c" }.name == "c")
            live.put(slice: Self.slice([]))
            #expect(try await live.eventually(ask) { $0 == .refused } == .refused)
        }
    }

    @Test("rules somebody removed or changed come back")
    func drift() async throws {
        try await Self.withPods { (live, pods) async throws in
            live.put(Self.service())
            live.put(slice: Self.slice([pods[1]]))
            let client = pods[0].namespace
            func ask() async throws -> Outcome { try await Client.tcp(Self.address, 80, in: client, timeout: 300) }
            #expect(try await live.eventually(ask) { $0.name == "b" }.name == "b")
            try Nftables.run("delete table ip weft_services", in: live.cluster.namespace(1))
            #expect(try await ask().name == nil)
            // The next change, of anything, brings all of it back; without one the check every few seconds does.
            live.put(Manifest.service("other", address: "10.96.7.8", ports: [Manifest.port(80, name: "http")]))
            #expect(try await live.eventually(ask) { $0.name == "b" }.name == "b")

            try Nftables.run("flush map ip weft_services backends", in: live.cluster.namespace(1))
            #expect(try await ask().name == nil)
            var repaired = try await ask()
            let deadline = ContinuousClock.now + .seconds(60)
            while repaired.name == nil, ContinuousClock.now < deadline { repaired = try await ask() }
            #expect(repaired.name == "b")
        }
    }

    @Test("while the agent is away, and while the next one takes over, no connection fails")
    func restart() async throws {
        try await TestCluster.with(nodes: 1) { cluster in
            let api = MemoryAPI()
            let pods = [try await cluster.pod("a", on: 1), try await cluster.pod("b", on: 1)]
            let servers = try pods.map { try Answerer($0.uid, in: $0.namespace, port: 8080) }
            defer { for server in servers { server.stop() } }
            api.seed(.services, Self.service(["sessionAffinity": "ClientIP"]))
            api.seed(.endpointSlices, Self.slice(pods))
            // The API server is in the fabric's namespace, outside the pods' range.
            let apiServer = try Answerer("api", in: cluster.fabric.namespace, port: 6443)
            defer { apiServer.stop() }
            api.seed(
                .services,
                Manifest.service("kubernetes", address: "10.96.0.1", ports: [Manifest.port(443, name: "https")]))
            api.seed(
                .endpointSlices,
                Manifest.slice(
                    "kubernetes", ports: [Manifest.port(6443, name: "https")], [Manifest.endpoint("10.245.0.1")]))
            var seen: Set<String> = []
            for round in 0..<3 {
                let agent = try ServiceNetworkAgent(cluster.fabric, node: cluster.fabric.nodes[0], api: api)
                let running = Task { try? await agent.run() }
                if round == 0 {
                    let deadline = ContinuousClock.now + .seconds(60)
                    while await agent.work.transactions == 0, ContinuousClock.now < deadline {
                        try await Task.sleep(for: .milliseconds(5))
                    }
                }
                for _ in 0..<60 {
                    let outcome = try await Client.tcp(Self.address, 80, in: pods[0].namespace, timeout: 30_000)
                    seen.insert(outcome.name ?? outcome.description)
                }
                let outcome = try await Client.tcp(IPv4Address(10, 96, 0, 1), 443, in: pods[0].namespace)
                #expect(outcome == .answer(name: "api", source: "\(pods[0].address)", destination: outcome.destination))
                running.cancel()
                _ = await running.value
                let alone = try await Client.tcp(Self.address, 80, in: pods[0].namespace, timeout: 30_000)
                seen.insert(alone.name ?? alone.description)
            }
            #expect(seen.count == 1, "one client, one endpoint, all along: \(seen)")
            #expect(seen.isSubset(of: ["a", "b"]))
        }
    }

    @Test("a UDP flow to an endpoint that went while the agent was away finds another")
    func udpFlowsAfterRestart() async throws {
        try await TestCluster.with(nodes: 1) { cluster in
            let api = MemoryAPI()
            var pods: [TestPod] = []
            for uid in ["a", "b", "c"] { pods.append(try await cluster.pod(uid, on: 1)) }
            let servers = try pods.map { try Answerer($0.uid, in: $0.namespace, port: 8080, udp: true) }
            defer { for server in servers { server.stop() } }
            api.seed(.services, Self.service())
            for expected in ["b", "c"] {
                api.seed(.endpointSlices, Self.slice(pods.filter { $0.uid == expected }))
                let agent = try ServiceNetworkAgent(cluster.fabric, node: cluster.fabric.nodes[0], api: api)
                let running = Task { try? await agent.run() }
                var answered: String?
                let deadline = ContinuousClock.now + .seconds(60)
                while answered != expected, ContinuousClock.now < deadline {
                    answered = try await Client.udp(Self.address, 80, in: pods[0].namespace, from: 5556, timeout: 200)
                        .name
                }
                #expect(answered == expected)
                running.cancel()
                _ = await running.value
            }
        }
    }

    @Test("a thousand services are loaded in one transaction, and one change among them is a few commands")
    func thousand() async throws {
        try await TestCluster.with(nodes: 1) { cluster in
            let api = MemoryAPI()
            for index in 0..<1000 {
                let address = "10.96.\(1 + index / 250).\(1 + index % 250)"
                api.seed(
                    .services, Manifest.service("s\(index)", address: address, ports: [Manifest.port(80, name: "http")])
                )
                let endpoints = (0..<3).map {
                    Manifest.endpoint("10.244.\(50 + (index * 3 + $0) / 250).\(1 + (index * 3 + $0) % 250)")
                }
                api.seed(
                    .endpointSlices, Manifest.slice("s\(index)", ports: [Manifest.port(8080, name: "http")], endpoints))
            }
            let agent = try ServiceNetworkAgent(cluster.fabric, node: cluster.fabric.nodes[0], api: api)
            try await withThrowingTaskGroup { tasks in
                tasks.addTask { try? await agent.run() }
                defer { tasks.cancelAll() }
                let deadline = ContinuousClock.now + .seconds(60)
                while await agent.work.transactions == 0, ContinuousClock.now < deadline {
                    try await Task.sleep(for: .milliseconds(5))
                }
                let loaded = await agent.work
                #expect(loaded.transactions <= 3)
                #expect(try await Self.elements("dispatch", cluster) == 1000)
                #expect(try await Self.elements("backends", cluster) == 3000)

                let endpoints = [Manifest.endpoint("10.244.99.1"), Manifest.endpoint("10.244.99.2")]
                api.seed(.endpointSlices, Manifest.slice("s7", ports: [Manifest.port(8080, name: "http")], endpoints))
                while await agent.work == loaded, ContinuousClock.now < deadline {
                    try await Task.sleep(for: .milliseconds(5))
                }
                let changed = await agent.work
                #expect(changed.transactions - loaded.transactions == 1)
                #expect(changed.commands - loaded.commands <= 6)
                #expect(changed.wholeTables == loaded.wholeTables)
                #expect(try await Self.elements("backends", cluster) == 2999)
            }
        }
    }

    /// How many elements the kernel has.
    private static func elements(_ map: String, _ cluster: TestCluster) async throws -> Int {
        let listing = try await NetworkNamespace.perform(in: cluster.namespace(1), privateDescriptors: true) {
            () throws(SystemCallFailed) in
            do throws(NftablesFailed) { return try Nftables().list("list map ip weft_services \(map)") } catch {
                return error.message
            }
        }
        return listing.split(separator: "\n").map { $0.split(separator: " : ").count - 1 }.reduce(0, +) - 1
    }
}
