package import ContainerRuntime
package import KubeTypes
package import ServiceNetwork

/// What annotations of a pod ask of the node.
package enum PodAnnotations {
    private static let systemNamespace = "weft-system"

    /// Whether, and how, the pod's traffic goes through its sidecar.
    package static func interception(_ pod: KubeObject) throws(ContainerConfigFault) -> Interception? {
        let annotations = pod.annotations
        guard annotations["weft.dev/intercept"] == "true" else { return nil }
        var interception = Interception()
        let inbound = "traffic.sidecar.istio.io/excludeInboundPorts"
        let outbound = "traffic.sidecar.istio.io/excludeOutboundPorts"
        interception.excludedInboundPorts += try ports(annotations, inbound)
        interception.excludedOutboundPorts += try ports(annotations, outbound)
        interception.excludedOutboundRanges += words(annotations["traffic.sidecar.istio.io/excludeOutboundIPRanges"])
        return interception
    }

    /// `http=127.0.0.1:8080,https=127.0.0.1:8443`: sockets on the machine's loopback that the first container inherits.
    ///
    /// Only for pods of the system's namespace: such a socket stands outside every pod's network, where no policy applies.
    package static func machineListeners(_ pod: KubeObject) throws(ContainerConfigFault) -> [MachineListener] {
        let key = "weft.dev/machine-listeners"
        guard let text = pod.annotations[key] else { return [] }
        guard pod.namespace == systemNamespace else {
            throw ContainerConfigFault(
                "annotation \(key): only pods of the namespace \(systemNamespace) may listen on the machine itself; remove it, "
                    + "and let a route bring the traffic through the gateway"
            )
        }
        var listeners: [MachineListener] = []
        for word in words(text) {
            let parts = word.split(separator: "=", maxSplits: 1)
            let place = parts.last?.split(separator: ":") ?? []
            guard parts.count == 2, place.count == 2, let port = Int(place[1]), (1...65535).contains(port),
                place[0].hasPrefix("127.")
            else {
                throw ContainerConfigFault(
                    "annotation \(key): \"\(word)\" is not a listener; write name=127.0.0.1:port, loopback addresses only"
                )
            }
            listeners.append(MachineListener(name: String(parts[0]), address: String(place[0]), port: port))
        }
        return listeners
    }

    private static func words(_ text: String?) -> [String] {
        (text ?? "").split(separator: ",").map { $0.filter { $0 != " " } }.filter { !$0.isEmpty }
    }

    private static func ports(_ annotations: [String: String], _ key: String) throws(ContainerConfigFault) -> [Int] {
        var ports: [Int] = []
        for word in words(annotations[key]) {
            guard let port = Int(word), (1...65535).contains(port) else {
                throw ContainerConfigFault("annotation \(key): \"\(word)\" is not a port")
            }
            ports.append(port)
        }
        return ports
    }
}
