package import Wire

/// Traffic between workloads, from the metrics proxies show under Istio's names.
package struct IstioMetrics: Sendable, Hashable {
    /// Who speaks to whom.
    package struct Edge: Sendable, Hashable, Comparable {
        package var reporter = ""  // `source` or `destination`
        package var sourceWorkload = ""
        package var sourceNamespace = ""
        package var sourcePrincipal = ""
        package var destinationWorkload = ""
        package var destinationNamespace = ""
        package var destinationService = ""
        package var destinationVersion = ""
        package var destinationPrincipal = ""
        package var security = ""  // `mutual_tls`, `none` or `unknown`

        package init() {}

        package static func < (one: Edge, other: Edge) -> Bool { one.order.lexicographicallyPrecedes(other.order) }
        private var order: [String] {
            [
                sourceNamespace, sourceWorkload, destinationNamespace, destinationService, destinationWorkload,
                destinationVersion, reporter, security, sourcePrincipal, destinationPrincipal,
            ]
        }
    }

    /// Counted since the proxies started.
    package struct Traffic: Sendable, Hashable {
        package var responses: [String: Double] = [:]  // by code
        package var durations = Histogram()
        package var connectionsOpened = 0.0
        package var connectionsClosed = 0.0
        package var bytesSent = 0.0
        package var bytesReceived = 0.0

        package init() {}

        package var requests: Double { responses.values.reduce(0, +) }
        /// The share of answers below 500; `nil` when there was none. Code 0 is a request without an answer.
        package var successRate: Double? {
            let all = requests
            if all <= 0 { return nil }
            let failed = responses.filter { ($0.key.first ?? "5") == "5" || $0.key == "0" }.values.reduce(0, +)
            return (all - failed) / all
        }
    }

    /// A Prometheus histogram: cumulative counts by upper bound.
    package struct Histogram: Sendable, Hashable {
        package var counts: [Double: Double] = [:]  // the bound `+Inf` too
        package var sum = 0.0

        package init() {}

        /// The value below which this share of all lies, by straight lines between bounds. `nil` when empty.
        package func percentile(_ share: Double) -> Double? {
            let bounds = counts.sorted { $0.key < $1.key }
            guard let total = bounds.last?.value, total > 0 else { return nil }
            let wanted = share * total
            var (lowerBound, lowerCount) = (0.0, 0.0)
            for (bound, count) in bounds {
                if count >= wanted {
                    // Above the last finite bound nothing more is known.
                    if bound == .infinity { return lowerBound }
                    let inside = count - lowerCount
                    return inside <= 0 ? bound : lowerBound + (bound - lowerBound) * (wanted - lowerCount) / inside
                }
                (lowerBound, lowerCount) = (bound, count)
            }
            return bounds.last?.key
        }
    }

    package var edges: [Edge: Traffic] = [:]

    package init() {}

    package static func parse(_ text: String) throws(MetricsFault) -> IstioMetrics {
        var metrics = IstioMetrics()
        for sample in try metricSamples(text) where sample.name.hasPrefix("istio_") && sample.value.isFinite {
            metrics.add(sample)
        }
        return metrics
    }

    private mutating func add(_ sample: MetricSample) {
        let edge = Edge(sample.labels)
        switch sample.name {
        case "istio_requests_total":
            edges[edge, default: Traffic()].responses[sample.labels["response_code"] ?? "0", default: 0] += sample.value
        case "istio_request_duration_milliseconds_bucket":
            let text = sample.labels["le"] ?? ""
            let bound = text == "+Inf" ? .infinity : Double(text)
            if let bound { edges[edge, default: Traffic()].durations.counts[bound, default: 0] += sample.value }
        case "istio_request_duration_milliseconds_sum": edges[edge, default: Traffic()].durations.sum += sample.value
        case "istio_tcp_connections_opened_total": edges[edge, default: Traffic()].connectionsOpened += sample.value
        case "istio_tcp_connections_closed_total": edges[edge, default: Traffic()].connectionsClosed += sample.value
        case "istio_tcp_sent_bytes_total": edges[edge, default: Traffic()].bytesSent += sample.value
        case "istio_tcp_received_bytes_total": edges[edge, default: Traffic()].bytesReceived += sample.value
        default: break
        }
    }

    /// Adds what another proxy counted.
    package mutating func merge(_ other: IstioMetrics) {
        for (edge, traffic) in other.edges { edges[edge, default: Traffic()].combine(traffic, scale: 1) }
    }

    /// What was counted after an earlier look. A proxy that restarted counts from zero; less than before is taken as it is.
    package func since(_ earlier: IstioMetrics) -> IstioMetrics {
        var difference = self
        for (edge, before) in earlier.edges {
            guard let now = edges[edge], now.requests >= before.requests,
                now.connectionsOpened >= before.connectionsOpened
            else { continue }
            difference.edges[edge]?.combine(before, scale: -1)
        }
        return difference
    }

    /// Edges joined under a shorter name, for example without versions.
    package func grouped(by shortened: (Edge) -> Edge?) -> IstioMetrics {
        var grouped = IstioMetrics()
        for (edge, traffic) in edges {
            if let name = shortened(edge) { grouped.edges[name, default: Traffic()].combine(traffic, scale: 1) }
        }
        return grouped
    }
}

