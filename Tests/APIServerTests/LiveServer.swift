import APIServer
import Glibc
import Kernel
import KubeClient
import Testing

/// A server on a loopback port, our own client for it, and its directory.
func withLiveServer(
    _ configure: (inout APIServerConfiguration) -> Void = { _ in },
    _ body: (APIServer, HTTPAPI, String) async throws -> Void
) async throws {
    let directory = try temporaryDirectory("weft-live")
    defer { removeTree(directory) }
    let (descriptor, port) = try loopbackListener()
    var configuration = APIServerConfiguration(stateDirectory: directory, listeners: [descriptor])
    configuration.publicPort = port
    configure(&configuration)
    let server = try await APIServer.start(configuration)
    let outcome: Result<Void, any Error>
    do {
        let api = try HTTPAPI(try KubeconfigFile.load(directory + "/kubeconfig"))
        outcome = .success(try await body(server, api, directory))
    } catch {
        outcome = .failure(error)
    }
    await server.stop()
    try outcome.get()
}

/// Runs a Python program of the tests with the interpreter `make deps` made; gives its exit code and what it said.
func runPython(_ script: String, _ arguments: [String]) async -> (code: Int, output: String) {
    let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    let words = [script] + arguments
    let command = ([root + "/.build/tools/bin/python", root + "/Tests/APIServerTests/Peers/" + script] + arguments)
        .map { "'\($0)'" }.joined(separator: " ")
    return await onThread {
        guard let pipe = popen(command + " 2>&1", "r") else { return (127, "\(words) does not start") }
        var output: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = fread(&chunk, 1, chunk.count, pipe)
            if count <= 0 { break }
            output += chunk[..<count]
        }
        let status = pclose(pipe)
        return (Int(status >> 8 & 0xFF), String(decoding: output, as: UTF8.self))
    }
}
