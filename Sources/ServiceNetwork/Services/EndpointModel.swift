package import Kernel
package import KubeTypes
import Wire

/// What the network needs to know of an EndpointSlice.
package struct SliceModel: Sendable, Hashable {
    package struct Port: Sendable, Hashable {
        package var name: String
        package var transport: Transport
        package var port: UInt16
    }

    package struct Endpoint: Sendable, Hashable {
        package var address: IPv4Address?  // one of the two
        package var address6: [UInt8]?
        package var hostname: String?
        package var node: String?
        package var isReady: Bool
        package var isServing: Bool
        package var isTerminating: Bool
    }

    package var key: ObjectKey
    /// The Service it belongs to, by the label; `nil` when it belongs to none.
    package var service: ObjectKey?
    package var ports: [Port]
    package var endpoints: [Endpoint]

    package init(_ slice: KubeObject) {
        key = slice.key
        service = slice.labels["kubernetes.io/service-name"].map { ObjectKey(namespace: slice.namespace, name: $0) }
        ports = (slice.json["ports"]?.array ?? []).compactMap { port in
            guard let number = port["port"]?.int, let value = UInt16(exactly: number), value > 0,
                let transport = Transport(rawValue: port["protocol"]?.string ?? "TCP")
            else { return nil }
            return Port(name: port["name"]?.string ?? "", transport: transport, port: value)
        }
        endpoints = (slice.json["endpoints"]?.array ?? []).compactMap(Endpoint.init)
    }
}

extension SliceModel.Endpoint {
    /// Of several addresses the first counts: they are the same endpoint's (discovery.k8s.io/v1).
    fileprivate init?(_ json: JSON) {
        guard let text = json["addresses"]?[0]?.string else { return nil }
        address = IPv4Address(text)
        address6 = parseIPv6(text)
        if address == nil, address6 == nil { return nil }
        hostname = json["hostname"]?.string.flatMap { $0.isEmpty ? nil : $0 }
        node = json["nodeName"]?.string
        let conditions = json["conditions"]
        isReady = conditions?["ready"]?.bool ?? true
        isTerminating = conditions?["terminating"]?.bool ?? false
        isServing = conditions?["serving"]?.bool ?? isReady
    }
}
