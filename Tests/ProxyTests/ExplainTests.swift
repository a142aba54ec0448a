import ProxyResources
import Testing
import Wire

@testable import Proxy

@Suite struct ExplainTests {
    private func page(_ target: String, _ configuration: ProxyConfiguration) throws -> JSON {
        let answer = ExplainPage(configuration: configuration).page(AdminRequest(target: target))
        return try JSON(parsing: answer.body)
    }

    private var configuration: ProxyConfiguration {
        let rules = [
            rule([("admin", 1)]) {
                $0.name = "admin"
                $0.matches = [
                    RouteMatch(
                        path: .prefix("/admin"), method: "POST",
                        headers: [HeaderMatch(name: "x-role", kind: .exact, value: "boss")])
                ]
            },
            rule([("canary", 10), ("stable", 90)]) {
                $0.name = "split"
                $0.matches = [RouteMatch(path: .prefix("/"))]
            },
        ]
        let port = ServicePort(
            namespace: "demo", service: "catalog", port: 8080, addresses: ["10.96.0.7"],
            hosts: ["catalog.demo.svc.cluster.local"], routes: rules, defaultBackend: "stable")
        let backends = [backend("stable", [endpoint(1), endpoint(2)]), backend("canary", [endpoint(3)])]
        return ProxyConfiguration(
            workload: workload("frontend"), servicePorts: [port.resourceName: port],
            backends: Dictionary(backends.map { ($0.name, $0) }) { $1 })
    }

    @Test("which rule takes a request, and why the others do not")
    func routes() throws {
        let found = try page("/explain?host=catalog:8080&path=/admin/x&header=x-role:clerk", configuration)
        #expect(found["destination"]?.string == "demo/catalog:8080" && found["rule"]?.string == "split")
        let rules = found["rules"]?.array ?? []
        #expect(rules.first?["why"]?.string == "the method must be POST; header x-role must be boss")
        #expect(found["backends"]?.array?.map { $0["endpoints"]?.array?.count } == [1, 2])
        let boss = try page(
            "/explain?host=catalog.demo.svc.cluster.local:8080&path=/admin/x&method=POST&header=x-role%3A+boss",
            configuration)
        #expect(boss["rule"]?.string == "admin")
        #expect(boss["rules"]?.array?.last?["why"]?.string == "a rule before it takes the request")
    }

    @Test("a host nobody knows is told; so is a port the service does not have")
    func unknown() throws {
        #expect(try page("/explain?host=other:8080&path=/", configuration)["outcome"]?.string == "no_route")
        #expect(try page("/explain?host=catalog:9999&path=/", configuration)["outcome"]?.string == "no_route")
        #expect(try page("/explain?host=catalog.demo&path=/", configuration)["rule"]?.string == "split")
    }

    @Test("what is explained is what the loops do")
    func agrees() throws {
        let seen = try SeenGateway {
            $0.workload.gatewayListeners[0].routes = [
                VirtualHost(
                    hosts: ["a.example"],
                    rules: [
                        rule([("origin", 1)]) {
                            $0.name = "only /name"
                            $0.matches = [RouteMatch(path: .prefix("/name"))]
                        }
                    ])
            ]
        }
        let visitor = Visitor(port: seen.gateway.port)
        for (path, status, outcome) in [("/name/x", 200, "routed"), ("/other", 404, "no_route")] {
            #expect(visitor.send("GET \(path) HTTP/1.1\r\nhost: a.example\r\n\r\n"))
            #expect(visitor.response()?.status == status)
            let said = try JSON(parsing: seen.admin("/explain?host=a.example&path=\(path)"))
            #expect(said["outcome"]?.string == outcome, "\(said.text)")
        }
        #expect(seen.admin("/explain?host=b.example&path=/").contains("no listener has routes"))
        #expect(seen.admin("/explain?side=up").contains("must be inbound"))
        visitor.end()
        seen.end()
    }

    @Test("what authorization would say of a caller")
    func authorization() throws {
        var configuration = configuration
        configuration.workload.security.policies = [
            AuthorizationPolicy(
                name: "demo/only-frontend", action: .allow,
                rules: [
                    AuthorizationRule(
                        sources: [[AccessTest(.principal, ["cluster.local/ns/demo/sa/frontend"])]], operations: [])
                ])
        ]
        let way = "/explain?side=inbound&port=8080&path=/&principal="
        let allowed = try page(way + "spiffe://cluster.local/ns/demo/sa/frontend", configuration)
        #expect(
            allowed["outcome"]?.string == "allowed" && allowed["policy"]?.string == "demo/only-frontend",
            "\(allowed.text)")
        let denied = try page(way + "spiffe://cluster.local/ns/demo/sa/other", configuration)
        #expect(denied["outcome"]?.string == "rbac_denied" && denied["policies"]?.array?.count == 1)
        configuration.workload.mutualTLS = .strict
        #expect(try page(way, configuration)["outcome"]?.string == "mutual_tls_required")
    }
}
