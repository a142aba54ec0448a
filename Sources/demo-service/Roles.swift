import Wire

/// What is answered.
struct Answer {
    var status = 200
    var reason = "OK"
    var headers: [(name: String, value: String)] = []
    var body: JSON
}

/// The service's own behaviour, by its role.
struct Roles: Sendable {
    private static let interesting = [
        "host", "user-agent", "x-forwarded-client-cert", "x-forwarded-for", "x-request-id", "traceparent", "tracestate",
        "b3", "x-weft-peer",
    ]
    private static let items: JSON = [
        ["id": 1, "name": "shuttle", "price": 12.5], ["id": 2, "name": "heddle", "price": 7.25],
        ["id": 3, "name": "reed", "price": 31.0],
    ]

    private let options: Options
    private let upstream: Upstream

    init(_ options: Options) {
        self.options = options
        upstream = Upstream(options.upstream)
    }

    func answer(_ request: HTTPMessage) -> Answer {
        switch options.role {
        case .catalog: catalog(request)
        case .frontend: frontend(request)
        case .echo: echo(request)
        }
    }

    private var identity: JSON {
        ["service": .string(options.role.rawValue), "version": .string(options.version), "pod": .string(options.pod)]
    }

    private func catalog(_ request: HTTPMessage) -> Answer {
        guard request.method == "GET" || request.method == "HEAD" else {
            return refusal(405, "Method Not Allowed", request)
        }
        var body = identity
        body["path"] = .string(request.path)
        body["items"] = Self.items
        body["headers"] = headers(of: request) { Self.interesting.contains($0) || $0.hasPrefix("x-b3-") }
        return Answer(headers: [("x-version", options.version), ("x-pod", options.pod)], body: body)
    }

    private func frontend(_ request: HTTPMessage) -> Answer {
        guard request.method == "GET" || request.method == "HEAD" else {
            return refusal(405, "Method Not Allowed", request)
        }
        let carried = request.headers.filter { header in
            ["traceparent", "tracestate", "x-request-id", "b3"].contains(header.name) || header.name.hasPrefix("x-b3-")
        }
        var body = identity
        do throws(Upstream.Failed) {
            let answer = try upstream.get(carried.map { "\($0.name): \($0.value)" })
            let text = String(decoding: answer.body.prefix(1 << 20), as: UTF8.self)
            guard (200..<300).contains(answer.status) else {
                return failure("catalog answered \(answer.status): \(text.prefix(300))", body)
            }
            guard let catalog = try? JSON(parsing: answer.body) else {
                return failure("catalog's answer is not JSON: \(text.prefix(300))", body)
            }
            body["catalog"] = catalog
            let version = catalog["version"]?.string ?? ""
            return Answer(
                headers: [("x-catalog-version", version), ("x-catalog-pod", catalog["pod"]?.string ?? "")], body: body)
        } catch {
            return failure(error.cause, body)
        }
    }

    private func echo(_ request: HTTPMessage) -> Answer {
        var body = identity
        body["method"] = .string(request.method)
        body["target"] = .string(request.target)
        body["headers"] = headers(of: request) { _ in true }
        body["body"] = .string(String(decoding: request.body, as: UTF8.self))
        return Answer(body: body)
    }

    private func failure(_ cause: String, _ identity: JSON) -> Answer {
        var body = identity
        body["error"] = "the upstream failed"
        body["cause"] = .string(cause)
        return Answer(status: 502, reason: "Bad Gateway", body: body)
    }

    private func refusal(_ status: Int, _ reason: String, _ request: HTTPMessage) -> Answer {
        var body = identity
        body["error"] = .string("\(request.method) is not answered here")
        return Answer(status: status, reason: reason, headers: [("Allow", "GET, HEAD")], body: body)
    }

    private func headers(of request: HTTPMessage, where isShown: (String) -> Bool) -> JSON {
        var shown = JSONObject()
        for header in request.headers where isShown(header.name) {
            let before = shown[header.name]?.string.map { $0 + ", " } ?? ""
            shown[header.name] = .string(before + header.value)
        }
        return .object(shown)
    }
}
