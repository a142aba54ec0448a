import KubeTypes
import MeshModel
import ProxyResources
import Testing

@Suite struct SecurityTests {
    static func policy(_ name: String, _ namespace: String, _ spec: String) -> String {
        """
        apiVersion: security.istio.io/v1
        kind: PeerAuthentication
        metadata: {name: \(name), namespace: \(namespace)}
        spec: \(spec)
        """
    }
    static let mesh = policy("default", "weft-system", "{mtls: {mode: STRICT}}")
    static let space = policy("default", "demo", "{mtls: {mode: DISABLE}}")
    static let own = policy(
        "catalog", "demo",
        #"{selector: {matchLabels: {app: catalog}}, mtls: {mode: PERMISSIVE}, portLevelMtls: {"8080": {mode: STRICT}, "9": {mode: UNSET}}}"#
    )

    @Test(
        "the nearest policy counts: workload, namespace, mesh",
        arguments: [
            ([String](), MutualTLS.permissive, [Int: MutualTLS](), true), ([mesh], .strict, [:], true),
            ([mesh, space], .disabled, [:], false), ([mesh, space, own], .permissive, [8080: .strict], true),
            ([policy("a", "istio-system", "{mtls: {mode: STRICT}}")], .strict, [:], true),
            ([mesh, policy("u", "demo", "{mtls: {mode: UNSET}}")], .strict, [:], true),
        ])
    func modes(policies: [String], mode: MutualTLS, ports: [Int: MutualTLS], tls: Bool) throws {
        var cluster = try Cluster.canary()
        for policy in policies { try cluster.apply(policy) }
        let model = compile(cluster.state)
        let workload = try #require(model.workloads[ObjectKey(namespace: "demo", name: "catalog-v1-x")])
        #expect(workload.mutualTLS == mode)
        #expect(workload.portMutualTLS == ports)
        #expect((model.backends["demo/catalog-v1:8080"]?.endpoints.first?.principal != nil) == tls)
    }

    @Test("the example closes the namespace and keeps the metrics port open")
    func example() throws {
        var cluster = try Cluster.canary()
        try cluster.apply(file: "policies/examples/strict-mtls/peer-authentication.yaml")
        let model = compile(cluster.state)
        #expect(model.findings == [])
        #expect(model.workloads[ObjectKey(namespace: "demo", name: "frontend-x")]?.mutualTLS == .strict)
        #expect(
            model.workloads[ObjectKey(namespace: "demo", name: "catalog-v2-x")]?.portMutualTLS == [9090: .permissive])
    }

    @Test("of two policies for one namespace the older is in force and the younger is told so")
    func twice() throws {
        var cluster = try Cluster.canary()
        try cluster.apply(Self.space)
        try cluster.apply(Self.policy("second", "demo", "{mtls: {mode: STRICT}}"))
        let model = compile(cluster.state)
        #expect(model.workloads[ObjectKey(namespace: "demo", name: "frontend-x")]?.mutualTLS == .disabled)
        #expect(model.findings.map(\.object.key.name) == ["second"])
    }

    @Test("a pod without a sidecar is spoken to in plain text and has no workload")
    func noSidecar() throws {
        var cluster = try Cluster.canary()
        cluster.pod(
            "plain", address: "10.244.1.40", labels: ["app": "plain"], sidecar: false, services: [("catalog", "http")])
        let model = compile(cluster.state)
        #expect(model.workloads[ObjectKey(namespace: "demo", name: "plain")] == nil)
        #expect(model.resources(for: ObjectKey(namespace: "demo", name: "plain")).isEmpty)
        #expect(model.backends["demo/catalog:8080"]?.endpoints.first { $0.address == "10.244.1.40" }?.principal == nil)
    }
}
