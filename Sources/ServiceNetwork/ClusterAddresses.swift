package import Kernel

/// Which addresses a cluster uses, and who has which.
package struct ClusterAddresses: Sendable, Hashable {
    /// The nodes' network: the fabric itself has its first address, node i the one 10 + i places in.
    package var fabric = IPv4Range(IPv4Address(10, 245, 0, 0), prefixLength: 24)
    /// All pods; node i has the i-th block of 256.
    package var pods = IPv4Range(IPv4Address(10, 244, 0, 0), prefixLength: 16)
    package var services = IPv4Range(IPv4Address(10, 96, 0, 0), prefixLength: 16)
    package var dns = IPv4Address(10, 96, 0, 10)

    package init() {}

    /// Nodes are counted from 1; so many fit into both ranges.
    package static let nodeLimit = 200

    package var fabricGateway: IPv4Address { IPv4Address(bits: fabric.base.bits + 1) }
    package func node(_ index: Int) -> IPv4Address { IPv4Address(bits: fabric.base.bits + 10 + UInt32(index)) }
    package func pods(of index: Int) -> IPv4Range {
        IPv4Range(IPv4Address(bits: pods.base.bits + UInt32(index) << 8), prefixLength: 24)
    }
    /// The node's own address in its pods' range: their gateway.
    package func podGateway(of index: Int) -> IPv4Address { IPv4Address(bits: pods(of: index).base.bits + 1) }
}

/// One node of the cluster: its name is also its namespace's, its index (from 1) decides its addresses.
package struct FabricNode: Sendable, Hashable {
    package var index: Int
    package var name: String
    package init(index: Int) {
        self.index = index
        self.name = "node-\(index)"
    }
}
