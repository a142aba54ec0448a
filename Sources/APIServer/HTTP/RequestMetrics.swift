import Synchronization

/// Requests counted and timed, in the names Kubernetes' dashboards know.
final class RequestMetrics: Sendable {
    private struct Series: Hashable {
        let verb: String
        let resource: String
        let code: Int
    }
    private struct Timing {
        var counts: [Int]
        var sum = 0.0
        var total = 0
    }
    private struct State {
        var requests: [Series: Int] = [:]
        var timings: [String: Timing] = [:]
    }

    /// Upper bounds in seconds.
    private static let bounds = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
    private let state = Mutex(State())

    /// `isLong`: for watches and streams, whose length says nothing of the server.
    func count(verb: String, resource: String, status: Int, took: Duration, isLong: Bool) {
        let (seconds, attoseconds) = took.components
        let time = Double(seconds) + Double(attoseconds) / 1e18
        state.withLock { state in
            state.requests[Series(verb: verb.uppercased(), resource: resource, code: status), default: 0] += 1
            if isLong { return }
            var timing =
                state.timings[verb.uppercased()] ?? Timing(counts: Array(repeating: 0, count: Self.bounds.count))
            for (index, bound) in Self.bounds.enumerated() where time <= bound { timing.counts[index] += 1 }
            timing.sum += time
            timing.total += 1
            state.timings[verb.uppercased()] = timing
        }
    }

    /// The text exposition format.
    func text(revision: Int64, objects: Int) -> String {
        let state = state.withLock { $0 }
        var lines = [
            "# HELP apiserver_request_total Requests answered, by verb, resource and status code.",
            "# TYPE apiserver_request_total counter",
        ]
        let ordered = state.requests.sorted {
            ($0.key.verb, $0.key.resource, $0.key.code) < ($1.key.verb, $1.key.resource, $1.key.code)
        }
        for (series, count) in ordered {
            lines.append(
                "apiserver_request_total{verb=\"\(series.verb)\",resource=\"\(series.resource)\",code=\"\(series.code)\"} \(count)"
            )
        }
        lines.append("# HELP apiserver_request_duration_seconds Time to answer, without watches and streams.")
        lines.append("# TYPE apiserver_request_duration_seconds histogram")
        for (verb, timing) in state.timings.sorted(by: { $0.key < $1.key }) {
            let name = "apiserver_request_duration_seconds"
            for (index, bound) in Self.bounds.enumerated() {
                lines.append("\(name)_bucket{verb=\"\(verb)\",le=\"\(bound)\"} \(timing.counts[index])")
            }
            lines.append("\(name)_bucket{verb=\"\(verb)\",le=\"+Inf\"} \(timing.total)")
            lines.append("\(name)_sum{verb=\"\(verb)\"} \(timing.sum)")
            lines.append("\(name)_count{verb=\"\(verb)\"} \(timing.total)")
        }
        lines.append("# HELP weft_store_revision The store's latest revision.")
        lines.append("# TYPE weft_store_revision counter")
        lines.append("weft_store_revision \(revision)")
        lines.append("# HELP apiserver_storage_objects Objects in the store.")
        lines.append("# TYPE apiserver_storage_objects gauge")
        lines.append("apiserver_storage_objects \(objects)")
        return lines.joined(separator: "\n") + "\n"
    }
}
