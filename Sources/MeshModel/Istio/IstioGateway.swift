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
                    "minProtocolVersion", "maxProtocolVersion",
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
            minimumVersion = fields.string("minProtocolVersion") == "TLSV1_3" ? .v13 : .v12
            maximumVersion = fields.string("maxProtocolVersion") == "TLSV1_2" ? .v12 : .v13
        }
    }

    package struct Server: Sendable, Hashable {
        package var name: String
        package var port: Int
        package var isHTTP: Bool
        /// How TLS ends; `nil` for a plain port.
        package var tls: Security?
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
            let port = fields.inside("port")
            let number = port?.int("number") ?? 0
            let word = port?.string("protocol") ?? ""
            let tls = fields.inside("tls").flatMap { Security($0, &findings) }
            let isPlain = ["HTTP", "HTTP2", "GRPC"].contains(word.uppercased()) && !fields.has("tls")
            let isHTTP = isPlain || (word.uppercased() == "HTTPS" && tls != nil)
            if !isHTTP {
                findings.append(
                    fields.finding("port.protocol", .unsupported, "\(word) is not supported: the port is not opened"))
            }
            if !(1...65535).contains(number) {
                findings.append(fields.finding("port.number", .invalid, "is \(number), must be from 1 to 65535"))
            }
            let hosts = fields.strings("hosts").map { host in
                String(host.split(separator: "/", maxSplits: 1).last ?? "").lowercased()
            }
            let canOpen = isHTTP && (1...65535).contains(number)
            servers.append(
                Server(name: port?.string("name") ?? "", port: number, isHTTP: canOpen, tls: tls, hosts: hosts))
        }
        self.servers = servers
        self.findings = findings
    }
}
