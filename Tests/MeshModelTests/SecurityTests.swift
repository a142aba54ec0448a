import KubeTypes
import MeshModel
import ProxyResources
import Testing
import Wire

@Suite struct SecurityTests {
    static func policy(_ name: String, _ namespace: String, _ spec: String) -> String {
        """
        apiVersion: security.istio.io/v1
        kind: PeerAuthentication
        metadata: {name: \(name), namespace: \(namespace)}
        spec: \(spec)
        """
    }
    static let mesh = policy("default", "weft-system", "{mtls: {mode: STRICT}}")
    static let space = policy("default", "demo", "{mtls: {mode: DISABLE}}")
    static let own = policy(
        "catalog", "demo",
        #"{selector: {matchLabels: {app: catalog}}, mtls: {mode: PERMISSIVE}, portLevelMtls: {"8080": {mode: STRICT}, "9": {mode: UNSET}}}"#
    )

    @Test(
        "the nearest policy counts: workload, namespace, mesh",
        arguments: [
            ([String](), MutualTLS.permissive, [Int: MutualTLS](), true), ([mesh], .strict, [:], true),
            ([mesh, space], .disabled, [:], false), ([mesh, space, own], .permissive, [8080: .strict], true),
            ([policy("a", "istio-system", "{mtls: {mode: STRICT}}")], .strict, [:], true),
            ([mesh, policy("u", "demo", "{mtls: {mode: UNSET}}")], .strict, [:], true),
        ])
    func modes(policies: [String], mode: MutualTLS, ports: [Int: MutualTLS], tls: Bool) throws {
        var cluster = try Cluster.canary()
        for policy in policies { try cluster.apply(policy) }
        let model = compile(cluster.state)
        let workload = try #require(model.workloads[ObjectKey(namespace: "demo", name: "catalog-v1-x")])
        #expect(workload.mutualTLS == mode)
        #expect(workload.portMutualTLS == ports)
        #expect((model.backends["demo/catalog-v1:8080"]?.endpoints.first?.principal != nil) == tls)
    }

    @Test("the example closes the namespace and keeps the metrics port open")
    func example() throws {
        var cluster = try Cluster.canary()
        try cluster.apply(file: "policies/examples/strict-mtls/peer-authentication.yaml")
        let model = compile(cluster.state)
        #expect(model.findings == [])
        #expect(model.workloads[ObjectKey(namespace: "demo", name: "frontend-x")]?.mutualTLS == .strict)
        #expect(
            model.workloads[ObjectKey(namespace: "demo", name: "catalog-v2-x")]?.portMutualTLS == [9090: .permissive])
    }

    @Test("of two policies for one namespace the older is in force and the younger is told so")
    func twice() throws {
        var cluster = try Cluster.canary()
        try cluster.apply(Self.space)
        try cluster.apply(Self.policy("second", "demo", "{mtls: {mode: STRICT}}"))
        let model = compile(cluster.state)
        #expect(model.workloads[ObjectKey(namespace: "demo", name: "frontend-x")]?.mutualTLS == .disabled)
        #expect(model.findings.map(\.object.key.name) == ["second"])
    }

    @Test("a pod without a sidecar is spoken to in plain text and has no workload")
    func noSidecar() throws {
        var cluster = try Cluster.canary()
        cluster.pod(
            "plain", address: "10.244.1.40", labels: ["app": "plain"], sidecar: false, services: [("catalog", "http")])
        let model = compile(cluster.state)
        #expect(model.workloads[ObjectKey(namespace: "demo", name: "plain")] == nil)
        #expect(model.resources(for: ObjectKey(namespace: "demo", name: "plain")).isEmpty)
        #expect(model.backends["demo/catalog:8080"]?.endpoints.first { $0.address == "10.244.1.40" }?.principal == nil)
    }
}

@Suite struct AccessPolicyTests {
    static func policy(_ name: String, _ namespace: String, _ spec: String, dryRun: Bool = false) -> String {
        """
        apiVersion: security.istio.io/v1
        kind: AuthorizationPolicy
        metadata: {name: \(name), namespace: \(namespace)\(dryRun ? ", annotations: {istio.io/dry-run: 'true'}" : "")}
        spec: \(spec)
        """
    }

    private func security(_ cluster: Cluster, _ pod: String) throws -> WorkloadSecurity {
        try #require(compile(cluster.state).workloads[ObjectKey(namespace: "demo", name: pod)]).security
    }

