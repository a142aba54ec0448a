package import KubeTypes
package import ProxyResources

/// All the mesh is made from: the cluster's objects that matter to it, reduced to what matters.
///
/// Reducing early means that a change which does not matter (a heartbeat, a status we wrote ourselves) is no change here.
package struct MeshState: Sendable, Hashable {
    package var settings: MeshSettings
    package internal(set) var namespaces: [ObjectKey: MeshNamespace] = [:]
    package internal(set) var nodes: [ObjectKey: MeshNode] = [:]
    package internal(set) var services: [ObjectKey: MeshService] = [:]
    package internal(set) var slices: [ObjectKey: MeshEndpointSlice] = [:]
    package internal(set) var pods: [ObjectKey: MeshPod] = [:]
    package internal(set) var httpRoutes: [ObjectKey: HTTPRoute] = [:]
    package internal(set) var grpcRoutes: [ObjectKey: HTTPRoute] = [:]
    /// TLSRoutes, TCPRoutes and UDPRoutes.
    package internal(set) var connectionRoutes: [PolicyReference: ConnectionRoute] = [:]
    package internal(set) var gateways: [ObjectKey: Gateway] = [:]
    package internal(set) var gatewayClasses: [ObjectKey: GatewayClass] = [:]
    package internal(set) var referenceGrants: [ObjectKey: ReferenceGrant] = [:]
    package internal(set) var virtualServices: [ObjectKey: VirtualService] = [:]
    package internal(set) var destinationRules: [ObjectKey: DestinationRule] = [:]
    package internal(set) var istioGateways: [ObjectKey: IstioGateway] = [:]
    package internal(set) var peerAuthentications: [ObjectKey: PeerAuthentication] = [:]
    package internal(set) var accessPolicies: [ObjectKey: AccessPolicy] = [:]
    package internal(set) var requestAuthentications: [ObjectKey: RequestAuthentication] = [:]
    package internal(set) var backendTLSPolicies: [ObjectKey: BackendTLSPolicy] = [:]
    package internal(set) var backendTrafficPolicies: [ObjectKey: BackendTrafficPolicy] = [:]
    package internal(set) var secrets: [ObjectKey: MeshSecret] = [:]
    /// ConfigMaps with authorities.
    package internal(set) var certificateMaps: [ObjectKey: MeshSecret] = [:]
    package internal(set) var securityMaps: [ObjectKey: MeshSecurityMap] = [:]
    /// Sets of keys by the address they were fetched from.
    package var keySets: [String: String] = [:]
    package internal(set) var telemetries: [ObjectKey: TelemetryPolicy] = [:]

    package init(settings: MeshSettings = MeshSettings()) { self.settings = settings }

    /// The kinds the state is made from, in an order in which references mostly come after what they name.
    package static let watched: [ResourceType] = [
        .namespaces, .nodes, .services, .endpointSlices, .pods, .gatewayClasses, .gateways, .istioGateways,
        .referenceGrants, .destinationRules, .virtualServices, .httpRoutes, .grpcRoutes, .tlsRoutes, .tcpRoutes,
        .udpRoutes,
        .peerAuthentications, .authorizationPolicies, .requestAuthentications, .telemetries, .configMaps, .secrets,
        .backendTLSPolicies, .backendTrafficPolicies,
    ]

    /// The Gateway API's routes of requests.
    var routes: [HTTPRoute] { Array(httpRoutes.values) + Array(grpcRoutes.values) }

    /// Takes an object in its present form.
    /// - Returns: whether anything the mesh looks at has changed.
    package mutating func apply(_ type: ResourceType, _ object: KubeObject) -> Bool {
        set(type, object.key, to: object)
    }

    /// - Returns: whether the mesh knew the object.
    package mutating func remove(_ type: ResourceType, _ key: ObjectKey) -> Bool { set(type, key, to: nil) }

    private mutating func set(_ type: ResourceType, _ key: ObjectKey, to object: KubeObject?) -> Bool {
        switch type.qualifiedName {
        case ResourceType.namespaces.qualifiedName: replace(&namespaces[key], object.map(MeshNamespace.init))
        case ResourceType.nodes.qualifiedName: replace(&nodes[key], object.map(MeshNode.init))
        case ResourceType.services.qualifiedName: replace(&services[key], object.map(MeshService.init))
        case ResourceType.endpointSlices.qualifiedName: replace(&slices[key], object.map(MeshEndpointSlice.init))
        case ResourceType.pods.qualifiedName: replace(&pods[key], object.map(MeshPod.init))
        case ResourceType.httpRoutes.qualifiedName: replace(&httpRoutes[key], object.map(HTTPRoute.init))
        case ResourceType.grpcRoutes.qualifiedName:
            replace(&grpcRoutes[key], object.map { HTTPRoute($0, of: .grpcRoutes) })
        case ResourceType.tlsRoutes.qualifiedName: setConnectionRoute(.tlsRoutes, key, to: object)
        case ResourceType.tcpRoutes.qualifiedName: setConnectionRoute(.tcpRoutes, key, to: object)
        case ResourceType.udpRoutes.qualifiedName: setConnectionRoute(.udpRoutes, key, to: object)
        case ResourceType.gateways.qualifiedName: replace(&gateways[key], object.map(Gateway.init))
        case ResourceType.gatewayClasses.qualifiedName: replace(&gatewayClasses[key], object.map(GatewayClass.init))
        case ResourceType.referenceGrants.qualifiedName: replace(&referenceGrants[key], object.map(ReferenceGrant.init))
        case ResourceType.virtualServices.qualifiedName: replace(&virtualServices[key], object.map(VirtualService.init))
        case ResourceType.destinationRules.qualifiedName:
            replace(&destinationRules[key], object.map(DestinationRule.init))
        case ResourceType.istioGateways.qualifiedName: replace(&istioGateways[key], object.map(IstioGateway.init))
        case ResourceType.peerAuthentications.qualifiedName:
            replace(&peerAuthentications[key], object.map(PeerAuthentication.init))
        case ResourceType.authorizationPolicies.qualifiedName:
            replace(&accessPolicies[key], object.map(AccessPolicy.init))
        case ResourceType.requestAuthentications.qualifiedName:
            replace(&requestAuthentications[key], object.map(RequestAuthentication.init))
        case ResourceType.configMaps.qualifiedName
        where key.name == MeshSecurityMap.name && settings.rootNamespaces.contains(key.namespace):
            replace(&securityMaps[key], object.map(MeshSecurityMap.init))
        case ResourceType.configMaps.qualifiedName:
            replace(&certificateMaps[key], object.flatMap { MeshSecret($0, isEncoded: false) })
        case ResourceType.backendTrafficPolicies.qualifiedName:
            replace(&backendTrafficPolicies[key], object.map(BackendTrafficPolicy.init))
        case ResourceType.backendTLSPolicies.qualifiedName:
            replace(&backendTLSPolicies[key], object.map(BackendTLSPolicy.init))
        case ResourceType.secrets.qualifiedName:
            replace(&secrets[key], object.flatMap { MeshSecret($0, isEncoded: true) })
        case ResourceType.telemetries.qualifiedName: replace(&telemetries[key], object.map(TelemetryPolicy.init))
        default: false
        }
    }

    private mutating func setConnectionRoute(
        _ type: ResourceType, _ key: ObjectKey, to object: KubeObject?
    ) -> Bool {
        replace(&connectionRoutes[PolicyReference(type, key)], object.map { ConnectionRoute($0, of: type) })
    }

    /// Where a node is, as far as its labels say: `region/zone/subzone`.
    func locality(ofNode name: String) -> String {
        nodes[ObjectKey(namespace: "", name: name)]?.locality ?? ""
    }

    /// Of all maps; the first by key has the say on a name.
    package var authorizers: [String: ExternalAuthorizer] {
        let all = securityMaps.sorted { $0.key < $1.key }.flatMap(\.value.authorizers)
        return Dictionary(all.map { ($0.name, $0) }) { first, _ in first }
    }

    var revoked: Revocation {
        let maps = securityMaps.sorted { $0.key < $1.key }.map(\.value.revoked)
        return Revocation(principals: maps.flatMap(\.principals), serials: maps.flatMap(\.serials))
    }

    /// Where keys of tokens are to be fetched.
    package var keyAddresses: Set<String> {
        Set(requestAuthentications.values.flatMap(\.rules).map(\.keysAddress).filter { !$0.isEmpty })
    }

    private func replace<Value: Hashable>(_ place: inout Value?, _ value: Value?) -> Bool {
        if place == value { return false }
        place = value
        return true
    }
}

/// Policies of one age and name order: the oldest first, then by name, as Gateway API and Istio both ask.
protocol AgedPolicy {
    var key: ObjectKey { get }
    var created: String { get }  // RFC 3339
}

extension Sequence where Element: AgedPolicy {
    func oldestFirst() -> [Element] { sorted { ($0.created, $0.key) < ($1.created, $1.key) } }
}
