import MeshModel
import ProxyResources

/// The resources proxies have alike: encoded once, when the first asks for one, and again only when it changes.
struct SharedResources {
    typealias Resources = [ProxyResource.Kind: [String: VersionedResource]]

    private struct Encoded {
        var resource: ProxyResource
        var wire: VersionedResource
        var generation: Int  // the last of which it is known to be
    }

    private var model = MeshModel()
    private var generation = 0
    private var backends: [String: Encoded] = [:]
    private var ports: [String: [String: Encoded]] = [:]  // by namespace
    private var all: [String: Resources] = [:]  // by namespace, for proxies that hold all
    private var index: DestinationIndex?

    mutating func replace(_ model: MeshModel) {
        self.model = model
        generation += 1
        all = [:]
        index = nil
        backends = backends.filter { model.backends[$0.key] != nil }
        ports = ports.mapValues { $0.filter { model.servicePorts[$0.key] != nil } }
    }

    /// Forgets namespaces no proxy is left in.
    mutating func keep(namespaces: Set<String>) { ports = ports.filter { namespaces.contains($0.key) } }

    /// What a proxy shall hold.
    ///
    /// - Parameter demands: the destinations it asked for; `nil` for one that does not ask, and gets everything.
    mutating func resources(for workload: Workload, demands: Set<String>?) -> Resources {
        var found: Resources = [:]
        if let demands, workload.loading.mode == .onDemand {
            found = scoped(workload, demands)
        } else {
            found = everything(workload.namespace)
        }
        if let demands {
            found[.destination] = destinations(demands, workload).mapValues { VersionedResource(.destination($0)) }
        }
        return found
    }

    /// What the destinations lead to, and what the workload itself speaks of.
    private mutating func scoped(_ workload: Workload, _ demands: Set<String>) -> Resources {
        var names: Set<String> = []
        var wires: [String: VersionedResource] = [:]
        workload.refer(to: &names)
        for destination in destinations(demands, workload).values {
            if !destination.backend.isEmpty { names.insert(destination.backend) }
            if destination.servicePort.isEmpty || wires[destination.servicePort] != nil { continue }
            guard let port = port(destination.servicePort, workload.namespace) else { continue }
            if case .servicePort(let seen) = port.resource { seen.refer(to: &names) }
            wires[destination.servicePort] = port.wire
        }
        var members: [String: VersionedResource] = [:]
        for name in names { members[name] = backend(name)?.wire }
        return [.servicePort: wires, .backend: members]
    }

    private mutating func everything(_ namespace: String) -> Resources {
        if let known = all[namespace] { return known }
        var wires: [String: VersionedResource] = [:]
        for name in model.servicePorts.keys { wires[name] = port(name, namespace)?.wire }
        var members: [String: VersionedResource] = [:]
        for name in model.backends.keys { members[name] = backend(name)?.wire }
        let made: Resources = [.servicePort: wires, .backend: members]
        all[namespace] = made
        return made
    }

    private mutating func destinations(_ demands: Set<String>, _ workload: Workload) -> [String: Destination] {
        if demands.isEmpty { return [:] }
        let index = self.index ?? DestinationIndex(model, clusterDomain: workload.clusterDomain)
        self.index = index
        var found: [String: Destination] = [:]
        for key in demands { found[key] = index.destination(key, from: workload.namespace) }
        return found
    }

    private mutating func backend(_ name: String) -> Encoded? {
        if let known = backends[name], known.generation == generation { return known }
        guard let present = model.backends[name] else { return nil }
        let made = encoded(.backend(present), backends[name])
        backends[name] = made
        return made
    }

    private mutating func port(_ name: String, _ namespace: String) -> Encoded? {
        if let known = ports[namespace]?[name], known.generation == generation { return known }
        guard let present = model.destination(name, from: namespace) else { return nil }
        let made = encoded(.servicePort(present), ports[namespace]?[name])
        ports[namespace, default: [:]][name] = made
        return made
    }

    private func encoded(_ resource: ProxyResource, _ older: Encoded?) -> Encoded {
        if var older, older.resource == resource {
            older.generation = generation
            return older
        }
        return Encoded(resource: resource, wire: VersionedResource(resource), generation: generation)
    }
}
