import ProxyResources

/// All a proxy has counted, to be written as metrics.
struct MetricsSnapshot: Sendable {
    var loops: [(series: [Series], counts: LoopCounts)] = []
    var pages = LabelPages()
    var settings = MetricSettings()
    var desk = TelemetryDesk.Counts()
    var program = ProgramCounts()
    var limits = LimitGauges()
    var pools: [PoolCount] = []
    var ejections: [(cause: EjectionCause, count: UInt64)] = []
    var clock = WallClock(offset: 0)
}

/// What the threads beside the loops count.
struct ProgramCounts: Sendable {
    var configurationRejects: UInt64 = 0
    var isConnected = false
    var isReady = false
}

/// The loops' counts under Istio's names, in the Prometheus text format or as OpenMetrics.
struct MetricsText {
    enum Form: Sendable { case prometheus, openMetrics }

    private var out: [UInt8] = []
    private let form: Form
    let snapshot: MetricsSnapshot
    private let merged: [Series]
    private var labelTexts: [SeriesKey: String] = [:]

    static func render(_ snapshot: MetricsSnapshot, _ form: Form) -> [UInt8] {
        var text = MetricsText(snapshot, form)
        text.istio()
        text.own()
        if form == .openMetrics { text.line("# EOF") }
        return text.out
    }

    static func render(_ loops: [(series: [Series], counts: LoopCounts)], labels: LabelBook, workload: Workload?)
        -> [UInt8]
    {
        render(MetricsSnapshot(loops: loops, pages: LabelPages(labels, workload: workload)), .prometheus)
    }

    private init(_ snapshot: MetricsSnapshot, _ form: Form) {
        self.snapshot = snapshot
        self.form = form
        merged = Self.merge(snapshot.loops.map(\.series))
    }

    static func merge(_ all: [[Series]]) -> [Series] {
        var places: [SeriesKey: Int] = [:]
        var merged: [Series] = []
        for series in all.joined() {
            if let place = places[series.key] {
                merged[place].add(series)
            } else {
                places[series.key] = merged.count
                merged.append(series)
            }
        }
        return merged
    }

    mutating func line(_ text: String) {
        out += text.utf8
        out.append(10)
    }

    static func quoted(_ text: String) -> String {
        if !text.utf8.contains(where: { $0 == 34 || $0 == 92 || $0 == 10 }) { return text }
        var plain = ""
        for character in text.unicodeScalars {
            switch character {
            case "\"": plain += "\\\""
            case "\\": plain += "\\\\"
            case "\n": plain += "\\n"
            default: plain.unicodeScalars.append(character)
            }
        }
        return plain
    }

    // MARK: labels

    private func labels(_ key: SeriesKey) -> [(name: String, value: String)] {
        if key.isOverflow { return overflowLabels(key.kind) }
        let other = snapshot.pages.peer(key.peer)
        let source = key.isDestination ? other : snapshot.pages.own
        let destination = key.isDestination ? snapshot.pages.own : other
        let service = snapshot.pages.service(key.service)
        let parts = service.split(separator: ".")
        var found = [("reporter", key.isDestination ? "destination" : "source")]
        for (side, labels) in [("source", source), ("destination", destination)] {
            found += [
                ("\(side)_workload", labels.workload), ("\(side)_workload_namespace", labels.namespace),
                ("\(side)_principal", labels.principal), ("\(side)_app", labels.app),
                ("\(side)_version", labels.version), ("\(side)_canonical_service", labels.app),
                ("\(side)_canonical_revision", labels.version),
            ]
        }
        found += [
            ("destination_service", service), ("destination_service_name", parts.first.map(String.init) ?? "unknown"),
            ("destination_service_namespace", parts.count > 2 && parts[2] == "svc" ? String(parts[1]) : "unknown"),
        ]
        found = found.map { ($0.0, $0.1.isEmpty ? "unknown" : $0.1) }
        found.append(("request_protocol", key.kind.word))
        if key.kind != .tcp {
            found.append(("response_code", String(key.status)))
            found.append(("grpc_response_status", key.grpcStatus == .max ? "" : String(key.grpcStatus)))
        }
        found.append(("response_flags", key.flag.short))
        found.append(("connection_security_policy", key.security.word))
        return found
    }

    private func overflowLabels(_ kind: SeriesKey.Kind) -> [(name: String, value: String)] {
        ["source", "destination"].map { ("\($0)_workload", "overflow") }
            + [("destination_service", "overflow"), ("request_protocol", kind.word)]
    }

    private func text(_ labels: [(name: String, value: String)]) -> String {
        labels.map { "\($0.name)=\"\(Self.quoted($0.value))\"" }.joined(separator: ",")
    }

