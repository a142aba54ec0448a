import KubeTypes
import MeshModel
import ProxyResources
import Testing
import Wire

@Suite struct GatewayTests {
    static let pod = ObjectKey(namespace: "weft-system", name: "weft-ingress-x")

    /// The canary with the gateway of proxies/gateway running.
    static func cluster() throws -> Cluster {
        var cluster = try Cluster.canary()
        try cluster.apply(file: "policies/defaults/gateway.yaml")
        try cluster.apply(file: "proxies/gateway/deployment.yaml")
        let template = try #require(
            Cluster.objects(file: "proxies/gateway/deployment.yaml").first { $0.kind == "Deployment" })
        let metadata = template.spec["template"]?["metadata"]
        cluster.pod(
            pod.name, in: pod.namespace, address: "10.244.1.5", account: "weft-ingress",
            labels: metadata?["labels"]?.stringMap ?? [:], annotations: metadata?["annotations"]?.stringMap ?? [:],
            sidecar: false)
        return cluster
    }

    static func answer(_ model: MeshModel, _ authority: String, _ path: String = "/", port: Int = 8080) throws
        -> [String: Int]
    {
        let listener = try #require(model.workloads[pod]?.gatewayListeners.first { $0.port == port })
        guard let host = chooseHost(in: listener.routes, for: authority) else { return ["no host": 1000] }
        return try shares(model, listener.routes[host].rules, RequestForm(path: path))
    }

    @Test("the example's ingress goes to the frontend, on the inherited listener, and the statuses say so")
    func ingress() throws {
        var cluster = try Self.cluster()
        try cluster.apply(file: "policies/examples/canary/ingress.yaml")
        let model = compile(cluster.state)
        let listener = try #require(model.workloads[Self.pod]?.gatewayListeners.first)
        #expect((listener.name, listener.port, listener.inherited) == ("http", 8080, "http"))
        #expect(try Self.answer(model, "127.0.0.1:8080") == ["10.244.1.13": 1000])
        let route = try #require(model.httpRoutes.first?.parents.first)
        #expect(route.accepted.isTrue && route.resolvedReferences.isTrue)
        let gateway = try #require(model.gateways.first)
        #expect(gateway.accepted.isTrue && gateway.programmed.isTrue)
        #expect(gateway.listeners.map(\.attachedRoutes) == [1])
        #expect(gateway.addresses.count == 1)
        #expect(model.gatewayClasses.map(\.name) == ["weft"])
        #expect(model.findings == [])
    }

    @Test("a Gateway without pods is not programmed, and a route it does not allow is not accepted")
    func notProgrammed() throws {
        var cluster = try Cluster.canary()
        try cluster.apply(
            """
            {apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: weft}, spec: {controllerName: weft.dev/mesh-controller}}
            ---
            apiVersion: gateway.networking.k8s.io/v1
            kind: Gateway
            metadata: {name: ingress, namespace: weft-system}
            spec: {gatewayClassName: weft, listeners: [{name: http, port: 80, protocol: HTTP}, {name: tls, port: 443, protocol: HTTPS}]}
            """)
        try cluster.apply(file: "policies/examples/canary/ingress.yaml")
        let model = compile(cluster.state)
        #expect(model.gateways.first?.programmed.isTrue == false)
        #expect(model.gateways.first?.listeners.map(\.accepted.reason) == ["Accepted", "UnsupportedProtocol"])
        #expect(model.httpRoutes.first?.parents.first?.accepted.reason == "NotAllowedByListeners")
    }

    static func route(_ name: String, _ hosts: String, _ service: String, path: String = "/") -> String {
        """
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata: {name: \(name), namespace: demo}
        spec:
          parentRefs: [{name: ingress, namespace: weft-system}]
          hostnames: \(hosts)
          rules: [{matches: [{path: {value: \(path)}}], backendRefs: [{name: \(service), port: 8080}]}]
        """
    }

    @Test(
        "the most specific host is looked at first, and the wider ones after it",
        arguments: [
            ("shop.example.com", "/", ["10.244.1.11": 1000]), ("SHOP.example.com:8080", "/", ["10.244.1.11": 1000]),
            ("shop.example.com", "/wide", ["10.244.1.11": 1000]),
            ("other.example.com", "/wide/x", ["10.244.2.12": 1000]),
            ("other.example.com", "/", ["status 404": 1000]), ("example.com", "/wide", ["no host": 1000]),
        ])
    func hosts(authority: String, path: String, expected: [String: Int]) throws {
        var cluster = try Self.cluster()
        try cluster.apply(Self.route("wide", "[\"*.example.com\"]", "catalog-v2", path: "/wide"))
        try cluster.apply(Self.route("exact", "[shop.example.com]", "catalog-v1"))
        #expect(try Self.answer(compile(cluster.state), authority, path) == expected)
    }

    @Test("an Istio Gateway on port 80 is served where the Service before the pods maps it")
    func istioGateway() throws {
        var cluster = try Self.cluster()
        try cluster.apply(
            """
            apiVersion: networking.istio.io/v1
            kind: Gateway
            metadata: {name: shop, namespace: demo}
            spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["shop.example.com"]}]}
            ---
            apiVersion: networking.istio.io/v1
            kind: VirtualService
            metadata: {name: shop, namespace: demo}
            spec:
              hosts: ["*"]
              gateways: [shop]
              http: [{match: [{uri: {exact: /}}], route: [{destination: {host: catalog-v2}}]}]
            """)
        let model = compile(cluster.state)
        #expect(try Self.answer(model, "shop.example.com") == ["10.244.2.12": 1000])
        #expect(try Self.answer(model, "shop.example.com", "/x") == ["status 404": 1000])
        #expect(try shares(model, "demo/catalog-v2:8080") == ["10.244.2.12": 1000], "sidecars are not bound by it")
        #expect(model.findings == [])
    }
}
