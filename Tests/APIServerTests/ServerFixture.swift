import APIServer
import Glibc
import KubeClient
import KubeTypes
import Testing
import Wire

/// A server with a state directory of its own, gone after the test.
func withServer<Value>(
    _ configure: (inout APIServerConfiguration) -> Void = { _ in },
    _ body: (APIServer, InProcessAPI) async throws -> Value
) async throws -> Value {
    let directory = try temporaryDirectory("weft-api")
    defer { removeTree(directory) }
    var configuration = APIServerConfiguration(stateDirectory: directory, listeners: [])
    configure(&configuration)
    let server = try await APIServer.start(configuration)
    let outcome: Result<Value, any Error>
    do { outcome = .success(try await body(server, server.api(as: .administrator))) } catch {
        outcome = .failure(error)
    }
    await server.stop()
    return try outcome.get()
}

func temporaryDirectory(_ name: String) throws -> String {
    var template = Array("/tmp/\(name)-XXXXXX".utf8CString)
    try #require(mkdtemp(&template) != nil)
    return String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
}

func removeTree(_ path: String) {
    if let directory = opendir(path) {
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { removeTree("\(path)/\(name)") }
        }
        closedir(directory)
        rmdir(path)
    } else {
        unlink(path)
    }
}

func isMissing(_ api: InProcessAPI, _ type: ResourceType, _ key: ObjectKey) async -> Bool {
    await failure { () throws(APIFailure) in _ = try await api.get(type, key) }?.isNotFound == true
}

func configMap(_ name: String, namespace: String = "default", _ data: [String: String] = [:]) -> KubeObject {
    var map = KubeObject(apiVersion: "v1", kind: "ConfigMap", namespace: namespace, name: name)
    if !data.isEmpty { map.json["data"] = JSON(data) }
    return map
}

func pod(_ name: String, namespace: String = "default", node: String? = nil) -> KubeObject {
    var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: namespace, name: name)
    pod.json["spec"] = ["containers": [["name": "app", "image": "example.test/app:1"]]]
    if let node { pod.json[path: ["spec", "nodeName"]] = .string(node) }
    return pod
}

/// The failure an operation ends with.
func failure(_ body: () async throws(APIFailure) -> Void) async -> APIFailure? {
    do throws(APIFailure) { try await body() } catch { return error }
    return nil
}
