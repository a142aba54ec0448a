import ProxyResources
import Testing
import Wire

@Suite struct ProxyResourceTests {
    static let samples: [ProxyResource] = [
        .workload(
            Workload(
                namespace: "demo", pod: "catalog-1", name: "catalog", app: "catalog", version: "v1", node: "node-1",
                locality: "eu/a",
                principal: "spiffe://cluster.local/ns/demo/sa/catalog", mutualTLS: .strict,
                portMutualTLS: [9090: .disabled, 80: .permissive],
                inboundPorts: [InboundPort(port: 8080, appProtocol: .http, service: "catalog.demo.svc.cluster.local")],
                gatewayListeners: [
                    GatewayListener(
                        name: "http", port: 8080, inherited: "http",
                        routes: [VirtualHost(hosts: ["*"], rules: [RouteRule(name: "r", directStatus: 404)])])
                ], dnsUpstream: "10.96.0.10:53")),
        .identity(Identity(certificateChain: "chain", privateKey: "key", trustRoots: "roots", expires: 1_800_000_000)),
        .servicePort(
            ServicePort(
                namespace: "demo", service: "catalog", port: 8080, addresses: ["10.96.0.7"],
                hosts: ["catalog.demo.svc.cluster.local", "catalog"], appProtocol: .http,
                routes: [
                    RouteRule(
                        name: "HTTPRoute demo/catalog rule 0",
                        matches: [
                            RouteMatch(
                                path: .prefix("/v2"), method: "GET",
                                headers: [
                                    HeaderMatch(name: "x-canary", kind: .exact, value: "1"),
                                    HeaderMatch(name: "x", kind: .present),
                                ]),
                            RouteMatch(path: .exact("/a")), RouteMatch(path: .textPrefix("/b")),
                        ],
                        backends: [
                            WeightedBackend(backend: "demo/catalog-v1:8080", weight: 90),
                            WeightedBackend(backend: "", weight: 0),
                        ],
                        timeoutMilliseconds: 1500, setRequestHeaders: [HeaderValue(name: "x-a", value: "")],
                        removeRequestHeaders: ["x-b"],
                        session: SessionPolicy(.header, name: "x-session"))
                ], defaultBackend: "demo/catalog:8080")),
        .backend(
            Backend(
                name: "demo/catalog-v1:8080", service: "catalog-v1.demo.svc.cluster.local", namespace: "demo",
                endpoints: [
                    Endpoint(address: "10.244.1.4", port: 8080, principal: "spiffe://cluster.local/ns/demo/sa/catalog"),
                    Endpoint(
                        address: "10.244.2.4", port: 8080, workload: "w", version: "v1", app: "catalog", weight: 3,
                        locality: "eu/a/rack-1", node: "node-1"),
                ],
                balance: BalancePolicy(
                    algorithm: .maglev,
                    hashOn: [
                        HashInput(.cookie, name: "user", cookieSeconds: 0, cookiePath: "/"),
                        HashInput(.header, name: "x-user"), HashInput(.source),
                    ], hashSize: 8191, ewma: LatencyAverage(decayMilliseconds: 1000, penaltyMilliseconds: 2000),
                    session: SessionPolicy(
                        name: "s", seconds: 60, path: "/shop",
                        attributes: [CookieAttribute(name: "SameSite", value: "Lax")]),
                    slowStart: SlowStart(windowMilliseconds: 30_000),
                    locality: LocalityPolicy(
                        prefer: [.region, .zone], others: .never,
                        failover: [LocalityPolicy.Failover(from: "eu", to: "us")],
                        shares: [
                            LocalityPolicy.Shares(
                                from: "eu/*", to: [LocalityPolicy.Share(locality: "eu/a", weight: 80)])
                        ]), panicPercent: 0), outlier: OutlierPolicy(localFailures: .apart),
                health: HealthCheck(.http, path: "/healthz", port: 9000, statuses: [200, 204]))),
    ]

    @Test("a resource read back is the resource written", arguments: samples)
    func roundTrip(resource: ProxyResource) throws {
        let read = try ProxyResource.decode(kind: resource.kind, name: resource.name, bytes: resource.json.bytes)
        #expect(read == resource)
    }

    @Test(
        "a bad resource is refused with its field named",
        arguments: [
            (
                ProxyResource.Kind.backend, "a/b:1", #"{"name":"a/b:1","endpoints":[{"address":"1.2.3.4","port":0}]}"#,
                "endpoints[0].port"
            ),
            (.backend, "a/b:1", #"{"name":"a/c:1"}"#, ""), (.backend, "a/b:1", "{", ""), (.identity, "self", "[]", ""),
            (.servicePort, "a/b:1", #"{"namespace":"a","service":"b","port":1,"protocol":"gopher"}"#, "protocol"),
            (
                .servicePort, "a/b:1",
                #"{"namespace":"a","service":"b","port":1,"routes":[{"matches":[{"path":{"regex":"(x"}}]}]}"#,
                "routes[0].matches[0].path.regex"
            ),
            (.servicePort, "a/b:1", #"{"namespace":"a","service":"b","port":1,"routes":[{}]}"#, "routes[0].backends"),
            (
                .servicePort, "a/b:1",
                #"{"namespace":"a","service":"b","port":1,"routes":[{"backends":[{"backend":"x","weight":-1}]}]}"#,
                "routes[0].backends[0].weight"
            ),
            (
                .workload, "self",
                #"{"namespace":"a","pod":"b","trustDomain":"t","principal":"p","clusterDomain":"c","portMutualTLS":{"x":"STRICT"}}"#,
                "portMutualTLS.x"
            ),
        ])
    func refused(kind: ProxyResource.Kind, name: String, text: String, field: String) {
        #expect {
            try ProxyResource.decode(kind: kind, name: name, bytes: Array(text.utf8))
        } throws: { error in
            guard let fault = error as? ResourceFault else { return false }
            return fault.field == field && fault.resource == "\(kind.word) \(name)" && !fault.message.isEmpty
        }
    }
}
