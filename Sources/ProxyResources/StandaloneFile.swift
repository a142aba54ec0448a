package import Wire

/// What `meshproxy run --config FILE` is told: listeners, the routes they take, the clusters behind them, and how the proxy is seen.
///
/// proxies/README.md describes the file, proxies/standalone.schema.json says the same to editors.
package struct StandaloneFile: Sendable, Hashable {
    /// Pages for people and machines, open from start to end; 0 for none.
    package struct Doors: Sendable, Hashable {
        package var adminPort = 0
        package var healthPort = 0
        package var metricsPort = 0
        package init() {}
    }

    package var doors = Doors()
    /// Carries the listeners.
    package var workload: Workload
    package var identity: Identity?
    package var backends: [String: Backend] = [:]
    /// Files whose contents were taken; a change of one is a change of this.
    package var sources: [String] = []
}

extension StandaloneFile {
    /// Whether the value is the control plane's own form: resources as they are sent, and low-level listeners.
    package static func isResourceForm(_ json: JSON) -> Bool {
        if json["servicePorts"] != nil || json["backends"] != nil { return true }
        if json["workload"]?["gatewayListeners"] != nil { return true }
        return json["listeners"]?.array?.contains { $0["side"] != nil } ?? false
    }

    /// - Parameter readText: the contents of a file named in this one.
    /// - Throws: a fault whose `resource` is empty, and whose field is spelled as in the file.
    package init(json: JSON, readText: @escaping (String) throws -> String) throws(ResourceFault) {
        let read = TextsRead(readText)
        try self.init(json: json, spelling: FileSpelling { try read.text($0) })
        sources = read.paths
    }

    init(json: JSON, spelling: FileSpelling) throws(ResourceFault) {
        let fields = try ResourceFields(json, of: "", spelling: spelling)
        workload = try Self.workload(fields)
        if let given = try fields.object("identity") { identity = try Self.identity(given) }
        for (index, cluster) in try fields.objects("clusters").enumerated() {
            let backend = try Self.cluster(cluster)
            if backends[backend.name] != nil {
                throw fields.fault("clusters[\(index)].name", "is \(backend.name), as another cluster's")
            }
            backends[backend.name] = backend
        }
        try readListeners(fields)
        doors.adminPort = try Self.door(fields, "admin")
        doors.healthPort = try Self.door(fields, "health")
        doors.metricsPort = try Self.door(fields, "metrics")
        if let stranger = spelling.stranger {
            throw ResourceFault(resource: "", field: stranger, message: "is not a field that is known here")
        }
    }

    private static func workload(_ fields: ResourceFields) throws(ResourceFault) -> Workload {
        var json = try fields.value("workload") ?? .object(JSONObject())
        let defaults = [
            "namespace": "default", "pod": "meshproxy", "trustDomain": "cluster.local",
            "clusterDomain": "cluster.local", "principal": "spiffe://cluster.local/ns/default/sa/default",
        ]
        for (key, value) in defaults where json.object != nil && json[key] == nil { json[key] = .string(value) }
        return try Workload(
            try ResourceFields(json, of: "", path: fields.place("workload"), spelling: fields.spelling))
    }

    private static func identity(_ fields: ResourceFields) throws(ResourceFault) -> Identity {
        Identity(
            certificateChain: try fields.requiredString("certificateChain"),
            privateKey: try fields.requiredString("privateKey"), trustRoots: try fields.requiredString("trustRoots"),
            expires: 0)
    }

    private static func door(_ fields: ResourceFields, _ name: String) throws(ResourceFault) -> Int {
        try fields.object(name)?.port("port") ?? 0
    }

    /// A cluster is a `Backend`; what stands for all of its endpoints may be said once.
    private static func cluster(_ fields: ResourceFields) throws(ResourceFault) -> Backend {
        let principal = try fields.string("principal")
        var json = fields.json
        json["principal"] = nil
        var backend = try Backend(
            try ResourceFields(json, of: "", path: fields.path, spelling: fields.spelling))
        if backend.service.isEmpty { backend.service = backend.name }
        for place in backend.endpoints.indices {
            let endpoint = backend.endpoints[place]
            guard isIPv4(endpoint.address) else {
                throw fields.fault(
                    "endpoints[\(place)].address",
                    "is \(endpoint.address), must be an IPv4 address; names are not resolved")
            }
            if endpoint.principal == nil && !principal.isEmpty { backend.endpoints[place].principal = principal }
            if endpoint.workload.isEmpty { backend.endpoints[place].workload = backend.name }
        }
        return backend
    }

    private mutating func readListeners(_ fields: ResourceFields) throws(ResourceFault) {
        var names: Set<String> = []
        var places: Set<String> = []
        for (index, listener) in try fields.objects("listeners").enumerated() {
            var read = try self.listener(listener)
            if read.name.isEmpty { read.name = "listener-\(index)" }
            if !names.insert(read.name).inserted {
                throw listener.fault("name", "is \(read.name), as another listener's")
            }
            if !read.address.isEmpty, !Self.isIPv4(read.address) {
                throw listener.fault("address", "is \(read.address), must be an IPv4 address")
            }
            if read.inherited.isEmpty, !places.insert("\(read.address):\(read.port)").inserted {
                throw listener.fault("port", "is \(read.port), which another listener has taken")
            }
            workload.gatewayListeners.append(read)
        }
        if workload.gatewayListeners.isEmpty { throw fields.fault("listeners", "must have at least one listener") }
    }

