import KubeTypes
import MeshModel
import ProxyResources
import Testing

@Suite struct ResilienceTests {
    private static func model(_ manifests: String...) throws -> MeshModel {
        var cluster = try Cluster.canary()
        for manifest in manifests { try cluster.apply(manifest) }
        return compile(cluster.state)
    }

    private static func virtualService(_ http: String) -> String {
        """
        apiVersion: networking.istio.io/v1
        kind: VirtualService
        metadata: {name: catalog, namespace: demo}
        spec: {hosts: [catalog], http: [{route: [{destination: {host: catalog}}], \(http)}]}
        """
    }

    private static func route(_ rule: String) -> String {
        """
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata: {name: catalog, namespace: demo}
        spec: {parentRefs: [{group: "", kind: Service, name: catalog}], rules: [{backendRefs: [{name: catalog, port: 8080}], \(rule)}]}
        """
    }

    private func retry(_ model: MeshModel) -> RetryPolicy? {
        model.servicePorts["demo/catalog:8080"]?.routes.first?.resilience.retry
    }

    @Test("Istio's retries: conditions and statuses, times, and none unless they are asked for")
    func istioRetries() throws {
        let all = try Self.model(
            Self.virtualService(
                "timeout: 5s, retries: {attempts: 3, perTryTimeout: 250ms, retryOn: \"gateway-error, reset,429\", backoff: 40ms}"
            ))
        let policy = try #require(retry(all))
        #expect(policy.attempts == 3)
        #expect(policy.conditions == [.gatewayError, .reset])
        #expect(policy.statusCodes == [429])
        #expect(policy.perTryTimeoutMilliseconds == 250)
        #expect(policy.backoffBaseMilliseconds == 40)
        #expect(policy.backoffMaxMilliseconds == 400)
        #expect(policy.avoidsTried)
        #expect(all.findings.isEmpty)
        let plain = try #require(
            retry(try Self.model(Self.virtualService("retries: {retryIgnorePreviousHosts: false}"))))
        #expect(plain.attempts == 2)
        #expect(plain.conditions == [.connectFailure, .refusedStream, .grpcUnavailable, .grpcCancelled])
        #expect(plain.statusCodes == [503])
        #expect(!plain.avoidsTried)
        #expect(retry(try Self.model(Self.virtualService("retries: {attempts: 0}"))) == nil)
        #expect(retry(try Self.model(Self.virtualService("timeout: 5s"))) == nil)
    }

    @Test(
        "what cannot be done of retries is said",
        arguments: [
            ("retries: {attempts: 90}", "attempts", PolicyFinding.Code.unsupported),
            ("retries: {attempts: -1}", "attempts", .invalid),
            ("retries: {retryOn: \"5xx,rain\"}", "retryOn", .unsupported),
            ("retries: {retryOn: \"700\"}", "retryOn", .invalid),
        ])
    func istioFindings(http: String, field: String, code: PolicyFinding.Code) throws {
        let model = try Self.model(Self.virtualService(http))
        #expect(model.findings.map(\.field) == ["spec.http[0].retries.\(field)"])
        #expect(model.findings.first?.code == code)
    }

    @Test("HTTPRoute's retry and times: a backend request is one try, or all there is without retries")
    func gatewayRetries() throws {
        let model = try Self.model(
            Self.route(
                "retry: {codes: [500, 503], attempts: 4, backoff: 100ms}, timeouts: {request: 4s, backendRequest: 1s}")
        )
        let policy = try #require(retry(model))
        #expect(policy.attempts == 4)
        #expect(policy.statusCodes == [500, 503])
        #expect(policy.conditions == [.connectFailure, .refusedStream, .reset])
        #expect(policy.backoffBaseMilliseconds == 100)
        #expect(policy.perTryTimeoutMilliseconds == 1000)
        #expect(model.servicePorts["demo/catalog:8080"]?.routes.first?.timeoutMilliseconds == 4000)
        #expect(model.findings.isEmpty)
        let without = try Self.model(Self.route("timeouts: {request: 4s, backendRequest: 1s}"))
        #expect(retry(without) == nil)
        #expect(without.servicePorts["demo/catalog:8080"]?.routes.first?.timeoutMilliseconds == 1000)
    }

    @Test("a DestinationRule's connection pool and retry budget guard its backends")
    func connectionPool() throws {
        let model = try Self.model(
            """
            apiVersion: networking.istio.io/v1
            kind: DestinationRule
            metadata: {name: frontend, namespace: demo}
            spec:
              host: frontend
              trafficPolicy:
                connectionPool:
                  tcp: {maxConnections: 7, connectTimeout: 300ms}
                  http: {http1MaxPendingRequests: 5, http2MaxRequests: 9, maxRequestsPerConnection: 100, maxRetries: 2, idleTimeout: 20s}
                retryBudget: {percent: 12.5, minRetryConcurrency: 4}
            """)
        let guarded = try #require(model.backends["demo/frontend:80"]?.resilience)
        #expect(
            guarded.limits
                == CircuitLimits(
                    maxConnections: 7, maxPending: 5, maxRequests: 9, maxRetries: 2, maxRequestsPerConnection: 100,
                    connectTimeoutMilliseconds: 300, idleTimeoutMilliseconds: 20_000))
        #expect(guarded.retryBudget == RetryBudget(percent: 13, minPerSecond: 4))
        #expect(model.findings.isEmpty)
    }

    @Test("our annotations say what no other language has words for; a wrong one is reported with its field")
    func annotations() throws {
        var cluster = try Cluster.canary()
        try cluster.apply(
            """
            apiVersion: gateway.networking.k8s.io/v1
            kind: HTTPRoute
            metadata:
              name: catalog
              namespace: demo
              annotations:
                weft.dev/resilience: |
                  {"limits": {"maxRequests": 5}, "rateLimits": [{"requests": 10, "key": "header:x-user"}], "retry": {"attempts": 9}}
            spec:
              parentRefs: [{group: "", kind: Service, name: catalog}]
              rules: [{backendRefs: [{name: catalog, port: 8080}], retry: {attempts: 2}}]
            ---
            apiVersion: v1
            kind: Service
            metadata:
              name: frontend
              namespace: demo
              annotations: {weft.dev/resilience: '{"adaptiveConcurrency": {"maxLimit": 50}}'}
            spec: {clusterIP: 10.96.0.7, selector: {app: frontend}, ports: [{name: http, port: 80}]}
            """)
        cluster.pod(
            "limited-x", address: "10.244.3.1", annotations: [MeshWords.rateLimits: "[{\"requests\": 3}]"])
        cluster.pod("wrong-x", address: "10.244.3.2", annotations: [MeshWords.rateLimits: "[{\"requests\": -3}]"])
        let model = compile(cluster.state)
        let rule = try #require(model.servicePorts["demo/catalog:8080"]?.routes.first)
        #expect(rule.resilience.limits?.maxRequests == 5)
        #expect(rule.resilience.rateLimits == [RateLimit(requests: 10, key: .header("x-user"))])
        #expect(rule.resilience.retry?.attempts == 2, "the route's own words come first")
        #expect(model.backends["demo/frontend:80"]?.resilience.adaptiveConcurrency?.maxLimit == 50)
        #expect(
            model.workloads[ObjectKey(namespace: "demo", name: "limited-x")]?.rateLimits == [RateLimit(requests: 3)])
        #expect(model.workloads[ObjectKey(namespace: "demo", name: "wrong-x")]?.rateLimits == [])
        #expect(model.findings.map(\.field) == ["metadata.annotations[weft.dev/rate-limits]"])
        #expect(model.findings.first?.message.contains("limits[0].requests: is -3") == true)
    }

    private static func route(_ name: String, _ limits: String) -> String {
        """
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata:
          name: \(name)
          namespace: demo
          annotations:
            weft.dev/resilience: |
              {"rateLimits": \(limits)}
        spec:
          parentRefs: [{group: "", kind: Service, name: \(name)}]
          rules: [{backendRefs: [{name: \(name), port: \(name == "catalog" ? 8080 : 80)}]}]
        """
    }

    @Test("global limits of one name in a namespace share a budget; a proxy may lease what its configuration has")
    func budgets() throws {
        var cluster = try Cluster.canary()
        let limit = #"[{"name": "api", "requests": 10, "key": "principal", "global": {"whenLost": "closed"}}]"#
        try cluster.apply(Self.route("catalog", limit))
        try cluster.apply(Self.route("frontend", limit))
        cluster.pod(
            "own-x", address: "10.244.3.1",
            annotations: [MeshWords.rateLimits: #"[{"name": "own", "requests": 3, "global": true}]"#])
        cluster.pod("other-x", address: "10.244.3.2")
        let model = compile(cluster.state)
        #expect(model.findings.isEmpty, "\(model.findings)")
        #expect(model.budgets.keys.sorted() == ["demo/api", "demo/own"])
        let given = model.servicePorts["demo/catalog:8080"]?.routes.first?.resilience.rateLimits.first
        #expect(given?.global == GlobalQuota(budget: "demo/api", whenLost: .closed))
        #expect(model.budgets(of: ObjectKey(namespace: "demo", name: "own-x")) == ["demo/api", "demo/own"])
        #expect(model.budgets(of: ObjectKey(namespace: "demo", name: "other-x")) == ["demo/api"])
        let port = try #require(model.servicePorts["demo/catalog:8080"])
        #expect(try ServicePort(json: port.json) == port)

        var example = try GatewayTests.cluster()
        try example.apply(file: "policies/examples/global-limit/route.yaml")
        let applied = compile(example.state)
        #expect(applied.findings.isEmpty, "\(applied.findings)")
        #expect(applied.budgets(of: GatewayTests.pod) == ["demo/users", "demo/catalog"])

        try cluster.apply(
            Self.route("frontend", #"[{"name": "api", "requests": 99, "key": "principal", "global": true}]"#))
        let conflict = compile(cluster.state)
        #expect(conflict.budgets["demo/api"]?.requests == 10)
        let finding = try #require(conflict.findings.first)
        #expect(finding.object.key.name == "frontend" && finding.code == .conflict)
        #expect(finding.field == "metadata.annotations[weft.dev/resilience]: rateLimits[0]")
        #expect(finding.message.contains("10 requests in 1000 ms for each principal by HTTPRoute demo/catalog"))
    }

    @Test(
        "a global limit that cannot be is refused with its field",
        arguments: [
            (#"[{"requests": 1, "global": true}]"#, "rateLimits[0].name: is required of a global limit"),
            (#"[{"name": "a", "requests": 1, "global": 3}]"#, "rateLimits[0].global: must be true, false or an object"),
            (
                #"[{"name": "a", "requests": 1, "global": {"whenLost": "maybe"}}]"#,
                "rateLimits[0].global.whenLost: has the unknown value"
            ),
            (
                #"[{"name": "a", "requests": 1, "global": {"budget": "other/a"}}]"#,
                "rateLimits[0].global.budget: is given by the mesh"
            ),
            (
                #"[{"name": "a", "requests": 1, "maxKeys": 100000, "global": true}]"#,
                "rateLimits[0].maxKeys: is 100000, must be from 1 to 65536"
            ),
            (#"[{"requests": 1, "headers": "loud"}]"#, "rateLimits[0].headers: has the unknown value"),
        ])
    func wrongGlobal(_ limits: String, _ message: String) throws {
        var cluster = try Cluster.canary()
        try cluster.apply(Self.route("catalog", limits))
        let model = compile(cluster.state)
        let finding = try #require(model.findings.first)
        #expect(finding.object.key.name == "catalog" && finding.severity == .error)
        #expect(finding.message.contains(message), "\(finding.message)")
    }

    @Test("an XBackendTrafficPolicy says how many retries a Service bears, and keeps sessions; the oldest holds")
    func backendTraffic() throws {
        let text = """
            apiVersion: gateway.networking.x-k8s.io/v1alpha1
            kind: XBackendTrafficPolicy
            metadata: {name: first, namespace: demo}
            spec:
              targetRefs: [{group: "", kind: Service, name: catalog}, {group: "", kind: Service, name: gone}]
              retryConstraint: {budget: {percent: 30, interval: 20s}, minRetryRate: {count: 30, interval: 10s}}
              sessionPersistence: {sessionName: s, type: Header}
            ---
            apiVersion: gateway.networking.x-k8s.io/v1alpha1
            kind: XBackendTrafficPolicy
            metadata: {name: second, namespace: demo}
            spec:
              targetRefs: [{group: "", kind: Service, name: catalog}, {group: "", kind: Service, name: frontend}]
              retryConstraint: {}
            """
        let model = try Self.model(text)
        let catalog = try #require(model.backends["demo/catalog:8080"])
        #expect(
            catalog.resilience.retryBudget
                == RetryBudget(percent: 30, minPerSecond: 3, windowMilliseconds: 20_000))
        #expect(catalog.balance.session?.name == "s")
        #expect(
            model.backends["demo/frontend:80"]?.resilience.retryBudget
                == RetryBudget(percent: 20, minPerSecond: 10, windowMilliseconds: 10_000))
        #expect(model.findings.map(\.code) == [.notFound, .conflict])
        #expect(model.findings.map(\.object.key.name) == ["first", "second"])
    }
}
