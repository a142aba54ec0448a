import ProxyResources

/// The loops' counts in the Prometheus text format, under Istio's names.
struct MetricsText {
    private var out: [UInt8] = []
    private let peers: [PeerLabels]
    private let services: [String]
    private let own: PeerLabels

    static func render(_ loops: [(series: [Series], counts: LoopCounts)], labels: LabelBook, workload: Workload?)
        -> [UInt8]
    {
        var text = MetricsText(labels: labels, workload: workload)
        let merged = merge(loops.map(\.series))
        text.http(merged.filter { $0.key.kind == .http })
        text.tcp(merged.filter { $0.key.kind == .tcp })
        text.loops(loops.map(\.counts))
        text.policies(loops.map(\.counts), names: labels.names())
        return text.out
    }

    private init(labels: LabelBook, workload: Workload?) {
        let contents = labels.contents()
        peers = contents.peers
        services = contents.services
        func known(_ text: String?) -> String { text.flatMap { $0.isEmpty ? nil : $0 } ?? "unknown" }
        own = PeerLabels(
            workload: known(workload?.name), namespace: known(workload?.namespace),
            principal: known(workload?.principal),
            app: known(workload?.app), version: known(workload?.version))
    }

    static func merge(_ all: [[Series]]) -> [Series] {
        var places: [SeriesKey: Int] = [:]
        var merged: [Series] = []
        for list in all {
            for series in list {
                guard let place = places[series.key] else {
                    places[series.key] = merged.count
                    merged.append(series)
                    continue
                }
                merged[place].count &+= series.count
                merged[place].closed &+= series.closed
                merged[place].sent &+= series.sent
                merged[place].received &+= series.received
                merged[place].duration.add(series.duration)
                merged[place].requestBytes.add(series.requestBytes)
                merged[place].responseBytes.add(series.responseBytes)
            }
        }
        return merged
    }

    private mutating func line(_ text: String) {
        out += text.utf8
        out.append(10)
    }

    private func quoted(_ text: String) -> String {
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

    private func labels(_ key: SeriesKey) -> String {
        let other = Int(key.peer) < peers.count ? peers[Int(key.peer)] : .unknown
        let source = key.isDestination ? other : own
        let destination = key.isDestination ? own : other
        let service = Int(key.service) < services.count ? services[Int(key.service)] : "unknown"
        let parts = service.split(separator: ".")
        let name = parts.first.map(String.init) ?? "unknown"
        let serviceNamespace = parts.count > 2 && parts[2] == "svc" ? String(parts[1]) : "unknown"
        func known(_ text: String) -> String { text.isEmpty ? "unknown" : quoted(text) }
        var text = "reporter=\"\(key.isDestination ? "destination" : "source")\""
        for (side, labels) in [("source", source), ("destination", destination)] {
            text +=
                ",\(side)_workload=\"\(known(labels.workload))\",\(side)_workload_namespace=\"\(known(labels.namespace))\""
            text += ",\(side)_principal=\"\(known(labels.principal))\",\(side)_app=\"\(known(labels.app))\""
            text += ",\(side)_version=\"\(known(labels.version))\",\(side)_canonical_service=\"\(known(labels.app))\""
            text += ",\(side)_canonical_revision=\"\(known(labels.version))\""
        }
        text += ",destination_service=\"\(known(service))\",destination_service_name=\"\(known(name))\""
        text += ",destination_service_namespace=\"\(known(serviceNamespace))\""
        text += ",request_protocol=\"\(key.kind == .http ? "http" : "tcp")\""
        if key.kind == .http { text += ",response_code=\"\(key.status)\"" }
        text += ",response_flags=\"\(key.flag.short)\",connection_security_policy=\"\(key.security.word)\""
        return text
    }

    private mutating func counter(_ name: String, _ series: [Series], _ value: (Series) -> UInt64) {
        if series.isEmpty { return }
        line("# TYPE \(name) counter")
        for one in series { line("\(name){\(labels(one.key))} \(value(one))") }
    }

    private mutating func histogram(_ name: String, _ series: [Series], unit: Double, _ value: (Series) -> Histogram) {
        if series.isEmpty { return }
        line("# TYPE \(name) histogram")
        for one in series {
            let labels = labels(one.key)
            let histogram = value(one)
            var total: UInt64 = 0
            for (place, bound) in Histogram.bounds.enumerated() {
                total += histogram.counts[place]
                line("\(name)_bucket{\(labels),le=\"\(short(bound))\"} \(total)")
            }
            total += histogram.counts[19]
            line("\(name)_bucket{\(labels),le=\"+Inf\"} \(total)")
            line("\(name)_sum{\(labels)} \(short(Double(histogram.sum) / unit))")
            line("\(name)_count{\(labels)} \(total)")
        }
    }

    private func short(_ number: Double) -> String {
        number == number.rounded() && number < 1e15 ? String(Int64(number)) : String(number)
    }

    private mutating func http(_ series: [Series]) {
        counter("istio_requests_total", series, \.count)
        histogram("istio_request_duration_milliseconds", series, unit: 1_000_000, \.duration)
        histogram("istio_request_bytes", series, unit: 1, \.requestBytes)
        histogram("istio_response_bytes", series, unit: 1, \.responseBytes)
    }

    private mutating func tcp(_ series: [Series]) {
        counter("istio_tcp_connections_opened_total", series, \.count)
        counter("istio_tcp_connections_closed_total", series, \.closed)
        counter("istio_tcp_sent_bytes_total", series, \.sent)
        counter("istio_tcp_received_bytes_total", series, \.received)
    }

    private mutating func policies(_ counts: [LoopCounts], names: [String]) {
        var total: [PolicyCount: UInt64] = [:]
        for one in counts { total.merge(one.policies) { $0 + $1 } }
        if total.isEmpty { return }
        line("# TYPE weft_policy_decisions_total counter")
        let sorted = total.sorted { one, other in
            (one.key.policy, one.key.outcome.rawValue) < (other.key.policy, other.key.outcome.rawValue)
        }
        for (key, count) in sorted {
            let name = Int(key.policy) < names.count ? names[Int(key.policy)] : ""
            let labels = "policy=\"\(quoted(name))\",outcome=\"\(key.outcome.word)\""
            line("weft_policy_decisions_total{\(labels)} \(count)")
        }
    }

    private mutating func loops(_ counts: [LoopCounts]) {
        func gauge(_ name: String, _ kind: String, _ value: (LoopCounts) -> UInt64) {
            line("# TYPE \(name) \(kind)")
            for (place, one) in counts.enumerated() { line("\(name){loop=\"\(place)\"} \(value(one))") }
        }
        gauge("weft_proxy_client_connections", "gauge") { UInt64(max(0, $0.clients)) }
        gauge("weft_proxy_upstream_connections", "gauge") { UInt64(max(0, $0.upstreams)) }
        gauge("weft_proxy_exchanges_active", "gauge") { UInt64(max(0, $0.exchanges)) }
        gauge("weft_proxy_configuration_generation", "gauge", \.generation)
        gauge("weft_proxy_retries_total", "counter", \.retries)
        gauge("weft_proxy_tls_handshakes_total", "counter", \.handshakes)
        gauge("weft_proxy_tls_resumptions_total", "counter", \.resumed)
        gauge("weft_proxy_tls_handshake_failures_total", "counter", \.handshakeFailures)
        gauge("weft_proxy_plain_refused_total", "counter", \.refusedPlain)
    }
}
