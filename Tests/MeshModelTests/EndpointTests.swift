import KubeTypes
import MeshModel
import ProxyResources
import Testing
import Wire

@Suite struct EndpointTests {
    static func addresses(_ cluster: Cluster) -> [String]? {
        compile(cluster.state).backends["demo/catalog:8080"]?.endpoints.map(\.address)
    }

    @Test("endpoints that are not ready get no request, unless only ending ones still serve")
    func readiness() throws {
        var cluster = Cluster()
        try cluster.apply(file: "policies/examples/canary/services.yaml")
        cluster.pod("a", address: "10.244.1.2", services: [("catalog", "http")], ready: false)
        cluster.pod("b", address: "10.244.1.3", services: [("catalog", "http")], ready: false, terminating: true)
        #expect(Self.addresses(cluster) == ["10.244.1.3"])
        cluster.pod("c", address: "10.244.1.4", services: [("catalog", "http")])
        #expect(Self.addresses(cluster) == ["10.244.1.4"])
    }

    @Test("a workload knows its ports, their protocol and the service they belong to")
    func workload() throws {
        var cluster = try Cluster.canary()
        try cluster.apply(
            "{apiVersion: v1, kind: Service, metadata: {name: raw, namespace: demo}, spec: {selector: {app: frontend}, ports: [{name: tcp-x, port: 9, targetPort: 9000}]}}"
        )
        let model = compile(cluster.state)
        let frontend = try #require(model.workloads[ObjectKey(namespace: "demo", name: "frontend-x")])
        #expect(
            frontend.inboundPorts == [
                InboundPort(port: 8080, appProtocol: .http, service: "frontend.demo.svc.cluster.local"),
                InboundPort(port: 9000, appProtocol: .tcp, service: "raw.demo.svc.cluster.local"),
            ])
        #expect(frontend.principal == "spiffe://cluster.local/ns/demo/sa/frontend")
        #expect((frontend.app, frontend.version, frontend.node) == ("frontend", "v1", "node-1"))
    }

    @Test(
        "what a port speaks, from appProtocol or its name",
        arguments: [
            (nil, "http", AppProtocol.http), (nil, "http-web", .http), (nil, "grpc", .grpc), (nil, "http2-api", .http2),
            (nil, "httpx", .unknown),
            (nil, "", .unknown),
            (nil, "tcp-db", .tcp), (nil, "mysql", .tcp), ("http", "tcp-db", .http), ("kubernetes.io/h2c", "", .http2),
            ("https", "", .tcp),
        ] as [(String?, String, AppProtocol)])
    func protocols(declared: String?, name: String, expected: AppProtocol) {
        #expect(AppProtocol(declared: declared, portName: name) == expected)
    }

    @Test("what does not matter to the mesh is no change")
    func noChange() throws {
        var cluster = try Cluster.canary()
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "demo", name: "p")
        let first = cluster.state.apply(.pods, pod)
        pod.status = ["conditions": [["type": "Ready", "lastProbeTime": "now"]]]
        let second = cluster.state.apply(.pods, pod)
        #expect((first, second) == (true, false))
        let removals = (cluster.state.remove(.pods, pod.key), cluster.state.remove(.pods, pod.key))
        #expect(removals == (true, false))
    }

    @Test("a headless service has endpoints but no address; an ExternalName is no destination")
    func headless() throws {
        var cluster = Cluster()
        try cluster.apply(
            """
            {apiVersion: v1, kind: Service, metadata: {name: db, namespace: demo}, spec: {clusterIP: None, ports: [{name: tcp, port: 5432}]}}
            ---
            {apiVersion: v1, kind: Service, metadata: {name: out, namespace: demo}, spec: {type: ExternalName, externalName: x.org, ports: [{port: 1}]}}
            """)
        cluster.pod("db-0", address: "10.244.1.70", port: 5432, services: [("db", "tcp")])
        let model = compile(cluster.state)
        #expect(model.servicePorts.keys.sorted() == ["demo/db:5432"])
        #expect(model.servicePorts["demo/db:5432"]?.addresses == [])
        #expect(model.backends["demo/db:5432"]?.endpoints.map(\.address) == ["10.244.1.70"])
    }
}