    private func listener(_ fields: ResourceFields) throws(ResourceFault) -> GatewayListener {
        var routes: [StandaloneRoute] = []
        for route in try fields.objects("routes") { routes.append(try self.route(route)) }
        var json = fields.json
        json["routes"] = nil
        var listener = try GatewayListener(
            try ResourceFields(json, of: "", path: fields.path, spelling: fields.spelling))
        for (index, route) in listener.tlsRoutes.enumerated() {
            try checkKnown(route.backends.map(\.backend), fields, "tlsRoutes[\(index)].to")
        }
        for (index, server) in listener.tls.enumerated() {
            try checkKnown(server.backends.map(\.backend), fields, "tls[\(index)].to")
        }
        try checkKnown(listener.backends.map(\.backend), fields, "to")
        let forwards = !listener.tlsRoutes.isEmpty || !listener.backends.isEmpty
        let opens = !listener.tls.isEmpty && listener.tls.allSatisfy { !$0.backends.isEmpty }
        if !routes.isEmpty, !listener.backends.isEmpty {
            throw fields.fault("routes", "cannot stand beside to: a port carries requests, or bytes nobody looks at")
        }
        if routes.isEmpty, !forwards, !opens { throw fields.fault("routes", "must have at least one route") }
        // What `to` says of a port with TLS is about what is inside.
        if !listener.tls.isEmpty, !listener.backends.isEmpty {
            for index in listener.tls.indices where listener.tls[index].backends.isEmpty {
                listener.tls[index].backends = listener.backends
            }
            listener.backends = []
        }
        listener.routes = StandaloneRoute.virtualHosts(routes)
        return listener
    }

    private func route(_ fields: ResourceFields) throws(ResourceFault) -> StandaloneRoute {
        let hosts = try fields.strings("hosts").map { $0.lowercased() }
        for (index, host) in hosts.enumerated() {
            if let fault = StandaloneRoute.fault(host: host) { throw fields.fault("hosts[\(index)]", fault) }
        }
        var json = fields.json
        json["hosts"] = nil
        var rule = try RouteRule(try ResourceFields(json, of: "", path: fields.path, spelling: fields.spelling))
        if rule.name.isEmpty { rule.name = fields.path }
        try checkKnown(rule.backends.map(\.backend), fields, "to")
        try checkKnown(rule.actions.mirrors.map(\.backend), fields, "mirrors")
        return StandaloneRoute(hosts: hosts.isEmpty ? ["*"] : hosts, rule: rule)
    }

    /// Names of clusters at a place must be those of clusters there are.
    private func checkKnown(_ names: [String], _ fields: ResourceFields, _ place: String) throws(ResourceFault) {
        for (index, name) in names.enumerated() where backends[name] == nil {
            let known = backends.keys.sorted().prefix(8).joined(separator: ", ")
            throw fields.fault(
                "\(place)[\(index)].cluster",
                "is \(name), which no cluster is called\(known.isEmpty ? "" : "; there are \(known)")")
        }
    }

    private static func isIPv4(_ text: String) -> Bool {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4
            && parts.allSatisfy { part in
                (1...3).contains(part.utf8.count) && part.utf8.allSatisfy { (48...57).contains($0) }
                    && (Int(part) ?? 256) < 256
            }
    }
}

/// The texts a file takes from others.
private final class TextsRead {
    private(set) var paths: [String] = []
    private let read: (String) throws -> String
    init(_ read: @escaping (String) throws -> String) { self.read = read }

    func text(_ path: String) throws -> String {
        paths.append(path)
        return try read(path)
    }
}

/// A route of a listener. Routes are tried in order, and the host is a condition like others: the first that fits takes the request.
struct StandaloneRoute {
    var hosts: [String]  // lower case
    var rule: RouteRule

    /// The same as virtual hosts, of which one alone is looked into: each holds all routes that its names could take.
    static func virtualHosts(_ routes: [StandaloneRoute]) -> [VirtualHost] {
        var patterns: [String] = []
        var known: Set<String> = []
        for route in routes {
            for host in route.hosts where known.insert(host).inserted { patterns.append(host) }
        }
        return patterns.map { pattern in
            VirtualHost(
                hosts: [pattern],
                rules: routes.filter { route in route.hosts.contains { covers($0, pattern) } }.map(\.rule))
        }
    }

    /// Whether each name the narrow pattern stands for is one of the wide pattern's.
    static func covers(_ wide: String, _ narrow: String) -> Bool {
        if wide == "*" || wide == narrow { return true }
        return wide.hasPrefix("*.") && narrow.hasSuffix(wide.dropFirst()) && narrow.utf8.count > wide.utf8.count - 1
    }

    static func fault(host: String) -> String? {
        if host == "*" { return nil }
        let name = host.hasPrefix("*.") ? host.dropFirst(2) : host[...]
        if name.isEmpty || name.contains("*") || name.contains(":") || name.contains("/") {
            return "is \"\(host)\", must be a name, *.name or *"
        }
        return nil
    }
}
