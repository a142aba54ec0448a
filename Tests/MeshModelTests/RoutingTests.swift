import KubeTypes
import MeshModel
import ProxyResources
import Testing

@Suite struct RoutingTests {
    static let split = ["10.244.1.11": 900, "10.244.2.12": 100]

    @Test("the canary in both languages gives the same split")
    func bothLanguages() throws {
        var gateway = try Cluster.canary()
        try gateway.apply(file: "policies/examples/canary/route.yaml")
        var istio = try Cluster.canary()
        try istio.apply(file: "policies/examples/canary-istio/route.yaml")
        for cluster in [gateway, istio] {
            let model = compile(cluster.state)
            #expect(model.findings == [])
            for request in [RequestForm(path: "/"), RequestForm(method: "POST", path: "/items?x=1")] {
                #expect(try shares(model, "demo/catalog:8080", request) == Self.split)
                #expect(try shares(model, "demo/catalog:8080", from: "elsewhere", request) == Self.split)
            }
            #expect(try shares(model, "demo/catalog-v2:8080") == ["10.244.2.12": 1000])
        }
        let both = compile(gateway.state).servicePorts["demo/catalog:8080"]?.routes.map(\.backends.count)
        #expect(both == compile(istio.state).servicePorts["demo/catalog:8080"]?.routes.map(\.backends.count))
    }

    @Test("where both languages speak of a service, the HTTPRoute holds and the VirtualService is told so")
    func precedenceOfLanguages() throws {
        var cluster = try Cluster.canary()
        try cluster.apply(file: "policies/examples/canary-istio/route.yaml")
        try cluster.apply(file: "policies/examples/canary/route.yaml")
        let model = compile(cluster.state)
        #expect(model.servicePorts["demo/catalog:8080"]?.routes.first?.name == "HTTPRoute demo/catalog rule 0")
        #expect(model.findings.map(\.code) == [.conflict])
        #expect(model.findings.first?.object.description == "VirtualService demo/catalog")
    }

    @Test("without a route a service goes to all its endpoints, by its full name and, in its namespace, its short one")
    func direct() throws {
        let model = compile(try Cluster.canary().state)
        #expect(try shares(model, "demo/catalog:8080") == ["10.244.1.11": 500, "10.244.2.12": 500])
        let near = model.destinations(from: "demo").first { $0.service == "catalog" }
        #expect(near?.hosts == ["catalog.demo.svc.cluster.local", "catalog.demo.svc", "catalog.demo", "catalog"])
        #expect(model.destinations(from: "other").first { $0.service == "catalog" }?.hosts.contains("catalog") == false)
        #expect(near?.appProtocol == .http)
    }

    static func route(_ name: String, _ rules: String, namespace: String = "demo") -> String {
        """
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata: {name: \(name), namespace: \(namespace)}
        spec:
          parentRefs: [{group: "", kind: Service, name: catalog, namespace: demo}]
          rules: \(rules)
        """
    }
    static let toV1 = "backendRefs: [{name: catalog-v1, port: 8080}]"
    static let toV2 = "backendRefs: [{name: catalog-v2, port: 8080}]"
    static let v1 = ["10.244.1.11": 1000], v2 = ["10.244.2.12": 1000]

