/// A node's pod network as the node agent uses it. Every call may be repeated.
package protocol PodNetwork: Sendable {
    /// A namespace with loopback, one interface with an address of the node's range, a default route, and, with
    /// `interception`, the rules that lead traffic through the sidecar. Ready when this returns.
    func attach(podUID: String, interception: Interception?) async throws(NetworkFailure) -> PodAttachment
    func detach(podUID: String) async throws(NetworkFailure)
    /// What is attached, for a restarted agent.
    func attachments() async throws(NetworkFailure) -> [String: PodAttachment]
}

package struct PodAttachment: Sendable, Hashable {
    package var address: String  // IPv4
    package var networkNamespace: String  // a path for `setns`
    package init(address: String, networkNamespace: String) {
        self.address = address
        self.networkNamespace = networkNamespace
    }
}

/// Which traffic of a pod goes through its sidecar: all TCP but what is listed, and DNS.
package struct Interception: Sendable, Hashable {
    package var proxyUser = 1337
    package var outboundPort = 15001
    package var inboundPort = 15006
    /// Where DNS is led to, on 127.0.0.1: a UDP server bound to 0.0.0.0 would answer from the pod's address, which no
    /// asker waits for.
    package var dnsPort: Int? = 15053
    package var excludedInboundPorts: [Int] = [15020, 15021, 15090]
    package var excludedOutboundPorts: [Int] = []
    package var excludedOutboundRanges: [String] = []
    package init() {}
}

package struct NetworkFailure: Error, Sendable, CustomStringConvertible {
    package let message: String
    package init(_ message: String) { self.message = message }
    package var description: String { message }
}
