import KubeTypes
import MeshModel
import ProxyResources
import Testing
import Wire

@Suite struct LoadingTests {
    private func model(
        _ yaml: String = "", pod annotations: [String: String] = [:], _ change: (inout MeshSettings) -> Void = { _ in }
    )
        throws -> MeshModel
    {
        var settings = MeshSettings()
        change(&settings)
        var cluster = Cluster()
        cluster.state = MeshState(settings: settings)
        try cluster.apply(
            """
            apiVersion: v1
            kind: Service
            metadata: {name: catalog, namespace: demo}
            spec: {clusterIP: 10.96.0.7, ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp, port: 90}]}
            ---
            apiVersion: v1
            kind: Service
            metadata: {name: twin, namespace: demo}
            spec: {clusterIP: None, ports: [{name: http, port: 80, targetPort: 8080}]}
            """)
        cluster.pod(
            "p", address: "10.244.1.5", annotations: annotations, services: [("catalog", "http"), ("twin", "http")])
        if !yaml.isEmpty { try cluster.apply(yaml) }
        return compile(cluster.state)
    }
    private func map(_ data: String) -> String {
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: weft-mesh, namespace: weft-system}, data: \(data)}"
    }
    private func loading(_ model: MeshModel) -> Loading? {
        model.workloads[ObjectKey(namespace: "demo", name: "p")]?.loading
    }

    @Test("proxies hold what they use, unless the mesh or the pod says otherwise")
    func knob() throws {
        #expect(loading(try model())?.mode == .onDemand)
        #expect(loading(try model(map("{configuration: all}"))) == Loading(.all))
        let both = try model(
            map("{configuration: all, configurationIdle: 5m}"), pod: ["weft.dev/configuration": "on-demand"])
        #expect(loading(both)?.mode == .onDemand && loading(both)?.idleSeconds == 300)
        let own = try model(pod: ["weft.dev/configuration": "all"])
        #expect(loading(own)?.mode == .all)
        let idle = try model(map("{configurationIdle: 5m}"), pod: ["weft.dev/configuration-idle": "30s"])
        #expect(loading(idle)?.idleSeconds == 30)
    }

    @Test("words nobody knows are reported with their place and change nothing")
    func findings() throws {
        let bad = try model(
            map("{configuration: some, configurationIdle: soon}"), pod: ["weft.dev/configuration": "few"])
        #expect(loading(bad)?.mode == .onDemand && loading(bad)?.idleSeconds == Loading.idleSeconds)
        let fields = bad.findings.map(\.field)
        #expect(fields.contains("data.configuration") && fields.contains("data.configurationIdle"))
        #expect(fields.contains("metadata.annotations.weft.dev/configuration"))
    }

    @Test("addresses outside of the cluster's ranges are told one by one; too many of them, and any may be asked for")
    func ranges() throws {
        func ranges(_ model: MeshModel) -> [String] { loading(model)?.ranges ?? [] }
        let cluster = ["10.96.0.0/16", "10.244.0.0/16"]
        #expect(ranges(try model { $0.ranges = cluster }) == cluster)
        #expect(ranges(try model { $0.ranges = ["10.96.0.0/16"] }) == ["10.96.0.0/16", "10.244.1.5"])
        #expect(ranges(try model()).isEmpty)
        let addresses = (0..<100).map { "10.1.0.\($0)" }.joined(separator: "\"]}, {addresses: [\"")
        let slice = """
            {apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: x, namespace: demo, labels:
            {kubernetes.io/service-name: twin}}, ports: [{name: http, port: 8080}], endpoints: [{addresses: ["\(addresses)"]}]}
            """
        #expect(ranges(try model(slice) { $0.ranges = cluster }).isEmpty)
    }

    @Test("what stands at an address or behind a name is found as the proxies' tables would find it")
    func index() throws {
        let index = DestinationIndex(try model())
        func find(_ key: String, _ namespace: String = "demo") -> Destination? {
            index.destination(key, from: namespace)
        }
        #expect(find("10.96.0.7:80") == Destination(key: "10.96.0.7:80", servicePort: "demo/catalog:80"))
        #expect(find("10.96.0.7:90")?.servicePort == "demo/catalog:90")
        #expect(find("10.96.0.7:91") == nil)
        #expect(find("10.244.1.5:8080") == Destination(key: "10.244.1.5:8080", backend: "demo/catalog:80"))
        for host in ["catalog", "catalog.demo", "catalog.demo.svc", "Catalog.demo.svc.cluster.local"] {
            #expect(find("\(host):90")?.servicePort == "demo/catalog:90", "\(host)")
        }
        #expect(find("catalog")?.servicePort == "demo/catalog:80")
        #expect(find("catalog:80", "other") == nil && find("catalog.demo:80", "other") != nil)
        for nothing in [
            "", ":", ":80", "example.org:80", "a.b.c.d:80", "catalog.demo:", "10.96.0.7", "catalog.demo.svc.",
        ] {
            #expect(find(nothing) == nil, "\(nothing)")
        }
    }

    @Test("every field of a resource that names a backend is among those looked at")
    func references() throws {
        var rule = RouteRule(name: "r", backends: [WeightedBackend(backend: "b1")])
        rule.actions.mirrors = [Mirror(backend: "b2")]
        var port = ServicePort(namespace: "demo", service: "s", port: 80, routes: [rule], defaultBackend: "b3")
        port.tlsRoutes = [TLSRoute(hosts: ["*"], backends: [WeightedBackend(backend: "b4")])]
        port.tcpRoutes = [TCPRoute(backends: [WeightedBackend(backend: "b6")])]
        var names: Set<String> = []
        port.refer(to: &names)
        #expect(names == ["b1", "b2", "b3", "b4", "b6"])
        var workload = Workload(namespace: "demo", pod: "p")
        var listener = GatewayListener(name: "l", port: 80, routes: [VirtualHost(hosts: ["*"], rules: [rule])])
        listener.tlsRoutes = port.tlsRoutes
        var server = TLSServer(certificates: [KeyPair(certificateChain: "c", privateKey: "k")])
        server.backends = [WeightedBackend(backend: "b7")]
        listener.tls = [server]
        listener.backends = [WeightedBackend(backend: "b8")]
        workload.gatewayListeners = [listener]
        workload.security.authorizers = [ExternalAuthorizer(name: "a", backend: "b5")]
        names = []
        workload.refer(to: &names)
        #expect(names == ["b1", "b2", "b4", "b5", "b7", "b8"])
        // What is written under a name like that anywhere in the resources was found above.
        var written: Set<String> = []
        Self.collect(port.json, &written)
        Self.collect(workload.json, &written)
        #expect(written == ["b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8"])
    }

    private static func collect(_ json: JSON, _ names: inout Set<String>) {
        switch json {
        case .array(let elements): for element in elements { collect(element, &names) }
        case .object(let object):
            for member in object.members {
                if member.key.lowercased().contains("backend"), let name = member.value.string { names.insert(name) }
                collect(member.value, &names)
            }
        default: break
        }
    }

    @Test("both new forms read back as written, and say what is wrong with them")
    func forms() throws {
        for loading in [Loading(.onDemand), Loading(.onDemand, idleSeconds: 5, ranges: ["10.0.0.0/8"])] {
            var workload = Workload(namespace: "demo", pod: "p", principal: "spiffe://cluster.local/ns/demo/sa/p")
            workload.loading = loading
            #expect(try Workload(json: workload.json) == workload)
        }
        var bad = Workload(namespace: "demo", pod: "p", principal: "spiffe://cluster.local/ns/demo/sa/p").json
        for (field, value) in [("mode", JSON("SOME")), ("idleSeconds", 0), ("ranges", ["10.0.0.0/99"])] {
            bad["loading"] = .object(JSONObject([.init(field, value)]))
            #expect { try Workload(json: bad) } throws: { "\($0)".contains("loading.\(field)") }
        }
        let destination = Destination(key: "10.0.0.1:80", backend: "demo/a:80")
        #expect(try Destination(json: destination.json) == destination)
        #expect(throws: ResourceFault.self) { try Destination(json: ["key": "a"]) }
        #expect(throws: ResourceFault.self) { try Destination(json: ["key": "a", "backend": "b", "servicePort": "c"]) }
    }
}
