package import Wire

/// What stands where a client calls: the answer to a proxy that holds what it uses and asked for `10.96.0.7:80`, or for
/// `catalog.demo.svc.cluster.local:80`. The resources it names are with the proxy before it.
package struct Destination: Sendable, Hashable {
    package var key: String  // as it was asked for: an address or a host, and the port
    package var servicePort: String  // a resource's name; empty where the address is an endpoint's own
    package var backend: String  // of the endpoint; empty where there is a service port

    package init(key: String, servicePort: String = "", backend: String = "") {
        self.key = key
        self.servicePort = servicePort
        self.backend = backend
    }
}

extension Destination {
    package init(json: JSON) throws(ResourceFault) {
        try self.init(try ResourceFields(json, of: "Destination \(json["key"]?.string ?? "")"))
    }

    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(
            key: try fields.requiredString("key"), servicePort: try fields.string("servicePort"),
            backend: try fields.string("backend"))
        if servicePort.isEmpty == backend.isEmpty {
            throw fields.fault("servicePort", "is required where there is no backend, and excludes it")
        }
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("key", key)
        out.write("servicePort", servicePort)
        out.write("backend", backend)
        return out.json
    }
}
