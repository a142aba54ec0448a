package import KubeTypes
package import ProxyResources

/// What the mesh shall do, made from all its policies: destinations with their routes, endpoints, and every proxy's workload.
package struct MeshModel: Sendable, Hashable {
    /// By resource name (`demo/catalog:8080`).
    package internal(set) var servicePorts: [String: ServicePort] = [:]
    /// Where clients of a namespace are routed otherwise: namespace, then resource name.
    package internal(set) var routesOfClients: [String: [String: PortRoutes]] = [:]
    package internal(set) var backends: [String: Backend] = [:]
    /// Every pod with a proxy: sidecars and gateways.
    package internal(set) var workloads: [ObjectKey: Workload] = [:]
    /// The limits whose tokens the control plane leases out, by budget (`demo/api`).
    package internal(set) var budgets: [String: RateLimit] = [:]
    package internal(set) var httpRoutes: [HTTPRouteStatus] = []
    package internal(set) var gateways: [GatewayStatus] = []
    package internal(set) var gatewayClasses: [GatewayClassStatus] = []
    package internal(set) var backendTLSPolicies: [BackendTLSPolicyStatus] = []
    /// In the order of the objects they are about.
    package internal(set) var findings: [PolicyFinding] = []

    package init() {}

    /// All destinations as a client in a namespace sees them: its own namespace's services by their short names too.
    package func destinations(from namespace: String) -> [ServicePort] {
        servicePorts.keys.sorted().compactMap { destination($0, from: namespace) }
    }

    /// What all proxies of a namespace are told alike.
    package func sharedResources(from namespace: String) -> [ProxyResource] {
        destinations(from: namespace).map(ProxyResource.servicePort)
            + backends.values.sorted { $0.name < $1.name }.map(ProxyResource.backend)
    }

    /// All a pod's proxy is told, but its identity, which is not part of the model. Empty for a pod without a proxy.
    package func resources(for pod: ObjectKey) -> [ProxyResource] {
        guard let workload = workloads[pod] else { return [] }
        return [.workload(workload)] + sharedResources(from: pod.namespace)
    }
}

/// The routes of a service's port.
package struct PortRoutes: Sendable, Hashable {
    package var requests: [RouteRule]
    package var tls: [TLSRoute] = []
    package var tcp: [TCPRoute] = []

    func apply(to port: inout ServicePort) {
        (port.routes, port.tlsRoutes, port.tcpRoutes) = (requests, tls, tcp)
    }
}

/// One condition of a status.
package struct ConditionState: Sendable, Hashable {
    package var isTrue: Bool
    package var reason: String
    package var message: String

    package init(_ isTrue: Bool, _ reason: String, _ message: String = "") {
        self.isTrue = isTrue
        self.reason = reason
        self.message = message
    }
}

package struct HTTPRouteStatus: Sendable, Hashable {
    package struct Parent: Sendable, Hashable {
        package var parent: HTTPRoute.Parent
        package var accepted: ConditionState
        package var resolvedReferences: ConditionState
    }
    package var type: ResourceType
    package var key: ObjectKey
    package var generation: Int
    package var parents: [Parent]  // only those that are ours
}

package struct GatewayStatus: Sendable, Hashable {
    package struct Listener: Sendable, Hashable {
        package var name: String
        package var attachedRoutes: Int
        package var kinds: [String]
        package var accepted: ConditionState
        package var programmed: ConditionState
        package var resolvedReferences: ConditionState
    }
    package var key: ObjectKey
    package var generation: Int
    package var accepted: ConditionState
    package var programmed: ConditionState
    /// Of a client certificate for backends; `nil` without one.
    package var resolvedReferences: ConditionState?
    package var addresses: [String]
    package var listeners: [Listener]
}

package struct BackendTLSPolicyStatus: Sendable, Hashable {
    package var key: ObjectKey
    package var generation: Int
    package var gateways: [ObjectKey]  // with routes to a target
    package var accepted: ConditionState
    package var resolvedReferences: ConditionState
}

package struct GatewayClassStatus: Sendable, Hashable {
    package var name: String
    package var generation: Int
}
