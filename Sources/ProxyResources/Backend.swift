/// The endpoints behind a destination.
package struct Backend: Sendable, Hashable {
    package var name: String
    package var service: String  // `catalog.demo.svc.cluster.local`, for metrics
    package var namespace: String
    package var endpoints: [Endpoint]

    package init(name: String, service: String = "", namespace: String = "", endpoints: [Endpoint] = []) {
        self.name = name
        self.service = service
        self.namespace = namespace
        self.endpoints = endpoints
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

    package init(
        address: String, port: Int, principal: String? = nil, workload: String = "", version: String = "",
        app: String = ""
    ) {
        self.address = address
        self.port = port
        self.principal = principal
        self.workload = workload
        self.version = version
        self.app = app
    }
}
