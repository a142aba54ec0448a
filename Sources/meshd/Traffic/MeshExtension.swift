import APIServer
import KubeTypes
import MeshControl
import Wire

/// `/apis/weft.dev/v1/…`: what `meshctl` asks about traffic and proxies.
struct MeshExtension: APIExtension {
    let queries: TrafficQueries
    let requests: RequestQueries
    let mesh: MeshControl
    let prefix = "/apis/weft.dev/v1/"

    func answer(
        method: String, path: String, query: [(String, String)], body: [UInt8]
    ) async throws(APIFailure) -> JSON {
        guard method == "GET" else {
            throw APIFailure(code: 405, reason: "MethodNotAllowed", message: "\(path) can only be read")
        }
        let value = { (name: String) in query.first { $0.0 == name }?.1 ?? "" }
        switch path.dropFirst(prefix.count) {
        case "edges": return try await queries.edges(namespace: value("namespace"), window: try window(value("window")))
        case "stat":
            return try await queries.workloads(namespace: value("namespace"), window: try window(value("window")))
        case "tap": return try await requests.tap(query)
        case "requests": return try await requests.requests(query)
        case "explain": return try await requests.explain(query)
        case "proxies": return ["items": .array(mesh.proxyStatuses().map(\.json))]
        default:
            throw APIFailure(
                code: 404, reason: "NotFound",
                message: "\(path) is not known; there are edges, stat, proxies, tap, requests and explain")
        }
    }

    private func window(_ text: String) throws(APIFailure) -> Duration {
        if text.isEmpty { return .zero }
        guard let seconds = Double(text), (0...60).contains(seconds) else {
            throw .badRequest("window \"\(text)\" must be a number of seconds from 0 to 60")
        }
        return .milliseconds(Int64(seconds * 1000))
    }
}