    @Test("a policy reaches the pods it selects, from their namespace or the root's, and decides as written")
    func selection() throws {
        var cluster = try Cluster.canary()
        try cluster.apply(
            Self.policy(
                "read", "demo",
                """
                {selector: {matchLabels: {app: catalog}}, action: ALLOW, rules: [{from: [{source: {principals:
                ["cluster.local/ns/demo/sa/frontend"]}}, {source: {serviceAccounts: [backup]}}],
                to: [{operation: {methods: [GET], paths: ["/books/{*}"]}}], when: [{key: "request.headers[x-stop]", notValues: ["*"]}]}]}
                """))
        try cluster.apply(
            Self.policy("mesh", "weft-system", "{action: DENY, rules: [{to: [{operation: {paths: [/debug*]}}]}]}"))
        try cluster.apply(Self.policy("trial", "demo", "{}", dryRun: true))
        try cluster.apply(Self.policy("other", "elsewhere", "{}"))
        let catalog = try security(cluster, "catalog-v1-x")
        #expect(catalog.policies.map(\.name) == ["demo/read", "weft-system/mesh", "demo/trial"])
        #expect(try security(cluster, "frontend-x").policies.map(\.name) == ["weft-system/mesh", "demo/trial"])
        var facts = AccessFacts(principal: "spiffe://cluster.local/ns/demo/sa/frontend", path: "/books/7")
        #expect(authorize(catalog.policies, facts).isAllowed)
        #expect(authorize(catalog.policies, facts).trialAllows == false)
        facts.principal = "spiffe://cluster.local/ns/demo/sa/backup"
        #expect(authorize(catalog.policies, facts).isAllowed)
        facts.headers = [HeaderValue(name: "X-Stop", value: "")]
        #expect(!authorize(catalog.policies, facts).isAllowed)
        facts.headers = []
        facts.path = "/debug"
        #expect(authorize(catalog.policies, facts).policy == 1)
        #expect(compile(cluster.state).findings == [])
        let json = try #require(compile(cluster.state).workloads[ObjectKey(namespace: "demo", name: "catalog-v1-x")])
        let bytes = Array(ProxyResource.workload(json).json.text.utf8)
        #expect(try ProxyResource.decode(kind: .workload, name: "self", bytes: bytes) == .workload(json))
    }

