package import KubeTypes
import Wire

/// An Istio Gateway: ports and hosts that the pods it selects answer for.
package struct IstioGateway: Sendable, Hashable, AgedPolicy {
    package struct Server: Sendable, Hashable {
        package var name: String
        package var port: Int
        package var isHTTP: Bool
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
            fields.reportOthers(than: ["port", "hosts", "name"], as: "it has no effect", to: &findings)
            let port = fields.inside("port")
            let number = port?.int("number") ?? 0
            let word = port?.string("protocol") ?? ""
            let isHTTP = ["HTTP", "HTTP2", "GRPC"].contains(word.uppercased()) && !fields.has("tls")
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
            servers.append(Server(name: port?.string("name") ?? "", port: number, isHTTP: canOpen, hosts: hosts))
        }
        self.servers = servers
        self.findings = findings
    }
}
