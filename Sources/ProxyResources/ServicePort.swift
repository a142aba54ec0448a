/// A destination as clients name it, and the routes to take for it.
package struct ServicePort: Sendable, Hashable {
    package var namespace: String
    package var service: String
    package var port: Int
    package var addresses: [String]  // ClusterIPs; empty for a headless service
    package var hosts: [String]  // fully qualified first: `catalog.demo.svc.cluster.local`
    package var appProtocol: AppProtocol
    package var routes: [RouteRule]  // in order; the last one matches all
    package var defaultBackend: String
    /// For connections that start with TLS: the narrowest host of the name the client asks for.
    package var tlsRoutes: [TLSRoute] = []
    /// For connections whose requests are not seen: the first that may take them. Without any, the first of `routes` that takes all.
    package var tcpRoutes: [TCPRoute] = []

    package var resourceName: String { "\(namespace)/\(service):\(port)" }

    package init(
        namespace: String, service: String, port: Int, addresses: [String] = [], hosts: [String] = [],
        appProtocol: AppProtocol = .unknown, routes: [RouteRule] = [], defaultBackend: String
    ) {
        self.namespace = namespace
        self.service = service
        self.port = port
        self.addresses = addresses
        self.hosts = hosts
        self.appProtocol = appProtocol
        self.routes = routes
        self.defaultBackend = defaultBackend
    }
}
