import KubeTypes
package import ProxyResources

/// Finds what stands at an address or behind a host's name, as a proxy asks that holds what it uses.
package struct DestinationIndex: Sendable {
    private let model: MeshModel
    private var byAddress: [String: String] = [:]
    private var byEndpoint: [String: String] = [:]
    private let suffix: String

    /// Where two claim one address, the first by name has it, as in the proxies' tables.
    package init(_ model: MeshModel, clusterDomain: String = "cluster.local") {
        self.model = model
        suffix = ".svc.\(clusterDomain)"
        byAddress.reserveCapacity(model.servicePorts.count)
        func first(_ key: String, _ name: String, _ map: inout [String: String]) {
            if let known = map[key], known < name { return }
            map[key] = name
        }
        for (name, port) in model.servicePorts {
            for address in port.addresses { first("\(address):\(port.port)", name, &byAddress) }
        }
        // Those of subsets are among those of the whole.
        for (name, backend) in model.backends where name.utf8.count(where: { $0 == UInt8(ascii: "/") }) < 2 {
            for endpoint in backend.endpoints { first("\(endpoint.address):\(endpoint.port)", name, &byEndpoint) }
        }
    }

    /// `10.96.0.7:80`, `10.244.1.5:8080`, `catalog.demo.svc.cluster.local:80`, or shorter as a pod of the namespace may write it.
    package func destination(_ key: String, from namespace: String) -> Destination? {
        if let name = byAddress[key] { return Destination(key: key, servicePort: name) }
        if let name = byEndpoint[key] { return Destination(key: key, backend: name) }
        let colon = key.lastIndex(of: ":")
        let port = colon.map { key[key.index(after: $0)...] }
        var host = key[..<(colon ?? key.endIndex)].lowercased()
        for ending in [suffix, ".svc"] where host.hasSuffix(ending) {
            host.removeLast(ending.count)
            break
        }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        let service: String
        switch parts.count {
        case 1: service = "\(namespace)/\(parts[0]):"
        case 2: service = "\(parts[1])/\(parts[0]):"
        default: return nil
        }
        // Somebody who looks may leave the port out.
        let name = port.map { service + $0 } ?? model.servicePorts.keys.filter { $0.hasPrefix(service) }.min() ?? ""
        return model.servicePorts[name] == nil ? nil : Destination(key: key, servicePort: name)
    }
}

extension MeshModel {
    /// A destination as a client in a namespace sees it.
    package func destination(_ name: String, from namespace: String) -> ServicePort? {
        guard var seen = servicePorts[name] else { return nil }
        if seen.namespace == namespace { seen.hosts.append(seen.service) }
        if let routes = routesOfClients[namespace]?[name] { routes.apply(to: &seen) }
        return seen
    }
}