    @Test(
        "what cannot be read is told, and makes no policy milder",
        arguments: [
            ("{rules: [{from: [{source: {ipBlocks: [ten]}}]}]}", "spec.rules[0].from[0].source.ipBlocks[0]", false),
            (
                "{action: DENY, rules: [{to: [{operation: {methods: [GET], paths: ['/{x}']}}]}]}",
                "spec.rules[0].to[0].operation.paths[0]", false
            ),
            (
                "{rules: [{when: [{key: request.body, values: [a]}]}, {to: [{operation: {methods: [GET]}}]}]}",
                "spec.rules[0].when[0].key", true
            ),
            ("{action: CUSTOM, provider: {name: nobody}, rules: [{}]}", "spec.provider.name", false),
            ("{action: DENY, rules: [{from: [{source: {}}]}]}", "spec.rules[0].from[0].source", false),
            (
                "{action: ALLOW, targetRefs: [{kind: Service, name: catalog}], rules: []}", "spec.targetRefs[0].kind",
                true
            ),
        ])
    func faults(spec: String, field: String, isAllowed: Bool) throws {
        var cluster = try Cluster.canary()
        try cluster.apply(Self.policy("broken", "demo", spec))
        let model = compile(cluster.state)
        #expect(model.findings.map(\.field) == [field], "\(model.findings)")
        #expect(
            authorize(try security(cluster, "catalog-v1-x").policies, AccessFacts(path: "/x")).isAllowed == isAllowed)
    }

    @Test("tokens are believed by keys inline or fetched; without keys by none")
    func tokens() throws {
        var cluster = try Cluster.canary()
        try cluster.apply(
            """
            apiVersion: security.istio.io/v1
            kind: RequestAuthentication
            metadata: {name: login, namespace: demo}
            spec:
              jwtRules:
              - {issuer: a, jwks: '{"keys":[]}', audiences: [x], fromHeaders: [{name: X-Token, prefix: "Token "}], forwardOriginalToken: true}
              - {issuer: b, jwksUri: "https://b.example/keys", outputClaimToHeaders: [{header: x-sub, claim: sub}]}
            """)
        #expect(cluster.state.keyAddresses == ["https://b.example/keys"])
        #expect(compile(cluster.state).findings.map(\.code) == [.notFound])
        var rules = try security(cluster, "catalog-v1-x").tokenRules
        #expect(rules.map(\.keys) == [#"{"keys":[]}"#, ""])
        #expect(rules[0].headers == [.init(name: "x-token", prefix: "Token ")] && rules[0].forwardsToken)
        cluster.state.keySets["https://b.example/keys"] = #"{"keys":[1]}"#
        rules = try security(cluster, "catalog-v1-x").tokenRules
        #expect(rules[1].keys == #"{"keys":[1]}"#)
        #expect(compile(cluster.state).findings == [])
    }

    @Test("a provider over gRPC shows bodies; what cannot hold is said, with the object and the field")
    func providers() throws {
        var cluster = try Cluster.canary()
        try cluster.apply(
            """
            apiVersion: v1
            kind: ConfigMap
            metadata: {name: weft-mesh, namespace: weft-system}
            data:
              extensionProviders: |
                [{"name": "opa", "envoyExtAuthzGrpc": {
                    "service": "demo/opa.demo.svc.cluster.local", "port": 9191, "failOpen": true,
                    "statusOnError": "503", "clearRouteCache": true, "includeRequestBodyInCheck": {
                      "maxRequestBytes": 8192, "allowPartialMessage": true, "packAsBytes": true}}},
                 {"name": "odd", "envoyExtAuthzGrpc": {
                    "service": "opa.demo.svc.cluster.local", "port": 9191, "statusOnError": "99", "pathPrefix": "/x",
                    "includeRequestBodyInCheck": {"maxRequestBytes": 1000000}}},
                 {"name": "bad", "envoyExtAuthzHttp": {
                    "service": "opa.demo.svc.cluster.local", "port": 8000, "pathPrefix": "x",
                    "includeRequestHeadersInCheck": ["a b", "x-ok*"],
                    "includeAdditionalHeadersInCheck": {"x-a": "1\\n2"}, "includeRequestBodyInCheck": {}}}]
            """)
        try cluster.apply(Self.policy("ask", "demo", "{action: CUSTOM, provider: {name: opa}, rules: [{}]}"))
        let opa = try #require(try security(cluster, "catalog-v1-x").authorizers.first)
        #expect(opa.form == .grpc && opa.backend == "demo/opa:9191" && opa.failsOpen && opa.statusOnError == 503)
        #expect(opa.authority == "opa.demo.svc.cluster.local:9191")
        #expect(opa.shownBody == 8192 && opa.allowsPartialBody && opa.packsBodyAsBytes)
        let authorizers = cluster.state.authorizers
        #expect(authorizers["odd"]?.shownBody == ExternalAuthorizer.mostBody && authorizers["odd"]?.pathPrefix == "")
        #expect(authorizers["bad"]?.shownHeaders == ["x-ok*"] && authorizers["bad"]?.addedHeaders == [])
        let fields = compile(cluster.state).findings.map(\.field)
        for wanted in [
            "extensionProviders[1].envoyExtAuthzGrpc.statusOnError",
            "extensionProviders[1].envoyExtAuthzGrpc.pathPrefix",
            "extensionProviders[1].envoyExtAuthzGrpc.includeRequestBodyInCheck.maxRequestBytes",
            "extensionProviders[2].envoyExtAuthzHttp.pathPrefix",
            "extensionProviders[2].envoyExtAuthzHttp.includeRequestHeadersInCheck",
            "extensionProviders[2].envoyExtAuthzHttp.includeAdditionalHeadersInCheck",
            "extensionProviders[2].envoyExtAuthzHttp.includeRequestBodyInCheck.maxRequestBytes",
        ] {
            #expect(fields.contains { $0.hasSuffix(wanted) }, "\(wanted) of \(fields)")
        }
        try cluster.apply(Self.policy("lost", "demo", "{action: CUSTOM, provider: {name: nobody}, rules: [{}]}"))
        let lost = compile(cluster.state).findings.first { $0.field == "spec.provider.name" }
        #expect(lost?.message.contains("nobody") == true)
    }

    @Test("the mesh's map names services that decide, and identities that are cut off")
    func map() throws {
        var cluster = try Cluster.canary()
        try cluster.apply(
            """
            apiVersion: v1
            kind: ConfigMap
            metadata: {name: weft-mesh, namespace: weft-system}
            data:
              extensionProviders: '[{"name": "guard", "envoyExtAuthzHttp": {"service": "guard.demo.svc.cluster.local", "port": 8000, "timeout": "2s", "includeRequestHeadersInCheck": ["X-User"]}}]'
              revoked: |
                spiffe://cluster.local/ns/demo/sa/frontend  # left
                0a:1b
            """)
        try cluster.apply(Self.policy("ask", "demo", "{action: CUSTOM, provider: {name: guard}, rules: [{}]}"))
        let security = try security(cluster, "catalog-v1-x")
        #expect(security.authorizers.first?.backend == "demo/guard:8000")
        #expect(security.authorizers.first?.timeoutMilliseconds == 2000)
        #expect(security.authorizers.first?.shownHeaders == ["x-user"])
        #expect(authorizer(security.policies, for: AccessFacts())?.provider == "guard")
        #expect(security.revoked.covers(principal: "spiffe://cluster.local/ns/demo/sa/frontend", serial: ""))
        #expect(security.revoked.serials == ["A1B"])
        try cluster.apply(
            """
            apiVersion: v1
            kind: ConfigMap
            metadata: {name: weft-mesh, namespace: demo}
            data: {revoked: "spiffe://cluster.local/ns/demo/sa/catalog"}
            """)
        #expect(
            try self.security(cluster, "catalog-v1-x").revoked == security.revoked, "only a root namespace has a say")
    }
}

