import KubeClient
import KubeTypes
import Wire

/// What one proxy kept of one request.
struct RequestRecord: Sendable {
    struct Attempt: Sendable {
        var endpoint: String
        var workload: String
        var status: Int
        var flags: String
        var reason: String
        var milliseconds: Double
    }

    let json: JSON
    var pod: String
    var number: String
    var started: Int  // nanoseconds since 1970
    var time: String
    var side: String
    var source: String
    var destination: String
    var method: String
    var host: String
    var path: String
    var status: Int
    var flags: String
    var reason: String
    var cause: String
    var hasFailed: Bool
    var milliseconds: Double
    var requestID: String
    var attempts: [Attempt]
    var stages: [(name: String, milliseconds: Double)]

    init(_ json: JSON) {
        self.json = json
        let text = { (field: String) in json[field]?.string ?? "" }
        pod = "\(text("namespace"))/\(text("pod"))"
        number = text("number")
        started = json["startedNanoseconds"]?.int ?? 0
        time = String(text("time").drop { $0 != "T" }.dropFirst())
        side = text("side")
        source = Self.name(json["source"], version: false)
        destination = Self.name(json["destination"], version: true)
        method = text("method")
        host = text("host")
        path = text("path")
        status = json["status"]?.int ?? 0
        flags = text("flags")
        reason = text("reason")
        cause = text("cause")
        hasFailed = json["failed"]?.bool ?? false
        milliseconds = Double(json["durationMicroseconds"]?.int ?? 0) / 1000
        requestID = text("id")
        attempts = (json["tries"]?.array ?? []).map { attempt in
            Attempt(
                endpoint: attempt["endpoint"]?.string ?? "", workload: Self.name(attempt, version: true),
                status: attempt["status"]?.int ?? 0, flags: attempt["flags"]?.string ?? "",
                reason: attempt["reason"]?.string ?? "",
                milliseconds: Double(attempt["lastedMicroseconds"]?.int ?? 0) / 1000)
        }
        stages = (json["stages"]?.object ?? JSONObject()).map { ($0.key, Double($0.value.int ?? 0) / 1000) }
    }

    /// Where a record stands among all, so that one seen twice is known.
    var identity: String { "\(pod) \(number) \(started)" }

    private static func name(_ json: JSON?, version: Bool) -> String {
        guard let workload = json?["workload"]?.string else { return "?" }
        guard version, let version = json?["version"]?.string, !workload.hasSuffix(version) else { return workload }
        return "\(workload) (\(version))"
    }

    /// `GET catalog.demo:8080/products`
    var request: String { method.isEmpty ? "tcp" : "\(method) \(host)\(path)" }

    var outcome: String {
        var words = status == 0 ? "no answer" : String(status)
        if !flags.isEmpty { words += " \(flags)" }
        if !reason.isEmpty { words += " \(reason)" }
        return words
    }
}

extension APIConnection {
    func records(_ view: String, _ members: [(String, String)]) async throws(APIFailure) -> [RequestRecord] {
        let query = members.filter { !$0.1.isEmpty }
            .map { "\(percentEncoded($0.0))=\(percentEncoded($0.1))" }.joined(separator: "&")
        return try await json("GET", "/apis/weft.dev/v1/\(view)?\(query)")["items"]?.array?.map(RequestRecord.init)
            ?? []
    }
}
