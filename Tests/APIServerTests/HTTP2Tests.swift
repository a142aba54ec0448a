import APIServer
import KubeClient
import KubeTypes
import Testing

@Suite("HTTP/2")
struct HTTP2Tests {
    @Test("another implementation's client: streams, windows, large bodies, watches, and what is refused")
    func otherClient() async throws {
        try await withLiveServer { _, _, directory in
            let outcome = await runPython("http2_client.py", [directory + "/kubeconfig"])
            #expect(outcome.code == 0 && outcome.output.hasSuffix("ok\n"), "\(outcome.output)")
        }
    }

    @Test("a server that ends says goodbye, and ends watches politely")
    func shutdown() async throws {
        try await withLiveServer { server, api, _ in
            let events = try await api.watch(.configMaps, namespace: "default", .all, from: "0")
            let ended = Task {
                for try await _ in events {}
                return true
            }
            await server.stop()
            #expect(try await ended.value)
        }
    }
}

@Suite("Kubernetes' own Python client")
struct PythonClientTests {
    @Test("typed calls, watches, scales, conflicts, the dynamic client and server-side apply")
    func otherClient() async throws {
        try await withLiveServer { _, _, directory in
            let outcome = await runPython("python_client.py", [directory + "/kubeconfig"])
            #expect(outcome.code == 0 && outcome.output.hasSuffix("ok\n"), "\(outcome.output)")
        }
    }
}
