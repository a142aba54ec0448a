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
        /// It names kinds of routes that cannot be attached to it.
        package var namesUnknownKinds: Bool
        /// `nil` for a plain listener.
        package var tls: ListenerSecurity?

        /// Whether a gateway can listen for it.
        package var canOpen: Bool { (1...65535).contains(port) && use != nil }

        /// `nil` for what cannot be listened for.
        package var use: ListenerUse? {
            switch protocolName {
            case "HTTP": .requests
            case "HTTPS": tls.flatMap { $0.isPassthrough ? nil : .requests }
            case "TLS": tls.map { $0.isPassthrough ? .passesTLS : .opensTLS }
            case "TCP": .forwards
            default: nil
            }
        }

        /// What can be attached to a listener of a protocol.
        static func knownKinds(_ protocolName: String, passesTLS: Bool) -> [String] {
            switch protocolName {
            case "TLS": passesTLS ? ["TLSRoute"] : ["TLSRoute", "TCPRoute"]
            case "TCP": ["TCPRoute"]
            case "HTTP", "HTTPS": ["HTTPRoute", "GRPCRoute"]
            default: []
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
    /// It names an object with settings, of which no kind is known here.
    package var hasParameters: Bool
    /// What it shows to backends that speak TLS.
    package var backendCertificate: CertificateReference?
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
        let infrastructure = spec.inside("infrastructure")
        infrastructure?.reportOthers(
            than: ["labels", "annotations", "parametersRef"], as: "it has no effect", to: &findings)
        hasParameters = infrastructure?.has("parametersRef") ?? false
        if hasParameters, let infrastructure {
            findings.append(
                infrastructure.finding(
                    "parametersRef", .unsupported, "no kind of parameters is known: the Gateway is not accepted"))
        }
        backendCertificate = spec.inside("tls")?.inside("backend")?.inside("clientCertificateRef").map {
            CertificateReference($0, from: object.namespace)
        }
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
        if !(1...65535).contains(number) {
            findings.append(fields.finding("port", .invalid, "is \(number), must be from 1 to 65535"))
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
        let known = Listener.knownKinds(name, passesTLS: tls?.isPassthrough ?? false)
        let named = kinds.map { kind in
            let isOfGroup = kind["group"]?.string ?? "gateway.networking.k8s.io" == "gateway.networking.k8s.io"
            return isOfGroup ? kind["kind"]?.string ?? "" : ""
        }
        let listener = Listener(
            index: index, name: fields.string("name") ?? "", port: number, protocolName: name,
            hostname: fields.string("hostname")?.lowercased(), admission: admission,
            kinds: named.isEmpty ? known : known.filter { named.contains($0) },
            namesUnknownKinds: named.contains { !known.contains($0) },
            tls: name == "HTTPS" || name == "TLS" ? tls : nil)
        if listener.use == nil {
            let message = name == "UDP" ? ConnectionRoute.noUDP : "\(name) is not supported"
            findings.append(fields.finding("protocol", .unsupported, "\(message): the listener is not opened"))
        }
        return listener
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
