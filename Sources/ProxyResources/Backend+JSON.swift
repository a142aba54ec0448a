package import Wire

extension Backend {
    package init(json: JSON) throws(ResourceFault) {
        try self.init(try ResourceFields(json, of: "Backend \(json["name"]?.string ?? "")"))
    }

    init(_ fields: ResourceFields) throws(ResourceFault) {
        var endpoints: [Endpoint] = []
        for endpoint in try fields.objects("endpoints") { endpoints.append(try Endpoint(endpoint)) }
        self.init(
            name: try fields.requiredString("name"), service: try fields.string("service"),
            namespace: try fields.string("namespace"), endpoints: endpoints,
            appProtocol: try fields.word("protocol", or: .unknown))
        if let found = try fields.object("balance") { balance = try BalancePolicy(found) }
        if let found = try fields.object("outlier") { outlier = try OutlierPolicy(found) }
        if let found = try fields.object("health") { health = try HealthCheck(found) }
        if let tls = try fields.object("tls") { self.tls = try BackendTLS(tls) }
        proxyProtocol = try fields.word("proxyProtocol", or: .none)
        resilience = try BackendResilience(try fields.object("resilience"))
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("name", name)
        out.write("service", service)
        out.write("namespace", namespace)
        out.write("endpoints", endpoints.map(\.json))
        if balance != BalancePolicy() { out.write("balance", balance.json) }
        if let outlier { out.write("outlier", outlier.json) }
        if let health { out.write("health", health.json) }
        if let tls { out.write("tls", tls.json) }
        out.write("proxyProtocol", proxyProtocol.rawValue)
        out.write("protocol", appProtocol.rawValue)
        if resilience != .none { out.write("resilience", resilience.json) }
        return out.json
    }
}

extension Endpoint {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        let principal = try fields.string("principal")
        self.init(
            address: try fields.requiredString("address"), port: try fields.port("port"),
            principal: principal.isEmpty ? nil : principal, workload: try fields.string("workload"),
            version: try fields.string("version"), app: try fields.string("app"),
            weight: try fields.integer("weight", in: 1...10_000) ?? 1, locality: try fields.string("locality"),
            node: try fields.string("node"))
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("address", address)
        out.write("port", port)
        out.write("principal", principal ?? "")
        out.write("workload", workload)
        out.write("version", version)
        out.write("app", app)
        if weight != 1 { out.write("weight", weight) }
        out.write("locality", locality)
        out.write("node", node)
        return out.json
    }
}
