import ProxyResources
import Wire

extension VirtualService {
    /// A `tls` or `tcp` route.
    package struct ConnectionRule: Sendable, Hashable {
        package struct Match: Sendable, Hashable {
            package var hosts: [String]  // server names; `tls` only
            package var subnets: [String]  // of the address asked for
            package var port: Int?
            package var source: SourceNames
            package var gateways: [String]?
        }

        package struct SourceNames: Sendable, Hashable {
            package var namespace: String?
            package var labels: [String: String]
        }

        package var index: Int
        package var isTLS: Bool
        package var matches: [Match]
        package var matchesAll: Bool  // no `match` at all
        package var destinations: [Destination]

        /// `tls[0]`
        var place: String { "\(isTLS ? "tls" : "tcp")[\(index)]" }
    }
}

/// Reads the `tls` and `tcp` routes of a VirtualService.
enum ConnectionRuleReader {
    static func rules(
        _ spec: PolicyFields, _ findings: inout [PolicyFinding]
    ) -> [VirtualService.ConnectionRule] {
        var rules: [VirtualService.ConnectionRule] = []
        for (field, isTLS) in [("tls", true), ("tcp", false)] {
            for (index, fields) in spec.each(field).enumerated() {
                rules.append(rule(fields, index, isTLS: isTLS, &findings))
            }
        }
        return rules
    }

    private static func rule(
        _ fields: PolicyFields, _ index: Int, isTLS: Bool, _ findings: inout [PolicyFinding]
    ) -> VirtualService.ConnectionRule {
        fields.reportOthers(than: ["match", "route"], as: "it has no effect", to: &findings)
        let written = fields.each("match")
        var matches: [VirtualService.ConnectionRule.Match] = []
        for match in written {
            if let read = self.match(match, isTLS: isTLS, &findings) { matches.append(read) }
        }
        if isTLS, written.isEmpty {
            findings.append(fields.finding("match", .invalid, "is required: a route of TLS is found by sniHosts"))
        }
        var destinations = fields.each("route").map { VirtualServiceReader.share($0, &findings) }
        if destinations.isEmpty { findings.append(fields.finding("route", .invalid, "is required")) }
        if destinations.count == 1, destinations[0].weight == 0 { destinations[0].weight = 100 }
        if destinations.count > 1, destinations.allSatisfy({ $0.weight <= 0 }) {
            findings.append(
                fields.finding("route", .invalid, "the sum of the weights is 0, so no destination can be chosen"))
        }
        return VirtualService.ConnectionRule(
            index: index, isTLS: isTLS, matches: matches, matchesAll: written.isEmpty && !isTLS,
            destinations: destinations)
    }

    /// `nil` for a match that cannot be carried out: it takes no connection.
    private static func match(
        _ fields: PolicyFields, isTLS: Bool, _ findings: inout [PolicyFinding]
    ) -> VirtualService.ConnectionRule.Match? {
        let before = findings.count
        var known: Set = ["destinationSubnets", "port", "sourceLabels", "gateways", "sourceNamespace"]
        if isTLS { known.insert("sniHosts") }
        fields.reportOthers(than: known, as: "this match takes no connection", to: &findings)
        let hosts = fields.strings("sniHosts").map { $0.lowercased() }
        if isTLS, hosts.isEmpty { findings.append(fields.finding("sniHosts", .invalid, "is required")) }
        for (index, host) in hosts.enumerated() where !isServerName(host) {
            findings.append(
                fields.finding("sniHosts[\(index)]", .invalid, "\"\(host)\" is not a host name, *.name or *"))
        }
        let subnets = fields.strings("destinationSubnets")
        for (index, subnet) in subnets.enumerated() where AddressRange(subnet) == nil {
            findings.append(
                fields.finding(
                    "destinationSubnets[\(index)]", .invalid, "\"\(subnet)\" is not an IPv4 address or range"))
        }
        if findings.count > before { return nil }
        let namespace = fields.string("sourceNamespace").flatMap { $0.isEmpty ? nil : $0 }
        return VirtualService.ConnectionRule.Match(
            hosts: hosts, subnets: subnets, port: fields.int("port").flatMap { $0 == 0 ? nil : $0 },
            source: .init(namespace: namespace, labels: fields.json["sourceLabels"]?.stringMap ?? [:]),
            gateways: fields.has("gateways") ? fields.strings("gateways") : nil)
    }

    private static func isServerName(_ host: String) -> Bool {
        if host == "*" { return true }
        let name = host.hasPrefix("*.") ? host.dropFirst(2) : host[...]
        return !name.isEmpty && name.utf8.allSatisfy { $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "*") }
    }
}