@Suite struct GatewayTLSModelTests {
    private static let web = """
        apiVersion: gateway.networking.k8s.io/v1
        kind: GatewayClass
        metadata: {name: weft}
        spec: {controllerName: weft.dev/mesh-controller}
        ---
        apiVersion: gateway.networking.k8s.io/v1
        kind: Gateway
        metadata: {name: web, namespace: demo}
        spec:
          gatewayClassName: weft
          listeners:
          - {name: https, port: 443, protocol: HTTPS, hostname: shop.test, tls: {certificateRefs: [{name: shop}]}}
        """

    private func secret(_ name: String, _ namespace: String, _ data: [String: String]) -> String {
        let members = data.map { "\($0.key): \(Base64.encode(Array($0.value.utf8)))" }.joined(separator: ", ")
        return "apiVersion: v1\nkind: Secret\nmetadata: {name: \(name), namespace: \(namespace)}\ndata: {\(members)}"
    }

    private static let pair = [
        "tls.crt": "-----BEGIN CERTIFICATE-----\n", "tls.key": "-----BEGIN PRIVATE KEY-----\n",
        "ca.crt": "-----BEGIN CERTIFICATE-----root\n",
    ]

    private func cluster() throws -> Cluster {
        var cluster = try Cluster.canary()
        cluster.pod(
            "edge", address: "10.244.1.99", labels: ["weft.dev/gateway": "weft-ingress", "istio": "ingressgateway"],
            port: 443)
        try cluster.apply(Self.web)
        return cluster
    }

    private func listeners(_ cluster: Cluster) -> [GatewayListener] {
        compile(cluster.state).workloads[ObjectKey(namespace: "demo", name: "edge")]?.gatewayListeners ?? []
    }

    @Test("a listener ends TLS with its Secret; without one the port stays shut and the status says why")
    func terminates() throws {
        var cluster = try cluster()
        #expect(listeners(cluster).isEmpty)
        let status = try #require(compile(cluster.state).gateways.first?.listeners.first)
        #expect(status.resolvedReferences.reason == "InvalidCertificateRef" && !status.programmed.isTrue)
        try cluster.apply(secret("shop", "demo", Self.pair))
        let server = try #require(listeners(cluster).first?.tls.first)
        #expect(server.hosts == ["shop.test"] && server.clientCertificates == .none)
        #expect(server.certificates.first?.privateKey == Self.pair["tls.key"])
        let good = try #require(compile(cluster.state).gateways.first?.listeners.first)
        #expect(good.resolvedReferences.isTrue && good.programmed.isTrue)
    }

