import KubeClient
import KubeTypes
import Wire

/// What the mesh tells of its traffic and its proxies: `GET /apis/weft.dev/v1/…` of the API server, as typed values.
struct TrafficEdge: Sendable {
    var namespace: String  // of the destination
    var source: String
    var destination: String
    var service: String
    var sourcePrincipal: String
    var destinationPrincipal: String
    var isMutualTLS: Bool
    var requests: Int
    var failures: Int
    var perSecond: Double
    var p50: Double  // milliseconds
    var p95: Double
    var p99: Double

    init(_ json: JSON) {
        namespace = json["destinationNamespace"]?.string ?? ""
        source = json["source"]?.string ?? ""
        destination = json["destination"]?.string ?? ""
        service = json["service"]?.string ?? ""
        sourcePrincipal = json["sourcePrincipal"]?.string ?? ""
        destinationPrincipal = json["destinationPrincipal"]?.string ?? ""
        isMutualTLS = json["mutualTLS"]?.bool ?? false
        requests = json["requests"]?.int ?? 0
        failures = json["failures"]?.int ?? 0
        perSecond = json["perSecond"]?.double ?? 0
        p50 = json["p50"]?.double ?? 0
        p95 = json["p95"]?.double ?? 0
        p99 = json["p99"]?.double ?? 0
    }

    var successRate: Double { requests == 0 ? 0 : Double(requests - failures) * 100 / Double(requests) }
}

extension APIConnection {
    /// - Parameter window: how long the rate is measured, in seconds; 0 gives totals only.
    func traffic(by view: String, namespace: String, window: Double = 0) async throws(APIFailure) -> JSON {
        try await json("GET", "/apis/weft.dev/v1/\(view)?namespace=\(percentEncoded(namespace))&window=\(window)")
    }

    func edges(namespace: String, window: Double = 0) async throws(APIFailure) -> [TrafficEdge] {
        try await traffic(by: "edges", namespace: namespace, window: window)["items"]?.array?.map(TrafficEdge.init)
            ?? []
    }

    func workloadTraffic(namespace: String, window: Double) async throws(APIFailure) -> [TrafficEdge] {
        try await traffic(by: "stat", namespace: namespace, window: window)["items"]?.array?.map(TrafficEdge.init) ?? []
    }

    func proxies() async throws(APIFailure) -> JSON { try await json("GET", "/apis/weft.dev/v1/proxies") }
}
