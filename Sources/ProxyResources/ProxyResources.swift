/// What one proxy is told. Each is a delta-xDS resource: its type URL, its name, and its JSON as the value of the `Any`.
///
/// - `Workload` (one, named `self`): who the proxy is and what it listens on.
/// - `Identity` (one, named `self`): its certificate, key and the roots it trusts.
/// - `ServicePort` (`demo/catalog:8080`): a destination as clients name it, and the routes to take for it.
/// - `Backend` (`demo/catalog-v1:8080`, `demo/catalog:8080/v1` for a subset): the endpoints behind a destination.
///
/// All types here are plain values without Foundation, since `meshproxy` links them.
package enum ProxyResource: Sendable, Hashable {
    case workload(Workload)
    case identity(Identity)
    case servicePort(ServicePort)
    case backend(Backend)

    package enum Kind: String, Sendable, CaseIterable {
        case workload = "type.googleapis.com/weft.proxy.v1.Workload"
        case identity = "type.googleapis.com/weft.proxy.v1.Identity"
        case servicePort = "type.googleapis.com/weft.proxy.v1.ServicePort"
        case backend = "type.googleapis.com/weft.proxy.v1.Backend"
    }
}

package enum MutualTLS: String, Sendable, Hashable {
    /// TLS from the mesh and plain text from anyone.
    case permissive = "PERMISSIVE"
    case strict = "STRICT"
    case disabled = "DISABLE"
}

package enum AppProtocol: String, Sendable, Hashable {
    case http = "http"
    case tcp = "tcp"
    /// Not declared: the proxy looks at the first bytes.
    case unknown = ""
}

package struct Workload: Sendable, Hashable {
    package var namespace: String
    package var pod: String
    package var name: String  // of the workload (Deployment …), for metrics
    package var app: String  // label `app` / `app.kubernetes.io/name`
    package var version: String
    package var node: String
    package var trustDomain: String
    package var principal: String  // spiffe://cluster.local/ns/demo/sa/catalog
    package var mutualTLS: MutualTLS
    package var portMutualTLS: [Int: MutualTLS]
    package var inboundPorts: [InboundPort]  // ports the pod declares; others are detected
    package var gatewayListeners: [GatewayListener]  // gateways only
    package var clusterDomain: String
    package var dnsUpstream: String  // `10.96.0.10:53`
}

package struct InboundPort: Sendable, Hashable {
    package var port: Int
    package var appProtocol: AppProtocol
    package var service: String  // `catalog.demo.svc.cluster.local`, for metrics; empty if no service selects it
}

/// A port a gateway listens on, and its routes. `inherited` names a descriptor passed in (`LISTEN_FDNAMES`).
package struct GatewayListener: Sendable, Hashable {
    package var name: String
    package var port: Int
    package var inherited: String
    package var routes: [VirtualHost]
}

package struct Identity: Sendable, Hashable {
    package var certificateChain: String  // PEM
    package var privateKey: String  // PEM
    package var trustRoots: String  // PEM, one or more
    package var expires: Int64  // seconds since 1970
}

package struct ServicePort: Sendable, Hashable {
    package var namespace: String
    package var service: String
    package var port: Int
    package var addresses: [String]  // ClusterIPs; empty for a headless service
    package var hosts: [String]  // fully qualified first: `catalog.demo.svc.cluster.local`
    package var appProtocol: AppProtocol
    package var routes: [RouteRule]  // in order; the last one matches all
    package var defaultBackend: String

    package var resourceName: String { "\(namespace)/\(service):\(port)" }
}

package struct VirtualHost: Sendable, Hashable {
    package var hosts: [String]  // exact, `*.example.com`, or `*`
    package var rules: [RouteRule]
}

package struct RouteRule: Sendable, Hashable {
    package var name: String  // `HTTPRoute demo/catalog rule 0`: shown in metrics, logs and `explain`
    package var matches: [RouteMatch]  // any of them; empty matches all
    package var backends: [WeightedBackend]
    package var timeoutMilliseconds: Int?
    package var setRequestHeaders: [HeaderValue]
    package var removeRequestHeaders: [String]
    /// Answers without a backend: an invalid reference gives 500, as Gateway API asks.
    package var directStatus: Int?
}

package struct RouteMatch: Sendable, Hashable {
    package enum PathMatch: Sendable, Hashable {
        case any
        case exact(String)
        /// Whole path elements: `/foo` matches `/foo` and `/foo/bar`, not `/foobar`.
        case prefix(String)
    }
    package var path: PathMatch
    package var method: String?
    package var headers: [HeaderMatch]
}

package struct HeaderMatch: Sendable, Hashable {
    package enum Kind: String, Sendable { case exact, prefix, present }
    package var name: String  // lower case
    package var kind: Kind
    package var value: String
}

package struct HeaderValue: Sendable, Hashable {
    package var name: String
    package var value: String
}

package struct WeightedBackend: Sendable, Hashable {
    package var backend: String  // a `Backend`'s name
    package var weight: Int
}

package struct Backend: Sendable, Hashable {
    package var name: String
    package var service: String  // `catalog.demo.svc.cluster.local`, for metrics
    package var namespace: String
    package var endpoints: [Endpoint]
}

package struct Endpoint: Sendable, Hashable {
    package var address: String
    package var port: Int
    /// The SPIFFE ID to expect; `nil` when the pod has no sidecar and is spoken to in plain text.
    package var principal: String?
    package var workload: String
    package var version: String
    package var app: String
}
