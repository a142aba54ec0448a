import Kernel
package import ProxyResources
import TLS
import Wire
import YAMLText

/// Why a configuration file cannot be used.
package struct ConfigurationFault: Error, CustomStringConvertible, Sendable {
    package let description: String
    package init(_ description: String) { self.description = description }
}

/// What `meshproxy run --config FILE` reads, YAML or JSON: the form described in proxies/README.md, or the control plane's own resources
/// with listeners beside them, as the benchmarks use it:
///
///     {
///       "listeners": [{"side": "inbound", "address": "127.0.0.1", "port": 9202, "destination": "127.0.0.1:9000"}],
///       "workload": {…}, "identity": {…}, "servicePorts": […], "backends": […]
///     }
///
/// `workload` may leave out what it has no use for. `identity` may name files: `certificateChainFile`, `privateKeyFile`, `trustRootsFile`.
package struct ConfigurationFile: Sendable, Equatable {
    package var listeners: [ListenerOption] = []
    package var doors = StandaloneFile.Doors()
    package var identity: Identity?
    package var configuration: ProxyConfiguration
    /// Files whose contents were taken.
    package var sources: [String] = []

    package init(reading path: String) throws(ConfigurationFault) {
        let bytes: [UInt8]
        do { bytes = try SmallFile.read(path, limit: YAMLBounds().bytes + 1) } catch {
            throw ConfigurationFault("\(path): \(error)")
        }
        try self.init(parsing: bytes, name: path)
    }

    /// - Parameter name: the file's path, where paths of other files start.
    /// - Throws: `file:line: field: cause`.
    package init(parsing bytes: [UInt8], name: String) throws(ConfigurationFault) {
        let json = try Self.value(bytes, name)
        do throws(ResourceFault) {
            if StandaloneFile.isResourceForm(json) {
                self = try Self.resources(json)
            } else {
                let file = try StandaloneFile(json: json) { try Self.text($0, beside: name) }
                self.init(file, name)
            }
            for resource in configuration.resources { try ResourceRules.check(resource) }
            if configuration.workload.loading.mode == .onDemand {
                throw ResourceFault(
                    resource: "Workload self", field: "loading.mode", message: "is ON_DEMAND: a file has nobody to ask")
            }
            if let identity { try ResourceRules.check(.identity(identity)) }
        } catch {
            let line = (try? YAMLValue(parsing: bytes))?.line(of: error.field) ?? 1
            throw ConfigurationFault(
                "\(name):\(line): \(error.resource.isEmpty ? "" : error.resource + ": ")\(error.told)")
        }
    }

    private init(_ file: StandaloneFile, _ name: String) {
        identity = file.identity
        doors = file.doors
        configuration = ProxyConfiguration(workload: file.workload, backends: file.backends)
        sources = file.sources.map { Self.path($0, beside: name) }
    }

    private static func value(_ bytes: [UInt8], _ name: String) throws(ConfigurationFault) -> JSON {
        // JSON's own reader first: it is faster, and takes pairs of surrogates.
        if bytes.first(where: { $0 > 32 }) == UInt8(ascii: "{"), let json = try? JSON(parsing: bytes) { return json }
        do { return try YAMLValue(parsing: bytes).json } catch {
            throw ConfigurationFault("\(name):\(error.line): \(error.message)")
        }
    }

    private static func path(_ path: String, beside file: String) -> String {
        guard !path.hasPrefix("/"), let slash = file.lastIndex(of: "/") else { return path }
        return file[...slash] + path
    }

    private static func text(_ path: String, beside file: String) throws -> String {
        String(decoding: try SmallFile.read(Self.path(path, beside: file), limit: 1 << 20), as: UTF8.self)
    }

    /// The control plane's own form.
    private static func resources(_ json: JSON) throws(ResourceFault) -> ConfigurationFile {
        var configuration = ProxyConfiguration(workload: try Self.workload(json["workload"]))
        for element in json["servicePorts"]?.array ?? [] {
            let port = try ServicePort(json: element)
            configuration.servicePorts[port.resourceName] = port
        }
        for element in json["backends"]?.array ?? [] {
            let backend = try Backend(json: element)
            configuration.backends[backend.name] = backend
        }
        return ConfigurationFile(
            listeners: try Self.listeners(json["listeners"]), identity: try Self.identity(json["identity"]),
            configuration: configuration)
    }

    private init(listeners: [ListenerOption], identity: Identity?, configuration: ProxyConfiguration) {
        self.listeners = listeners
        self.identity = identity
        self.configuration = configuration
    }

    private static func workload(_ json: JSON?) throws(ResourceFault) -> Workload {
        var json = json ?? .object(JSONObject())
        let defaults: [(String, String)] = [
            ("namespace", "default"), ("pod", "meshproxy"), ("trustDomain", "cluster.local"),
            ("clusterDomain", "cluster.local"),
            ("principal", "spiffe://cluster.local/ns/default/sa/default"),
        ]
        for (key, value) in defaults where json[key] == nil { json[key] = .string(value) }
        return try Workload(json: json)
    }

    private static func identity(_ json: JSON?) throws(ResourceFault) -> Identity? {
        guard var json, !json.isNull else { return nil }
        for key in ["certificateChain", "privateKey", "trustRoots"] {
            guard let path = json[key + "File"]?.string else { continue }
            do { json[key] = .string(String(decoding: try SmallFile.read(path), as: UTF8.self)) } catch {
                throw ResourceFault(resource: "", field: "identity.\(key)File", message: "\(error)")
            }
        }
        if json["expires"] == nil { json["expires"] = 0 }
        return try Identity(json: json)
    }

    private static func listeners(_ json: JSON?) throws(ResourceFault) -> [ListenerOption] {
        var found: [ListenerOption] = []
        for (index, element) in (json?.array ?? []).enumerated() {
            func fault(_ field: String, _ message: String) -> ResourceFault {
                ResourceFault(resource: "", field: "listeners[\(index)].\(field)", message: message)
            }
            guard let side = element["side"]?.string.flatMap(ListenerOption.Side.init(rawValue:)) else {
                throw fault("side", "must be \"inbound\" or \"outbound\"")
            }
            guard let port = element["port"]?.int, (1...65535).contains(port) else {
                throw fault("port", "must be from 1 to 65535")
            }
            found.append(
                ListenerOption(
                    side: side, address: element["address"]?.string ?? "0.0.0.0", port: port,
                    destination: element["destination"]?.string))
        }
        return found
    }
}

