import ProxyResources
import Testing

@testable import Proxy

@Suite struct BackendMetricsTests {
    @Test("metrics tell of each backend in use, its connections, requests and endpoints, and of ejections")
    func backends() throws {
        let seen = try SeenGateway(loops: 2) { configuration in
            configuration.backends["broken"] = backend("broken", [endpoint(freePort()), endpoint(freePort())])
            configuration.backends["broken"]?.outlier = OutlierPolicy(
                consecutiveErrors: 2, ejectionMilliseconds: 300_000, mostEjectedPercent: 100)
            configuration.backends["quiet"] = backend("quiet", [endpoint(freePort())])
            configuration.workload.gatewayListeners[0].routes[0].rules.insert(
                rule([("broken", 1)]) { $0.matches = [RouteMatch(path: .prefix("/broken"))] }, at: 0)
        }
        let visitor = Visitor(port: seen.gateway.port)
        #expect(visitor.get("/name")?.status == 200)
        for _ in 0..<3 { #expect(visitor.get("/broken")?.status == 503) }
        let page = seen.admin("/stats/prometheus")
        func value(_ name: String, _ label: String) -> String? {
            page.split(separator: "\n").first { $0.hasPrefix("\(name){\(label)} ") }?.split(separator: " ").last
                .map(String.init)
        }
        #expect(value("weft_backend_connections", "backend=\"origin\"") == "1")
        #expect(value("weft_backend_connections_idle", "backend=\"origin\"") == "1")
        #expect(value("weft_backend_requests_active", "backend=\"origin\"") == "0")
        #expect(value("weft_backend_endpoints", "backend=\"origin\"") == "1")
        let ejected = value("weft_backend_endpoints_ejected", "backend=\"broken\"").flatMap { Int($0) } ?? 0
        #expect(ejected == 1 || ejected == 2)
        #expect(value("weft_backend_endpoints_unhealthy", "backend=\"broken\"") == "0")
        #expect(value("weft_outlier_ejections_total", "cause=\"consecutive_5xx\"") == "\(ejected)")
        #expect(!page.contains("\"quiet\""))
        visitor.end()
        seen.end()
    }

    @Test("thousands of backends are looked through in parts, and none is missed")
    func many() throws {
        let seen = try SeenGateway { configuration in
            for number in 0..<3000 {
                let name = "b\(number)"
                configuration.backends[name] = backend(name, [endpoint(20_000 + number)])
            }
        }
        let visitor = Visitor(port: seen.gateway.port)
        #expect(visitor.get("/name")?.status == 200)
        let pools = PoolCount.merge(seen.gateway.plane.pools())
        #expect(pools.map(\.backend) == ["origin"] && pools.first?.connections == 1)
        visitor.end()
        seen.end()
    }
}
