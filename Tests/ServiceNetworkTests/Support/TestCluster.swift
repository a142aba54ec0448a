import Glibc
import Kernel
import Testing

@testable import ServiceNetwork

/// A cluster's network of this test alone. `remove` takes it away and checks that nothing is left.
struct TestCluster {
    let fabric: ClusterFabric
    let networks: [NodePodNetwork]

    init(nodes: Int) throws {
        let name = "t\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        fabric = try ClusterFabric(cluster: name, runDirectory: "/tmp/weft-net-\(name)", nodes: nodes)
        try fabric.build()
        let fabric = fabric
        networks = try fabric.nodes.map { try NodePodNetwork(fabric, node: $0) }
    }

    func namespace(_ node: Int) -> String { fabric.namespace(of: fabric.nodes[node - 1]) }

    func pod(_ uid: String, on node: Int, _ interception: Interception? = nil) async throws -> TestPod {
        let attachment = try await networks[node - 1].attach(podUID: uid, interception: interception)
        return TestPod(
            uid: uid, address: try #require(IPv4Address(attachment.address)), namespace: attachment.networkNamespace)
    }

    func remove() throws {
        try fabric.remove()
        let mounts = String(decoding: try SmallFile.read("/proc/self/mountinfo"), as: UTF8.self)
        #expect(!mounts.contains(fabric.runDirectory), "mounts are left")
        #expect(try FileNames.inDirectory(fabric.runDirectory).isEmpty)
        try FileNames.removeDirectory(fabric.runDirectory)
    }

    /// Runs a test in a cluster of its own, which goes away however the test ends.
    static func with(nodes: Int, _ body: (TestCluster) async throws -> Void) async throws {
        let cluster = try TestCluster(nodes: nodes)
        do { try await body(cluster) } catch {
            try cluster.remove()
            throw error
        }
        try cluster.remove()
    }
}

struct TestPod {
    var uid: String
    var address: IPv4Address
    var namespace: String
}
