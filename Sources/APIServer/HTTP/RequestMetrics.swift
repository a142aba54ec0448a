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
    }
    private struct Observed {
        /// By status code; there are few.
        var counts: [(code: Int, count: Int)] = []
        /// `nil` while there were only watches and streams.
        var times: Histogram?
        /// Of reads.
        var sizes: Histogram?

        mutating func note(_ code: Int, _ seconds: Double?, _ bytes: Double?) {
            if let place = counts.firstIndex(where: { $0.code == code }) {
                counts[place].count += 1
            } else {
                counts.append((code, 1))
            }
            guard let seconds else { return }
            if times == nil { times = Histogram(RequestMetrics.bounds) }
            times?.observe(seconds)
            guard let bytes else { return }
            if sizes == nil { sizes = Histogram(RequestMetrics.sizes) }
            sizes?.observe(bytes)
        }
    }
    private struct State {
        var observed: [Series: Observed] = [:]
        /// Watches and streams that are open; without dry run.
        var long: [Series: Int] = [:]
    }

    /// Upper bounds in seconds: those of Kubernetes, and two below them.
    private static let bounds = [
        0.001, 0.002, 0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2, 3, 5, 10, 20, 30, 60,
    ]
    /// Bytes, as Kubernetes has them.
    private static let sizes = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9]
    private let state = Mutex(State())

    /// A watch or a stream begins; `end` ends it.
    func begin(_ series: Series) { state.withLock { $0.long[series.withoutRun, default: 0] += 1 } }

    func end(_ series: Series) {
        state.withLock { state in
            let left = (state.long[series.withoutRun] ?? 1) - 1
            state.long[series.withoutRun] = left > 0 ? left : nil
        }
    }

    /// - Parameters:
    ///   - code: the answer's status.
    ///   - bytes: of the answer's body.
    ///   - isLong: for watches and streams, whose length says nothing of the server.
    func count(_ series: Series, code: Int, took: Duration, bytes: Int, isLong: Bool) {
        let time = took.inSeconds
        let isRead = (series.verb == "get" || series.verb == "list") && !series.isDryRun
        state.withLock { state in
            state.observed[series, default: Observed()].note(
                code, isLong ? nil : time, isRead ? Double(bytes) : nil)
        }
    }

    /// - Parameter byResource: stored objects.
    func write(
        to text: inout MetricText, revision: Int64, objects: Int, byResource: [(resource: String, count: Int)],
        inFlight: RequestsInFlight.Counts
    ) {
        let state = state.withLock { $0 }
        text.family("apiserver_request_total", .counter, "Requests answered, by verb, resource and status code.")
        let observed = state.observed.sorted { $0.key.order < $1.key.order }
        for (series, observed) in observed {
            for (code, count) in observed.counts.sorted(by: { $0.code < $1.code }) {
                text.sample(count, series.labels + [("dry_run", series.dryRun), ("code", "\(code)")])
            }
        }
        text.family("apiserver_request_duration_seconds", .histogram, "Time to answer, without watches and streams.")
        for (series, observed) in observed {
            if let times = observed.times { text.sample(times, series.labels + [("dry_run", series.dryRun)]) }
        }
        text.family("apiserver_response_sizes", .histogram, "Bytes of the answers to gets and lists.")
        for (series, observed) in observed {
            if let sizes = observed.sizes { text.sample(sizes, series.labels) }
        }
        text.family(
            "apiserver_current_inflight_requests", .gauge, "Requests in work, without watches and streams.")
        text.sample(inFlight.mutating, [("request_kind", "mutating")])
        text.sample(inFlight.reading, [("request_kind", "readOnly")])
        text.family("apiserver_longrunning_requests", .gauge, "Watches and streams that are open.")
        for (series, count) in state.long.sorted(by: { $0.key.order < $1.key.order }) {
            text.sample(count, series.labels)
        }
        text.family("weft_store_revision", .counter, "The store's latest revision.")
        text.sample(revision)
        text.family("apiserver_storage_objects", .gauge, "Stored objects, by resource.")
        for entry in byResource { text.sample(entry.count, [("resource", entry.resource)]) }
        text.family("weft_store_objects", .gauge, "Objects in the store.")
        text.sample(objects)
        Self.writeProcess(to: &text)
    }

    /// What every Prometheus client tells of its process.
    private static func writeProcess(to text: inout MetricText) {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        let seconds = Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
        let parts = Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
        text.family("process_cpu_seconds_total", .counter, "User and system time used, in seconds.")
        text.sample(seconds + parts)
        text.family("process_resident_memory_bytes", .gauge, "Resident memory, in bytes.")
        text.sample(residentBytes())
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

extension RequestMetrics.Series {
    fileprivate var withoutRun: Self {
        var series = self
        series.isDryRun = false
        return series
    }

    /// The methods' names, as Kubernetes counts.
    private var shownVerb: String {
        switch verb {
        case "create": "POST"
        case "update": "PUT"
        default: verb.uppercased()
        }
    }

    fileprivate var dryRun: String { isDryRun ? "All" : "" }

    fileprivate var labels: MetricText.Labels {
        [
            ("verb", shownVerb), ("group", group), ("version", version), ("resource", resource),
            ("subresource", subresource), ("scope", scope), ("component", "apiserver"),
        ]
    }

    fileprivate var order: String {
        "\(group) \(version) \(resource) \(subresource) \(verb) \(scope) \(dryRun)"
    }
}
