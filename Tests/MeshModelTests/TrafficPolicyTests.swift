import KubeTypes
import MeshModel
import ProxyResources
import Testing
import Wire

/// What a DestinationRule says of a service, of its subsets and of single ports.
@Suite struct TrafficPolicyTests {
    private static func secret(_ name: String, _ data: [String: String]) -> KubeObject {
        var secret = KubeObject(apiVersion: "v1", kind: "Secret", namespace: "demo", name: name)
        let members = data.map { JSONObject.Member($0.key, .string(Base64.encode(Array($0.value.utf8)))) }
        secret.json["data"] = .object(JSONObject(members))
        return secret
    }

    private static let pair = [
        "tls.crt": "-----BEGIN CERTIFICATE-----own\n", "tls.key": "-----BEGIN PRIVATE KEY-----\n",
        "ca.crt": "-----BEGIN CERTIFICATE-----root\n",
    ]

    private func model(_ policy: String, subsets: String = "[]", secrets: [String: [String: String]] = [:]) throws
        -> MeshModel
    {
        var cluster = try Cluster.canary()
        for (name, data) in secrets { _ = cluster.state.apply(.secrets, Self.secret(name, data)) }
        try cluster.apply(
            """
            apiVersion: networking.istio.io/v1
            kind: DestinationRule
            metadata: {name: catalog, namespace: demo}
            spec: {host: catalog, trafficPolicy: \(policy), subsets: \(subsets)}
            """)
        return compile(cluster.state)
    }

