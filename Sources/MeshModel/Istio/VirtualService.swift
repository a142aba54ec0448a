package import KubeTypes
package import ProxyResources
import Wire

/// An Istio VirtualService, read into what routing needs.
package struct VirtualService: Sendable, Hashable, AgedPolicy {
    package struct Match: Sendable, Hashable {
        package var route: RouteMatch
        package var port: Int?
        package var gateways: [String]?
    }

    package struct Destination: Sendable, Hashable {
        package var field: String
        package var host: String
        package var subset: String?
        package var port: Int?
        package var weight: Int
        package var request = HeaderEdits()
        package var response = HeaderEdits()
    }

    package struct MirrorDestination: Sendable, Hashable {
        package var destination: Destination
        package var millionths: Int
    }

    package struct Rule: Sendable, Hashable {
        package var index: Int
        package var matches: [Match]
        package var matchesAll: Bool  // no `match` at all
        package var destinations: [Destination]
        package var timeoutMilliseconds: Int?
        package var retry: RetryPolicy?
        package var request: HeaderEdits
        package var actions: RouteActions
        package var mirrors: [MirrorDestination]
        package var directStatus: Int?
        /// A redirect goes to the port that was asked.
        package var keepsPort: Bool
        /// The VirtualService whose rules stand in this one's place.
        package var delegate: ObjectKey?
    }

    package var key: ObjectKey
    package var created: String
    package var generation: Int
    package var hosts: [String]  // empty for one that others delegate to
    package var gateways: [String]  // `mesh`, `name` or `namespace/name`
    package var exportTo: [String]
    package var rules: [Rule]
    /// `tls` and `tcp` routes, in their order.
    package var connections: [ConnectionRule]
    package var resilience: Annotated<RouteResilience>
    package var findings: [PolicyFinding]

    /// The word for all sidecars.
    package static let mesh = "mesh"

    package var reference: PolicyReference { PolicyReference(.virtualServices, key) }

    package init(_ object: KubeObject) {
        key = object.key
        created = object.creationTimestamp ?? ""
        generation = object.generation
        let spec = PolicyFields(object.spec, at: "spec", of: PolicyReference(.virtualServices, object.key))
        var findings: [PolicyFinding] = []
        resilience = Annotated(object, MeshWords.resilience, RouteResilience.init(json:of:))
        resilience.value?.rateLimits.nameBudgets(in: object.namespace)
        spec.reportOthers(
            than: ["hosts", "gateways", "http", "tls", "tcp", "exportTo"], as: "it has no effect", to: &findings)
        hosts = spec.strings("hosts").map { $0.lowercased() }
        let named = spec.strings("gateways")
        gateways = named.isEmpty ? [Self.mesh] : named
        exportTo = spec.strings("exportTo")
        var rules: [Rule] = []
        for (index, fields) in spec.each("http").enumerated() {
            rules.append(VirtualServiceReader.rule(fields, index: index, of: object.namespace, &findings))
        }
        self.rules = rules
        connections = ConnectionRuleReader.rules(spec, &findings)
        let own = PolicyReference(.virtualServices, object.key)
        self.findings = findings + [resilience.finding(own, MeshWords.resilience)].compactMap { $0 }
    }

    /// The names of the gateways it binds, in full.
    var gatewayKeys: [ObjectKey] { gateways.filter { $0 != Self.mesh }.map { gatewayKey($0) } }

    func gatewayKey(_ name: String) -> ObjectKey {
        let parts = name.split(separator: "/", maxSplits: 1).map(String.init)
        return parts.count == 2
            ? ObjectKey(namespace: parts[0], name: parts[1]) : ObjectKey(namespace: key.namespace, name: name)
    }

    /// `namespace`: of the clients; `nil` for those of any namespace.
    func isExported(to namespace: String?) -> Bool {
        if exportTo.isEmpty || exportTo.contains("*") { return true }
        guard let namespace else { return false }
        return exportTo.contains(namespace) || (exportTo.contains(".") && namespace == key.namespace)
    }
}
