import ProxyResources
import Wire

/// What the control plane has told us so far, and what to answer. Pure: responses in, acknowledgements out.
struct Subscription {
    private(set) var workload: Workload?
    private(set) var identity: Identity?
    private(set) var servicePorts: [String: ServicePort] = [:]
    private(set) var backends: [String: Backend] = [:]
    private(set) var versions: [ProxyResource.Kind: [String: String]] = [:]
    /// Kinds heard of on this stream; all of them must have come before the first configuration is complete.
    private var heard: Set<ProxyResource.Kind> = []

    init() {}

    /// Goes on from what a file kept.
    init(_ configuration: ProxyConfiguration, identity: Identity?, versions: [ProxyResource.Kind: [String: String]]) {
        workload = configuration.workload
        self.identity = identity
        servicePorts = configuration.servicePorts
        backends = configuration.backends
        self.versions = versions
    }

    /// The requests that open a stream: all kinds, everything.
    mutating func opening() -> [DiscoveryRequest] {
        heard = []
        return ProxyResource.Kind.allCases.map { kind in
            DiscoveryRequest(
                node: kind == .workload ? "meshproxy" : "", kind: kind, subscribe: ["*"],
                versions: versions[kind] ?? [:])
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
        }
    }

    private mutating func remove(_ kind: ProxyResource.Kind, _ name: String) {
        versions[kind]?[name] = nil
        switch kind {
        // A proxy without a workload or identity serves nobody; the last ones stay.
        case .workload, .identity: break
        case .servicePort: servicePorts[name] = nil
        case .backend: backends[name] = nil
        }
    }

    /// The configuration, once it is whole.
    var configuration: ProxyConfiguration? {
        guard let workload else { return nil }
        if heard.count < ProxyResource.Kind.allCases.count && !hadAll && !(isComplete && identity != nil) { return nil }
        return ProxyConfiguration(workload: workload, servicePorts: servicePorts, backends: backends)
    }

    /// Set when the control plane has said all it had to say.
    var isComplete = false

    /// Set once a whole configuration has been applied; later streams only bring changes.
    var hadAll = false
}
