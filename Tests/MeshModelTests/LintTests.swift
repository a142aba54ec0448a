import KubeTypes
import MeshModel
import ProxyResources
import Testing

@Suite struct LintTests {
    @Test("a policy not stored yet is younger than those that are")
    func younger() throws {
        var cluster = try Cluster.canary()
        try cluster.apply(IstioTests.rule)
        try cluster.apply(IstioTests.policy("[{\(IstioTests.toV1)}]", name: "first"))
        let second = try #require(Cluster.objects(IstioTests.policy("[{\(IstioTests.toV2)}]", name: "second")).first)
        let said = lint(.virtualServices, second, in: cluster.state)
        #expect(said.map(\.code) == [.conflict])
        #expect(said.first?.message == "VirtualService demo/first is older and in force for Service demo/catalog")
        #expect(compile(cluster.state).findings == [], "nothing was stored")
    }

    @Test("kinds that cannot be carried out are refused, others without effect are said to have none")
    func otherKinds() throws {
        func severity(_ group: String, _ kind: String) -> PolicyFinding.Severity? {
            let type = ResourceType(group: group, version: "v1", resource: kind.lowercased() + "s", kind: kind)
            let object = KubeObject(apiVersion: type.apiVersion, kind: kind, namespace: "demo", name: "x")
            return lint(type, object, in: MeshState()).first?.severity
        }
        #expect(severity("networking.istio.io", "EnvoyFilter") == .error)
        #expect(severity("networking.istio.io", "ServiceEntry") == .warning)
        #expect(severity("gateway.networking.k8s.io", "ListenerSet") == .warning)
        #expect(severity("gateway.networking.k8s.io", "HTTPRoute") == nil)
        #expect(severity("apps", "Deployment") == nil)
    }
}
