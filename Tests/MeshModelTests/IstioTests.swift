import KubeTypes
import MeshModel
import ProxyResources
import Testing

@Suite struct IstioTests {
    static let rule = """
        apiVersion: networking.istio.io/v1
        kind: DestinationRule
        metadata: {name: catalog, namespace: demo}
        spec: {host: catalog.demo.svc.cluster.local, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
        """

    static func policy(_ http: String, name: String = "catalog", namespace: String = "demo", more: String = "")
        -> String
    {
        """
        apiVersion: networking.istio.io/v1
        kind: VirtualService
        metadata: {name: \(name), namespace: \(namespace)}
        spec: {hosts: [catalog.demo.svc.cluster.local], \(more) http: \(http)}
        """
    }
    static let toV1 = "route: [{destination: {host: catalog, subset: v1}}]"
    static let toV2 = "route: [{destination: {host: catalog.demo.svc.cluster.local, subset: v2}}]"
    static let v1 = ["10.244.1.11": 1000], v2 = ["10.244.2.12": 1000]

    static func model(_ policies: String...) throws -> MeshModel {
        var cluster = try Cluster.canary()
        try cluster.apply(rule)
        for policy in policies { try cluster.apply(policy) }
        return compile(cluster.state)
    }

    @Test(
        "matches in order: uri by its characters, headers exact, by prefix and by presence, method, port",
        arguments: [
            (RequestForm(path: "/foobar"), v2), (RequestForm(path: "/exact"), v2), (RequestForm(path: "/exact/"), v1),
            (RequestForm(method: "PUT", path: "/"), v2),
            (RequestForm(path: "/", headers: [.init(name: "End-User", value: "jason")]), v2),
            (RequestForm(path: "/", headers: [.init(name: "agent", value: "beta-7")]), v2),
            (RequestForm(path: "/", headers: [.init(name: "x-debug", value: "")]), v2), (RequestForm(path: "/"), v1),
            (RequestForm(path: "/other-port"), v1),
        ])
    func matches(request: RequestForm, expected: [String: Int]) throws {
        let model = try Self.model(
            Self.policy(
                """
                [{match: [{uri: {prefix: /foo}}, {uri: {exact: /exact}}, {method: {exact: PUT}}, {headers: {end-user: {exact: jason}}},
                {headers: {agent: {prefix: beta}}}, {headers: {x-debug: {}}}, {uri: {exact: /other-port}, port: 9}], \(Self.toV2)}, {\(Self.toV1)}]
                """))
        #expect(try shares(model, "demo/catalog:8080", request) == expected)
    }

    @Test("timeout and header changes are carried over, and no match means 404")
    func parts() throws {
        let model = try Self.model(
            Self.policy(
                "[{match: [{uri: {prefix: /x}}], timeout: 1.5s, headers: {request: {set: {X-A: a}, add: {X-B: b}, remove: [X-C]}}, \(Self.toV1)}]"
            ))
        let rule = try #require(model.servicePorts["demo/catalog:8080"]?.routes.first)
        #expect(rule.timeoutMilliseconds == 1500)
        #expect(rule.setRequestHeaders == [HeaderValue(name: "x-a", value: "a")])
        #expect(rule.addRequestHeaders == [HeaderValue(name: "x-b", value: "b")])
        #expect(rule.removeRequestHeaders == ["x-c"])
        #expect(try shares(model, "demo/catalog:8080") == ["status 404": 1000])
    }

