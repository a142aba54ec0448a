import KubeTypes
import MeshModel
import ProxyResources
import Testing
import Wire

/// Gateway API routes: what their matches and filters become.
@Suite struct RouteFilterTests {
    static func rules(_ rules: String, kind: String = "HTTPRoute") throws -> (MeshModel, [RouteRule]) {
        var cluster = try Cluster.canary()
        try cluster.apply(
            """
            apiVersion: gateway.networking.k8s.io/v1
            kind: \(kind)
            metadata: {name: r, namespace: demo}
            spec: {parentRefs: [{kind: Service, group: "", name: catalog}], rules: \(rules)}
            """)
        let model = compile(cluster.state)
        return (model, try #require(model.servicePorts["demo/catalog:8080"]?.routes))
    }

    static let toV1 = "backendRefs: [{name: catalog-v1, port: 8080}]"
    static let toV2 = "backendRefs: [{name: catalog-v2, port: 8080}]"
    static let v1 = ["10.244.1.11": 1000], v2 = ["10.244.2.12": 1000]

    @Test(
        "matches by expression and by query hold, the more specific ones first",
        arguments: [
            (RequestForm(path: "/v12/x"), v2), (RequestForm(path: "/v/x"), v1),
            (RequestForm(path: "/?animal=whale"), v2),
            (RequestForm(path: "/?animal=%77hale&x"), v2), (RequestForm(path: "/?animal=cat&animal=whale"), v1),
            (RequestForm(path: "/?color=blue-42"), v2), (RequestForm(path: "/?color=blue-"), v1),
            (RequestForm(path: "/", headers: [HeaderValue(name: "X-Age", value: "42")]), v2),
            (RequestForm(path: "/", headers: [HeaderValue(name: "X-Age", value: "x42")]), v1),
        ])
    func matches(request: RequestForm, expected: [String: Int]) throws {
        let (model, rules) = try Self.rules(
            """
            [{\(Self.toV1)}, {matches: [{path: {type: RegularExpression, value: "/v[0-9]+/.*"}},
            {queryParams: [{name: animal, value: whale}]},
            {queryParams: [{name: color, type: RegularExpression, value: "blue-[0-9]+"}]},
            {headers: [{name: X-Age, type: RegularExpression, value: "[0-9]+"}]}], \(Self.toV2)}]
            """)
        #expect(model.findings == [])
        #expect(try shares(model, rules, request) == expected)
    }

    @Test("filters become what the rule does")
    func filters() throws {
        let (model, rules) = try Self.rules(
            """
            [{filters: [
            {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: X-A, value: a}], remove: [X-B]}},
            {type: URLRewrite, urlRewrite: {hostname: other.test, path: {type: ReplacePrefixMatch, replacePrefixMatch: /in}}},
            {type: RequestMirror, requestMirror: {backendRef: {name: catalog-v2, port: 8080}, percent: 42}},
            {type: RequestMirror, requestMirror: {backendRef: {name: catalog-v1, port: 8080}, fraction: {numerator: 1, denominator: 8}}},
            {type: CORS, cors: {allowOrigins: ["https://*.foo.com"], allowMethods: [GET], allowHeaders: [x-a], exposeHeaders: [x-b], maxAge: 60, allowCredentials: true}}],
            backendRefs: [{name: catalog-v1, port: 8080, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: x-c, value: c}]}}]}]}]
            """)
        #expect(model.findings == [])
        let rule = try #require(rules.first)
        #expect(rule.actions.response == HeaderEdits(set: [HeaderValue(name: "x-a", value: "a")], remove: ["x-b"]))
        #expect(rule.actions.host == "other.test")
        #expect(rule.actions.path == .prefix("/in"))
        #expect(
            rule.actions.mirrors == [
                Mirror(backend: "demo/catalog-v2:8080", millionths: 420_000),
                Mirror(backend: "demo/catalog-v1:8080", millionths: 125_000),
            ])
        #expect(
            rule.actions.cors
                == CORSPolicy(
                    origins: [TextMatch(.exact, "https://*.foo.com")], methods: ["GET"], headers: ["x-a"],
                    exposedHeaders: ["x-b"], maxAgeSeconds: 60, allowsCredentials: true))
        #expect(rule.backends.first?.request.add == [HeaderValue(name: "x-c", value: "c")])
    }

    @Test("a redirect needs no backend, and goes to the port that was asked unless it says otherwise")
    func redirect() throws {
        let (model, rules) = try Self.rules(
            """
            [{matches: [{path: {value: /a}}], filters: [{type: RequestRedirect, requestRedirect: {statusCode: 301, path: {type: ReplaceFullPath, replaceFullPath: /b}}}]},
            {filters: [{type: RequestRedirect, requestRedirect: {scheme: https, hostname: new.test}}]}]
            """)
        #expect(model.findings == [])
        #expect(rules.map(\.directStatus) == [nil, nil, 404])
        let places = rules.compactMap(\.actions.redirect)
        #expect(places.first == Redirect(port: 8080, path: .full("/b"), status: 301))
        #expect(places.last == Redirect(scheme: "https", host: "new.test"))
    }

    @Test("a mirror that does not exist is left out and reported")
    func missingMirror() throws {
        let (model, rules) = try Self.rules(
            "[{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: gone, port: 80}}}], \(Self.toV1)}]")
        #expect(try shares(model, rules, RequestForm(path: "/")) == Self.v1)
        #expect(rules.first?.actions.mirrors == [])
        #expect(model.findings.map(\.field) == ["spec.rules[0].filters[0].requestMirror.backendRef"])
        #expect(model.httpRoutes.first?.parents.first?.resolvedReferences.reason == "BackendNotFound")
    }

    @Test(
        "a GRPCRoute matches services and methods",
        arguments: [
            (RequestForm(method: "POST", path: "/shop.Catalog/List"), v2),
            (RequestForm(method: "POST", path: "/shop.Catalog/Get"), v1),
            (RequestForm(method: "POST", path: "/shop.Users/Any"), v2),
            (RequestForm(method: "POST", path: "/x.Y/Ping"), v2), (RequestForm(method: "POST", path: "/x.Y/Pong"), v1),
            (RequestForm(method: "POST", path: "/re.Gex12/Do"), v2),
            (RequestForm(method: "POST", path: "/", headers: [HeaderValue(name: "x-v", value: "2")]), v2),
        ])
    func grpc(request: RequestForm, expected: [String: Int]) throws {
        let (model, rules) = try Self.rules(
            """
            [{\(Self.toV1)}, {matches: [{method: {service: shop.Catalog, method: List}}, {method: {service: shop.Users}},
            {method: {method: Ping}}, {method: {type: RegularExpression, service: "re\\\\.Gex[0-9]+"}},
            {headers: [{name: X-V, value: "2"}]}], \(Self.toV2)}]
            """, kind: "GRPCRoute")
        #expect(model.findings == [])
        #expect(model.httpRoutes.map(\.type) == [.grpcRoutes])
        #expect(try shares(model, rules, request) == expected)
    }

    @Test("what a proxy is told comes back the same from its JSON")
    func json() throws {
        let (model, _) = try Self.rules(
            """
            [{matches: [{path: {type: RegularExpression, value: "/v[0-9]+"}, queryParams: [{name: a, value: b}]}], filters: [
            {type: RequestMirror, requestMirror: {backendRef: {name: catalog-v2, port: 8080}, percent: 42}},
            {type: CORS, cors: {allowOrigins: ["*"]}},
            {type: URLRewrite, urlRewrite: {hostname: o, path: {type: ReplaceFullPath, replaceFullPath: /in}}}], \(Self.toV1)},
            {filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]}]
            """)
        for resource in model.sharedResources(from: "demo") {
            let again = try ProxyResource.decode(
                kind: resource.kind, name: resource.name, bytes: resource.json.bytes)
            #expect(again == resource)
        }
    }
}
