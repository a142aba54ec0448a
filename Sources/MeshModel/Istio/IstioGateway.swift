package import KubeTypes
package import ProxyResources
import Wire

/// An Istio Gateway: ports and hosts that the pods it selects answer for.
package struct IstioGateway: Sendable, Hashable, AgedPolicy {
    /// A server's `tls`.
    package struct Security: Sendable, Hashable {
        package enum Mode: String, Sendable {
            case simple = "SIMPLE"
            case mutual = "MUTUAL"
            case optionalMutual = "OPTIONAL_MUTUAL"
        }
        package var mode: Mode
        package var credentials: [String]  // names of secrets
        package var authority: String
        package var names: [String]
        package var minimumVersion: TLSVersion
        package var maximumVersion: TLSVersion

        /// `nil` for a mode that is not carried out, which is told.
        init?(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) {
            fields.reportOthers(
                than: [
                    "mode", "credentialName", "credentialNames", "caCertCredentialName", "subjectAltNames",
                    "minProtocolVersion", "maxProtocolVersion", "httpsRedirect",
                ], as: "it has no effect", to: &findings)
            let word = fields.string("mode") ?? "SIMPLE"
            guard let mode = Mode(rawValue: word) else {
                findings.append(
                    fields.finding("mode", .unsupported, "\(word) is not supported: the port is not opened"))
                return nil
            }
            self.mode = mode
            var names = fields.strings("credentialNames")
            if let name = fields.string("credentialName"), !name.isEmpty { names.insert(name, at: 0) }
            credentials = names
            if names.isEmpty { findings.append(fields.finding("credentialName", .invalid, "is required")) }
            authority = fields.string("caCertCredentialName") ?? ""
            self.names = fields.strings("subjectAltNames")
            for (field, versions) in [
                ("minProtocolVersion", ["TLS_AUTO", "TLSV1_2", "TLSV1_3"]),
                ("maxProtocolVersion", ["TLS_AUTO", "TLSV1_2", "TLSV1_3"]),
            ] {
                guard let version = fields.string(field), !versions.contains(version) else { continue }
                findings.append(
                    fields.finding(field, .unsupported, "\(version) is not spoken: 1.2 is the oldest version"))
            }
            minimumVersion = fields.string("minProtocolVersion") == "TLSV1_3" ? .v13 : .v12
            maximumVersion = fields.string("maxProtocolVersion") == "TLSV1_2" ? .v12 : .v13
        }
    }

    package struct Server: Sendable, Hashable {
        package var name: String
        package var port: Int
        /// `nil` for a port that is not opened.
        package var use: ListenerUse?
        /// How TLS ends; `nil` where it does not.
        package var tls: Security?
        /// A plain port that sends all to the one with TLS.
        package var redirectsToHTTPS = false
        package var hosts: [String]  // without a namespace part
    }

    package var key: ObjectKey
    package var created: String
    package var generation: Int
    package var selector: [String: String]
    package var servers: [Server]
    package var findings: [PolicyFinding]

    package var reference: PolicyReference { PolicyReference(.istioGateways, key) }

    package init(_ object: KubeObject) {
        key = object.key
        created = object.creationTimestamp ?? ""
        generation = object.generation
        selector = object.spec["selector"]?.stringMap ?? [:]
        let spec = PolicyFields(object.spec, at: "spec", of: PolicyReference(.istioGateways, object.key))
        var findings: [PolicyFinding] = []
        var servers: [Server] = []
        for fields in spec.each("servers") {
            fields.reportOthers(than: ["port", "hosts", "name", "tls"], as: "it has no effect", to: &findings)
            servers.append(Self.server(fields, &findings))
        }
        self.servers = servers
        self.findings = findings
    }

    private static func server(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> Server {
        let port = fields.inside("port")
        port?.reportOthers(than: ["number", "name", "protocol"], as: "it has no effect", to: &findings)
        let number = port?.int("number") ?? 0
        let word = (port?.string("protocol") ?? "").uppercased()
        let tls = fields.inside("tls")
        var server = Server(
            name: port?.string("name") ?? "", port: number, use: nil, tls: nil,
            hosts: fields.strings("hosts").map { host in
                String(host.split(separator: "/", maxSplits: 1).last ?? "").lowercased()
            })
        let redirects = tls?.json["httpsRedirect"]?.bool ?? false
        let isSecure = tls != nil && !redirects
        switch word {
        case "HTTP", "HTTP2", "GRPC", "GRPC-WEB":
            if isSecure {
                tls?.reportOthers(than: [], as: "a port of \(word) is plain; HTTPS is not", to: &findings)
            }
            server.use = .requests
            server.redirectsToHTTPS = redirects
        case "TCP" where !isSecure, "MONGO" where !isSecure, "MYSQL" where !isSecure, "REDIS" where !isSecure:
            server.use = .forwards
        case "HTTPS", "TLS", "TCP", "MONGO", "MYSQL", "REDIS":
            guard let tls, isSecure else {
                findings.append(fields.finding("tls", .invalid, "is required for \(word): the port is not opened"))
                break
            }
            if tls.string("mode") == "PASSTHROUGH" {
                tls.reportOthers(than: ["mode"], as: "TLS does not end here", to: &findings)
                server.use = .passesTLS
            } else if let read = Security(tls, &findings) {
                server.tls = read
                server.use = word == "HTTPS" ? .requests : .opensTLS
            }
        default:
            findings.append(
                fields.finding("port.protocol", .unsupported, "\(word) is not supported: the port is not opened"))
        }
        if !(1...65535).contains(number) {
            findings.append(fields.finding("port.number", .invalid, "is \(number), must be from 1 to 65535"))
            server.use = nil
        }
        return server
    }
}
