import Kernel
import Synchronization

/// The pods of one node of a `ClusterFabric`: a namespace each, one cable to the node's bridge, one address.
///
/// A pod's address stands alone (/32) and everything goes through its gateway, the node: so the node's rules see each
/// packet, even between two pods beside each other.
package final class NodePodNetwork: PodNetwork {
    private let node: FabricNode
    private let nodeNamespace: String
    private let namespaceDirectory: String
    private let gateway: IPv4Address
    private let book: Mutex<AddressBook>

    package init(_ fabric: ClusterFabric, node: FabricNode) throws(NetworkFailure) {
        self.node = node
        nodeNamespace = fabric.namespace(of: node)
        namespaceDirectory = fabric.namespaceDirectory
        gateway = fabric.addresses.podGateway(of: node.index)
        do throws(SystemCallFailed) {
            book = Mutex(
                try AddressBook(
                    range: fabric.addresses.pods(of: node.index), node: node.name, runDirectory: fabric.runDirectory))
        } catch {
            throw NetworkFailure("pod addresses of \(node.name): \(error)")
        }
    }

    package func attach(
        podUID: String, interception: Interception?
    ) async throws(NetworkFailure) -> PodAttachment {
        let path = try namespacePath(podUID)
        let commands = try interception?.commands()
        let address = try book.withLock { (book) throws(NetworkFailure) in try book.address(for: podUID) }
        try await work("attach pod \(podUID) to \(node.name)") { [gateway, nodeNamespace] () throws(NetworkFailure) in
            let cable = PodCable(address: address, gateway: gateway, nodeNamespace: nodeNamespace, podNamespace: path)
            let isNew = try cable.named { (cable) throws(SystemCallFailed) in
                let isNew = try NetworkNamespace.create(at: path)
                try cable.plugIn()
                return isNew
            }
            if commands != nil || !isNew { try Nftables.run(commands ?? Interception.removal, in: path) }
        }
        return PodAttachment(address: address.description, networkNamespace: path)
    }

    package func detach(podUID: String) async throws(NetworkFailure) {
        let path = try namespacePath(podUID)
        let address = book.withLock { $0.addresses[podUID] }
        try await work("detach pod \(podUID) from \(node.name)") { [self] () throws(NetworkFailure) in
            do throws(SystemCallFailed) {
                if let address {
                    let cable = PodCable(
                        address: address, gateway: gateway, nodeNamespace: nodeNamespace, podNamespace: path)
                    try cable.pullOut()
                }
                try NetworkNamespace.remove(at: path)
                // Last, so that a crash before leaves the address taken and `attachments` naming the pod.
                try book.withLock { (book) throws(SystemCallFailed) in try book.release(podUID) }
            } catch {
                throw NetworkFailure("\(error)")
            }
        }
    }

    package func attachments() async throws(NetworkFailure) -> [String: PodAttachment] {
        var found: [String: PodAttachment] = [:]
        for (uid, address) in book.withLock({ $0.addresses }) {
            found[uid] = PodAttachment(
                address: address.description, networkNamespace: "\(namespaceDirectory)/pod-\(uid)")
        }
        return found
    }

    /// The uid becomes part of a path.
    private func namespacePath(_ uid: String) throws(NetworkFailure) -> String {
        let isPlain = uid.utf8.allSatisfy { byte in
            byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_") || (0x30...0x39).contains(byte)
                || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
        }
        guard isPlain, (1...128).contains(uid.utf8.count) else {
            throw NetworkFailure("pod uid \"\(uid)\": letters, digits, - and _ only")
        }
        return "\(namespaceDirectory)/pod-\(uid)"
    }

    /// Runs blocking work on a thread in the node's namespace.
    private func work(
        _ what: String, _ body: @escaping @Sendable () throws(NetworkFailure) -> Void
    ) async throws(NetworkFailure) {
        let result: Result<Void, NetworkFailure>
        do throws(SystemCallFailed) {
            result = try await NetworkNamespace.perform(in: nodeNamespace) {
                do throws(NetworkFailure) {
                    try body()
                    return .success(())
                } catch {
                    return .failure(error)
                }
            }
        } catch {
            result = .failure(NetworkFailure("\(error)"))
        }
        if case .failure(let error) = result { throw NetworkFailure("\(what): \(error)") }
    }
}

/// The pair of links between a pod and its node, and what both ends say about it.
private struct PodCable {
    let address: IPv4Address
    let gateway: IPv4Address
    let nodeNamespace: String
    let podNamespace: String

    private static let podEnd = "eth0"

    /// Named by the address, so that a pod's end can be found, and one left behind by a crash is in nobody's way for long.
    private var nodeEnd: String {
        let digits = String(address.bits, radix: 16)
        return "pod" + String(repeating: "0", count: 8 - digits.count) + digits
    }

    func named<Value>(_ body: (PodCable) throws(SystemCallFailed) -> Value) throws(NetworkFailure) -> Value {
        do throws(SystemCallFailed) { return try body(self) } catch { throw NetworkFailure("\(error)") }
    }

    func plugIn() throws(SystemCallFailed) {
        try NamespaceSettings.apply(NamespaceSettings.pod, in: podNamespace)
        var node = try NetlinkSocket(inNamespace: nodeNamespace)
        var pod = try NetlinkSocket(inNamespace: podNamespace)
        try pod.setUp(pod.requireLink(named: "lo"))
        if try pod.link(named: Self.podEnd) == nil {
            try node.deleteLink(named: nodeEnd)
            let peer = try OwnedDescriptor.open(podNamespace, flags: 0)
            try node.createVeth(
                nodeEnd, peer: Self.podEnd, peerHardwareAddress: MACAddress(for: address), peerNamespace: peer)
        }
        let bridge = try node.requireLink(named: ClusterFabric.podBridge)
        let port = try node.requireLink(named: nodeEnd)
        try node.setMaster(port, bridge)
        try node.setUp(port)
        try node.putNeighbour(address, MACAddress(for: address), on: bridge)
        try node.putRoute(Route(own, .link(bridge.index), source: gateway))

        let end = try pod.requireLink(named: Self.podEnd)
        try pod.setUp(end)
        try pod.addAddress(own, to: end)
        try pod.putNeighbour(gateway, MACAddress(for: gateway), on: end)
        let everywhere = IPv4Range(IPv4Address(0, 0, 0, 0), prefixLength: 0)
        try pod.putRoute(Route(everywhere, .gateway(gateway, link: end.index), source: address))
    }

    func pullOut() throws(SystemCallFailed) {
        guard NetworkNamespace.exists(at: nodeNamespace) else { return }
        var node = try NetlinkSocket(inNamespace: nodeNamespace)
        try node.deleteRoute(to: own)
        if let bridge = try node.link(named: ClusterFabric.podBridge) { try node.deleteNeighbour(address, on: bridge) }
        try node.deleteLink(named: nodeEnd)
    }

    private var own: IPv4Range { IPv4Range(address, prefixLength: 32) }
}
