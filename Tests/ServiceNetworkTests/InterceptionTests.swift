import CKernel
import Glibc
import Kernel
import Testing

@testable import ServiceNetwork

@Suite struct InterceptionTests {
    /// A pod with a listener where its proxy's would be, an app, and a pod elsewhere.
    private static func withPods(
        _ interception: Interception, _ body: (_ meshed: TestPod, _ other: TestPod) async throws -> Void
    ) async throws {
        try await TestCluster.with(nodes: 2) { cluster in
            let meshed = try await cluster.pod("meshed", on: 1, interception)
            let other = try await cluster.pod("other", on: 2)
            let servers = [
                try Answerer("outbound", in: meshed.namespace, port: 15001),
                try Answerer("inbound", in: meshed.namespace, port: 15006),
                try Answerer("dns", in: meshed.namespace, at: IPv4Address(127, 0, 0, 1), port: 15053, udp: true),
                try Answerer("health", in: meshed.namespace, port: 15021),
                try Answerer("app", in: meshed.namespace, port: 8080),
                try Answerer("other", in: other.namespace, port: 8080),
                try Answerer("other", in: other.namespace, port: 3306),
                try Answerer("other-dns", in: other.namespace, port: 53, udp: true),
            ]
            try await body(meshed, other)
            for server in servers { server.stop() }
        }
    }

    @Test("what the app connects to reaches the proxy, which sees where it was going")
    func outbound() async throws {
        var interception = Interception()
        interception.excludedOutboundPorts = [3306]
        try await Self.withPods(interception) { (meshed, other) async throws in
            let caught = try await Client.tcp(other.address, 8080, in: meshed.namespace)
            #expect(caught.name == "outbound")
            #expect(caught.destination == "\(other.address):8080")
            let service = try await Client.tcp(IPv4Address(10, 96, 1, 2), 80, in: meshed.namespace)
            #expect(service.name == "outbound")
            #expect(service.destination == "10.96.1.2:80")

            let excluded = try await Client.tcp(other.address, 3306, in: meshed.namespace)
            #expect(excluded == .answer(name: "other", source: "\(meshed.address)", destination: excluded.destination))
            #expect(try await Client.tcp(other.address, 8080, in: meshed.namespace, user: 1337).name == "other")
            #expect(try await Client.tcp(other.address, 8080, in: meshed.namespace, mark: 0x539).name == "other")
            #expect(try await Client.tcp(IPv4Address(127, 0, 0, 1), 8080, in: meshed.namespace).name == "app")
            #expect(try await Client.tcp(meshed.address, 8080, in: meshed.namespace).name == "app")
        }
    }

    @Test("what comes to the app reaches the proxy, which sees where it was going, and can go on to the app")
    func inbound() async throws {
        try await Self.withPods(Interception()) { (meshed, other) async throws in
            let caught = try await Client.tcp(meshed.address, 8080, in: other.namespace)
            #expect(
                caught == .answer(name: "inbound", source: "\(other.address)", destination: "\(meshed.address):8080"))
            #expect(try await Client.tcp(meshed.address, 15021, in: other.namespace).name == "health")
            #expect(try await Client.tcp(meshed.address, 8080, in: meshed.namespace, user: 1337).name == "app")
            #expect(try await Client.tcp(meshed.address, 8080, in: meshed.namespace, mark: 0x539).name == "app")
            for port: UInt16 in [15001, 15006] {
                #expect(
                    try await Client.tcp(meshed.address, port, in: other.namespace) == .refused, "the proxy's own port")
            }
        }
    }

    @Test("DNS goes to the proxy, over UDP and TCP, but not the proxy's own")
    func dns() async throws {
        try await Self.withPods(Interception()) { (meshed, other) async throws in
            #expect(try await Client.udp(other.address, 53, in: meshed.namespace).name == "dns")
            #expect(try await Client.tcp(other.address, 53, in: meshed.namespace).name == "dns")
            #expect(try await Client.tcp(other.address, 53, in: meshed.namespace, user: 1337).name == "other-dns")
        }
        var interception = Interception()
        interception.dnsPort = nil
        interception.excludedOutboundRanges = ["10.244.2.0/24", "10.244.0.0/16"]
        try await Self.withPods(interception) { (meshed, other) async throws in
            #expect(try await Client.udp(other.address, 53, in: meshed.namespace).name == "other-dns")
            #expect(try await Client.tcp(other.address, 8080, in: meshed.namespace).name == "other")
        }
    }

    @Test("attaching again replaces the rules, or takes them away")
    func replaced() async throws {
        try await TestCluster.with(nodes: 1) { cluster in
            let pod = try await cluster.pod("a", on: 1, Interception())
            let servers = [
                try Answerer("old", in: pod.namespace, port: 15001),
                try Answerer("new", in: pod.namespace, port: 16001),
            ]
            let nowhere = IPv4Address(10, 96, 5, 5)
            #expect(try await Client.tcp(nowhere, 80, in: pod.namespace).name == "old")
            var changed = Interception()
            changed.outboundPort = 16001
            _ = try await cluster.pod("a", on: 1, changed)
            #expect(try await Client.tcp(nowhere, 80, in: pod.namespace).name == "new")
            _ = try await cluster.pod("a", on: 1)
            #expect(try await Client.tcp(nowhere, 80, in: pod.namespace, timeout: 300).name == nil)
            for server in servers { server.stop() }
        }
    }

    @Test("a range or port that is none is refused by name, and never becomes a command")
    func refused() throws {
        var interception = Interception()
        interception.excludedOutboundRanges = ["10.0.0.0/8 accept; flush ruleset"]
        let failure = #expect(throws: NetworkFailure.self) { try interception.commands() }
        #expect(failure?.message.contains("excludedOutboundRanges") == true)
        interception = Interception()
        interception.inboundPort = 70000
        #expect(throws: NetworkFailure.self) { try interception.commands() }
    }
}