    @Test(
        "MUTUAL shows the Secret's certificate and trusts its authority; without the Secret nothing is spoken, and that is said"
    )
    func mutual() throws {
        let policy = "{tls: {mode: MUTUAL, credentialName: client, sni: shop.test, subjectAltNames: [shop.test]}}"
        let without = try model(policy)
        #expect(without.backends["demo/catalog:8080"]?.tls?.roots == "missing")
        #expect(without.findings.map(\.field) == ["spec.trafficPolicy.tls.credentialName"])
        let with = try model(policy, secrets: ["client": Self.pair])
        let tls = try #require(with.backends["demo/catalog:8080"]?.tls)
        #expect(tls.serverName == "shop.test" && tls.names == ["shop.test"])
        #expect(tls.certificate?.certificateChain == Self.pair["tls.crt"] && tls.roots == Self.pair["ca.crt"])
        #expect(with.findings == [])
        let apart = try model(
            policy, secrets: ["client": Self.pair.filter { $0.key != "ca.crt" }, "client-cacert": ["ca.crt": "other"]])
        #expect(apart.backends["demo/catalog:8080"]?.tls?.roots == "other")
        let files = try model("{tls: {mode: MUTUAL, clientCertificate: /a, privateKey: /b, caCertificates: /c}}")
        #expect(files.backends["demo/catalog:8080"]?.tls?.roots == "missing")
        let fields = Set(files.findings.map(\.field))
        #expect(
            fields.isSuperset(
                of: ["caCertificates", "clientCertificate", "privateKey"].map { "spec.trafficPolicy.tls.\($0)" }))
    }

    @Test("subsets and ports have TLS and limits of their own; what a port does not say is the default")
    func levels() throws {
        let model = try model(
            """
            {connectionPool: {tcp: {maxConnections: 10}}, tls: {mode: DISABLE},
             portLevelSettings: [{port: {number: 9999}, tls: {mode: SIMPLE}}]}
            """,
            subsets: """
                [{name: v1, labels: {version: v1}, trafficPolicy: {connectionPool: {http: {maxRetries: 3}}, tls: {mode: SIMPLE}}},
                 {name: v2, labels: {version: v2}, trafficPolicy: {portLevelSettings: [{port: {number: 8080}, outlierDetection: {interval: 3s}}]}}]
                """)
        let whole = try #require(model.backends["demo/catalog:8080"])
        #expect(whole.tls == nil && whole.endpoints.allSatisfy { $0.principal == nil })
        #expect(whole.resilience.limits?.maxConnections == 10)
        let one = try #require(model.backends["demo/catalog:8080/v1"])
        #expect(
            one.tls != nil && one.resilience.limits?.maxRetries == 3 && one.resilience.limits?.maxConnections == nil)
        let two = try #require(model.backends["demo/catalog:8080/v2"])
        #expect(two.tls == nil && two.resilience.limits == nil && two.outlier?.intervalMilliseconds == 3000)
        #expect(two.endpoints.allSatisfy { $0.principal != nil }, "a port without tls speaks the mesh's")
        #expect(model.findings == [])
    }

    @Test("times, keep-alive, HTTP/2 and the PROXY protocol reach the backend")
    func pool() throws {
        let model = try model(
            """
            {connectionPool: {tcp: {connectTimeout: 2s, idleTimeout: 3m, tcpKeepalive: {probes: 4, time: 90s, interval: 1500ms}},
              http: {idleTimeout: 30s, maxRequestsPerConnection: 7, h2UpgradePolicy: UPGRADE}},
             tls: {mode: DISABLE}, proxyProtocol: {version: V2}}
            """)
        let backend = try #require(model.backends["demo/catalog:8080"])
        let limits = try #require(backend.resilience.limits)
        #expect(limits.connectTimeoutMilliseconds == 2000 && limits.tunnelIdleTimeoutMilliseconds == 180_000)
        #expect(limits.idleTimeoutMilliseconds == 30_000 && limits.maxRequestsPerConnection == 7)
        #expect(limits.keepAlive == TCPKeepAlive(probes: 4, timeSeconds: 90, intervalSeconds: 2))
        #expect(backend.appProtocol == .http2 && backend.proxyProtocol == .v2)
        #expect(try Backend(json: backend.json) == backend)
    }

    @Test("a GRPCRoute's matches: the longest service, then the longest method, wherever they stand")
    func calls() throws {
        var cluster = try Cluster.canary()
        try cluster.apply(
            """
            apiVersion: gateway.networking.k8s.io/v1
            kind: GRPCRoute
            metadata: {name: calls, namespace: demo}
            spec:
              parentRefs: [{group: "", kind: Service, name: catalog}]
              rules:
              - {matches: [{method: {method: Get}}], backendRefs: [{name: catalog-v1, port: 8080}]}
              - {matches: [{method: {service: shop.Catalog}}], backendRefs: [{name: catalog-v2, port: 8080}]}
              - {matches: [{method: {service: shop.Catalog, method: Put}}], backendRefs: [{name: catalog-v1, port: 8080}]}
            """)
        let model = compile(cluster.state)
        func answer(_ path: String) throws -> [String: Int] {
            try shares(model, "demo/catalog:8080", RequestForm(path: path))
        }
        #expect(try answer("/shop.Catalog/Get") == ["10.244.2.12": 1000], "the service counts before the method")
        #expect(try answer("/shop.Catalog/Put") == ["10.244.1.11": 1000])
        #expect(try answer("/other.Thing/Get") == ["10.244.1.11": 1000])
    }

    @Test("a backend's own redirect works where it is the only one, and is refused in the status where there are more")
    func filtersOfBackends() throws {
        func model(_ more: String) throws -> MeshModel {
            var cluster = try Cluster.canary()
            try cluster.apply(
                """
                apiVersion: gateway.networking.k8s.io/v1
                kind: HTTPRoute
                metadata: {name: away, namespace: demo}
                spec:
                  parentRefs: [{group: "", kind: Service, name: catalog}]
                  rules:
                  - backendRefs: [{name: catalog-v1, port: 8080, filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /new}}}]}\(more)]
                """)
            return compile(cluster.state)
        }
        let alone = try model("")
        let rule = try #require(alone.servicePorts["demo/catalog:8080"]?.routes.first)
        #expect(rule.actions.redirect?.path == .full("/new") && rule.directStatus == nil)
        #expect(alone.httpRoutes.first?.parents.first?.accepted.isTrue == true)
        let one = try model(", {name: catalog-v2, port: 8080}")
        #expect(one.servicePorts["demo/catalog:8080"]?.routes.first?.directStatus == 500)
        #expect(one.httpRoutes.first?.parents.first?.accepted.reason == "UnsupportedValue")
    }
}
