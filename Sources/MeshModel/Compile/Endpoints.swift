import KubeTypes
import ProxyResources

/// The endpoints of services, with what the mesh knows about the pods behind them.
struct EndpointTable {
    struct Found {
        var endpoint: Endpoint
        var labels: [String: String]?  // `nil` when no pod is known
    }

    private let state: MeshState
    private let requirements: PeerRequirements
    private var slices: [ObjectKey: [MeshEndpointSlice]] = [:]
    private var podsByAddress: [String: MeshPod] = [:]

    init(_ state: MeshState, _ requirements: PeerRequirements) {
        self.state = state
        self.requirements = requirements
        for slice in state.slices.values {
            if let service = slice.service { slices[service, default: []].append(slice) }
        }
        for pod in state.pods.values where !pod.address.isEmpty && !pod.isFinished { podsByAddress[pod.address] = pod }
    }

    /// The ready endpoints of a port. When there are none, those that still serve while they end: better than an error.
    ///
    /// `plain`: clients shall not use TLS, whatever the endpoint can do.
    func endpoints(of service: ObjectKey, port: MeshService.Port, plain: Bool) -> [Found] {
        var ready: [String: Found] = [:]
        var ending: [String: Found] = [:]
        for slice in slices[service] ?? [] {
            guard let target = slice.ports.first(where: { $0.name == port.name })?.port else { continue }
            for address in slice.addresses {
                let pod = address.pod.flatMap { state.pods[$0] } ?? podsByAddress[address.address]
                if address.isReady {
                    ready[address.address] = found(address, target, pod, plain)
                } else if address.isServing, address.isTerminating {
                    ending[address.address] = found(address, target, pod, plain)
                }
            }
        }
        let chosen = ready.isEmpty ? ending : ready
        return chosen.values.sorted { $0.endpoint.address < $1.endpoint.address }
    }

    private func found(_ slice: MeshEndpointSlice.Address, _ port: Int, _ pod: MeshPod?, _ plain: Bool) -> Found {
        let address = slice.address
        let node = slice.node.isEmpty ? pod?.node ?? "" : slice.node
        var locality = state.locality(ofNode: node)
        if locality.isEmpty && !slice.zone.isEmpty { locality = Locality(zone: slice.zone).description }
        guard let pod else {
            let endpoint = Endpoint(address: address, port: port, locality: locality, node: node)
            return Found(endpoint: endpoint, labels: nil)
        }
        let speaksTLS = pod.hasSidecar && !plain && requirements.requirement(for: pod).mode(port: port) != .disabled
        let principal = state.settings.principal(namespace: pod.key.namespace, account: pod.account)
        return Found(
            endpoint: Endpoint(
                address: address, port: port, principal: speaksTLS ? principal : nil, workload: pod.workload,
                version: pod.version, app: pod.app, locality: locality, node: node),
            labels: pod.labels)
    }
}

/// The ports on which a pod is reached, by what it declares and by the services that select it.
struct InboundPorts {
    private let settings: MeshSettings
    private let services: [String: [MeshService]]  // by namespace, by name

    init(_ state: MeshState) {
        settings = state.settings
        let selecting = state.services.values.filter { !$0.selector.isEmpty }.sorted { $0.key < $1.key }
        services = Dictionary(grouping: selecting) { $0.key.namespace }
    }

    func ports(of pod: MeshPod) -> [InboundPort] {
        var ports: [Int: InboundPort] = [:]
        for port in pod.ports { ports[port.port] = InboundPort(port: port.port) }
        for service in services[pod.key.namespace] ?? [] where pod.isSelected(by: service.selector) {
            for port in service.ports {
                let number: Int
                switch port.target {
                case .number(let value): number = value
                case .name(let name):
                    guard let declared = pod.ports.first(where: { $0.name == name }) else { continue }
                    number = declared.port
                }
                merge(port, of: service, into: &ports[number, default: InboundPort(port: number)])
            }
        }
        return ports.values.sorted { $0.port < $1.port }
    }

    /// The first service by name gives the port its name; services that disagree on the protocol leave it to detection.
    private func merge(_ port: MeshService.Port, of service: MeshService, into inbound: inout InboundPort) {
        if inbound.service.isEmpty {
            inbound.service = settings.host(service.key.name, service.key.namespace)
            inbound.appProtocol = port.appProtocol
        } else if inbound.appProtocol == .unknown {
            inbound.appProtocol = port.appProtocol
        } else if port.appProtocol != .unknown, port.appProtocol != inbound.appProtocol {
            inbound.appProtocol = .unknown
        }
    }
}