    /// Which series a metric shows, under which labels; those made equal by settings are added up.
    private mutating func rows(_ metric: String, _ series: [Series]) -> [(labels: String, series: Series)] {
        let changes = snapshot.settings.changes.filter { $0.metric.isEmpty || $0.metric == metric }
        if changes.isEmpty {
            return series.map { one in
                if let known = labelTexts[one.key] { return (known, one) }
                let made = text(labels(one.key))
                labelTexts[one.key] = made
                return (made, one)
            }
        }
        var rows: [(labels: String, series: Series)] = []
        var places: [String: Int] = [:]
        for one in series {
            guard let changed = changed(labels(one.key), changes, isDestination: one.key.isDestination) else {
                continue
            }
            let written = text(changed)
            if let place = places[written] {
                rows[place].series.add(one)
            } else {
                places[written] = rows.count
                rows.append((written, one))
            }
        }
        return rows
    }

    /// nil when the metric is off for this side.
    private func changed(
        _ labels: [(name: String, value: String)], _ changes: [MetricSettings.Change], isDestination: Bool
    ) -> [(name: String, value: String)]? {
        var labels = labels
        var isOff = false
        for change in changes {
            if change.side == (isDestination ? .client : .server) { continue }
            isOff = change.isDisabled ?? isOff
            labels.removeAll { change.removedLabels.contains($0.name) }
            for label in change.setLabels {
                labels.removeAll { $0.name == label.name }
                labels.append((label.name, label.value))
            }
        }
        return isOff ? nil : labels
    }

    // MARK: samples

    /// The head of a family. A counter's name in OpenMetrics is without `_total`.
    mutating func family(_ name: String, _ kind: String, _ help: String) {
        let isCounter = kind == "counter" && form == .openMetrics && name.hasSuffix("_total")
        let family = isCounter ? String(name.dropLast(6)) : name
        line("# HELP \(family) \(help)")
        line("# TYPE \(family) \(kind)")
    }

    private mutating func counter(_ name: String, _ help: String, _ series: [Series], _ value: (Series) -> UInt64) {
        let rows = rows(name, series)
        if rows.isEmpty { return }
        family(name, "counter", help)
        for row in rows { line("\(name){\(row.labels)} \(value(row.series))") }
    }

    private mutating func histogram(
        _ name: String, _ help: String, _ series: [Series], unit: Double, exemplars: Bool = false,
        _ value: (Series) -> Histogram
    ) {
        let rows = rows(name, series)
        if rows.isEmpty { return }
        family(name, "histogram", help)
        for row in rows {
            let histogram = value(row.series)
            let exemplar = row.series.exemplar
            let shown = exemplars && form == .openMetrics && exemplar.isThere
            let size = Double(exemplar.value) / unit
            var total: UInt64 = 0
            var below = -1.0
            for place in 0..<20 {
                total += histogram.counts[place]
                let bound = place < 19 ? Histogram.bounds[place] : .infinity
                let mark = place < 19 ? number(bound, isBound: true) : "+Inf"
                var sample = "\(name)_bucket{\(row.labels),le=\"\(mark)\"} \(total)"
                if shown && size > below && size <= bound { sample += written(exemplar, size) }
                line(sample)
                below = bound
            }
            line("\(name)_sum{\(row.labels)} \(number(Double(histogram.sum) / unit))")
            line("\(name)_count{\(row.labels)} \(total)")
        }
    }

    private func written(_ exemplar: Exemplar, _ size: Double) -> String {
        let trace = Hex.text(exemplar.traceHigh) + Hex.text(exemplar.traceLow)
        let moment = Double(snapshot.clock.at(exemplar.moment) / 1_000_000) / 1000
        return " # {trace_id=\"\(trace)\"} \(size) \(moment)"
    }

    private func number(_ number: Double, isBound: Bool = false) -> String {
        if number == number.rounded() && number < 1e15 {
            return isBound && form == .openMetrics ? "\(Int64(number)).0" : String(Int64(number))
        }
        return String(number)
    }

