import Glibc
import Synchronization

/// Requests counted and timed, in the names Kubernetes' dashboards know.
final class RequestMetrics: Sendable {
    struct Series: Hashable, Sendable {
        /// As the access rules call it.
        var verb = "unknown"
        var group = ""
        var version = ""
        var resource = ""
        var subresource = ""
        var scope = ""
        var isDryRun = false
        var code = 0
    }
    private struct Timing {
        /// By the first bound that holds; the last is for those above all.
        var counts = [Int](repeating: 0, count: RequestMetrics.bounds.count + 1)
        var sum = 0.0

        mutating func add(_ time: Double, at bound: Int) {
            counts[bound] += 1
            sum += time
        }
    }
    private struct State {
        var requests: [Series: Int] = [:]
        /// Without code and dry run.
        var timings: [Series: Timing] = [:]
    }

    /// Upper bounds in seconds: those of Kubernetes, and two below them.
    private static let bounds = [
        0.001, 0.002, 0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2, 3, 5, 10, 20, 30, 60,
    ]
    private let state = Mutex(State())

    /// `isLong`: for watches and streams, whose length says nothing of the server.
    func count(_ series: Series, took: Duration, isLong: Bool) {
        let (seconds, attoseconds) = took.components
        let time = Double(seconds) + Double(attoseconds) / 1e18
        state.withLock { state in
            state.requests[series, default: 0] += 1
            if isLong { return }
            var timed = series
            timed.code = 0
            timed.isDryRun = false
            let bound = Self.bounds.firstIndex { time <= $0 } ?? Self.bounds.count
            state.timings[timed, default: Timing()].add(time, at: bound)
        }
    }

    /// The methods' names, as Kubernetes counts.
    private static func shown(_ verb: String) -> String {
        switch verb {
        case "create": "POST"
        case "update": "PUT"
        default: verb.uppercased()
        }
    }

    private static func labels(_ series: Series) -> String {
        "verb=\"\(shown(series.verb))\",group=\"\(series.group)\",version=\"\(series.version)\","
            + "resource=\"\(series.resource)\",subresource=\"\(series.subresource)\",scope=\"\(series.scope)\","
            + "component=\"apiserver\""
    }

    /// The text exposition format. `byResource`: stored objects.
    func text(
        revision: Int64, objects: Int, byResource: [(resource: String, count: Int)] = [],
        inFlight: RequestsInFlight.Counts = .init()
    ) -> String {
        let state = state.withLock { $0 }
        var lines: [String] = []
        func head(_ name: String, _ kind: String, _ help: String) {
            lines.append("# HELP \(name) \(help)")
            lines.append("# TYPE \(name) \(kind)")
        }
        head("apiserver_request_total", "counter", "Requests answered, by verb, resource and status code.")
        for (series, count) in state.requests.sorted(by: { Self.order($0.key) < Self.order($1.key) }) {
            let dryRun = series.isDryRun ? "All" : ""
            lines.append(
                "apiserver_request_total{\(Self.labels(series)),code=\"\(series.code)\",dry_run=\"\(dryRun)\"} \(count)"
            )
        }
        let name = "apiserver_request_duration_seconds"
        head(name, "histogram", "Time to answer, without watches and streams.")
        for (series, timing) in state.timings.sorted(by: { Self.order($0.key) < Self.order($1.key) }) {
            let labels = Self.labels(series)
            var sum = 0
            for (index, bound) in Self.bounds.enumerated() {
                sum += timing.counts[index]
                lines.append("\(name)_bucket{\(labels),le=\"\(bound)\"} \(sum)")
            }
            sum += timing.counts[Self.bounds.count]
            lines.append("\(name)_bucket{\(labels),le=\"+Inf\"} \(sum)")
            lines.append("\(name)_sum{\(labels)} \(timing.sum)")
            lines.append("\(name)_count{\(labels)} \(sum)")
        }
        head("apiserver_current_inflight_requests", "gauge", "Requests in work, without watches and streams.")
        lines.append("apiserver_current_inflight_requests{request_kind=\"mutating\"} \(inFlight.mutating)")
        lines.append("apiserver_current_inflight_requests{request_kind=\"readOnly\"} \(inFlight.reading)")
        head("apiserver_longrunning_requests", "gauge", "Watches and streams that are open.")
        lines.append("apiserver_longrunning_requests \(inFlight.long)")
        head("weft_store_revision", "counter", "The store's latest revision.")
        lines.append("weft_store_revision \(revision)")
        head("apiserver_storage_objects", "gauge", "Stored objects, by resource.")
        for entry in byResource {
            lines.append("apiserver_storage_objects{resource=\"\(entry.resource)\"} \(entry.count)")
        }
        head("weft_store_objects", "gauge", "Objects in the store.")
        lines.append("weft_store_objects \(objects)")
        lines += Self.process()
        return lines.joined(separator: "\n") + "\n"
    }

    private static func order(_ series: Series) -> String {
        "\(series.group) \(series.version) \(series.resource) \(series.subresource) \(series.verb) \(series.scope) \(series.code)"
    }

    /// What every Prometheus client tells of its process.
    private static func process() -> [String] {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        let seconds = Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
        let parts = Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
        return [
            "# HELP process_cpu_seconds_total User and system time used, in seconds.",
            "# TYPE process_cpu_seconds_total counter", "process_cpu_seconds_total \(seconds + parts)",
            "# HELP process_resident_memory_bytes Resident memory, in bytes.",
            "# TYPE process_resident_memory_bytes gauge", "process_resident_memory_bytes \(residentBytes())",
        ]
    }

    private static func residentBytes() -> Int {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var text = [CChar](repeating: 0, count: 128)
        guard fgets(&text, 128, file) != nil else { return 0 }
        let words = String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
            .split(separator: " ")
        return words.count > 1 ? (Int(words[1]) ?? 0) * Int(sysconf(CInt(_SC_PAGESIZE))) : 0
    }
}
