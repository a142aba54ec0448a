import ContainerRuntime
import KubeClient
import KubeTypes
import Testing

@testable import NodeAgent

@Suite struct UsageMeterTests {
    @Test("the first to ask waits for a window; later ones get the mean since the sample before")
    func windows() async throws {
        let runtime = MemoryRuntime()
        _ = try await runtime.runSandbox(
            SandboxSpec(
                podUID: "u1", namespace: "demo", name: "web", hostname: "web", networkNamespace: "", cgroup: "pods/u1"))
        let meter = UsageMeter(runtime) { .now() }
        let first = try await meter.usage()
        #expect(first.window >= .seconds(1))
        let pod = try #require(first.pods.first)
        #expect(pod.key == ObjectKey(namespace: "demo", name: "web"))
        #expect(pod.whole.workingSetBytes == 8 << 20)
        // A tenth of a second of processor time within the window.
        let expected = 0.1 / (first.window / .seconds(1))
        #expect(abs(Double(pod.whole.nanocores) / 1e9 - expected) < 0.001)
        let second = try await meter.usage()
        #expect(second.window >= .seconds(1))
        #expect(second.pods.count == 1)
    }
}
