import KubeTypes
import MeshModel
import ProxyResources
import Testing
import Wire

/// TLSRoute, TCPRoute and UDPRoute, and the `tls` and `tcp` routes of a VirtualService.
@Suite struct ConnectionRouteTests {
    private static let pair = [
        "tls.crt": "-----BEGIN CERTIFICATE-----\n", "tls.key": "-----BEGIN PRIVATE KEY-----\n",
    ]

    private static func secret(_ name: String) -> String {
        let data = pair.map { "\($0.key): \(Base64.encode(Array($0.value.utf8)))" }.joined(separator: ", ")
        return "apiVersion: v1\nkind: Secret\nmetadata: {name: \(name), namespace: demo}\ndata: {\(data)}"
    }

    private static let gateway = """
        apiVersion: gateway.networking.k8s.io/v1
        kind: GatewayClass
        metadata: {name: weft}
        spec: {controllerName: weft.dev/mesh-controller}
        ---
        apiVersion: gateway.networking.k8s.io/v1
        kind: Gateway
        metadata: {name: edge, namespace: demo}
        spec:
          gatewayClassName: weft
          listeners:
          - {name: passed, port: 443, protocol: TLS, hostname: "*.passed.test", tls: {mode: Passthrough}}
          - {name: opened, port: 443, protocol: TLS, hostname: "*.opened.test", tls: {mode: Terminate, certificateRefs: [{name: edge}]}}
          - {name: bytes, port: 5432, protocol: TCP}
          - {name: datagrams, port: 53, protocol: UDP}
        """

    private static func route(
        _ kind: String, _ name: String, section: String, hosts: String = "[]",
        to: String = "[{name: catalog, port: 8080}]"
    ) -> String {
        """
        apiVersion: gateway.networking.k8s.io/v1
        kind: \(kind)
        metadata: {name: \(name), namespace: demo}
        spec:
          parentRefs: [{name: edge, sectionName: \(section)}]
          \(kind == "TLSRoute" ? "hostnames: \(hosts)" : "")
          rules: [{backendRefs: \(to)}]
        """
    }

    private func cluster(_ more: String...) throws -> Cluster {
        var cluster = try Cluster.canary()
        cluster.pod(
            "edge", address: "10.244.1.99", labels: ["weft.dev/gateway": "weft-ingress", "istio": "ingressgateway"],
            port: 443)
        try cluster.apply(Self.gateway)
        try cluster.apply(Self.secret("edge"))
        for text in more { try cluster.apply(text) }
        return cluster
    }

    private func listener(_ model: MeshModel, _ port: Int) -> GatewayListener? {
        model.workloads[ObjectKey(namespace: "demo", name: "edge")]?.gatewayListeners.first { $0.port == port }
    }

    private func accepted(_ model: MeshModel, _ name: String) -> ConditionState? {
        model.httpRoutes.first { $0.key.name == name }?.parents.first?.accepted
    }

    @Test("a TLSRoute passes TLS on by name, or ends it where its listener does; both on one port")
    func tls() throws {
        let cluster = try cluster(
            Self.route("TLSRoute", "one", section: "passed", hosts: "[a.passed.test, other.test]"),
            Self.route(
                "TLSRoute", "two", section: "opened", hosts: "[b.opened.test]",
                to: "[{name: catalog-v1, port: 8080, weight: 9}, {name: catalog-v2, port: 8080, weight: 1}]"))
        let model = compile(cluster.state)
        let listener = try #require(self.listener(model, 443))
        #expect(listener.tlsRoutes.map(\.hosts) == [["a.passed.test"]])
        #expect(listener.tlsRoutes.first?.backends == [WeightedBackend(backend: "demo/catalog:8080")])
        #expect(listener.tls.map(\.hosts) == [["b.opened.test"]])
        #expect(listener.tls.first?.backends.map(\.weight) == [9, 1])
        #expect(listener.routes.isEmpty && listener.backends.isEmpty)
        #expect(accepted(model, "one")?.isTrue == true && accepted(model, "two")?.isTrue == true)
        let listeners = try #require(model.gateways.first?.listeners)
        #expect(listeners.map(\.kinds) == [["TLSRoute"], ["TLSRoute", "TCPRoute"], ["TCPRoute"], []])
        #expect(listeners.map(\.attachedRoutes) == [1, 1, 0, 0])
        #expect(listeners.map(\.accepted.isTrue) == [true, true, true, false])
        #expect(listeners.last?.accepted.message.contains("UDP is not routed") == true)
    }

