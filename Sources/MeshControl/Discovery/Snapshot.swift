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
