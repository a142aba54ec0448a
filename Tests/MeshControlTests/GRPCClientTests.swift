import Glibc
import KubeClient
import KubeTypes
import MeshControl
import Testing
import Wire

@Suite struct GRPCClientTests {
    static let interpreter = "\(MemoryAPI.root)/.build/tools/bin/python"

    @Test("grpc's own client gets the service ports, a change, and an orderly end")
    func otherClient() async throws {
        try #require(system("\(Self.interpreter) -c 'import grpc'") == 0, "grpcio is missing: 'make deps' installs it")
        let mesh = try await RunningMesh()
        let output = "\(mesh.directory)/out"
        let script = "\(MemoryAPI.root)/Tests/MeshControlTests/ads_client.py"
        let command = "\(Self.interpreter) \(script) \(mesh.socket) 2 >\(output) 2>&1 &"
        #expect(system(command) == 0)
        func lines() -> [JSON] {
            let text = read(output)
            return text.split(separator: "\n").compactMap { try? JSON(parsing: String($0)) }
        }
        try await eventually("the first response") { lines().count >= 1 || read(output).contains("Error") }
        try #require(lines().count == 1, "\(read(output))")
        #expect(lines()[0]["names"]?.array?.count == 4)
        try await eventually("its consent") { mesh.control.proxyStatuses().first?.isCurrent == true }
        try mesh.api.apply(file: "policies/examples/canary/route.yaml")
        try await eventually("the change and the end") { lines().count == 3 }
        #expect(lines()[1]["names"] == ["demo/catalog:8080"])
        #expect(lines()[2] == ["status": "OK"])
        await mesh.end()
    }

    private func read(_ path: String) -> String {
        guard let file = fopen(path, "r") else { return "" }
        defer { fclose(file) }
        var space = [UInt8](repeating: 0, count: 65536)
        let count = fread(&space, 1, space.count, file)
        return String(decoding: space.prefix(count), as: UTF8.self)
    }
}
