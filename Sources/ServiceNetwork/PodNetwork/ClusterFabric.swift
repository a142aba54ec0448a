import Kernel

/// The isolated network of a cluster on one machine: a namespace with a bridge, and one namespace a node on it.
///
/// No route leads out of it. What has no owner is refused at once, never dropped: unknown addresses have unreachable
/// routes and a TCP reset, unknown service addresses meet the rules of `ServiceRules`.
///
/// Routes and neighbours are said one by one, to single addresses: nobody asks by ARP, so an address nobody has fails now
/// and not after three seconds.
package struct ClusterFabric: Sendable {
    package let cluster: String
    package let runDirectory: String
    package let nodes: [FabricNode]
    package let addresses: ClusterAddresses

    /// - Parameter runDirectory: the cluster's own, `/run/weft/<cluster>`.
    /// - Parameter nodes: how many; they are `node-1`, `node-2` …
    package init(
        cluster: String, runDirectory: String, nodes: Int, addresses: ClusterAddresses = ClusterAddresses()
    ) throws(NetworkFailure) {
        guard (1...ClusterAddresses.nodeLimit).contains(nodes) else {
            throw NetworkFailure(
                "cluster \(cluster): \(nodes) nodes; the address ranges have room for 1 to \(ClusterAddresses.nodeLimit)"
            )
        }
        self.cluster = cluster
        self.runDirectory = runDirectory
        self.nodes = (1...nodes).map(FabricNode.init(index:))
        self.addresses = addresses
    }

    package var namespaceDirectory: String { "\(runDirectory)/netns" }
    /// The namespace of the bridge, where the cluster's own listeners are.
    package var namespace: String { "\(namespaceDirectory)/fabric" }
    package func namespace(of node: FabricNode) -> String { "\(namespaceDirectory)/\(node.name)" }

    static let bridge = "weft0"
    static let uplink = "eth0"
    static let podBridge = "pods0"

    /// Makes what is not there, and corrects what is. Blocks for some milliseconds a node.
    package func build() throws(NetworkFailure) {
        do throws(SystemCallFailed) {
            try buildBridge()
            for node in nodes { try build(node) }
        } catch {
            throw NetworkFailure("network of cluster \(cluster): \(error)")
        }
        for node in nodes { try Nftables.run(Self.refusals, in: namespace(of: node)) }
    }

    /// Answers the first packet to nowhere with a reset, or a port unreachable. Alone, the unreachable routes' ICMP answer
    /// would not do: it comes while `connect` still holds the socket, and counts only when the packet is sent again, a
    /// second later; and UDP sockets do not hear of unreachable hosts at all.
    private static let refusals = """
        add table ip weft_fabric
        delete table ip weft_fabric
        add table ip weft_fabric
        add chain ip weft_fabric nowhere { type filter hook prerouting priority -90; }
        add rule ip weft_fabric nowhere ct state != new return
        add rule ip weft_fabric nowhere fib daddr type != unicast return
        add rule ip weft_fabric nowhere meta l4proto 6 fib daddr oif missing reject with tcp reset
        add rule ip weft_fabric nowhere fib daddr oif missing reject with icmp type port-unreachable
        """

    /// Takes all of it away, pods' namespaces included, whatever state it is in. Nothing there is fine.
    package func remove() throws(NetworkFailure) {
        do throws(SystemCallFailed) {
            // A namespace ends when its last process does; its links go now, so that nothing can be sent any more.
            for name in try FileNames.inDirectory(namespaceDirectory) where name == "fabric" || name.hasPrefix("node-")
            {
                try removeLinks(of: "\(namespaceDirectory)/\(name)")
            }
            for name in try FileNames.inDirectory(namespaceDirectory) {
                try NetworkNamespace.remove(at: "\(namespaceDirectory)/\(name)")
            }
            try NetworkNamespace.removeDirectory(namespaceDirectory)
            try AddressBook.removeAll(under: runDirectory)
        } catch {
            throw NetworkFailure("network of cluster \(cluster): \(error)")
        }
    }

    private func removeLinks(of path: String) throws(SystemCallFailed) {
        guard NetworkNamespace.exists(at: path) else { return }
        var socket = try NetlinkSocket(inNamespace: path)
        for link in try socket.links() where link.kind == "veth" || link.kind == "bridge" {
            try socket.deleteLink(named: link.name)
        }
    }

    private func buildBridge() throws(SystemCallFailed) {
        try NetworkNamespace.create(at: namespace)
        try NamespaceSettings.apply(NamespaceSettings.host, in: namespace)
        var socket = try NetlinkSocket(inNamespace: namespace)
        let gateway = addresses.fabricGateway
        try socket.setUp(socket.requireLink(named: "lo"))
        if try socket.link(named: Self.bridge) == nil {
            try socket.createBridge(Self.bridge, hardwareAddress: MACAddress(for: gateway))
        }
        let bridge = try socket.requireLink(named: Self.bridge)
        try socket.setUp(bridge)
        try socket.addAddress(IPv4Range(gateway, prefixLength: 32), to: bridge)
        for node in nodes {
            let address = addresses.node(node.index)
            try socket.putNeighbour(address, MACAddress(for: address), on: bridge)
            try socket.putRoute(Route(IPv4Range(address, prefixLength: 32), .link(bridge.index), source: gateway))
            try socket.putRoute(
                Route(addresses.pods(of: node.index), .gateway(address, link: bridge.index), source: gateway))
        }
        for range in [addresses.fabric, addresses.pods, addresses.services] {
            try socket.putRoute(Route(range, .unreachable))
        }
    }

    private func build(_ node: FabricNode) throws(SystemCallFailed) {
        let path = namespace(of: node)
        try NetworkNamespace.create(at: path)
        try NamespaceSettings.apply(NamespaceSettings.router, in: path)
        var fabric = try NetlinkSocket(inNamespace: namespace)
        var socket = try NetlinkSocket(inNamespace: path)
        try socket.setUp(socket.requireLink(named: "lo"))
        let own = addresses.node(node.index)

        if try socket.link(named: Self.uplink) == nil {
            try fabric.deleteLink(named: node.name)  // half a pair, or one to a namespace that is gone
            let peer = try OwnedDescriptor.open(path, flags: 0)
            try fabric.createVeth(
                node.name, peer: Self.uplink, peerHardwareAddress: MACAddress(for: own), peerNamespace: peer)
        }
        let port = try fabric.requireLink(named: node.name)
        try fabric.setMaster(port, fabric.requireLink(named: Self.bridge))
        try fabric.setUp(port)

        let uplink = try socket.requireLink(named: Self.uplink)
        try socket.setUp(uplink)
        try socket.addAddress(IPv4Range(own, prefixLength: 32), to: uplink)
        try socket.addAddress(IPv4Range(addresses.dns, prefixLength: 32), to: socket.requireLink(named: "lo"))
        try addRoutes(of: node, uplink, &socket)

        let gateway = addresses.podGateway(of: node.index)
        if try socket.link(named: Self.podBridge) == nil {
            try socket.createBridge(Self.podBridge, hardwareAddress: MACAddress(for: gateway))
        }
        let pods = try socket.requireLink(named: Self.podBridge)
        try socket.setUp(pods)
        try socket.addAddress(IPv4Range(gateway, prefixLength: 32), to: pods)
    }

    private func addRoutes(of node: FabricNode, _ uplink: Link, _ socket: inout NetlinkSocket) throws(SystemCallFailed)
    {
        let own = addresses.node(node.index)
        let gateway = addresses.fabricGateway
        var neighbours = [gateway]
        for other in nodes where other != node { neighbours.append(addresses.node(other.index)) }
        for neighbour in neighbours {
            try socket.putNeighbour(neighbour, MACAddress(for: neighbour), on: uplink)
            try socket.putRoute(Route(IPv4Range(neighbour, prefixLength: 32), .link(uplink.index), source: own))
        }
        for other in nodes where other != node {
            try socket.putRoute(
                Route(
                    addresses.pods(of: other.index), .gateway(addresses.node(other.index), link: uplink.index),
                    source: own))
        }
        // A packet to a service needs some route to reach the rules that change its destination.
        try socket.putRoute(Route(addresses.services, .gateway(gateway, link: uplink.index), source: own))
        for range in [addresses.fabric, addresses.pods, addresses.pods(of: node.index)] {
            try socket.putRoute(Route(range, .unreachable))
        }
    }
}
