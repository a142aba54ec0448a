import ProxyResources
import Wire

/// The `tls` of a traffic policy: what clients speak to the endpoints.
package enum ClientSecurity: Sendable, Hashable {
    /// The mesh's own TLS, to endpoints that can.
    case mesh
    case plain
    case tls(Origination)

    /// TLS that is not the mesh's.
    package struct Origination: Sendable, Hashable {
        package var serverName: String
        package var names: [String]
        /// A Secret with `ca.crt`, or beside one called `<name>-cacert`; and with a client's certificate, when that is shown.
        package var credential: String
        package var showsCertificate: Bool
        package var skipsVerification: Bool
        /// What it asks for cannot be had, so nothing is spoken.
        package var isRefused: Bool
    }

    init(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) {
        let mode = fields.string("mode") ?? "DISABLE"
        switch mode {
        case "SIMPLE", "MUTUAL": self = .tls(Origination(fields, isMutual: mode == "MUTUAL", &findings))
        case "DISABLE":
            fields.reportOthers(than: ["mode"], as: "no TLS is spoken", to: &findings)
            self = .plain
        case "ISTIO_MUTUAL":
            fields.reportOthers(than: ["mode"], as: "the mesh's own certificates and names are used", to: &findings)
            self = .mesh
        default:
            findings.append(fields.finding("mode", .invalid, "\"\(mode)\" is not known: the mesh's own TLS is used"))
            self = .mesh
        }
    }
}

extension ClientSecurity.Origination {
    init(_ fields: PolicyFields, isMutual: Bool, _ findings: inout [PolicyFinding]) {
        fields.reportOthers(
            than: ["mode", "sni", "subjectAltNames", "credentialName", "insecureSkipVerify"],
            as: "files of a proxy's container are not read; name a Secret with credentialName", to: &findings)
        serverName = fields.string("sni") ?? ""
        names = fields.strings("subjectAltNames")
        credential = fields.string("credentialName") ?? ""
        showsCertificate = isMutual
        skipsVerification = fields.json["insecureSkipVerify"]?.bool ?? false
        isRefused = fields.has("caCertificates") || (isMutual && credential.isEmpty)
        if isMutual, credential.isEmpty {
            findings.append(
                fields.finding(
                    "credentialName", .invalid, "is required for MUTUAL: no connection is made", severity: .warning))
        }
    }
}
