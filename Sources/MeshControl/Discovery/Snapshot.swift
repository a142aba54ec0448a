import MeshModel
package import ProxyResources
import TLS
import Wire

/// All one proxy shall hold, by kind and name, at one generation of the model.
package struct Snapshot: Sendable {
    package var generation: Int
    package var resources: [ProxyResource.Kind: [String: VersionedResource]]

    package init(generation: Int, resources: [ProxyResource.Kind: [String: VersionedResource]] = [:]) {
        self.generation = generation
        self.resources = resources
    }

    package init(generation: Int, _ resources: [ProxyResource]) {
        self.init(generation: generation)
        for resource in resources { set(VersionedResource(resource), resource.kind) }
    }

    package mutating func set(_ resource: VersionedResource, _ kind: ProxyResource.Kind) {
        resources[kind, default: [:]][resource.name] = resource
    }

    package subscript(kind: ProxyResource.Kind) -> [String: VersionedResource] { resources[kind] ?? [:] }
}

extension VersionedResource {
    /// The version is a hash of the content, so that the same content has the same version after a restart.
    package init(_ resource: ProxyResource) {
        let bytes = resource.json.bytes
        let digits = Array("0123456789abcdef".utf8)
        let hash = sha256(bytes).prefix(8).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
        self.init(name: resource.name, version: String(decoding: hash, as: UTF8.self), value: bytes)
    }
}

/// The resources all proxies of a namespace have alike, encoded once, and again only when they change.
struct SharedResources {
    private struct Encoded {
        var resource: ProxyResource
        var wire: VersionedResource
    }

    private var backends: [String: Encoded] = [:]
    private var ports: [String: [String: Encoded]] = [:]  // by namespace
    private var model = MeshModel()
    private var current: Set<String> = []  // namespaces encoded from this model

    mutating func replace(_ model: MeshModel) {
        self.model = model
        current = []
        backends = Self.encode(model.backends.values.map(ProxyResource.backend), reusing: backends)
    }

    /// Forgets namespaces no proxy is left in.
    mutating func keep(namespaces: Set<String>) { ports = ports.filter { namespaces.contains($0.key) } }

    mutating func resources(of namespace: String) -> [ProxyResource.Kind: [String: VersionedResource]] {
        if !current.contains(namespace) {
            let wanted = model.destinations(from: namespace).map(ProxyResource.servicePort)
            ports[namespace] = Self.encode(wanted, reusing: ports[namespace] ?? [:])
            current.insert(namespace)
        }
        return [
            .backend: backends.mapValues(\.wire), .servicePort: (ports[namespace] ?? [:]).mapValues(\.wire),
        ]
    }

    private static func encode(_ resources: [ProxyResource], reusing older: [String: Encoded]) -> [String: Encoded] {
        var made: [String: Encoded] = [:]
        made.reserveCapacity(resources.count)
        for resource in resources {
            if let known = older[resource.name], known.resource == resource {
                made[resource.name] = known
            } else {
                made[resource.name] = Encoded(resource: resource, wire: VersionedResource(resource))
            }
        }
        return made
    }
}
