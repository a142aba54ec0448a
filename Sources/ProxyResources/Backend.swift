/// The endpoints behind a destination.
package struct Backend: Sendable, Hashable {
    package var name: String
    package var service: String  // `catalog.demo.svc.cluster.local`, for metrics
    package var namespace: String
    package var endpoints: [Endpoint]
    @Boxed package var balance: BalancePolicy
    @Boxed package var outlier: OutlierPolicy?
    @Boxed package var health: HealthCheck?
    /// For endpoints outside the mesh; one with a principal is spoken to by the mesh's own TLS.
    @Boxed package var tls: BackendTLS? = nil
    package var proxyProtocol = ProxyProtocolVersion.none
    /// What the endpoints' apps speak; unknown: what the client speaks.
    package var appProtocol: AppProtocol
    @Boxed package var resilience = BackendResilience.none

    package init(
        name: String, service: String = "", namespace: String = "", endpoints: [Endpoint] = [],
        balance: BalancePolicy = BalancePolicy(), outlier: OutlierPolicy? = nil, health: HealthCheck? = nil,
        appProtocol: AppProtocol = .unknown
    ) {
        self.name = name
        self.service = service
        self.namespace = namespace
        self.endpoints = endpoints
        self.balance = balance
        self.outlier = outlier
        self.health = health
        self.appProtocol = appProtocol
    }
}

package struct Endpoint: Sendable, Hashable {
    package var address: String
    package var port: Int
    /// The SPIFFE ID to expect; `nil` when the pod has no sidecar and is spoken to in plain text.
    package var principal: String?
    package var workload: String
    package var version: String
    package var app: String
    /// Of the requests, relative to the backend's other endpoints.
    package var weight: Int
    package var locality: String  // `region/zone/subzone`
    package var node: String

    package init(
        address: String, port: Int, principal: String? = nil, workload: String = "", version: String = "",
        app: String = "", weight: Int = 1, locality: String = "", node: String = ""
    ) {
        self.address = address
        self.port = port
        self.principal = principal
        self.workload = workload
        self.version = version
        self.app = app
        self.weight = weight
        self.locality = locality
        self.node = node
    }
}
