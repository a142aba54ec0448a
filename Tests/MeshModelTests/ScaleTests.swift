import KubeTypes
import MeshModel
import ProxyResources
import Testing
import Wire

@Suite struct ScaleTests {
    /// Services with two pods and ten one-rule routes each, over ten namespaces.
    static func cluster(services: Int) throws -> Cluster {
        var cluster = Cluster()
        let route = try #require(
            Cluster.objects(
                """
                apiVersion: gateway.networking.k8s.io/v1
                kind: HTTPRoute
                metadata: {name: r}
                spec:
                  parentRefs: [{group: "", kind: Service, name: s}]
                  rules: [{matches: [{path: {type: PathPrefix, value: /p}}], backendRefs: [{name: s, port: 80}]}]
                """
            ).first)
        for index in 0..<services {
            let namespace = "n\(index % 10)"
            let name = "s\(index)"
            var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: namespace, name: name)
            service.spec = [
                "clusterIP": .string("10.96.\(index / 250).\(index % 250)"), "selector": ["app": .string(name)],
                "ports": [["name": "http", "port": 80, "targetPort": 8080]],
            ]
            cluster.add(service)
            for pod in 0..<2 {
                cluster.pod(
                    "\(name)-\(pod)", in: namespace, address: "10.\(100 + pod).\(index / 250).\(index % 250)",
                    labels: ["app": name], services: [(name, "http")])
            }
            for number in 0..<10 {
                var copy = route
                copy.name = "\(name)-\(number)"
                copy.namespace = namespace
                copy.json[path: ["metadata", "creationTimestamp"]] = "2026-01-01T00:00:00Z"
                copy.spec["parentRefs"] = [["group": "", "kind": "Service", "name": .string(name)]]
                copy.spec["rules"] = [
                    [
                        "matches": [["path": ["type": "PathPrefix", "value": .string("/p\(number)")]]],
                        "backendRefs": [["name": .string(name), "port": 80]],
                    ]
                ]
                cluster.add(copy)
            }
        }
        return cluster
    }

    @Test("the work to compile grows with the policies, not with their square")
    func growth() throws {
        func cost(_ services: Int) throws -> Duration {
            let state = try Self.cluster(services: services).state
            var best = Duration.seconds(1000)
            for _ in 0..<3 {
                best = min(best, ContinuousClock().measure { #expect(compile(state).servicePorts.count == services) })
            }
            return best
        }
        let (small, large) = (try cost(50), try cost(400))
        #expect(large < small * 40, "eight times the policies, not sixty-four times the work")
    }
}
