package import Wire

/// Fields of an EndpointSlice; they stand at the top, there is no spec.
package enum EndpointSlice {
    package static let addressType = Field<String>("addressType")
    package static let endpoints = Field<[JSON]>("endpoints")
    package static let ports = Field<[JSON]>("ports")
}

/// Fields of one entry of a slice's `endpoints`.
package enum SliceEndpoint {
    package static let addresses = Field<[String]>("addresses")
    package static let ready = Field<Bool>("conditions", "ready")
    package static let serving = Field<Bool>("conditions", "serving")
    package static let terminating = Field<Bool>("conditions", "terminating")
    package static let nodeName = Field<String>("nodeName")
    package static let zone = Field<String>("zone")
    package static let hostname = Field<String>("hostname")
    package static let targetUID = Field<String>("targetRef", "uid")
}

/// Fields of one entry of a slice's `ports`.
package enum SlicePort {
    package static let name = Field<String>("name")
    package static let port = Field<Int>("port")
    package static let `protocol` = Field<String>("protocol")
    package static let appProtocol = Field<String>("appProtocol")
}
