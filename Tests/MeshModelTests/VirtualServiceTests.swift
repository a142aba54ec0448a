import KubeTypes
import MeshModel
import ProxyResources
import Testing
import Wire

/// What a VirtualService's routes match and do.
@Suite struct VirtualServiceTests {
    static let toV1 = IstioTests.toV1, toV2 = IstioTests.toV2, v1 = IstioTests.v1, v2 = IstioTests.v2

    /// Most of what a route can say.
    static let everything = IstioTests.policy(
        """
        [{name: a, match: [{uri: {regex: "/v[0-9]"}, ignoreUriCase: true, queryParams: {q: {exact: "1"}, r: {regex: "a+"}}, method: {prefix: P},
        scheme: {exact: http}, authority: {regex: "a.*"}, headers: {x: {exact: y}}, withoutHeaders: {z: {}}, sourceNamespace: demo, sourceLabels: {a: b}, port: 8080}],
        rewrite: {uriRegexRewrite: {match: "a(b)", rewrite: "c\\1"}, authority: b.test}, headers: {request: {set: {":authority": c.test, x-a: a}}},
        fault: {delay: {fixedDelay: 5s, percentage: {value: 0.1}}, abort: {httpStatus: 500, percentage: {value: 50}}},
        mirrors: [{destination: {host: catalog, subset: v2}, percentage: {value: 12.5}}],
        corsPolicy: {allowOrigins: [{prefix: "https://a"}], allowMethods: [GET], maxAge: 24h}, \(IstioTests.toV1)},
        {match: [{uri: {exact: /r}}], redirect: {uri: /b, authority: new.test, port: 81, scheme: https, redirectCode: 308}},
        {match: [{uri: {exact: /d}}], directResponse: {status: 503, body: {string: closed}}}, {delegate: {name: p3}}]
        """)