    @Test(
        "Gateway API's order: exact path, longest prefix, method, number of headers",
        arguments: [
            (RequestForm(path: "/a/b"), "exact"), (RequestForm(path: "/a/b/c"), "long"),
            (RequestForm(path: "/a/x"), "short"),
            (RequestForm(method: "DELETE", path: "/a/x"), "method"), (RequestForm(path: "/ab"), "none"),
            (RequestForm(path: "/h", headers: [.init(name: "X-One", value: "1")]), "one"),
            (
                RequestForm(path: "/h", headers: [.init(name: "x-one", value: "1"), .init(name: "x-two", value: "2")]),
                "two"
            ),
        ])
    func precedence(request: RequestForm, expected: String) throws {
        var cluster = try Cluster.canary()
        let places: [(String, String)] = [
            ("short", "[{path: {type: PathPrefix, value: /a}}]"), ("long", "[{path: {value: /a/b/}}]"),
            ("exact", "[{path: {type: Exact, value: /a/b}}]"), ("method", "[{path: {value: /a}, method: DELETE}]"),
            ("one", "[{headers: [{name: X-One, value: \"1\"}]}]"),
            ("two", "[{headers: [{name: x-one, value: \"1\"}, {name: x-two, value: \"2\"}]}]"),
        ]
        for (name, matches) in places { try cluster.apply(Self.route(name, "[{matches: \(matches), \(Self.toV1)}]")) }
        let rules = try #require(compile(cluster.state).servicePorts["demo/catalog:8080"]?.routes)
        let index = try #require(chooseRule(in: rules, for: request))
        let name = rules[index].directStatus == 404 ? "none" : rules[index].name
        #expect(name == (expected == "none" ? "none" : "HTTPRoute demo/\(expected) rule 0"))
    }

    @Test("of equal matches the oldest route counts, then the first name")
    func age() throws {
        var cluster = try Cluster.canary()
        try cluster.apply(Self.route("z-old", "[{\(Self.toV2)}]"))
        try cluster.apply(Self.route("a-young", "[{\(Self.toV1)}]"))
        #expect(try shares(compile(cluster.state), "demo/catalog:8080") == Self.v2)
    }

