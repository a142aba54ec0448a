import Glibc
import Kernel
import Testing

@testable import ServiceNetwork

@Suite struct ClusterFabricTests {
    @Test("pods of two nodes reach each other, their nodes and the fabric, by their own addresses")
    func reach() async throws {
        try await TestCluster.with(nodes: 2) { cluster in
            let a = try await cluster.pod("a", on: 1)
            let b = try await cluster.pod("b", on: 1)
            let c = try await cluster.pod("c", on: 2)
            #expect(a.address == IPv4Address(10, 244, 1, 2))
            #expect(c.address == IPv4Address(10, 244, 2, 2))
            var servers: [Answerer] = []
            for pod in [a, b, c] { servers.append(try Answerer(pod.uid, in: pod.namespace, port: 8080, udp: true)) }
            servers.append(try Answerer("fabric", in: cluster.fabric.namespace, port: 6443))
            for from in [a, b, c] {
                for to in [a, b, c] {
                    let tcp = try await Client.tcp(to.address, 8080, in: from.namespace)
                    #expect(tcp == .answer(name: to.uid, source: "\(from.address)", destination: tcp.destination))
                    #expect(try await Client.udp(to.address, 8080, in: from.namespace).name == to.uid)
                }
                let api = try await Client.tcp(cluster.fabric.addresses.fabricGateway, 6443, in: from.namespace)
                #expect(api.name == "fabric")
            }
            for pod in [a, c] {
                #expect(try await Client.tcp(pod.address, 8080, in: cluster.namespace(1)).name == pod.uid)
                #expect(try await Client.tcp(pod.address, 8080, in: cluster.fabric.namespace).name == pod.uid)
            }
            for server in servers { server.stop() }
        }
    }

    @Test("what nobody has is unreachable at once, inside and outside the cluster's ranges")
    func unreachable() async throws {
        try await TestCluster.with(nodes: 2) { cluster in
            let pod = try await cluster.pod("a", on: 1)
            let nowhere = [
                "10.244.1.99", "10.244.2.99", "10.244.77.1", "10.245.0.99", "192.0.2.1", "8.8.8.8", "172.17.0.1",
            ]
            // An address asked for by ARP alone would be silent for three seconds.
            let patience: CInt = 2500
            for text in nowhere {
                let address = try #require(IPv4Address(text))
                for place in [pod.namespace, cluster.namespace(1), cluster.fabric.namespace] {
                    let outcome = try await Client.tcp(address, 80, in: place, timeout: patience)
                    let refusals: [Outcome] = [.refused, .failed(EHOSTUNREACH), .failed(ENETUNREACH)]
                    #expect(refusals.contains(outcome), "\(text) from \(place): \(outcome)")
                    if place == pod.namespace {
                        #expect(outcome == .refused, "a reset, which even a blocking connect sees")
                    }
                    let datagram = try await Client.udp(address, 80, in: place, timeout: patience)
                    #expect(refusals.contains(datagram), "UDP \(text) from \(place): \(datagram)")
                }
            }
        }
    }

    @Test("building again keeps what is there and repairs what is not")
    func rebuild() async throws {
        try await TestCluster.with(nodes: 2) { cluster in
            let pod = try await cluster.pod("a", on: 1)
            let server = try Answerer("a", in: pod.namespace, port: 80)
            try cluster.fabric.build()
            #expect(try await Client.tcp(pod.address, 80, in: cluster.namespace(2)).name == "a")

            var fabric = try NetlinkSocket(inNamespace: cluster.fabric.namespace)
            try fabric.deleteLink(named: "node-2")
            #expect(try await Client.tcp(pod.address, 80, in: cluster.namespace(2), timeout: 500).name == nil)
            try cluster.fabric.build()
            #expect(try await Client.tcp(pod.address, 80, in: cluster.namespace(2)).name == "a")

            let restarted = try NodePodNetwork(cluster.fabric, node: cluster.fabric.nodes[0])
            #expect(try await restarted.attachments()["a"]?.networkNamespace == pod.namespace)
            #expect(try await restarted.attach(podUID: "a", interception: nil).address == "\(pod.address)")
            #expect(try await Client.tcp(pod.address, 80, in: cluster.namespace(2)).name == "a")
            server.stop()
        }
    }

    @Test("a detached pod leaves no link, no namespace and no address, and may be detached again")
    func detach() async throws {
        try await TestCluster.with(nodes: 1) { cluster in
            var node = try NetlinkSocket(inNamespace: cluster.namespace(1))
            let before = try node.links().count
            let pod = try await cluster.pod("a", on: 1)
            #expect(try node.links().count == before + 1)
            let network = cluster.networks[0]
            for _ in 0..<2 { try await network.detach(podUID: "a") }
            #expect(try node.links().count == before)
            #expect(!NetworkNamespace.exists(at: pod.namespace))
            #expect(try await network.attachments().isEmpty)
            let next = try await cluster.pod("b", on: 1)
            #expect(next.address != pod.address, "an address that came back is not given again at once")
            await #expect(throws: NetworkFailure.self) { try await network.attach(podUID: "../x", interception: nil) }
        }
    }

    @Test("all addresses of a node are given once, then none; a crash loses none")
    func addresses() throws {
        let directory = "/tmp/weft-book-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        try SmallFile.makeDirectories(directory)
        defer {
            try? AddressBook.removeAll(under: directory)
            try? FileNames.removeDirectory(directory)
        }
        let range = try #require(IPv4Range("10.244.1.0/28"))
        func open() throws -> AddressBook { try AddressBook(range: range, node: "node-1", runDirectory: directory) }
        var book = try open()
        var given: Set<IPv4Address> = []
        for index in 0..<13 { given.insert(try book.address(for: "pod\(index)")) }
        #expect(given.count == 13)
        #expect(!given.contains(IPv4Address(10, 244, 1, 0)))
        #expect(!given.contains(IPv4Address(10, 244, 1, 1)))
        #expect(!given.contains(IPv4Address(10, 244, 1, 15)))
        #expect(throws: NetworkFailure.self) { try book.address(for: "late") }
        let freed = try book.address(for: "pod3")
        try book.release("pod3")

        try SmallFile.write("", to: "\(directory)/addresses/node-1/10.244.1.5.new")
        book = try open()
        #expect(book.addresses.count == 12)
        #expect(try book.address(for: "late") == freed)
        #expect(try book.address(for: "pod1") == IPv4Address(10, 244, 1, 3))

        for index in 0..<13 { try book.release("pod\(index)") }
        try book.release("late")
        let first = try book.address(for: "one")
        try book.release("one")
        book = try open()
        #expect(try book.address(for: "two") != first, "the turn goes on after a restart")
    }
}

extension Outcome {
    var destination: String {
        guard case .answer(_, _, let destination) = self else { return "" }
        return destination
    }
}
