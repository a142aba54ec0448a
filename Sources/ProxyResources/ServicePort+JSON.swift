package import Wire

extension ServicePort {
    package init(json: JSON) throws(ResourceFault) {
        let name = "\(json["namespace"]?.string ?? "")/\(json["service"]?.string ?? ""):\(json["port"]?.int ?? 0)"
        try self.init(try ResourceFields(json, of: "ServicePort \(name)"))
    }

    init(_ fields: ResourceFields) throws(ResourceFault) {
        var routes: [RouteRule] = []
        for rule in try fields.objects("routes") { routes.append(try RouteRule(rule)) }
        self.init(
            namespace: try fields.requiredString("namespace"), service: try fields.requiredString("service"),
            port: try fields.port("port"), addresses: try fields.strings("addresses"),
            hosts: try fields.strings("hosts"), appProtocol: try fields.word("protocol", or: .unknown), routes: routes,
            defaultBackend: try fields.string("defaultBackend"))
        tlsRoutes = try fields.parts("tlsRoutes")
        tcpRoutes = try fields.parts("tcpRoutes")
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("namespace", namespace)
        out.write("service", service)
        out.write("port", port)
        out.write("addresses", addresses)
        out.write("hosts", hosts)
        out.write("protocol", appProtocol.rawValue)
        out.write("routes", routes.map(\.json))
        out.write("defaultBackend", defaultBackend)
        out.write("tlsRoutes", tlsRoutes)
        out.write("tcpRoutes", tcpRoutes)
        return out.json
    }
}
