package import KubeTypes
import Wire

package struct GatewayClass: Sendable, Hashable {
    package var name: String
    package var generation: Int
    package var controller: String

    package init(_ object: KubeObject) {
        name = object.name
        generation = object.generation
        controller = object.spec["controllerName"]?.string ?? ""
    }

    package var isOurs: Bool { controller == MeshWords.controller }
}

/// A `gateway.networking.k8s.io` Gateway.
package struct Gateway: Sendable, Hashable, AgedPolicy {
    package enum Admission: Sendable, Hashable {
        case same, all, nobody
        case labelled(LabelSelector)
    }

    package struct Listener: Sendable, Hashable {
        package var index: Int
        package var name: String
        package var port: Int
        package var protocolName: String
        package var hostname: String?
        package var admission: Admission
        package var kinds: [String]  // of the routes it admits
        package var admitsRoutes: Bool { !kinds.isEmpty }

        /// What can be attached to a listener of HTTP.
        package static let knownKinds = ["HTTPRoute", "GRPCRoute"]

        /// `nil` for a plain listener.
        package var tls: ListenerSecurity?

        /// Whether a gateway can listen for it.
        package var canOpen: Bool {
            guard (1...65535).contains(port) else { return false }
            switch protocolName {
            case "HTTP": return true
            case "HTTPS": return tls.map { !$0.isPassthrough } ?? false
            default: return false
            }
        }
    }

    package var key: ObjectKey
    package var created: String
    package var generation: Int
    package var className: String
    package var listeners: [Listener]
    /// The value of the label `weft.dev/gateway` on the pods that serve this Gateway.
    package var servedBy: String
    package var findings: [PolicyFinding]

    package static let defaultDeployment = "weft-ingress"

    package var reference: PolicyReference { PolicyReference(.gateways, key) }

    package init(_ object: KubeObject) {
        key = object.key
        created = object.creationTimestamp ?? ""
        generation = object.generation
        className = object.spec["gatewayClassName"]?.string ?? ""
        servedBy =
            object.spec["infrastructure"]?["labels"]?[MeshWords.gateway]?.string ?? object.labels[MeshWords.gateway]
            ?? Self.defaultDeployment
        let spec = PolicyFields(object.spec, at: "spec", of: PolicyReference(.gateways, object.key))
        var findings: [PolicyFinding] = []
        spec.reportOthers(
            than: ["gatewayClassName", "listeners", "infrastructure", "tls"], as: "it has no effect", to: &findings)
        listeners = spec.each("listeners").enumerated().map {
            Self.listener($0.element, index: $0.offset, spec, object.namespace, &findings)
        }
        self.findings = findings
    }

    private static func listener(
        _ fields: PolicyFields, index: Int, _ gateway: PolicyFields, _ namespace: String,
        _ findings: inout [PolicyFinding]
    ) -> Listener {
        let name = fields.string("protocol") ?? ""
        let number = fields.int("port") ?? 0
        let tls = ListenerSecurity(fields, port: number, gateway: gateway, namespace: namespace, &findings)
        if name != "HTTP", name != "HTTPS" || tls?.isPassthrough ?? true {
            findings.append(
                fields.finding("protocol", .unsupported, "\(name) is not supported: the listener is not opened"))
        }
        let port = fields.int("port") ?? 0
        if !(1...65535).contains(port) {
            findings.append(fields.finding("port", .invalid, "is \(port), must be from 1 to 65535"))
        }
        let allowed = fields.json["allowedRoutes"]
        let kinds = allowed?["kinds"]?.array ?? []
        let admission: Admission
        switch allowed?["namespaces"]?["from"]?.string ?? "Same" {
        case "All": admission = .all
        case "Selector":
            do throws(SelectorFault) {
                admission = .labelled(try LabelSelector(allowed?["namespaces"]?["selector"] ?? .object(JSONObject())))
            } catch {
                admission = .nobody
                findings.append(
                    fields.finding("allowedRoutes", .invalid, "\(error.message); routes of no namespace are admitted"))
            }
        default: admission = .same
        }
        return Listener(
            index: index, name: fields.string("name") ?? "", port: port, protocolName: name,
            hostname: fields.string("hostname")?.lowercased(), admission: admission,
            kinds: Listener.knownKinds.filter { known in
                kinds.isEmpty || kinds.contains { $0["kind"]?.string == known }
            }, tls: name == "HTTPS" ? tls : nil)
    }
}

/// Which references may cross into a namespace.
package struct ReferenceGrant: Sendable, Hashable {
    struct Source: Sendable, Hashable {
        var group: String
        var kind: String
        var namespace: String
    }
    struct Target: Sendable, Hashable {
        var group: String
        var kind: String
        var name: String?
    }

    package var key: ObjectKey
    var sources: [Source]
    var targets: [Target]

    package init(_ object: KubeObject) {
        key = object.key
        sources = (object.spec["from"]?.array ?? []).map {
            Source(
                group: $0["group"]?.string ?? "", kind: $0["kind"]?.string ?? "",
                namespace: $0["namespace"]?.string ?? "")
        }
        targets = (object.spec["to"]?.array ?? []).map {
            Target(group: $0["group"]?.string ?? "", kind: $0["kind"]?.string ?? "", name: $0["name"]?.string)
        }
    }

    /// `kind`: of the route.
    func permits(_ kind: String, in namespace: String, toService name: String) -> Bool {
        sources.contains(Source(group: "gateway.networking.k8s.io", kind: kind, namespace: namespace))
            && targets.contains { $0.group.isEmpty && $0.kind == "Service" && ($0.name ?? name) == name }
    }

    /// - Parameters:
    ///   - source: group, kind and namespace of what refers.
    ///   - target: group, kind and name of what is referred to.
    func permits(from source: (String, String, String), to target: (String, String, String)) -> Bool {
        sources.contains(Source(group: source.0, kind: source.1, namespace: source.2))
            && targets.contains { $0.group == target.0 && $0.kind == target.1 && ($0.name ?? target.2) == target.2 }
    }
}