    @Test("a Secret of another namespace needs a grant; clients are checked when the Gateway says so")
    func grants() throws {
        var cluster = try cluster()
        try cluster.apply(
            Self.web.replacing("{name: shop}", with: "{name: shop, namespace: vault}").replacing(
                "  gatewayClassName: weft",
                with:
                    "  gatewayClassName: weft\n  tls: {frontend: {default: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: roots}]}}}}"
            ))
        try cluster.apply(secret("shop", "vault", Self.pair))
        let refused = try #require(compile(cluster.state).gateways.first?.listeners.first)
        #expect(refused.resolvedReferences.reason == "RefNotPermitted")
        try cluster.apply(
            """
            apiVersion: gateway.networking.k8s.io/v1
            kind: ReferenceGrant
            metadata: {name: ok, namespace: vault}
            spec:
              from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: demo}]
              to: [{group: "", kind: Secret}]
            """)
        #expect(
            compile(cluster.state).gateways.first?.listeners.first?.resolvedReferences.reason
                == "InvalidCACertificateRef")
        try cluster.apply(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: roots, namespace: demo}\ndata: {ca.crt: roots}")
        let server = try #require(listeners(cluster).first?.tls.first)
        #expect(server.clientCertificates == .required && server.clientRoots == "roots\n")
    }

    @Test("an Istio Gateway's server takes its credential beside the pod; MUTUAL without roots stays shut")
    func istio() throws {
        var cluster = try cluster()
        func server(_ tls: String) -> String {
            """
            apiVersion: networking.istio.io/v1
            kind: Gateway
            metadata: {name: edge, namespace: demo}
            spec:
              selector: {istio: ingressgateway}
              servers: [{port: {number: 8443, name: https, protocol: HTTPS}, hosts: ["*.test"], tls: \(tls)}]
            """
        }
        try cluster.apply(server("{mode: SIMPLE, credentialName: shop, minProtocolVersion: TLSV1_3}"))
        try cluster.apply(
            secret("shop", "demo", ["tls.crt": Self.pair["tls.crt"] ?? "", "tls.key": Self.pair["tls.key"] ?? ""]))
        let simple = try #require(listeners(cluster).first { $0.port == 8443 }?.tls.first)
        #expect(simple.hosts == ["*.test"] && simple.minimumVersion == .v13)
        try cluster.apply(server("{mode: MUTUAL, credentialName: shop, subjectAltNames: [robot]}"))
        #expect(!listeners(cluster).contains { $0.port == 8443 })
        try cluster.apply(secret("shop-cacert", "demo", ["ca.crt": "root"]))
        let mutual = try #require(listeners(cluster).first { $0.port == 8443 }?.tls.first)
        #expect(
            mutual.clientCertificates == .required && mutual.clientNames == ["robot"] && mutual.clientRoots == "root")
    }
}

@Suite struct BackendTLSModelTests {
    @Test("clients of a service speak TLS as a BackendTLSPolicy or a DestinationRule says, and not the mesh's")
    func backends() throws {
        var cluster = try Cluster.canary()
        try cluster.apply(
            """
            apiVersion: gateway.networking.k8s.io/v1
            kind: BackendTLSPolicy
            metadata: {name: catalog, namespace: demo}
            spec:
              targetRefs: [{group: "", kind: Service, name: catalog}]
              validation: {hostname: catalog.test, caCertificateRefs: [{group: "", kind: ConfigMap, name: roots}], subjectAltNames: [{type: URI, uri: "spiffe://x/y"}]}
            """)
        let without = compile(cluster.state)
        #expect(without.findings.map(\.field) == ["spec.validation.caCertificateRefs"])
        #expect(without.backends["demo/catalog:8080"]?.tls?.roots == "missing", "never unchecked")
        try cluster.apply(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: roots, namespace: demo}\ndata: {ca.crt: \"-----BEGIN CERTIFICATE-----root\"}"
        )
        let model = compile(cluster.state)
        let backend = try #require(model.backends["demo/catalog:8080"])
        #expect(
            backend.tls
                == BackendTLS(
                    serverName: "catalog.test", names: ["spiffe://x/y"], roots: "-----BEGIN CERTIFICATE-----root\n"))
        #expect(backend.endpoints.allSatisfy { $0.principal == nil })
        #expect(model.findings == [])
        try cluster.apply(
            """
            apiVersion: networking.istio.io/v1
            kind: DestinationRule
            metadata: {name: frontend, namespace: demo}
            spec: {host: frontend, trafficPolicy: {tls: {mode: SIMPLE, credentialName: web}}}
            """)
        let frontend = try #require(compile(cluster.state).backends.first { $0.key.hasPrefix("demo/frontend") }?.value)
        #expect(frontend.tls?.serverName == "frontend.demo.svc.cluster.local" && frontend.tls?.roots == "missing")
    }
}
