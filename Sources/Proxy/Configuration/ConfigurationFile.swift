import Kernel
package import ProxyResources
import TLS
import Wire

/// Why a configuration file cannot be used.
package struct ConfigurationFault: Error, CustomStringConvertible, Sendable {
    package let description: String
    package init(_ description: String) { self.description = description }
}

/// What `meshproxy run --config FILE` reads: the same resources the control plane sends, and listeners of its own.
///
///     {
///       "listeners": [{"side": "inbound", "address": "127.0.0.1", "port": 9202, "destination": "127.0.0.1:9000"}],
///       "workload": {…}, "identity": {…}, "servicePorts": […], "backends": […]
///     }
///
/// `workload` may leave out what it has no use for. `identity` may name files: `certificateChainFile`, `privateKeyFile`, `trustRootsFile`.
package struct ConfigurationFile: Sendable {
    package var listeners: [ListenerOption]
    package var identity: Identity?
    package var configuration: ProxyConfiguration

    package init(reading path: String) throws(ConfigurationFault) {
        let bytes: [UInt8]
        do { bytes = try SmallFile.read(path) } catch { throw ConfigurationFault("\(path): \(error)") }
        try self.init(parsing: bytes, name: path)
    }

    package init(parsing bytes: [UInt8], name: String) throws(ConfigurationFault) {
        do {
            let json = try JSON(parsing: bytes)
            listeners = try Self.listeners(json["listeners"])
            identity = try Self.identity(json["identity"])
            configuration = ProxyConfiguration(workload: try Self.workload(json["workload"]))
            for element in json["servicePorts"]?.array ?? [] {
                let port = try ServicePort(json: element)
                configuration.servicePorts[port.resourceName] = port
            }
            for element in json["backends"]?.array ?? [] {
                let backend = try Backend(json: element)
                configuration.backends[backend.name] = backend
            }
            for resource in configuration.resources { try ResourceRules.check(resource) }
        } catch let fault as ConfigurationFault {
            throw ConfigurationFault("\(name): \(fault)")
        } catch {
            throw ConfigurationFault("\(name): \(error)")
        }
    }

    private static func workload(_ json: JSON?) throws -> Workload {
        var json = json ?? .object(JSONObject())
        let defaults: [(String, String)] = [
            ("namespace", "default"), ("pod", "meshproxy"), ("trustDomain", "cluster.local"),
            ("clusterDomain", "cluster.local"),
            ("principal", "spiffe://cluster.local/ns/default/sa/default"),
        ]
        for (key, value) in defaults where json[key] == nil { json[key] = .string(value) }
        return try Workload(json: json)
    }

    private static func identity(_ json: JSON?) throws -> Identity? {
        guard var json, !json.isNull else { return nil }
        for key in ["certificateChain", "privateKey", "trustRoots"] {
            guard let path = json[key + "File"]?.string else { continue }
            json[key] = .string(String(decoding: try SmallFile.read(path), as: UTF8.self))
        }
        if json["expires"] == nil { json["expires"] = 0 }
        return try Identity(json: json)
    }

    private static func listeners(_ json: JSON?) throws(ConfigurationFault) -> [ListenerOption] {
        var found: [ListenerOption] = []
        for (index, element) in (json?.array ?? []).enumerated() {
            guard let side = element["side"]?.string.flatMap(ListenerOption.Side.init(rawValue:)) else {
                throw ConfigurationFault("listeners[\(index)].side: must be \"inbound\" or \"outbound\"")
            }
            guard let port = element["port"]?.int, (1...65535).contains(port) else {
                throw ConfigurationFault("listeners[\(index)].port: must be from 1 to 65535")
            }
            found.append(
                ListenerOption(
                    side: side, address: element["address"]?.string ?? "0.0.0.0", port: port,
                    destination: element["destination"]?.string))
        }
        return found
    }
}

extension ProxyConfiguration {
    /// Everything in it, in a fixed order.
    package var resources: [ProxyResource] {
        [.workload(workload)] + servicePorts.sorted { $0.key < $1.key }.map { .servicePort($0.value) }
            + backends.sorted { $0.key < $1.key }.map { .backend($0.value) }
    }
}

/// What this proxy cannot take, beyond what the resources' own decoding refuses.
enum ResourceRules {
    static let mostEndpoints = 10000

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
        case .workload: break
        }
    }
}
