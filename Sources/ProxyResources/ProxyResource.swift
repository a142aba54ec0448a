/// What one proxy is told. Each is a delta-xDS resource: its type URL, its name, and its JSON as the value of the `Any`.
///
/// - `Workload` (one, named `self`): who the proxy is and what it listens on.
/// - `Identity` (one, named `self`): its certificate, key and the roots it trusts.
/// - `ServicePort` (`demo/catalog:8080`): a destination as clients name it, and the routes to take for it.
/// - `Backend` (`demo/catalog-v1:8080`, `demo/catalog:8080/v1` for a subset): the endpoints behind a destination.
/// - `Destination` (`10.96.0.7:80`): which of those a client's address leads to; only for proxies that ask for them by name.
///
/// All types here are plain values without Foundation, since `meshproxy` links them.
package enum ProxyResource: Sendable, Hashable {
    case workload(Workload)
    case identity(Identity)
    case servicePort(ServicePort)
    case backend(Backend)
    case destination(Destination)

    package enum Kind: String, Sendable, CaseIterable {
        case workload = "type.googleapis.com/weft.proxy.v1.Workload"
        case identity = "type.googleapis.com/weft.proxy.v1.Identity"
        case servicePort = "type.googleapis.com/weft.proxy.v1.ServicePort"
        case backend = "type.googleapis.com/weft.proxy.v1.Backend"
        case destination = "type.googleapis.com/weft.proxy.v1.Destination"
    }

    /// The name of the one resource there is of its kind.
    package static let own = "self"

    package var kind: Kind {
        switch self {
        case .workload: .workload
        case .identity: .identity
        case .servicePort: .servicePort
        case .backend: .backend
        case .destination: .destination
        }
    }

    package var name: String {
        switch self {
        case .workload, .identity: Self.own
        case .servicePort(let port): port.resourceName
        case .backend(let backend): backend.name
        case .destination(let destination): destination.key
        }
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
    /// Over HTTP/2 only.
    case http2 = "http2"
    case grpc = "grpc"
    case tcp = "tcp"
    /// Not declared: the proxy looks at the first bytes.
    case unknown = ""

    package var isHTTP: Bool { self == .http || isHTTP2 }
    package var isHTTP2: Bool { self == .http2 || self == .grpc }
}
