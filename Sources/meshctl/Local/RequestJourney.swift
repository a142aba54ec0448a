import Wire

/// What all proxies kept of one request, told in order: each hop, what it tried, and where it went wrong.
struct RequestJourney {
    let hops: [RequestRecord]

    /// By when each proxy saw the request; a client's proxy does so before the server's.
    init(_ records: [RequestRecord]) {
        hops = records.sorted { one, other in
            (one.started, one.side == "inbound" ? 1 : 0) < (other.started, other.side == "inbound" ? 1 : 0)
        }
    }

    var text: String {
        guard let first = hops.first else { return "" }
        var lines = ["request \(first.requestID)"]
        if let trace = first.json["trace"]?.string { lines.append("trace   \(trace)") }
        for (place, hop) in hops.enumerated() { lines += describe(hop, place + 1, since: first.started) }
        if let cause { lines += ["", "likely cause: \(cause)"] }
        return lines.joined(separator: "\n")
    }

    private func describe(_ hop: RequestRecord, _ number: Int, since start: Int) -> [String] {
        let offset = decimal(Double(hop.started - start) / 1_000_000, places: 1)
        let outcome = hop.hasFailed ? Terminal.red(hop.outcome) : Terminal.green(hop.outcome)
        var lines = [
            "",
            Terminal.bold("\(number). \(hop.pod)") + ", \(hop.side), at +\(offset) ms",
            "   \(hop.source) -> \(hop.destination): \(hop.request) -> \(outcome) in \(decimal(hop.milliseconds, places: 1)) ms",
        ]
        func say(_ label: String, _ field: String) {
            if let value = hop.json[field]?.string { lines.append("   \(label) \(value)") }
        }
        say("route", "rule")
        say("authorization", "authorization")
        say("policy", "policy")
        say("token of", "subject")
        say("limit", "limit")
        say("limit of", "limitName")
        say("counted by", "limitKey")
        say("security", "security")
        for (place, attempt) in hop.attempts.enumerated() {
            var words = attempt.status == 0 ? "no answer" : String(attempt.status)
            if !attempt.flags.isEmpty { words += " \(attempt.flags) \(attempt.reason)" }
            lines.append(
                "   attempt \(place + 1): \(attempt.endpoint) \(attempt.workload): \(words) after \(decimal(attempt.milliseconds, places: 1)) ms"
            )
        }
        let stages = hop.stages.map { "\(Self.stageWords[$0.name] ?? $0.name) \(decimal($0.milliseconds, places: 1))" }
        if !stages.isEmpty { lines.append("   " + Terminal.dim("ms: " + stages.joined(separator: ", "))) }
        return lines
    }

    private static let stageWords = [
        "headReceived": "head", "authorized": "authorized", "routed": "routed", "upstreamChosen": "endpoint chosen",
        "upstreamConnected": "connected", "requestSent": "sent", "responseHead": "answered", "end": "end",
    ]

    /// Where the record itself names who or what it was.
    private func exactCause(_ failed: RequestRecord) -> String? {
        switch failed.reason {
        case "rbac_denied":
            guard let policy = failed.json["policy"]?.string else {
                return "no ALLOW policy of \(failed.destination) matches the request"
            }
            return "AuthorizationPolicy \(policy) denies it"
        case "connect_failure" where failed.side == "inbound":
            guard let endpoint = failed.attempts.last?.endpoint else { return nil }
            return "the app of \(failed.pod) does not listen on \(endpoint)"
        case "no_endpoints":
            guard let service = failed.json["service"]?.string else { return nil }
            return "no pod of \(service) is ready, or its selector fits none"
        case "fault_abort":
            guard let rule = failed.json["rule"]?.string else { return nil }
            return "\(rule) fails requests on purpose"
        default: return nil
        }
    }

    /// The failure deepest in the journey is the first to have happened.
    private var cause: String? {
        guard let failed = hops.last(where: \.hasFailed) else { return nil }
        if failed.reason.isEmpty && failed.flags.isEmpty && failed.side == "inbound" {
            return "the app of \(failed.pod) answered \(failed.status) itself: look at its log"
        }
        if failed.reason.isEmpty && failed.flags.isEmpty {
            return "\(failed.destination) answered \(failed.status); no proxy made that answer"
        }
        let place = "at \(failed.pod), \(failed.side)"
        if let exact = exactCause(failed) { return "\(exact) (\(failed.outcome) \(place))" }
        return failed.cause.isEmpty ? "\(failed.outcome) \(place)" : "\(failed.cause) (\(failed.outcome) \(place))"
    }
}