    @Test(
        "routes that cannot hold say why: no listener, no name in common, not of the listener's kind, no such backend")
    func refusals() throws {
        let cluster = try cluster(
            Self.route("TLSRoute", "nowhere", section: "absent"),
            Self.route("TLSRoute", "stranger", section: "passed", hosts: "[shop.test]"),
            Self.route("TCPRoute", "kind", section: "passed"),
            Self.route("UDPRoute", "datagrams", section: "datagrams"),
            Self.route("TLSRoute", "lost", section: "passed", hosts: "[x.passed.test]", to: "[{name: gone, port: 1}]"),
            """
            apiVersion: gateway.networking.k8s.io/v1
            kind: TLSRoute
            metadata: {name: sidecar, namespace: demo}
            spec: {parentRefs: [{group: "", kind: Service, name: catalog}], hostnames: [a.test], rules: [{backendRefs: [{name: catalog, port: 8080}]}]}
            """)
        let model = compile(cluster.state)
        #expect(accepted(model, "nowhere")?.reason == "NoMatchingParent")
        #expect(accepted(model, "stranger")?.reason == "NoMatchingListenerHostname")
        #expect(accepted(model, "kind")?.reason == "NotAllowedByListeners")
        #expect(accepted(model, "datagrams")?.message.contains("UDP is not routed") == true)
        #expect(accepted(model, "sidecar")?.message.contains("attaches to Gateways only") == true)
        let lost = try #require(model.httpRoutes.first { $0.key.name == "lost" }?.parents.first)
        #expect(lost.accepted.isTrue && lost.resolvedReferences.reason == "BackendNotFound")
        #expect(listener(model, 443)?.tlsRoutes.map(\.hosts) == [["x.passed.test"]], "its connections are reset")
        for name in ["nowhere", "stranger", "kind", "datagrams", "lost", "sidecar"] {
            #expect(model.findings.contains { $0.object.key.name == name }, "\(name)")
        }
    }

    @Test("the oldest TCPRoute has its listener; a TCP listener without one is shut")
    func tcp() throws {
        var cluster = try cluster()
        #expect(listener(compile(cluster.state), 5432) == nil)
        try cluster.apply(
            Self.route("TCPRoute", "first", section: "bytes") + "\n---\n"
                + Self.route("TCPRoute", "second", section: "bytes", to: "[{name: frontend, port: 8080}]"))
        let model = compile(cluster.state)
        #expect(listener(model, 5432)?.backends == [WeightedBackend(backend: "demo/catalog:8080")])
        #expect(model.gateways.first?.listeners[2].attachedRoutes == 2)
    }

    private static let database = """
        apiVersion: v1
        kind: Service
        metadata: {name: db, namespace: demo}
        spec: {clusterIP: 10.96.7.7, selector: {app: db}, ports: [{name: tcp-db, port: 5432}, {name: tls-db, port: 5433}, {name: http-admin, port: 80}]}
        """

    @Test("a VirtualService's tls and tcp routes at sidecars: by name, port, address and who calls")
    func sidecars() throws {
        let cluster = try cluster(
            Self.database,
            """
            apiVersion: networking.istio.io/v1
            kind: VirtualService
            metadata: {name: db, namespace: demo}
            spec:
              hosts: [db]
              tls:
              - match: [{port: 5433, sniHosts: [a.db.test, "*.b.db.test"], sourceLabels: {app: frontend}}]
                route: [{destination: {host: catalog-v1, port: {number: 8080}}, weight: 25}, {destination: {host: catalog-v2, port: {number: 8080}}, weight: 75}]
              - match: [{sniHosts: [x.test], gateways: [other]}]
                route: [{destination: {host: catalog-v1}}]
              tcp:
              - match: [{port: 1}, {destinationSubnets: [10.97.0.0/16]}]
                route: [{destination: {host: catalog-v1}}]
              - match: [{destinationSubnets: [10.96.0.0/16], port: 5432}]
                route: [{destination: {host: catalog-v2}}]
            """)
        let model = compile(cluster.state)
        let named = try #require(model.servicePorts["demo/db:5433"])
        #expect(named.tlsRoutes.map(\.hosts) == [["a.db.test", "*.b.db.test"]])
        #expect(named.tlsRoutes.first?.source == SourceMatch(labels: ["app": "frontend"]))
        #expect(named.tlsRoutes.first?.backends.map(\.weight) == [25, 75])
        #expect(named.tcpRoutes.isEmpty)
        let plain = try #require(model.servicePorts["demo/db:5432"])
        #expect(plain.tcpRoutes.map { $0.backends.map(\.backend) } == [["demo/catalog-v2:8080"]])
        #expect(plain.tlsRoutes.isEmpty)
        #expect(model.servicePorts["demo/db:80"]?.tlsRoutes.isEmpty == true)
    }

