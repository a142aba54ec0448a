/// A certificate and the key it speaks for.
package struct KeyPair: Sendable, Hashable {
    package var certificateChain: String  // PEM
    package var privateKey: String  // PEM

    package init(certificateChain: String, privateKey: String) {
        self.certificateChain = certificateChain
        self.privateKey = privateKey
    }
}

package enum TLSVersion: String, Sendable, Hashable, Comparable {
    case v12 = "1.2"
    case v13 = "1.3"

    package static func < (one: TLSVersion, other: TLSVersion) -> Bool { one.rawValue < other.rawValue }
}

/// How a gateway's listener speaks TLS for some of its names.
package struct TLSServer: Sendable, Hashable {
    package enum ClientCertificates: String, Sendable {
        case none = "NONE"
        case optional = "OPTIONAL"
        case required = "REQUIRED"
    }

    /// Server names it answers for: exact, `*.example.com`, or `*`, which also takes clients that name none.
    package var hosts: [String]
    /// One of each kind of key; the client's abilities decide.
    package var certificates: [KeyPair]
    package var clientCertificates: ClientCertificates
    package var clientRoots: String  // PEM, one or more
    /// Alternative names of clients that are let in; empty for any the roots vouch for.
    package var clientNames: [String]
    package var minimumVersion: TLSVersion
    package var maximumVersion: TLSVersion
    /// Offered to clients in this order (ALPN).
    package var protocols: [String]
    /// Where what is inside goes on as it is. With any, requests are not looked for, and no protocol is offered.
    package var backends: [WeightedBackend] = []

    package init(
        hosts: [String] = ["*"], certificates: [KeyPair], clientCertificates: ClientCertificates = .none,
        clientRoots: String = "", clientNames: [String] = [], minimumVersion: TLSVersion = .v12,
        maximumVersion: TLSVersion = .v13, protocols: [String] = TLSServer.usualProtocols
    ) {
        self.hosts = hosts
        self.certificates = certificates
        self.clientCertificates = clientCertificates
        self.clientRoots = clientRoots
        self.clientNames = clientNames
        self.minimumVersion = minimumVersion
        self.maximumVersion = maximumVersion
        self.protocols = protocols
    }

    package static let usualProtocols = ["h2", "http/1.1"]

    /// The same as a rule that takes all there is.
    package var rule: RouteRule {
        RouteRule(name: "TLS \(hosts.joined(separator: ", "))", backends: backends)
    }
}

/// TLS passed through as it is, to a backend chosen by the server name the client asks for.
package struct TLSRoute: Sendable, Hashable {
    package var name: String  // `TLSRoute demo/shop rule 0`
    package var hosts: [String]  // exact, `*.example.com`, or `*`
    package var backends: [WeightedBackend]
    /// Whose connections it takes: of all proxies that are told of it. Addresses are not looked at.
    package var source = SourceMatch()

    package init(
        name: String = "", hosts: [String], backends: [WeightedBackend], source: SourceMatch = SourceMatch()
    ) {
        self.name = name
        self.hosts = hosts
        self.backends = backends
        self.source = source
    }

    /// The same as a rule that takes all there is.
    package var rule: RouteRule { RouteRule(name: name, backends: backends) }
}

/// Which of a listener's servers and routes takes connections that ask for a name: the narrowest host of all. Without a name only
/// `*` does.
package func chooseServerName(
    servers: [TLSServer], routes: [TLSRoute], for name: String
) -> (server: Int?, route: Int?)? {
    var best: (rank: Int, server: Int?, route: Int?)?
    func look(_ hosts: [String], server: Int?, route: Int?) {
        for host in hosts {
            guard let rank = serverNameRank(of: host, for: name.lowercased()), rank > best?.rank ?? -1 else { continue }
            best = (rank, server, route)
        }
    }
    for (index, server) in servers.enumerated() { look(server.hosts, server: index, route: nil) }
    for (index, route) in routes.enumerated() { look(route.hosts, server: nil, route: index) }
    return best.map { ($0.server, $0.route) }
}

/// `nil` when the pattern does not cover the name; larger is narrower.
private func serverNameRank(of pattern: String, for name: String) -> Int? {
    if pattern == "*" { return 0 }
    if pattern == name { return .max }
    guard pattern.hasPrefix("*.") else { return nil }
    let suffix = pattern.dropFirst()
    return name.utf8.count > suffix.utf8.count && name.hasSuffix(suffix) ? suffix.utf8.count : nil
}

/// TLS spoken to endpoints outside the mesh.
package struct BackendTLS: Sendable, Hashable {
    package var serverName: String  // SNI; empty for none
    /// One of them must stand in the server's certificate: DNS names, or URIs with a scheme. Empty: the server name must.
    package var names: [String]
    package var roots: String  // PEM; empty for the machine's own
    package var skipsVerification: Bool
    package var certificate: KeyPair?  // for servers that ask
    package var minimumVersion: TLSVersion

    package init(
        serverName: String = "", names: [String] = [], roots: String = "", skipsVerification: Bool = false,
        certificate: KeyPair? = nil, minimumVersion: TLSVersion = .v12
    ) {
        self.serverName = serverName
        self.names = names
        self.roots = roots
        self.skipsVerification = skipsVerification
        self.certificate = certificate
        self.minimumVersion = minimumVersion
    }
}

/// Who may say, in a PROXY protocol header, whom they speak for. From everybody else no such header is read.
package struct ProxyProtocolPeers: Sendable, Hashable {
    package var trusted: [String]  // addresses and blocks

    package init(trusted: [String]) { self.trusted = trusted }
}

/// The header an endpoint expects before a connection's first bytes.
package enum ProxyProtocolVersion: String, Sendable, Hashable {
    case none = ""
    case v1 = "1"
    case v2 = "2"
}