    static func first(_ http: String) throws -> (MeshModel, RouteRule) {
        let model = try IstioTests.model(IstioTests.policy(http))
        return (model, try #require(model.servicePorts["demo/catalog:8080"]?.routes.first))
    }

    @Test(
        "matches of all kinds hold",
        arguments: [
            (RequestForm(path: "/v7"), v2), (RequestForm(path: "/v"), v1), (RequestForm(path: "/UPPER"), v2),
            (RequestForm(path: "/?q=1"), v2), (RequestForm(path: "/?q=2"), v1), (RequestForm(path: "/?flag"), v2),
            (RequestForm(method: "PATCH", path: "/"), v2), (RequestForm(path: "/", scheme: "https"), v2),
            (RequestForm(path: "/", authority: "Shop.Test"), v2),
            (RequestForm(path: "/without", headers: [HeaderValue(name: "x-old", value: "")]), v1),
            (RequestForm(path: "/without"), v2), (RequestForm(path: "/ns", namespace: "demo"), v2),
            (RequestForm(path: "/ns", namespace: "shop"), v1),
            (RequestForm(path: "/labels", labels: ["app": "frontend", "x": "y"]), v2),
            (RequestForm(path: "/labels", labels: ["app": "other"]), v1),
            (RequestForm(path: "/", headers: [HeaderValue(name: "agent", value: "beta-7")]), v2),
            (RequestForm(path: "/", headers: [HeaderValue(name: "agent", value: "beta-x")]), v1),
        ])
    func matches(request: RequestForm, expected: [String: Int]) throws {
        let model = try IstioTests.model(
            IstioTests.policy(
                """
                [{match: [{uri: {regex: "/v[0-9]"}}, {uri: {exact: /upper}, ignoreUriCase: true},
                {queryParams: {q: {exact: "1"}}}, {queryParams: {flag: {exact: ""}}}, {method: {prefix: PAT}},
                {scheme: {exact: https}}, {authority: {prefix: shop.}}, {uri: {exact: /without}, withoutHeaders: {x-old: {}}},
                {uri: {exact: /ns}, sourceNamespace: demo}, {uri: {exact: /labels}, sourceLabels: {app: frontend}},
                {headers: {agent: {regex: "beta-[0-9]"}}}], \(Self.toV2)}, {\(Self.toV1)}]
                """))
        #expect(model.findings == [])
        #expect(try shares(model, "demo/catalog:8080", request) == expected)
    }

    @Test("rewrites, headers both ways, faults, mirrors and CORS are carried over")
    func actions() throws {
        let (model, rule) = try Self.first(
            """
            [{match: [{uri: {prefix: /old}}], rewrite: {uri: /new, authority: other.test},
            headers: {request: {set: {x-a: a}}, response: {remove: [x-b]}},
            fault: {delay: {fixedDelay: 5s, percentage: {value: 0.1}}, abort: {grpcStatus: UNAVAILABLE, percentage: {value: 50}}},
            mirror: {host: catalog, subset: v2}, mirrorPercentage: {value: 12.5},
            mirrors: [{destination: {host: catalog, subset: v1}, percentage: {value: 1}}],
            corsPolicy: {allowOrigins: [{exact: "https://a.test"}, {regex: "https://.*\\\\.b\\\\.test"}], allowMethods: [GET, PUT], maxAge: 24h, allowCredentials: true, unmatchedPreflights: IGNORE},
            route: [{destination: {host: catalog, subset: v1}, headers: {response: {add: {x-c: c}}}}]}]
            """)
        #expect(model.findings == [])
        #expect(rule.actions.path == .matched("/new"))
        #expect(rule.actions.host == "other.test")
        #expect(rule.setRequestHeaders == [HeaderValue(name: "x-a", value: "a")])
        #expect(rule.actions.response.remove == ["x-b"])
        #expect(
            rule.actions.fault
                == Fault(
                    delay: Fault.Delay(milliseconds: 5000, millionths: 1000),
                    abort: Fault.Abort(.grpc(14), millionths: 500_000)))
        #expect(
            rule.actions.mirrors == [
                Mirror(backend: "demo/catalog:8080/v2", millionths: 125_000),
                Mirror(backend: "demo/catalog:8080/v1", millionths: 10_000),
            ])
        #expect(
            rule.actions.cors
                == CORSPolicy(
                    origins: [TextMatch(.exact, "https://a.test"), TextMatch(.regex, "https://.*\\.b\\.test")],
                    methods: ["GET", "PUT"], maxAgeSeconds: 86400, allowsCredentials: true))
        #expect(rule.backends.first?.response.add == [HeaderValue(name: "x-c", value: "c")])
        for resource in model.sharedResources(from: "demo") {
            let again = try ProxyResource.decode(kind: resource.kind, name: resource.name, bytes: resource.json.bytes)
            #expect(again == resource)
        }
    }

    @Test("redirects, expressions and direct responses are carried over")
    func answers() throws {
        let (model, rule) = try Self.first(
            "[{redirect: {uri: /b, authority: new.test, scheme: https, redirectCode: 308}}]")
        #expect(model.findings == [])
        #expect(
            rule.actions.redirect == Redirect(scheme: "https", host: "new.test", path: .full("/b"), status: 308))
        #expect(try Self.first("[{redirect: {derivePort: FROM_REQUEST_PORT}}]").1.actions.redirect?.port == 8080)
        #expect(try Self.first("[{redirect: {uri: \"%PREFIX()%/x\"}}]").1.actions.redirect?.path == .matched("/x"))
        let rewritten = try Self.first(
            "[{rewrite: {uriRegexRewrite: {match: \"^/a/(.*)\", rewrite: \"/b/\\\\1\"}}, \(Self.toV1)}]")
        #expect(rewritten.1.actions.path == .regex(pattern: "^/a/(.*)", substitution: "/b/\\1"))
        let direct = try Self.first("[{directResponse: {status: 503, body: {string: closed}}}]").1
        #expect(direct.directStatus == 503)
        #expect(direct.actions.directBody == DirectBody(text: "closed"))
        #expect(
            try Self.first("[{directResponse: {status: 200, body: {bytes: b3Blbg==}}}]").1.actions.directBody?.text
                == "open")
    }

    @Test("a VirtualService without hosts gives its rules to those that delegate to it, narrowed by their matches")
    func delegation() throws {
        let inner = """
            apiVersion: networking.istio.io/v1
            kind: VirtualService
            metadata: {name: inner, namespace: teams}
            spec: {http: [{match: [{uri: {prefix: /shop/beta}}, {uri: {exact: /elsewhere}}, {headers: {x-beta: {exact: "1"}}}], timeout: 2s,
            route: [{destination: {host: catalog.demo.svc.cluster.local, subset: v2}}]},
            {route: [{destination: {host: catalog.demo.svc.cluster.local, subset: v1}}]}]}
            """
        let outer = IstioTests.policy(
            "[{match: [{uri: {prefix: /shop}}], timeout: 1s, delegate: {name: inner, namespace: teams}}, {\(Self.toV2)}]"
        )
        let model = try IstioTests.model(inner, outer)
        #expect(model.findings == [])
        let cases: [(RequestForm, [String: Int])] = [
            (RequestForm(path: "/shop/beta/x"), Self.v2), (RequestForm(path: "/shop/x"), Self.v1),
            (RequestForm(path: "/shop/x", headers: [HeaderValue(name: "x-beta", value: "1")]), Self.v2),
            (RequestForm(path: "/elsewhere"), Self.v2), (RequestForm(path: "/"), Self.v2),
        ]
        for (request, expected) in cases {
            #expect(try shares(model, "demo/catalog:8080", request) == expected, "\(request.path)")
        }
        let rules = try #require(model.servicePorts["demo/catalog:8080"]?.routes)
        #expect(rules.prefix(3).map(\.timeoutMilliseconds) == [2000, 1000, nil])
        #expect(rules.first?.matches.count == 2, "/elsewhere is no part of /shop")
        #expect(try IstioTests.model(inner).findings.map(\.field) == ["spec.hosts"])
    }
}