    @Test(
        "the same at an Istio Gateway: TLS passed on, TLS that ends before a tcp route, plain TCP, and a redirect to HTTPS"
    )
    func istio() throws {
        let cluster = try cluster(
            """
            apiVersion: networking.istio.io/v1
            kind: Gateway
            metadata: {name: door, namespace: demo}
            spec:
              selector: {istio: ingressgateway}
              servers:
              - {port: {number: 8443, name: passed, protocol: TLS}, hosts: ["*.passed.test"], tls: {mode: PASSTHROUGH}}
              - {port: {number: 8443, name: opened, protocol: TLS}, hosts: [db.opened.test], tls: {mode: SIMPLE, credentialName: edge}}
              - {port: {number: 9000, name: plain, protocol: TCP}, hosts: ["*"]}
              - {port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*"], tls: {httpsRedirect: true}}
            """,
            """
            apiVersion: networking.istio.io/v1
            kind: VirtualService
            metadata: {name: door, namespace: demo}
            spec:
              hosts: ["*"]
              gateways: [door]
              tls:
              - match: [{sniHosts: [a.passed.test, elsewhere.test]}]
                route: [{destination: {host: catalog}}]
              tcp:
              - match: [{port: 8443}]
                route: [{destination: {host: catalog-v1}}]
              - match: [{port: 9000}]
                route: [{destination: {host: catalog-v2}}]
            """)
        let model = compile(cluster.state)
        let secure = try #require(listener(model, 8443))
        #expect(secure.tlsRoutes.map(\.hosts) == [["a.passed.test"]])
        #expect(secure.tls.map(\.hosts) == [["db.opened.test"]])
        #expect(secure.tls.first?.backends.map(\.backend) == ["demo/catalog-v1:8080"])
        #expect(listener(model, 9000)?.backends.map(\.backend) == ["demo/catalog-v2:8080"])
        let redirect = try #require(listener(model, 8080)?.routes.first?.rules.first)
        #expect(redirect.actions.redirect?.scheme == "https" && redirect.actions.redirect?.status == 301)
        #expect(model.findings.filter { $0.object.key.name == "door" } == [])
    }

    @Test("what a connection cannot be asked is said, and takes none")
    func faults() throws {
        let cluster = try cluster(
            Self.database,
            """
            apiVersion: networking.istio.io/v1
            kind: VirtualService
            metadata: {name: db, namespace: demo}
            spec:
              hosts: [db]
              tls: [{match: [{sniHosts: ["a*b"]}], route: [{destination: {host: db}}]}, {route: [{destination: {host: db}}]}]
              tcp: [{match: [{sourceSubnet: 10.0.0.0/8}], route: [{destination: {host: gone}}]}, {match: [{port: 5432}], route: [{destination: {host: gone}}]}]
            """)
        let model = compile(cluster.state)
        let fields = Set(model.findings.filter { $0.object.key.name == "db" }.map(\.field))
        #expect(
            fields.isSuperset(of: [
                "spec.tls[0].match[0].sniHosts[0]", "spec.tls[1].match", "spec.tcp[0].match[0].sourceSubnet",
            ]), "\(fields)")
        #expect(fields.contains("spec.tcp[1].route[0].destination"))
        let port = try #require(model.servicePorts["demo/db:5432"])
        #expect(port.tlsRoutes.isEmpty && port.tcpRoutes.map { $0.backends.map(\.backend) } == [[""]])
    }
}
