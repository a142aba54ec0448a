package import Kernel

/// What a client connects to: a service's port at one address.
package struct Frontend: Sendable, Hashable, Comparable {
    package var address: IPv4Address
    package var transport: Transport
    package var port: UInt16

    package static func < (one: Frontend, other: Frontend) -> Bool {
        (one.address, one.transport, one.port) < (other.address, other.transport, other.port)
    }
}

/// Where a connection ends up.
package struct Backend: Sendable, Hashable, Comparable {
    package var address: IPv4Address
    package var port: UInt16
    package static func < (one: Backend, other: Backend) -> Bool {
        (one.address, one.port) < (other.address, other.port)
    }
}

/// How one frontend's connections are spread.
package struct Spread: Sendable, Hashable {
    package var backends: Set<Backend>
    /// Whether connections get the node's address as their source, so that answers come back this way.
    package var masquerades = false
    /// Seconds a client keeps its backend.
    package var affinity: Int?
}

/// What a node must know of itself to plan its rules.
package struct RuleScope: Sendable, Hashable {
    package var nodeName: String
    /// The addresses node ports are open at. Never loopback.
    package var nodeAddresses: [IPv4Address]
    package var serviceRange: IPv4Range
    /// Addresses in the service range that are the node's own, such as its DNS server's.
    package var ownServiceAddresses: Set<IPv4Address>

    package init(
        nodeName: String, nodeAddresses: [IPv4Address], serviceRange: IPv4Range,
        ownServiceAddresses: Set<IPv4Address> = []
    ) {
        self.nodeName = nodeName
        self.nodeAddresses = nodeAddresses
        self.serviceRange = serviceRange
        self.ownServiceAddresses = ownServiceAddresses
    }
}

extension ServiceModel {
    /// What this node must do for the service: every frontend, those without a backend too.
    package func frontends(_ slices: [SliceModel], _ scope: RuleScope) -> [Frontend: Spread] {
        guard kind == .clusterIP else { return [:] }
        var found: [Frontend: Spread] = [:]
        for port in ports {
            let inside = backends(of: port, slices, onlyOn: keepsInternalTrafficLocal ? scope.nodeName : nil)
            for address in clusterAddresses where !scope.ownServiceAddresses.contains(address) {
                let frontend = Frontend(address: address, transport: port.transport, port: port.port)
                found[frontend] = Spread(backends: inside, affinity: affinity)
            }
            if port.nodePort == nil, externalAddresses.isEmpty { continue }
            let outside = backends(of: port, slices, onlyOn: keepsExternalTrafficLocal ? scope.nodeName : nil)
            let spread = Spread(backends: outside, masquerades: !keepsExternalTrafficLocal, affinity: affinity)
            for address in externalAddresses {
                found[Frontend(address: address, transport: port.transport, port: port.port)] = spread
            }
            guard let nodePort = port.nodePort else { continue }
            for address in scope.nodeAddresses {
                found[Frontend(address: address, transport: port.transport, port: nodePort)] = spread
            }
        }
        return found
    }

    /// The ready ones; when there are none, those that still serve while they end (KEP-1669).
    private func backends(of port: Port, _ slices: [SliceModel], onlyOn node: String?) -> Set<Backend> {
        var ready: Set<Backend> = []
        var ending: Set<Backend> = []
        for slice in slices {
            let match = slice.ports.first { $0.name == port.name && $0.transport == port.transport }
            guard let match else { continue }
            for endpoint in slice.endpoints {
                guard let address = endpoint.address, node == nil || endpoint.node == node else { continue }
                let backend = Backend(address: address, port: match.port)
                if endpoint.isReady || publishesNotReady {
                    ready.insert(backend)
                } else if endpoint.isServing, endpoint.isTerminating {
                    ending.insert(backend)
                }
            }
        }
        return ready.isEmpty ? ending : ready
    }
}