extension IstioMetrics.Edge {
    init(_ labels: [String: String]) {
        self.init()
        reporter = labels["reporter"] ?? ""
        sourceWorkload = labels["source_workload"] ?? ""
        sourceNamespace = labels["source_workload_namespace"] ?? ""
        sourcePrincipal = labels["source_principal"] ?? ""
        destinationWorkload = labels["destination_workload"] ?? ""
        destinationNamespace = labels["destination_workload_namespace"] ?? ""
        destinationService = labels["destination_service"] ?? ""
        destinationVersion = labels["destination_version"] ?? ""
        destinationPrincipal = labels["destination_principal"] ?? ""
        security = labels["connection_security_policy"] ?? ""
    }
}

extension IstioMetrics.Traffic {
    mutating func combine(_ other: Self, scale: Double) {
        responses.merge(other.responses.mapValues { $0 * scale }, uniquingKeysWith: +)
        durations.counts.merge(other.durations.counts.mapValues { $0 * scale }, uniquingKeysWith: +)
        durations.sum += scale * other.durations.sum
        connectionsOpened += scale * other.connectionsOpened
        connectionsClosed += scale * other.connectionsClosed
        bytesSent += scale * other.bytesSent
        bytesReceived += scale * other.bytesReceived
    }
}

extension IstioMetrics {
    /// One object an edge, in a steady order.
    package var json: JSON {
        .array(edges.sorted { $0.key < $1.key }.map { Self.json($0.key, $0.value) })
    }

    private static func json(_ edge: Edge, _ traffic: Traffic) -> JSON {
        var json: JSON = [
            "reporter": .string(edge.reporter),
            "source": [
                "workload": .string(edge.sourceWorkload), "namespace": .string(edge.sourceNamespace),
                "principal": .string(edge.sourcePrincipal),
            ],
            "destination": [
                "workload": .string(edge.destinationWorkload), "namespace": .string(edge.destinationNamespace),
                "service": .string(edge.destinationService), "version": .string(edge.destinationVersion),
                "principal": .string(edge.destinationPrincipal),
            ],
            "security": .string(edge.security), "requests": .double(traffic.requests),
        ]
        json["responses"] = .object(
            JSONObject(traffic.responses.sorted { $0.key < $1.key }.map { .init($0.key, .double($0.value)) }))
        if let rate = traffic.successRate { json["successRate"] = .double(rate) }
        for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
            if let value = traffic.durations.percentile(share) { json["\(name)Milliseconds"] = .double(value) }
        }
        if traffic.connectionsOpened > 0 {
            json["connections"] = .double(traffic.connectionsOpened)
            json["bytesSent"] = .double(traffic.bytesSent)
            json["bytesReceived"] = .double(traffic.bytesReceived)
        }
        return json
    }
}