extension ResourceFault {
    /// Field and message, without the resource.
    fileprivate var told: String { field.isEmpty ? message : "\(field): \(message)" }
}

extension ProxyConfiguration {
    /// Everything in it, in a fixed order.
    package var resources: [ProxyResource] {
        [.workload(workload)] + servicePorts.sorted { $0.key < $1.key }.map { .servicePort($0.value) }
            + backends.sorted { $0.key < $1.key }.map { .backend($0.value) }
            + destinations.sorted { $0.key < $1.key }.map { .destination($0.value) }
    }
}

/// What this proxy cannot take, beyond what the resources' own decoding refuses.
enum ResourceRules {
    static let mostEndpoints = 10000

    /// All backends of a configuration together.
    static func check(_ backends: [String: Backend]) throws(ResourceFault) {
        let most = Limits.tableEndpoints
        if backends.values.reduce(0, { $0 + $1.endpoints.count }) <= most { return }
        // Subsets name the same endpoints again.
        var distinct: Set<EndpointNumbers.Key> = []
        for (name, backend) in backends.sorted(by: { $0.key < $1.key }) {
            for endpoint in backend.endpoints { distinct.insert(EndpointNumbers.Key(endpoint, of: backend)) }
            if distinct.count > most {
                throw ResourceFault(
                    resource: "Backend \(name)", field: "endpoints",
                    message: "is one too many: all backends together have more than \(most) endpoints")
            }
        }
    }

    static func check(_ resource: ProxyResource) throws(ResourceFault) {
        switch resource {
        case .backend(let backend):
            if backend.endpoints.count > mostEndpoints {
                throw ResourceFault(
                    resource: "Backend \(backend.name)", field: "endpoints", message: "has more than \(mostEndpoints)")
            }
            for (index, endpoint) in backend.endpoints.enumerated()
            where SocketAddress("\(endpoint.address):\(endpoint.port)") == nil {
                throw ResourceFault(
                    resource: "Backend \(backend.name)", field: "endpoints[\(index)].address",
                    message: "is \(endpoint.address), must be an IPv4 address")
            }
        case .servicePort(let port):
            for (index, address) in port.addresses.enumerated() where SocketAddress("\(address):1") == nil {
                throw ResourceFault(
                    resource: "ServicePort \(port.resourceName)", field: "addresses[\(index)]",
                    message: "is \(address), must be an IPv4 address")
            }
        case .identity(let identity):
            do {
                _ = try Credentials(
                    certificateChain: identity.certificateChain, privateKey: identity.privateKey,
                    trustRoots: identity.trustRoots)
            } catch { throw ResourceFault(resource: "Identity self", field: "", message: "\(error)") }
        case .workload(let workload): _ = try TelemetryPlan(workload.telemetry, number: 0)
        case .destination: break
        }
    }
}