    @Test("a rule's matches, headers and timeout are carried over; a request no rule takes gets 404")
    func ruleParts() throws {
        var cluster = try Cluster.canary()
        try cluster.apply(
            Self.route(
                "r",
                """
                [{matches: [{path: {value: /v2}}, {headers: [{name: Canary, value: "yes"}]}], timeouts: {request: 1s500ms, backendRequest: 1s},
                filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-A, value: a}], add: [{name: X-B, value: b}], remove: [X-C]}}],
                \(Self.toV2)}]
                """))
        let model = compile(cluster.state)
        let rule = try #require(model.servicePorts["demo/catalog:8080"]?.routes.first)
        #expect(rule.timeoutMilliseconds == 1000)
        #expect(rule.setRequestHeaders == [HeaderValue(name: "x-a", value: "a")])
        #expect(rule.addRequestHeaders == [HeaderValue(name: "x-b", value: "b")])
        #expect(rule.removeRequestHeaders == ["x-c"])
        #expect(try shares(model, "demo/catalog:8080", RequestForm(path: "/v2/x")) == Self.v2)
        #expect(
            try shares(
                model, "demo/catalog:8080", RequestForm(path: "/", headers: [.init(name: "canary", value: "yes")]))
                == Self.v2)
        #expect(try shares(model, "demo/catalog:8080", RequestForm(path: "/v22")) == ["status 404": 1000])
    }

    @Test(
        "a backend that cannot be resolved gets 500 for its share, and the status says why",
        arguments: [
            ("[{name: gone, port: 8080}]", ["status 500": 1000], "BackendNotFound", "Service demo/gone does not exist"),
            ("[{name: catalog-v1, port: 1}]", ["status 500": 1000], "BackendNotFound", "has no port 1, only 8080"),
            (
                "[{kind: Bucket, group: s3.io, name: x}]", ["status 500": 1000], "InvalidKind",
                "kind Bucket.s3.io cannot be a backend"
            ),
            (
                "[{name: catalog-v1, port: 8080, weight: 3}, {name: gone, port: 8080}]",
                ["10.244.1.11": 750, "status 500": 250], "BackendNotFound", "gone"
            ),
            (
                "[{name: safe, namespace: vault, port: 80}]", ["status 500": 1000], "RefNotPermitted",
                "no ReferenceGrant in namespace vault"
            ),
            ("[{name: catalog-v1, port: 8080, weight: 0}]", ["status 500": 1000], "ResolvedRefs", ""),
            ("[]", ["status 500": 1000], "ResolvedRefs", ""),
        ])
    func invalidReferences(backends: String, expected: [String: Int], reason: String, message: String) throws {
        var cluster = try Cluster.canary()
        try cluster.apply(
            "{apiVersion: v1, kind: Service, metadata: {name: safe, namespace: vault}, spec: {ports: [{port: 80}]}}")
        try cluster.apply(Self.route("r", "[{backendRefs: \(backends)}]"))
        let model = compile(cluster.state)
        #expect(try shares(model, "demo/catalog:8080") == expected)
        let parent = try #require(model.httpRoutes.first?.parents.first)
        #expect(parent.accepted.isTrue)
        #expect(parent.resolvedReferences.reason == reason)
        #expect(parent.resolvedReferences.isTrue == (reason == "ResolvedRefs"))
        #expect(parent.resolvedReferences.message.contains(message))
        if reason != "ResolvedRefs" {
            #expect(model.findings.contains { $0.field.hasPrefix("spec.rules[0].backendRefs[") })
        }
    }

    @Test("a ReferenceGrant lets a route name a service of another namespace")
    func referenceGrant() throws {
        var cluster = try Cluster.canary()
        try cluster.apply(
            """
            {apiVersion: v1, kind: Service, metadata: {name: safe, namespace: vault}, spec: {ports: [{port: 80}]}}
            ---
            apiVersion: gateway.networking.k8s.io/v1
            kind: ReferenceGrant
            metadata: {name: g, namespace: vault}
            spec:
              from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: demo}]
              to: [{group: "", kind: Service, name: safe}]
            """)
        cluster.pod("safe-x", in: "vault", address: "10.244.2.99", sidecar: false, services: [("safe", "")])
        try cluster.apply(Self.route("r", "[{backendRefs: [{name: safe, namespace: vault, port: 80}]}]"))
        #expect(try shares(compile(cluster.state), "demo/catalog:8080") == ["10.244.2.99": 1000])
    }

    @Test("a route of another namespace holds for clients of that namespace only")
    func consumerRoute() throws {
        var cluster = try Cluster.canary()
        try cluster.apply(Self.route("producer", "[{\(Self.toV1)}]"))
        try cluster.apply(
            Self.route("consumer", "[{backendRefs: [{name: own, port: 80}]}]", namespace: "shop")
                + "\n---\n{apiVersion: v1, kind: Service, metadata: {name: own, namespace: shop}, spec: {ports: [{port: 80}]}}"
        )
        cluster.pod("own-x", in: "shop", address: "10.244.2.50", services: [("own", "")])
        let model = compile(cluster.state)
        #expect(try shares(model, "demo/catalog:8080", from: "shop") == ["10.244.2.50": 1000])
        #expect(try shares(model, "demo/catalog:8080", from: "demo") == Self.v1)
        #expect(try shares(model, "demo/catalog:8080", from: "other") == Self.v1)
    }

    @Test("what is not supported is reported with its field, and a filter that cannot be left out answers 500")
    func unsupported() throws {
        var cluster = try Cluster.canary()
        try cluster.apply(
            Self.route(
                "r",
                """
                [{matches: [{path: {type: RegularExpression, value: "/a(.*"}}], \(Self.toV2)},
                {filters: [{type: ExtensionRef, extensionRef: {}}], \(Self.toV1)}]
                """))
        let model = compile(cluster.state)
        #expect(
            model.findings.map(\.field) == [
                "spec.rules[0].matches[0].path.value", "spec.rules[1].filters[0].type",
            ])
        #expect(model.findings.map(\.code) == [.invalid, .unsupported])
        #expect(try shares(model, "demo/catalog:8080", RequestForm(path: "/ab")) == ["status 500": 1000])
    }

    @Test("a route whose parent does not exist is not accepted, and says which")
    func noParent() throws {
        var cluster = Cluster()
        try cluster.apply(Self.route("r", "[{\(Self.toV1)}]"))
        let parent = try #require(compile(cluster.state).httpRoutes.first?.parents.first)
        #expect(parent.accepted == ConditionState(false, "NoMatchingParent", "Service demo/catalog does not exist"))
    }
}
