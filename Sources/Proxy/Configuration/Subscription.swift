import ProxyResources
import Wire

/// What the control plane has told us so far, and what to answer. Pure: responses in, acknowledgements out.
struct Subscription {
    private(set) var workload: Workload?
    private(set) var identity: Identity?
    private(set) var servicePorts: [String: ServicePort] = [:]
    private(set) var backends: [String: Backend] = [:]
    private(set) var destinations: [String: Destination] = [:]
    private(set) var versions: [ProxyResource.Kind: [String: String]] = [:]
    /// Kinds asked for on this stream, and those heard of; all must have come before the first configuration is complete.
    private var asked: Set<ProxyResource.Kind> = []
    private var heard: Set<ProxyResource.Kind> = []

    init() {}

    /// Goes on from what a file kept.
    init(_ configuration: ProxyConfiguration, identity: Identity?, versions: [ProxyResource.Kind: [String: String]]) {
        workload = configuration.workload
        self.identity = identity
        servicePorts = configuration.servicePorts
        backends = configuration.backends
        destinations = configuration.destinations
        self.versions = versions
    }

    /// The requests that open a stream: who this is first, since that says how much of the mesh to ask for.
    ///
    /// - Parameter keys: the destinations that are held or waited for.
    mutating func opening(_ keys: [String] = []) -> [DiscoveryRequest] {
        heard = []
        asked = []
        isComplete = false
        return [open(.workload), open(.identity)] + others(keys)
    }

    /// The other kinds, once it is known how much to ask for and they have not been asked for yet.
    ///
    /// A proxy that holds what it uses asks for destinations by name, and for all that belongs to them. Destinations come first: the
    /// control plane then knows what the rest is to be.
    mutating func others(_ keys: @autoclosure () -> [String]) -> [DiscoveryRequest] {
        guard let workload else { return [] }
        var requests: [DiscoveryRequest] = []
        if workload.loading.mode == .onDemand, !asked.contains(.destination) {
            requests.append(open(.destination, keys()))
        }
        for kind in [ProxyResource.Kind.servicePort, .backend] where !asked.contains(kind) {
            requests.append(open(kind))
        }
        return requests
    }

    private mutating func open(_ kind: ProxyResource.Kind, _ names: [String] = ["*"]) -> DiscoveryRequest {
        asked.insert(kind)
        return DiscoveryRequest(
            node: kind == .workload ? "meshproxy" : "", kind: kind, subscribe: names, versions: versions[kind] ?? [:])
    }

    /// Who this is has been told, and all else asked for.
    var hasAskedAll: Bool { asked.contains(.backend) }

    /// What has changed of the destinations asked for, for a stream that asks for some; `nil` when nothing has.
    func change(subscribe: [String], unsubscribe: [String]) -> DiscoveryRequest? {
        if !asked.contains(.destination) || (subscribe.isEmpty && unsubscribe.isEmpty) { return nil }
        return DiscoveryRequest(kind: .destination, subscribe: subscribe, unsubscribe: unsubscribe)
    }

    /// Forgets destinations that are no longer asked for: nobody tells that they are gone.
    mutating func drop(_ keys: some Sequence<String>) {
        for key in keys {
            destinations[key] = nil
            versions[.destination]?[key] = nil
        }
    }

    enum Outcome {
        case accepted(DiscoveryRequest)
        case refused(DiscoveryRequest, String)
        case ignored
    }

    /// Takes a response whole or not at all.
    mutating func take(_ response: DiscoveryResponse) -> Outcome {
        guard let kind = ProxyResource.Kind(rawValue: response.kind) else { return .ignored }
        var decoded: [(ProxyResource, String)] = []
        for resource in response.resources {
            do {
                let value = try ProxyResource.decode(kind: kind, name: resource.name, bytes: resource.value)
                try ResourceRules.check(value)
                decoded.append((value, resource.version))
            } catch {
                return .refused(DiscoveryRequest(kind: kind, nonce: response.nonce, fault: "\(error)"), "\(error)")
            }
        }
        if kind == .backend {
            var all = backends
            for case (.backend(let backend), _) in decoded { all[backend.name] = backend }
            for name in response.removed { all[name] = nil }
            do throws(ResourceFault) { try ResourceRules.check(all) } catch {
                return .refused(DiscoveryRequest(kind: kind, nonce: response.nonce, fault: "\(error)"), "\(error)")
            }
        }
        for (resource, version) in decoded { adopt(resource, version) }
        for name in response.removed { remove(kind, name) }
        heard.insert(kind)
        return .accepted(DiscoveryRequest(kind: kind, nonce: response.nonce))
    }

    private mutating func adopt(_ resource: ProxyResource, _ version: String) {
        versions[resource.kind, default: [:]][resource.name] = version
        switch resource {
        case .workload(let value): workload = value
        case .identity(let value): identity = value
        case .servicePort(let value): servicePorts[resource.name] = value
        case .backend(let value): backends[resource.name] = value
        case .destination(let value): destinations[resource.name] = value
        }
    }

    private mutating func remove(_ kind: ProxyResource.Kind, _ name: String) {
        versions[kind]?[name] = nil
        switch kind {
        // A proxy without a workload or identity serves nobody; the last ones stay.
        case .workload, .identity: break
        case .servicePort: servicePorts[name] = nil
        case .backend: backends[name] = nil
        case .destination: destinations[name] = nil
        }
    }

    /// The configuration, once it is whole.
    var configuration: ProxyConfiguration? {
        guard let workload else { return nil }
        let isWhole = hasAskedAll && heard.isSuperset(of: asked)
        if !isWhole && !hadAll && !(isComplete && identity != nil) { return nil }
        return ProxyConfiguration(
            workload: workload, servicePorts: servicePorts, backends: backends, destinations: destinations)
    }

    /// Set when the control plane has said all it had to say.
    var isComplete = false

    /// Set once a whole configuration has been applied; later streams only bring changes.
    var hadAll = false
}