    @Test("a missing subset and a missing host get 500 and a finding that names the field")
    func dangling() throws {
        let model = try Self.model(
            Self.policy(
                "[{route: [{destination: {host: catalog, subset: v9}, weight: 50}, {destination: {host: gone}, weight: 50}]}]"
            ))
        #expect(try shares(model, "demo/catalog:8080") == ["status 500": 1000])
        #expect(
            model.findings.map(\.field) == ["spec.http[0].route[0].destination", "spec.http[0].route[1].destination"])
        #expect(model.findings.allSatisfy { $0.code == .notFound })
    }

    @Test(
        "what cannot be done is said: the field, and what happens instead",
        arguments: [
            (
                "[{retries: {attempts: 3, retryOn: \"5xx,rain\"}, \(toV1)}]", "spec.http[0].retries.retryOn",
                PolicyFinding.Severity.warning, v1
            ),
            (
                "[{fault: {abort: {httpStatus: 500}}, \(toV1)}]", "spec.http[0].fault.abort.percentage", .warning, v1
            ),
            ("[{rewrite: {uri: /a b}, \(toV1)}]", "spec.http[0].rewrite.uri", .error, v1),
            ("[{match: [{uri: {regex: \"/(x\"}}], \(toV2)}, {\(toV1)}]", "spec.http[0].match[0].uri.regex", .error, v1),
            ("[{match: [{weather: nice}], \(toV2)}, {\(toV1)}]", "spec.http[0].match[0].weather", .warning, v1),
            (
                "[{fault: {delay: {exponentialDelay: 1s}}, \(toV1)}]", "spec.http[0].fault.delay.exponentialDelay",
                .warning, v1
            ),
            ("[{delegate: {name: nobody}}]", "spec.http[0].delegate", .warning, ["status 500": 1000]),
            ("[{timeout: soon, \(toV1)}]", "spec.http[0].timeout", .error, v1),
            ("[{directResponse: {status: 418}}]", "", .warning, ["status 418": 1000]),
            ("[{}]", "spec.http[0].route", .error, ["status 500": 1000]),
        ])
    func unsupported(http: String, field: String, severity: PolicyFinding.Severity, expected: [String: Int]) throws {
        let model = try Self.model(Self.policy(http))
        #expect(model.findings.map(\.field) == (field.isEmpty ? [] : [field]))
        if !field.isEmpty { #expect(model.findings.first?.severity == severity) }
        #expect(try shares(model, "demo/catalog:8080") == expected)
    }

    @Test("a VirtualService that is not exported holds for its own namespace")
    func exported() throws {
        let model = try Self.model(
            Self.policy("[{\(Self.toV2)}]"),
            Self.policy(
                "[{route: [{destination: {host: catalog.demo.svc.cluster.local, subset: v1}}]}]", name: "own",
                namespace: "shop", more: "exportTo: [\".\"],"))
        #expect(try shares(model, "demo/catalog:8080", from: "shop") == Self.v1)
        #expect(try shares(model, "demo/catalog:8080", from: "demo") == Self.v2)
        #expect(try shares(model, "demo/catalog:8080", from: "third") == Self.v2)
    }

    @Test("a DestinationRule that disables TLS makes clients speak plain text")
    func plainText() throws {
        let on = try Self.model()
        #expect(
            on.backends["demo/catalog:8080"]?.endpoints.first?.principal == "spiffe://cluster.local/ns/demo/sa/catalog")
        let off = try Self.model(
            """
            apiVersion: networking.istio.io/v1
            kind: DestinationRule
            metadata: {name: wide, namespace: istio-system}
            spec: {host: "*.local", trafficPolicy: {tls: {mode: DISABLE}, connectionPool: {}, loadBalancer: {simple: PASSTHROUGH}}}
            """)
        #expect(off.backends["demo/catalog:8080"]?.endpoints.first?.principal != nil, "the exact host's rule is nearer")
        #expect(off.backends["demo/frontend:80"]?.endpoints.first?.principal == nil)
        #expect(off.findings.map(\.field) == ["spec.trafficPolicy.loadBalancer.simple"])
    }

    @Test("a DestinationRule of another namespace cannot turn off TLS")
    func stranger() throws {
        let model = try Self.model(
            """
            apiVersion: networking.istio.io/v1
            kind: DestinationRule
            metadata: {name: off, namespace: elsewhere}
            spec: {host: frontend.demo, trafficPolicy: {tls: {mode: DISABLE}}}
            """)
        #expect(model.backends["demo/frontend:80"]?.endpoints.first?.principal != nil)
        #expect(model.findings.map(\.code) == [.noEffect])
    }
}
