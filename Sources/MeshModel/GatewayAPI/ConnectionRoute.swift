package import KubeTypes
import Wire

/// A Gateway API route of any kind, as far as attaching it to a parent goes.
protocol AttachedRoute: AgedPolicy {
    var type: ResourceType { get }
    var generation: Int { get }
    var parents: [HTTPRoute.Parent] { get }
    var hostnames: [String] { get }
}

extension AttachedRoute {
    var reference: PolicyReference { PolicyReference(type, key) }
}

extension HTTPRoute: AttachedRoute {}

/// A Gateway API route of connections, not requests: TLSRoute, TCPRoute or UDPRoute.
package struct ConnectionRoute: Sendable, Hashable, AttachedRoute {
    package var type: ResourceType
    package var key: ObjectKey
    package var created: String
    package var generation: Int
    package var parents: [HTTPRoute.Parent]
    package var hostnames: [String]  // server names; empty for any
    package var backends: [HTTPRoute.BackendReference]
    package var findings: [PolicyFinding]

    package init(_ object: KubeObject, of type: ResourceType) {
        self.type = type
        key = object.key
        created = object.creationTimestamp ?? ""
        generation = object.generation
        let reader = HTTPRouteReader(namespace: object.namespace, isGRPC: false)
        let spec = PolicyFields(object.spec, at: "spec", of: PolicyReference(type, object.key))
        var findings: [PolicyFinding] = []
        var known: Set = ["parentRefs", "rules", "useDefaultGateways"]
        if type == .tlsRoutes { known.insert("hostnames") }
        spec.reportOthers(than: known, as: "it has no effect", to: &findings)
        parents = spec.each("parentRefs").enumerated().map { reader.parent($0.element, index: $0.offset) }
        hostnames = spec.strings("hostnames").map { $0.lowercased() }
        let rules = spec.each("rules")
        var backends: [HTTPRoute.BackendReference] = []
        for (index, rule) in rules.enumerated() {
            rule.reportOthers(than: ["name", "backendRefs"], as: "it has no effect", to: &findings)
            if index > 0 {
                findings.append(
                    rule.finding("", .noEffect, "no connection comes to it: the rule before takes them all"))
                continue
            }
            for backend in rule.each("backendRefs") {
                backend.reportOthers(
                    than: ["group", "kind", "name", "namespace", "port", "weight"], as: "it has no effect",
                    to: &findings)
                let reference = reader.reference(backend)
                if !(0...1_000_000).contains(reference.weight) {
                    findings.append(
                        backend.finding("weight", .invalid, "is \(reference.weight), must be from 0 to 1000000"))
                }
                backends.append(reference)
            }
        }
        self.backends = backends
        if type == .udpRoutes { findings.append(spec.finding("", .unsupported, Self.noUDP)) }
        self.findings = findings
    }

    static let noUDP = "UDP is not routed: proxies carry TCP connections only"
}
