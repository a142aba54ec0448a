package import Wire

extension Workload {
    package init(json: JSON) throws(ResourceFault) {
        try self.init(try ResourceFields(json, of: "Workload self"))
    }

    init(_ fields: ResourceFields) throws(ResourceFault) {
        var ports: [Int: MutualTLS] = [:]
        if let modes = try fields.object("portMutualTLS") {
            for member in modes.json.object ?? JSONObject() {
                guard let port = Int(member.key), (1...65535).contains(port) else {
                    throw modes.fault(member.key, "is not a port number")
                }
                ports[port] = try modes.word(member.key, or: MutualTLS.permissive)
            }
        }
        var inbound: [InboundPort] = []
        for port in try fields.objects("inboundPorts") { inbound.append(try InboundPort(port)) }
        var listeners: [GatewayListener] = []
        for listener in try fields.objects("gatewayListeners") { listeners.append(try GatewayListener(listener)) }
        let labels = try fields.stringMap("labels")
        self.init(
            namespace: try fields.requiredString("namespace"), pod: try fields.requiredString("pod"),
            name: try fields.string("name"), app: try fields.string("app"), version: try fields.string("version"),
            node: try fields.string("node"), locality: try fields.string("locality"),
            trustDomain: try fields.requiredString("trustDomain"),
            principal: try fields.requiredString("principal"),
            mutualTLS: try fields.word("mutualTLS", or: .permissive), portMutualTLS: ports, inboundPorts: inbound,
            gatewayListeners: listeners, clusterDomain: try fields.requiredString("clusterDomain"),
            dnsUpstream: try fields.string("dnsUpstream"))
        if let security = try fields.object("security") { self.security = try WorkloadSecurity(security) }
        multiplexing = try fields.word("multiplexing", or: .byLoad)
        if let telemetry = try fields.object("telemetry") { self.telemetry = try Telemetry(telemetry) }
        self.labels = labels
        rateLimits = try RateLimit.list(fields, "rateLimits")
        if let limits = try fields.object("limits") { self.limits = try ClientLimits(limits) }
        if let loading = try fields.object("loading") { self.loading = try Loading(loading) }
        clientCertificate = try fields.part("clientCertificate")
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("namespace", namespace)
        out.write("pod", pod)
        out.write("name", name)
        out.write("app", app)
        out.write("version", version)
        out.write("labels", labels)
        out.write("node", node)
        out.write("locality", locality)
        out.write("trustDomain", trustDomain)
        out.write("principal", principal)
        out.write("mutualTLS", mutualTLS.rawValue)
        if !portMutualTLS.isEmpty {
            let modes = portMutualTLS.sorted { $0.key < $1.key }
            out.write(
                "portMutualTLS",
                .object(JSONObject(modes.map { .init(String($0.key), .string($0.value.rawValue)) })))
        }
        out.write("inboundPorts", inboundPorts.map(\.json))
        out.write("gatewayListeners", gatewayListeners.map(\.json))
        out.write("clusterDomain", clusterDomain)
        out.write("dnsUpstream", dnsUpstream)
        if !security.isEmpty { out.write("security", security.json) }
        out.write("multiplexing", multiplexing.rawValue)
        if telemetry != Telemetry() { out.write("telemetry", telemetry.json) }
        out.write("rateLimits", rateLimits.map(\.json))
        if limits != ClientLimits() { out.write("limits", limits.json) }
        if loading != Loading() { out.write("loading", loading.json) }
        out.write("clientCertificate", clientCertificate)
        return out.json
    }
}

extension InboundPort {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(
            port: try fields.port("port"), appProtocol: try fields.word("protocol", or: .unknown),
            service: try fields.string("service"), rateLimits: try RateLimit.list(fields, "rateLimits"))
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("port", port)
        out.write("protocol", appProtocol.rawValue)
        out.write("service", service)
        out.write("rateLimits", rateLimits.map(\.json))
        return out.json
    }
}

extension GatewayListener {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        var routes: [VirtualHost] = []
        for host in try fields.objects("routes") { routes.append(try VirtualHost(host)) }
        self.init(
            name: try fields.string("name"), address: try fields.string("address"), port: try fields.port("port"),
            inherited: try fields.string("inherited"), routes: routes)
        tls = try fields.parts("tls")
        tlsRoutes = try fields.parts("tlsRoutes")
        backends = try fields.parts("backends")
        proxyProtocol = try fields.part("proxyProtocol")
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("name", name)
        out.write("address", address)
        out.write("port", port)
        out.write("inherited", inherited)
        out.write("routes", routes.map(\.json))
        out.write("tls", tls)
        out.write("tlsRoutes", tlsRoutes)
        out.write("backends", backends)
        out.write("proxyProtocol", proxyProtocol)
        return out.json
    }
}
