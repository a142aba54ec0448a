package import Wire

/// Fields of a Service.
package enum Service {
    package static let type = Field<String>("spec", "type")
    package static let clusterIP = Field<String>("spec", "clusterIP")  // `None` for headless, empty until allocated
    package static let clusterIPs = Field<[String]>("spec", "clusterIPs")
    package static let ipFamilies = Field<[String]>("spec", "ipFamilies")
    package static let ipFamilyPolicy = Field<String>("spec", "ipFamilyPolicy")
    package static let externalName = Field<String>("spec", "externalName")
    package static let externalIPs = Field<[String]>("spec", "externalIPs")
    package static let selector = Field<[String: String]>("spec", "selector")
    package static let ports = Field<[JSON]>("spec", "ports")
    package static let sessionAffinity = Field<String>("spec", "sessionAffinity")
    package static let publishNotReadyAddresses = Field<Bool>("spec", "publishNotReadyAddresses")
    package static let internalTrafficPolicy = Field<String>("spec", "internalTrafficPolicy")
    package static let externalTrafficPolicy = Field<String>("spec", "externalTrafficPolicy")
    package static let trafficDistribution = Field<String>("spec", "trafficDistribution")
}

/// Fields of one entry of a service's `spec.ports`.
package enum ServicePortSpec {
    package static let name = Field<String>("name")
    package static let port = Field<Int>("port")
    package static let targetPort = Field<JSON>("targetPort")  // a number or the name of a container port
    package static let `protocol` = Field<String>("protocol")
    package static let appProtocol = Field<String>("appProtocol")
    package static let nodePort = Field<Int>("nodePort")
}