    private mutating func istio() {
        let requests = merged.filter { $0.key.kind != .tcp }
        let grpc = merged.filter { $0.key.kind == .grpc }
        let tcp = merged.filter { $0.key.kind == .tcp }
        counter("istio_requests_total", "Requests, by their outcome.", requests, \.count)
        histogram(
            "istio_request_duration_milliseconds", "From a request's first byte to its response's last.", requests,
            unit: 1_000_000, exemplars: true, \.duration)
        histogram("istio_request_bytes", "Sizes of requests with their heads.", requests, unit: 1, \.requestBytes)
        histogram("istio_response_bytes", "Sizes of responses with their heads.", requests, unit: 1, \.responseBytes)
        counter("istio_request_messages_total", "gRPC messages from clients.", grpc, \.requestMessages)
        counter("istio_response_messages_total", "gRPC messages from servers.", grpc, \.responseMessages)
        counter("istio_tcp_connections_opened_total", "Opaque connections opened.", tcp, \.count)
        counter("istio_tcp_connections_closed_total", "Opaque connections closed.", tcp, \.closed)
        counter("istio_tcp_sent_bytes_total", "Bytes sent to clients of opaque connections.", tcp, \.sent)
        counter("istio_tcp_received_bytes_total", "Bytes from clients of opaque connections.", tcp, \.received)
    }

    // MARK: the proxy's own

    private mutating func gauge(_ name: String, _ help: String, _ value: (LoopCounts) -> Int) {
        family(name, "gauge", help)
        for (place, loop) in snapshot.loops.enumerated() { line("\(name){loop=\"\(place)\"} \(value(loop.counts))") }
    }

    private mutating func total(_ name: String, _ help: String, _ value: (LoopCounts) -> UInt64) {
        family(name, "counter", help)
        for (place, loop) in snapshot.loops.enumerated() { line("\(name){loop=\"\(place)\"} \(value(loop.counts))") }
    }

    private mutating func single(_ name: String, _ kind: String, _ help: String, _ value: UInt64) {
        family(name, kind, help)
        line("\(name) \(value)")
    }

    /// HTTP/2 sessions we ended, and messages that broke its rules.
    private mutating func sessions() {
        let name = "weft_proxy_http2_sessions_ended_total"
        family(name, "counter", "HTTP/2 sessions ended by this proxy, by reason.")
        for fault in SessionFault.allCases {
            let place = Int(fault.rawValue)
            let count = snapshot.loops.reduce(UInt64(0)) { $0 + $1.counts.sessionFaults[place] }
            if count > 0 { line("\(name){reason=\"\(fault.word)\"} \(count)") }
        }
        total("weft_proxy_http2_malformed_total", "Messages that broke the rules of HTTP/2.", \.malformedStreams)
    }

    private mutating func own() {
        gauge("weft_proxy_client_connections", "Connections of clients.") { max(0, $0.clients) }
        gauge("weft_proxy_upstream_connections", "Connections to endpoints.") { max(0, $0.upstreams) }
        gauge("weft_proxy_exchanges_active", "Requests and tunnels in flight.") { max(0, $0.exchanges) }
        gauge("weft_proxy_configuration_generation", "The configuration a loop follows.") { Int($0.generation) }
        gauge("weft_proxy_buffer_bytes", "Memory of buffers in use.") { $0.bufferBytes }
        gauge("weft_proxy_series", "Series of metrics held.") { $0.series }
        total("weft_proxy_retries_total", "Requests sent again.", \.retries)
        total("weft_proxy_tls_handshakes_total", "TLS handshakes completed.", \.handshakes)
        total("weft_proxy_tls_resumptions_total", "Of those, by a session of before.", \.resumed)
        total("weft_proxy_tls_handshake_failures_total", "TLS handshakes that failed.", \.handshakeFailures)
        total("weft_proxy_plain_refused_total", "Plain connections a strict port turned away.", \.refusedPlain)
        total("weft_proxy_connections_refused_total", "Connections there was no room for.", \.refusedFull)
        total(
            "weft_proxy_out_of_memory_total", "Requests refused and connections ended for want of memory.", \.starved)
        total("weft_proxy_connections_shed_total", "Idle connections that made room for new ones.", \.shed)
        total(
            "weft_proxy_connections_without_descriptor_total",
            "Connections to endpoints for which the process had no descriptor.", \.withoutDescriptor)
        total("weft_proxy_revoked_connections_total", "Connections ended as their peer was revoked.", \.revoked)
        total("weft_proxy_bad_proxy_headers_total", "PROXY protocol headers missing or broken.", \.badIntroductions)
        sessions()
        gauge("weft_proxy_mirrors_active", "Copies of requests in flight.") { max(0, $0.shadows) }
        total("weft_proxy_mirrors_dropped_total", "Copies of requests that were too many.", \.mirrorsDropped)
        total("weft_proxy_records_total", "Exchanges that ended.", \.records)
        flags("weft_proxy_failures_total", "Exchanges that failed here, by why.", \.flags)
        flags("weft_proxy_retries_by_reason_total", "Attempts followed by others, by how they failed.", \.repeated)
        policies()
        checks()
        backends()
        limits()
        turns()
        single(
            "weft_proxy_configuration_rejects_total", "counter", "Configurations refused.",
            snapshot.program.configurationRejects)
        single(
            "weft_proxy_control_plane_connected", "gauge", "Whether the control plane is heard.",
            snapshot.program.isConnected ? 1 : 0)
        single("weft_proxy_ready", "gauge", "Whether the proxy takes traffic.", snapshot.program.isReady ? 1 : 0)
        single("weft_proxy_access_log_lines_total", "counter", "Lines of access logs.", snapshot.desk.logged)
        single(
            "weft_proxy_access_log_dropped_total", "counter", "Lines a file did not take.", snapshot.desk.linesLost)
        single(
            "weft_proxy_telemetry_dropped_total", "counter", "Records a full queue did not take.",
            snapshot.desk.dropped)
        single(
            "weft_proxy_spans_exported_total", "counter", "Spans taken by the collector.", snapshot.desk.spans.exported)
        single(
            "weft_proxy_spans_dropped_total", "counter", "Spans that could not be delivered.",
            snapshot.desk.spans.dropped)
        single(
            "weft_proxy_span_sends_failed_total", "counter", "Attempts to deliver spans that failed.",
            snapshot.desk.spans.failedSends)
    }

