import Glibc
import MeshControl
import Proxy
import ProxyResources
import Testing

/// The data plane's own client against mesh control.
@Suite struct MeshProxyTests {
    @Test("meshproxy becomes ready from the mesh socket, follows a new route and consents to every generation")
    func followsControlPlane() async throws {
        let mesh = try await RunningMesh()
        var options = ProgramOptions(role: .gateway)
        options.concurrency = 1
        options.meshSocket = mesh.socket
        options.stateDirectory = ""
        options.healthPort = 0
        options.metricsPort = 0
        options.adminPort = 0
        let program = try Program(options)
        try await eventually("readiness") { program.state.isReady }
        let configuration = try #require(program.state.configuration)
        #expect(configuration.workload.principal == "spiffe://cluster.local/ns/demo/sa/frontend")
        #expect(configuration.servicePorts.count == 4)
        try await eventually("consent to the first generation") {
            mesh.control.proxyStatuses().first?.isCurrent == true
        }

        try mesh.api.apply(file: "policies/examples/canary/route.yaml")
        try await eventually("the weights of the route") {
            let rules = program.state.configuration?.servicePorts["demo/catalog:8080"]?.routes ?? []
            return rules.first?.backends.map(\.weight) == [90, 10]
        }
        try await eventually("consent to the route") { mesh.control.proxyStatuses().first?.isCurrent == true }
        program.state.beginDraining()
        program.state.plane.stop()
        await mesh.end()
    }
}
