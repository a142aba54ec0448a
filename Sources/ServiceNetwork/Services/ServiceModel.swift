package import Kernel
package import KubeTypes
import Wire

/// What the network needs to know of a Service.
package struct ServiceModel: Sendable, Hashable {
    package enum Kind: Sendable, Hashable { case clusterIP, headless, externalName(String) }

    package struct Port: Sendable, Hashable {
        package var name: String  // empty for a single unnamed port
        package var transport: Transport
        package var port: UInt16
        package var nodePort: UInt16?
    }

    package var key: ObjectKey
    package var kind: Kind
    package var clusterAddresses: [IPv4Address]
    package var clusterAddresses6: [[UInt8]]  // 16 bytes each; named by DNS only
    /// `externalIPs`, and the addresses a load balancer gave it.
    package var externalAddresses: [IPv4Address]
    package var ports: [Port]
    /// How long, in seconds, a client keeps its endpoint; `nil` without affinity.
    package var affinity: Int?
    package var keepsInternalTrafficLocal: Bool
    package var keepsExternalTrafficLocal: Bool
    package var publishesNotReady: Bool

    /// Reads a Service. Fields that make no sense are taken as absent: validation is the API server's.
    package init(_ service: KubeObject) {
        let spec = service.spec
        key = service.key
        var addresses = spec["clusterIPs"]?.array?.compactMap(\.string) ?? []
        if addresses.isEmpty, let single = spec["clusterIP"]?.string, !single.isEmpty { addresses = [single] }
        if spec["type"]?.string == "ExternalName" {
            kind = .externalName(spec["externalName"]?.string ?? "")
            addresses = []
        } else {
            kind = addresses.contains("None") ? .headless : .clusterIP
        }
        clusterAddresses = addresses.compactMap { IPv4Address($0) }
        clusterAddresses6 = addresses.compactMap(parseIPv6)
        let balancer = service.status["loadBalancer"]?["ingress"]?.array?.compactMap { $0["ip"]?.string } ?? []
        let external = (spec["externalIPs"]?.array?.compactMap(\.string) ?? []) + balancer
        externalAddresses = external.compactMap { IPv4Address($0) }
        ports = spec["ports"]?.array?.compactMap(Port.init) ?? []
        affinity = nil
        if spec["sessionAffinity"]?.string == "ClientIP" {
            let seconds = spec["sessionAffinityConfig"]?["clientIP"]?["timeoutSeconds"]?.int ?? 10800
            affinity = min(max(seconds, 1), 86400)
        }
        keepsInternalTrafficLocal = spec["internalTrafficPolicy"]?.string == "Local"
        keepsExternalTrafficLocal = spec["externalTrafficPolicy"]?.string == "Local"
        publishesNotReady = spec["publishNotReadyAddresses"]?.bool ?? false
    }
}

extension ServiceModel.Port {
    fileprivate init?(_ json: JSON) {
        guard let number = json["port"]?.int, let port = UInt16(exactly: number), port > 0,
            let transport = Transport(rawValue: json["protocol"]?.string ?? "TCP")
        else { return nil }
        name = json["name"]?.string ?? ""
        self.transport = transport
        self.port = port
        nodePort = json["nodePort"]?.int.flatMap { UInt16(exactly: $0) }.flatMap { $0 > 0 ? $0 : nil }
    }
}

/// The transports a service port can have, as the API names them.
package enum Transport: String, Sendable, Hashable, Comparable {
    case tcp = "TCP", udp = "UDP", sctp = "SCTP"
    /// As nftables is told it: by number, since names need /etc/protocols, which a small machine lacks.
    var number: UInt8 {
        switch self {
        case .tcp: 6
        case .udp: 17
        case .sctp: 132
        }
    }
    /// As DNS names it.
    package var lowercased: String {
        switch self {
        case .tcp: "tcp"
        case .udp: "udp"
        case .sctp: "sctp"
        }
    }
    package static func < (one: Transport, other: Transport) -> Bool { one.rawValue < other.rawValue }
}
