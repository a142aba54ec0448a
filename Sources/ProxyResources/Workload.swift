/// Who a proxy is and what it listens on.
package struct Workload: Sendable, Hashable {
    package var namespace: String
    package var pod: String
    package var name: String  // of the workload (Deployment …), for metrics
    package var app: String  // label `app` / `app.kubernetes.io/name`
    package var version: String
    /// The pod's own, for routes that ask who calls.
    package var labels: [String: String] = [:]
    package var node: String
    package var locality: String  // of its node: `region/zone/subzone`
    package var trustDomain: String
    package var principal: String  // spiffe://cluster.local/ns/demo/sa/catalog
    package var mutualTLS: MutualTLS
    package var portMutualTLS: [Int: MutualTLS]
    package var inboundPorts: [InboundPort]  // ports the pod declares; others are detected
    package var gatewayListeners: [GatewayListener]  // gateways only
    package var clusterDomain: String
    package var dnsUpstream: String  // `10.96.0.10:53`
    package var security = WorkloadSecurity()
    package var telemetry = Telemetry()
    package var multiplexing = Multiplexing.byLoad
    package var rateLimits: [RateLimit] = []  // on requests to the pod, whatever the port
    package var limits = ClientLimits()
    package var loading = Loading()
    /// Shown to servers outside the mesh that ask, where a backend's `tls` has none of its own.
    package var clientCertificate: KeyPair?

    package init(
        namespace: String, pod: String, name: String = "", app: String = "", version: String = "", node: String = "",
        locality: String = "",
        trustDomain: String = "cluster.local", principal: String = "", mutualTLS: MutualTLS = .permissive,
        portMutualTLS: [Int: MutualTLS] = [:], inboundPorts: [InboundPort] = [],
        gatewayListeners: [GatewayListener] = [], clusterDomain: String = "cluster.local", dnsUpstream: String = ""
    ) {
        self.namespace = namespace
        self.pod = pod
        self.name = name
        self.app = app
        self.version = version
        self.node = node
        self.locality = locality
        self.trustDomain = trustDomain
        self.principal = principal
        self.mutualTLS = mutualTLS
        self.portMutualTLS = portMutualTLS
        self.inboundPorts = inboundPorts
        self.gatewayListeners = gatewayListeners
        self.clusterDomain = clusterDomain
        self.dnsUpstream = dnsUpstream
    }
}

/// Whether requests to other sidecars share connections (HTTP/2). Those that speak HTTP/2 already always do.
package enum Multiplexing: String, Sendable, Hashable {
    case on = "ON"
    case off = "OFF"
    /// When many small requests are in flight to the same sidecar, which is when it is cheaper: a third less CPU then (`make bench`).
    case byLoad = "BY_LOAD"
}

package struct InboundPort: Sendable, Hashable {
    package var port: Int
    package var appProtocol: AppProtocol
    package var service: String  // `catalog.demo.svc.cluster.local`, for metrics; empty if no service selects it
    package var rateLimits: [RateLimit]

    package init(
        port: Int, appProtocol: AppProtocol = .unknown, service: String = "", rateLimits: [RateLimit] = []
    ) {
        self.port = port
        self.appProtocol = appProtocol
        self.service = service
        self.rateLimits = rateLimits
    }
}

/// A port a gateway listens on, and its routes. `inherited` names a descriptor passed in (`LISTEN_FDNAMES`).
package struct GatewayListener: Sendable, Hashable {
    package var name: String
    package var address: String  // IPv4 to listen on; empty for all
    package var port: Int
    package var inherited: String
    package var routes: [VirtualHost]
    /// How TLS ends here, by server name. With neither this nor `tlsRoutes` the port is plain.
    package var tls: [TLSServer] = []
    /// TLS that does not end here. A server name goes to the narrowest host of either list.
    package var tlsRoutes: [TLSRoute] = []
    /// Where plain connections go on as they are; with any, requests are not looked for.
    package var backends: [WeightedBackend] = []
    package var proxyProtocol: ProxyProtocolPeers? = nil

    package init(
        name: String, address: String = "", port: Int, inherited: String = "", routes: [VirtualHost] = []
    ) {
        self.name = name
        self.address = address
        self.port = port
        self.inherited = inherited
        self.routes = routes
    }
}
