import KubeTypes
import MeshModel
import ProxyResources
import Testing
import Wire

/// Every field of Istio's schemas either changes what proxies are told, or is reported with the object and the field.
@Suite struct SchemaFieldTests {
    /// What stands around a field so that it can matter, by how the path of the object around it ends.
    private static let surroundings: [(kind: String, place: String, siblings: JSON)] = [
        ("DestinationRule", "spec", ["host": "catalog", "trafficPolicy": ["loadBalancer": ["simple": "RANDOM"]]]),
        ("DestinationRule", "subsets[]", ["name": "v1", "labels": ["version": "v1"]]),
        ("DestinationRule", "trafficPolicy", ["outlierDetection": ["consecutive5xxErrors": 3]]),
        ("DestinationRule", "portLevelSettings[]", ["port": ["number": 8080], "outlierDetection": ["interval": "3s"]]),
        ("DestinationRule", "consistentHash", ["useSourceIp": true]),
        ("DestinationRule", "httpCookie", ["name": "c", "ttl": "0s"]),
        ("DestinationRule", "warmup", ["duration": "10s"]),
        ("DestinationRule", "distribute[]", ["from": "a/*", "to": ["a/*": 100]]),
        ("DestinationRule", "failover[]", ["from": "a", "to": "b"]),
        ("DestinationRule", "tls", ["mode": "MUTUAL", "credentialName": "client"]),
        ("VirtualService", "spec", ["hosts": ["both"]]),
        (
            "VirtualService", "spec",
            ["http": [["route": [["destination": ["host": "catalog-v1", "port": ["number": 8080]]]]]]]
        ),
        ("VirtualService", "http[]", ["mirror": ["host": "catalog-v2", "port": ["number": 8080]]]),
        ("VirtualService", "mirrors[]", ["destination": ["host": "catalog-v2", "port": ["number": 8080]]]),
        ("VirtualService", "http[]", ["route": [["destination": ["host": "catalog", "port": ["number": 8080]]]]]),
        ("VirtualService", "tls[]", ["route": [["destination": ["host": "catalog", "port": ["number": 8080]]]]]),
        ("VirtualService", "tcp[]", ["route": [["destination": ["host": "catalog", "port": ["number": 8080]]]]]),
        ("VirtualService", "tls[]", ["match": [["sniHosts": ["a.test"]]]]),
        ("VirtualService", "tls[].match[]", ["sniHosts": ["a.test"]]),
        ("VirtualService", "route[]", ["destination": ["host": "catalog", "port": ["number": 8080]]]),
        ("VirtualService", "destination", ["host": "catalog", "port": ["number": 8080]]),
        ("VirtualService", "mirror", ["host": "catalog-v2", "port": ["number": 8080]]),
        ("VirtualService", "delay", ["fixedDelay": "1s", "percentage": ["value": 50]]),
        ("VirtualService", "abort", ["httpStatus": 500, "percentage": ["value": 50]]),
        ("VirtualService", "uriRegexRewrite", ["match": "/a", "rewrite": "/b"]),
        ("VirtualService", "corsPolicy", ["allowOrigins": [["exact": "https://a.test"]]]),
        ("VirtualService", "retries", ["attempts": 3]),
        ("VirtualService", "directResponse", ["status": 404]),
        ("VirtualService", "redirect", ["uri": "/new"]),
        ("Gateway", "spec", ["selector": ["istio": "ingressgateway"]]),
        (
            "Gateway", "servers[]",
            ["port": ["number": 8443, "name": "https", "protocol": "HTTPS"], "hosts": ["shop.test"]]
        ),
        ("Gateway", "servers[]", ["tls": ["mode": "MUTUAL", "credentialName": "client"]]),
        ("Gateway", "port", ["number": 8443, "name": "https", "protocol": "HTTPS"]),
        ("Gateway", "tls", ["mode": "MUTUAL", "credentialName": "client"]),
        ("PeerAuthentication", "spec", ["selector": ["matchLabels": ["app": "catalog"]], "mtls": ["mode": "STRICT"]]),
        (
            "AuthorizationPolicy", "targetRef",
            ["group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"]
        ),
        (
            "AuthorizationPolicy", "targetRefs[]",
            ["group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"]
        ),
        (
            "RequestAuthentication", "targetRef",
            ["group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"]
        ),
        (
            "RequestAuthentication", "targetRefs[]",
            ["group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"]
        ),
        ("AuthorizationPolicy", "spec", ["rules": [["to": [["operation": ["paths": ["/x"]]]]]]]),
        ("AuthorizationPolicy", "when[]", ["key": "request.headers[x]", "values": ["a"]]),
        ("RequestAuthentication", "spec", ["jwtRules": [["issuer": "i", "jwks": #"{"keys":[]}"#]]]),
        ("RequestAuthentication", "jwtRules[]", ["issuer": "i", "jwks": #"{"keys":[]}"#]),
        ("RequestAuthentication", "fromHeaders[]", ["name": "x-token"]),
        ("RequestAuthentication", "outputClaimToHeaders[]", ["header": "x-claim", "claim": "sub"]),
        ("Telemetry", "spec", ["selector": ["matchLabels": ["app": "catalog"]]]),
        ("Telemetry", "spec", ["tracing": [["randomSamplingPercentage": 50]]]),
        ("Telemetry", "customTags{}.header", ["name": "x-plan"]),
        ("Telemetry", "overrides[]", ["match": ["metric": "REQUEST_COUNT"], "tagOverrides": ["a": ["value": "'b'"]]]),
        ("Telemetry", "overrides[].match", ["metric": "REQUEST_COUNT"]),
        ("Telemetry", "tagOverrides{}", ["value": "'b'"]),
        ("Telemetry", "tracing[]", ["randomSamplingPercentage": 50]),
        ("Telemetry", "accessLogging[]", ["providers": [["name": "envoy"]]]),
    ]

    /// Fields whose neighbours above would decide instead: without these siblings.
    private static let apart: [String: Set<String>] = [
        "httpHeaderName": ["useSourceIp"], "httpQueryParameterName": ["useSourceIp"], "httpCookie": ["useSourceIp"],
        "useSourceIp": ["useSourceIp"], "simple": ["consistentHash"], "jwksUri": ["jwks"], "jwks_uri": ["jwks"],
        "redirect": ["route"], "directResponse": ["route"], "delegate": ["route"], "matchLabels": ["matchLabels"],
        "grpcStatus": ["httpStatus"], "percent": ["percentage"],
    ]

    /// A value that is not the usual one, by how the path ends.
    private static let values: [(ending: String, value: JSON)] = [
        ("destination.host", "catalog-v1"), ("mirror.host", "catalog-v1"), ("spec.host", "frontend"),
        ("number", 5432), ("destination.subset", "v9"), ("mirror.subset", "v9"), ("name", "other"),
        ("redirectCode", 308), ("directResponse.status", 418), ("httpStatus", 503), ("grpcStatus", "UNAVAILABLE"),
        ("retryOn", "5xx"), ("uri", "/else"), ("regex", "a+"), ("authority", "a.test"), ("scheme", "https"),
        ("attempts", 7), ("weight", 33), ("sniHosts[]", "b.test"), ("destinationSubnets[]", "10.99.0.0/16"),
        ("sourceSubnet", "10.0.0.0/8"), ("match[].port", 1), ("gateways[]", "elsewhere"), ("exportTo[]", "elsewhere"),
        ("hosts[]", "frontend"), ("sourceNamespace", "elsewhere"), ("servers[].hosts[]", "other.test"),
        ("bytes", "aGVsbG8="), ("allowMethods[]", "PUT"), ("uriRegexRewrite.match", "/c"), ("maxAge", "9s"),
        ("jwks", #"{"keys":[{"kty":"oct"}]}"#), ("jwksUri", "https://keys.test/"), ("jwks_uri", "https://keys.test/"),
        ("from", "b/*"), ("failover[].from", "c"), ("protocol", "TCP"), ("ipBlocks[]", "10.0.0.0/8"),
        ("remoteIpBlocks[]", "10.0.0.0/8"), ("notIpBlocks[]", "10.0.0.0/8"), ("notRemoteIpBlocks[]", "10.0.0.0/8"),
        ("ports[]", "8080"), ("notPorts[]", "8080"), ("serviceAccounts[]", "demo/robot"), ("key", "source.ip"),
        ("notServiceAccounts[]", "demo/robot"), ("failoverPriority[]", "topology.kubernetes.io/zone"),
        ("interval", "11s"), ("baseEjectionTime", "11s"), ("connectTimeout", "11s"), ("idleTimeout", "11s"),
        ("maxConnectionDuration", "11s"), ("time", "11s"), ("ttl", "11s"), ("duration", "11s"), ("timeout", "11s"),
        ("warmupDurationSecs", "11s"), ("backoff", "11s"), ("perTryTimeout", "11s"), ("fixedDelay", "11s"),
        ("exponentialDelay", "11s"), ("value", 25), ("percent", 25), ("percentage", 25),
        ("expression", "response.code >= 400"),
        ("literal.value", "v"), ("defaultValue", "v"),
        ("tagOverrides{}.value", "'c'"), ("metric", "REQUEST_DURATION"), ("aggression", 3),
        ("headers.request.set{}", "v"),
    ]

    /// Neither honoured nor reported, and why that is right.
    private static let quiet: [String: String] = [
        "VirtualService spec.http[].name": "for people",
        "VirtualService spec.http[].match[].name": "for people",
        "VirtualService spec.http[].match[].statPrefix": "for Envoy's own statistics",
        "Gateway spec.servers[].name": "for people",
        "RequestAuthentication spec.jwtRules[].timeout": "of fetching keys, which the control plane does",
    ]

    private struct Leaf {
        var path: [String]  // `servers[]` where an element of a list is meant
        var schema: JSON
        var text: String { (["spec"] + path).joined(separator: ".") }
    }

    private static func leaves(_ schema: JSON, _ path: [String]) -> [Leaf] {
        if let properties = schema["properties"]?.object {
            return properties.flatMap { leaves($0.value, path + [$0.key]) }
        }
        guard let last = path.last else { return [] }
        if let items = schema["items"] { return leaves(items, path.dropLast() + [last + "[]"]) }
        if let values = schema["additionalProperties"], values.object != nil {
            return leaves(values, path.dropLast() + [last + "{}"])
        }
        return [Leaf(path: path, schema: schema)]
    }

    private static func values(_ leaf: Leaf) -> [JSON] {
        if let words = leaf.schema["enum"]?.array, !words.isEmpty { return words }
        let fitting = values.filter { leaf.text.hasSuffix($0.ending) && isWhole(leaf.text, $0.ending) }
        if let best = fitting.max(by: { $0.ending.utf8.count < $1.ending.utf8.count }) { return [best.value] }
        switch leaf.schema["type"]?.string {
        case "integer": return [7]
        case "number": return [7.5]
        case "boolean": return [true, false]
        case "object": return [["x-a": "b"]]
        default: return leaf.schema["x-kubernetes-int-or-string"] == nil ? ["other"] : [7]
        }
    }

    private static func isWhole(_ text: String, _ ending: String) -> Bool {
        text.utf8.count == ending.utf8.count || text.dropLast(ending.count).hasSuffix(".")
    }

    /// An object with the field, or only with what stands around it.
    private static func spec(_ kind: String, _ leaf: Leaf, _ value: JSON?) -> JSON {
        let name = leaf.path.last.map { String($0.prefix { $0 != "[" && $0 != "{" }) } ?? ""
        func build(_ rest: ArraySlice<String>, _ place: String) -> JSON {
            var made: JSON = .object(JSONObject())
            for around in surroundings where around.kind == kind {
                guard place.hasSuffix(around.place), isWhole(place, around.place) else { continue }
                for sibling in around.siblings.object ?? JSONObject() where !(apart[name] ?? []).contains(sibling.key) {
                    made[sibling.key] = sibling.value
                }
            }
            guard let step = rest.first else { return value ?? made }
            let field = String(step.prefix { $0 != "[" && $0 != "{" })
            if rest.count == 1, value == nil { return made }
            var inner = build(rest.dropFirst(), "\(place).\(step)")
            if value == nil, inner.object?.isEmpty ?? false { return made }
            if step.hasSuffix("[]") { inner = .array([inner]) }
            if step.hasSuffix("{}") { inner = [field == "portLevelMtls" ? "8080" : "x-a": inner] }
            made[field] = inner
            return made
        }
        return build(leaf.path[...], "spec")
    }

    private static func cluster() throws -> Cluster {
        var cluster = try Cluster.canary()
        cluster.pod("edge", address: "10.244.1.99", labels: ["istio": "ingressgateway", "weft.dev/gateway": "edge"])
        try cluster.apply(
            """
            apiVersion: v1
            kind: Service
            metadata: {name: both, namespace: demo}
            spec: {clusterIP: 10.96.7.7, selector: {app: catalog}, ports: [{name: http, port: 8080}, {name: tcp, port: 5432}]}
            ---
            apiVersion: gateway.networking.k8s.io/v1
            kind: GatewayClass
            metadata: {name: weft}
            spec: {controllerName: weft.dev/mesh-controller}
            ---
            apiVersion: gateway.networking.k8s.io/v1
            kind: Gateway
            metadata: {name: edge, namespace: demo, labels: {weft.dev/gateway: edge}}
            spec: {gatewayClassName: weft, listeners: [{name: http, port: 8081, protocol: HTTP}]}
            ---
            apiVersion: networking.istio.io/v1
            kind: Gateway
            metadata: {name: door, namespace: demo}
            spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
            ---
            apiVersion: networking.istio.io/v1
            kind: VirtualService
            metadata: {name: shop, namespace: demo}
            spec: {hosts: [shop.test, other.test], gateways: [test], http: [{route: [{destination: {host: catalog}}]}], tcp: [{route: [{destination: {host: catalog}}]}]}
            """)
        let encoded = [
            "tls.crt": "-----BEGIN CERTIFICATE-----\n", "tls.key": "-----BEGIN PRIVATE KEY-----\n", "ca.crt": "x",
        ]
        .mapValues { Base64.encode(Array($0.utf8)) }
        var secret = KubeObject(apiVersion: "v1", kind: "Secret", namespace: "demo", name: "client")
        secret.json["data"] = .object(JSONObject(encoded.map { .init($0.key, .string($0.value)) }))
        _ = cluster.state.apply(.secrets, secret)
        return cluster
    }

    private struct Told: Equatable {
        var ports: [String: ServicePort]
        var ofClients: [String: [String: PortRoutes]]
        var backends: [String: Backend]
        var workloads: [ObjectKey: Workload]
        var keyAddresses: Set<String>
    }

    private static func told(
        _ cluster: Cluster, _ type: ResourceType, _ spec: JSON
    ) -> (told: Told, findings: [PolicyFinding]) {
        var state = cluster.state
        var object = KubeObject(apiVersion: type.apiVersion, kind: type.kind, namespace: "demo", name: "test")
        object.spec = spec
        object.json[path: ["metadata", "creationTimestamp"]] = "2026-02-01T00:00:00Z"
        _ = state.apply(type, object)
        let model = compile(state)
        let told = Told(
            ports: model.servicePorts, ofClients: model.routesOfClients, backends: model.backends,
            workloads: model.workloads, keyAddresses: state.keyAddresses)
        return (told, model.findings.filter { $0.object.key.name == "test" && $0.object.type.kind == type.kind })
    }

    /// Whether a finding's place (`spec.http[0].fault`) is a field's, or one around it.
    private static func isAbout(_ place: String, _ leaf: String) -> Bool {
        func plain(_ text: String) -> [Substring] {
            var names = ""
            var depth = 0
            for character in text {
                if character == "[" || character == "{" { depth += 1 }
                if depth == 0 { names.append(character) }
                if character == "]" || character == "}" { depth -= 1 }
            }
            return names.split(separator: ".")
        }
        let keyed = leaf.split(separator: ".").map { step in
            step.hasSuffix("{}") ? "\(step.dropLast(2)).\(step.hasPrefix("portLevel") ? "8080" : "x-a")" : String(step)
        }.joined(separator: ".")
        return zip(plain(place), plain(keyed)).allSatisfy { $0 == $1 }
    }

    @Test(
        "each field of Istio's schemas is honoured or reported",
        arguments: [
            ResourceType.destinationRules, .virtualServices, .istioGateways, .peerAuthentications,
            .authorizationPolicies, .requestAuthentications, .telemetries,
        ])
    func fields(_ type: ResourceType) throws {
        let schemas = try Cluster.json(file: "Sources/CSchemas/istio.json")
        let versions = try #require(schemas[type.kind]?["versions"]?.array)
        let whole = try #require(versions.compactMap { $0["schema"] }.first { $0["properties"] != nil })
        let all = Self.leaves(try #require(whole["properties"]?["spec"]), [])
        #expect(all.count > 1, "the schema is read")
        let cluster = try Self.cluster()
        for leaf in all where Self.quiet["\(type.kind) \(leaf.text)"] == nil {
            let plain = Self.told(cluster, type, Self.spec(type.kind, leaf, nil))
            let isHeard = Self.values(leaf).contains { value in
                let with = Self.told(cluster, type, Self.spec(type.kind, leaf, value))
                let new = Set(with.findings).symmetricDifference(plain.findings)
                return with.told != plain.told || new.contains { Self.isAbout($0.field, leaf.text) }
            }
            #expect(
                isHeard,
                "\(type.kind) \(leaf.text) is ignored: \(Self.spec(type.kind, leaf, Self.values(leaf)[0]).text)")
        }
    }

    @Test("kinds nothing is read of say so")
    func kinds() {
        for kind in ["ServiceEntry", "Sidecar", "WorkloadEntry", "WorkloadGroup", "ProxyConfig", "EnvoyFilter"] {
            let type = ResourceType(
                group: "networking.istio.io", version: "v1", resource: kind.lowercased() + "s", kind: kind)
            let object = KubeObject(apiVersion: type.apiVersion, kind: kind, namespace: "demo", name: "x")
            #expect(lint(type, object, in: MeshState()).first?.field == "kind", "\(kind)")
        }
    }
}