    private mutating func flags(_ name: String, _ help: String, _ counts: (LoopCounts) -> FlagCounts) {
        family(name, "counter", help)
        for (place, loop) in snapshot.loops.enumerated() {
            for (flag, count) in counts(loop.counts).found {
                // An attempt without a flag was answered, with a status the route retries.
                let reason = flag == .none ? "answer" : "\(flag.reason)"
                line("\(name){loop=\"\(place)\",flags=\"\(flag.short)\",reason=\"\(reason)\"} \(count)")
            }
        }
    }

    private mutating func policies() {
        var decisions: [PolicyCount: UInt64] = [:]
        for loop in snapshot.loops { decisions.merge(loop.counts.policies) { $0 + $1 } }
        if decisions.isEmpty { return }
        let name = "weft_policy_decisions_total"
        family(name, "counter", "Decisions of authorization policies.")
        let sorted = decisions.sorted { one, other in
            (one.key.policy, one.key.outcome.rawValue) < (other.key.policy, other.key.outcome.rawValue)
        }
        for (key, count) in sorted {
            let policy = Self.quoted(snapshot.pages.name(key.policy))
            line("\(name){policy=\"\(policy)\",outcome=\"\(key.outcome.word)\"} \(count)")
        }
    }

    private mutating func checks() {
        var found: [CheckCount: UInt64] = [:]
        for loop in snapshot.loops { found.merge(loop.counts.checks) { $0 + $1 } }
        if found.isEmpty { return }
        let sorted = found.sorted { one, other in
            (one.key.authorizer, one.key.outcome.rawValue) < (other.key.authorizer, other.key.outcome.rawValue)
        }
        var name = "weft_ext_authz_checks_total"
        family(name, "counter", "Questions to external authorizers, by what came of them.")
        for (key, count) in sorted where key.outcome != .passedUnasked {
            let provider = Self.quoted(snapshot.pages.name(key.authorizer))
            line("\(name){provider=\"\(provider)\",outcome=\"\(key.outcome.word)\"} \(count)")
        }
        name = "weft_ext_authz_failed_open_total"
        family(name, "counter", "Requests that passed although their authorizer did not answer.")
        for (key, count) in sorted where key.outcome == .passedUnasked {
            line("\(name){provider=\"\(Self.quoted(snapshot.pages.name(key.authorizer)))\"} \(count)")
        }
    }

    private mutating func turns() {
        let name = "weft_proxy_loop_turn_seconds"
        family(name, "histogram", "How long a loop's turn took, from waking to sleeping.")
        for (place, loop) in snapshot.loops.enumerated() {
            var total: UInt64 = 0
            for step in 0..<TurnTimes.steps {
                total += loop.counts.turns.counts[step]
                let isLast = step == TurnTimes.steps - 1
                let mark = isLast ? "+Inf" : String(Double(TurnTimes.bound(step)) / 1e9)
                line("\(name)_bucket{loop=\"\(place)\",le=\"\(mark)\"} \(total)")
            }
            line("\(name)_sum{loop=\"\(place)\"} \(Double(loop.counts.turns.sum) / 1e9)")
            line("\(name)_count{loop=\"\(place)\"} \(total)")
        }
    }
}

extension SeriesKey.Kind {
    var word: String {
        switch self {
        case .http: "http"
        case .tcp: "tcp"
        case .grpc: "grpc"
        }
    }
}
