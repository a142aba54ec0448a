package import KubeTypes
package import ProxyResources
import Wire

/// An Istio Telemetry: what proxies tell of their traffic. What is nil or empty is left to wider policies.
package struct TelemetryPolicy: Sendable, Hashable, AgedPolicy {
    package struct TracingRule: Sendable, Hashable {
        package var side: TelemetrySide
        /// As written: `service.namespace:port`, `address:port`, or a name from the mesh's settings.
        package var provider: String?
        package var samplePercent: Double?
        package var isDisabled: Bool?
        package var tags: [TraceTag]
        package var place: String  // of the provider, for findings
    }
    package struct LogRule: Sendable, Hashable {
        package var log: AccessLog
        package var isDisabled: Bool
    }

    package var key: ObjectKey
    package var created: String
    package var generation: Int
    package var selector: [String: String]
    package var tracing: [TracingRule]
    package var logs: [LogRule]
    package var metrics: [MetricSettings.Change]
    package var findings: [PolicyFinding]

    package var reference: PolicyReference { PolicyReference(.telemetries, key) }

    /// On a Telemetry: the line its access logs have, and the share of exchanges they take.
    static let formatAnnotation = "weft.dev/access-log-format"
    static let sampleAnnotation = "weft.dev/access-log-sample-percent"

    package init(_ object: KubeObject) {
        key = object.key
        created = object.creationTimestamp ?? ""
        generation = object.generation
        let spec = PolicyFields(object.spec, at: "spec", of: PolicyReference(.telemetries, object.key))
        var findings: [PolicyFinding] = []
        spec.reportOthers(
            than: ["selector", "tracing", "metrics", "accessLogging"], as: "it has no effect", to: &findings)
        selector = object.spec["selector"]?["matchLabels"]?.stringMap ?? [:]
        tracing = spec.each("tracing").map { Self.tracing($0, &findings) }
        metrics = spec.each("metrics").flatMap { Self.metrics($0, &findings) }
        var logs: [LogRule] = []
        for entry in spec.each("accessLogging") { logs += Self.logs(entry, object, &findings) }
        self.logs = logs
        self.findings = findings
    }

    private static func side(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> TelemetrySide {
        switch fields.string("mode") ?? "CLIENT_AND_SERVER" {
        case "CLIENT_AND_SERVER": return .both
        case "CLIENT": return .client
        case "SERVER": return .server
        case let word:
            findings.append(
                fields.finding("mode", .invalid, "\"\(word)\" is not one of CLIENT_AND_SERVER, CLIENT, SERVER"))
            return .both
        }
    }

    private static func tracing(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> TracingRule {
        fields.reportOthers(
            than: ["match", "providers", "randomSamplingPercentage", "disableSpanReporting", "customTags"],
            as: "it has no effect", to: &findings)
        let providers = fields.each("providers")
        if providers.count > 1 {
            findings.append(fields.finding("providers", .unsupported, "has several, only the first is told of traces"))
        }
        var tags: [TraceTag] = []
        if let custom = fields.inside("customTags") {
            for member in custom.json.object ?? JSONObject() {
                let tag = PolicyFields(member.value, at: custom.place(member.key), of: fields.object)
                if let literal = tag.inside("literal") {
                    tags.append(TraceTag(name: member.key, text: literal.string("value") ?? ""))
                } else if let header = tag.inside("header"), let name = header.string("name") {
                    let missing = header.string("defaultValue") ?? ""
                    tags.append(TraceTag(name: member.key, text: missing, header: name.lowercased()))
                } else {
                    let value = tag.inside("environment")?.string("defaultValue") ?? ""
                    findings.append(
                        tag.finding("", .unsupported, "only a literal or a header: \"\(value)\" stands for it"))
                    if !value.isEmpty { tags.append(TraceTag(name: member.key, text: value)) }
                }
            }
        }
        let named = tags.filter { !$0.header.isEmpty }
        if named.count > Tracing.mostHeaderTags {
            findings.append(
                fields.finding(
                    "customTags", .unsupported,
                    "takes \(named.count) from headers, only the first \(Tracing.mostHeaderTags) are written"))
            let kept = Set(named.prefix(Tracing.mostHeaderTags))
            tags.removeAll { !$0.header.isEmpty && !kept.contains($0) }
        }
        return TracingRule(
            side: fields.inside("match").map { side($0, &findings) } ?? .both,
            provider: providers.first?.string("name"),
            samplePercent: fields.json["randomSamplingPercentage"]?.double,
            isDisabled: fields.json["disableSpanReporting"]?.bool, tags: tags.sorted { $0.name < $1.name },
            place: fields.place("providers"))
    }

    // MARK: metrics

    /// Istio's words for its metrics.
    private static let metricNames = [
        "ALL_METRICS": "", "REQUEST_COUNT": "istio_requests_total",
        "REQUEST_DURATION": "istio_request_duration_milliseconds", "REQUEST_SIZE": "istio_request_bytes",
        "RESPONSE_SIZE": "istio_response_bytes", "TCP_OPENED_CONNECTIONS": "istio_tcp_connections_opened_total",
        "TCP_CLOSED_CONNECTIONS": "istio_tcp_connections_closed_total",
        "TCP_SENT_BYTES": "istio_tcp_sent_bytes_total", "TCP_RECEIVED_BYTES": "istio_tcp_received_bytes_total",
        "GRPC_REQUEST_MESSAGES": "istio_request_messages_total",
        "GRPC_RESPONSE_MESSAGES": "istio_response_messages_total",
    ]

    private static func metrics(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> [MetricSettings.Change] {
        fields.reportOthers(than: ["providers", "overrides"], as: "it has no effect", to: &findings)
        for provider in fields.each("providers") where provider.string("name") != "prometheus" {
            findings.append(provider.finding("name", .unsupported, "only prometheus: metrics are scraped"))
        }
        return fields.each("overrides").compactMap { override in
            let match = override.inside("match")
            var change = MetricSettings.Change(isDisabled: override.json["disabled"]?.bool)
            if let match {
                change.side = side(match, &findings)
                if let custom = match.string("customMetric") {
                    change.metric = custom
                } else {
                    let word = match.string("metric") ?? "ALL_METRICS"
                    guard let name = metricNames[word] else {
                        findings.append(match.finding("metric", .invalid, "\"\(word)\" is not one of Istio's metrics"))
                        return nil
                    }
                    change.metric = name
                }
            }
            if let tags = override.inside("tagOverrides") {
                for member in tags.json.object ?? JSONObject() {
                    tag(member.key, member.value, tags, &change, &findings)
                }
            }
            return change
        }
    }

    private static func tag(
        _ name: String, _ json: JSON, _ tags: PolicyFields, _ change: inout MetricSettings.Change,
        _ findings: inout [PolicyFinding]
    ) {
        let fields = PolicyFields(json, at: tags.place(name), of: tags.object)
        if fields.string("operation") == "REMOVE" {
            change.removedLabels.append(name)
            return
        }
        let value = fields.string("value") ?? ""
        // An expression of one quoted text is that text; others would need the request.
        guard value.count >= 2, let quote = value.first, quote == value.last, quote == "\"" || quote == "'" else {
            findings.append(
                fields.finding("value", .unsupported, "only a quoted text such as \"'blue'\": the tag is left as it is")
            )
            return
        }
        change.setLabels.append(HeaderValue(name: name, value: String(value.dropFirst().dropLast())))
    }

    // MARK: access logs

    private static func logs(
        _ fields: PolicyFields, _ object: KubeObject, _ findings: inout [PolicyFinding]
    ) -> [LogRule] {
        fields.reportOthers(
            than: ["match", "providers", "disabled", "filter"], as: "it has no effect", to: &findings)
        var log = AccessLog()
        if let match = fields.inside("match") { log.side = side(match, &findings) }
        let isDisabled = fields.json["disabled"]?.bool ?? false
        log.text = object.annotations[formatAnnotation] ?? ""
        if let fault = formatFault(log.text) {
            findings.append(
                PolicyFinding(
                    fields.object, "metadata.annotations.\(formatAnnotation)", .invalid,
                    "\(fault): the usual line is written"))
            log.text = ""
        }
        if let text = object.annotations[sampleAnnotation] {
            if let percent = Double(text), (0...100).contains(percent) {
                log.samplePercent = percent
            } else {
                findings.append(
                    PolicyFinding(
                        fields.object, "metadata.annotations.\(sampleAnnotation)", .invalid,
                        "is \"\(text)\", must be from 0 to 100"))
            }
        }
        if let expression = fields.inside("filter")?.string("expression") {
            guard let filter = LogExpression.filter(expression) else {
                findings.append(
                    fields.finding(
                        "filter.expression", .unsupported,
                        "only response.code, response.duration and response.flags compared with a value, joined by &&: this log is off"
                    ))
                return []
            }
            log.filter = filter
        }
        let providers = fields.each("providers")
        if providers.isEmpty { return [LogRule(log: log, isDisabled: isDisabled)] }
        return providers.compactMap { provider in
            var log = log
            switch provider.string("name") ?? "" {
            case "envoy": break
            case "envoy-json", "json":
                if log.text.isEmpty { log.fields = usualFields }
            case let name:
                findings.append(
                    provider.finding(
                        "name", .unsupported, "\"\(name)\" is not a log this mesh writes: there are envoy and json"))
                return nil
            }
            return LogRule(log: log, isDisabled: isDisabled)
        }
    }

    /// A proxy keeps few headers beside those it needs for itself.
    private static let mostHeaders = 7

    private static func formatFault(_ text: String) -> String? {
        do throws(AccessLogFormat.Fault) {
            let (requests, responses) = try AccessLogFormat(text).headers
            let count = Set(requests).count + Set(responses).count
            return count <= mostHeaders ? nil : "names \(count) headers, \(mostHeaders) can be kept"
        } catch { return error.message }
    }

    /// Istio's names.
    static let usualFields: [AccessLogField] = [
        ("start_time", "START_TIME"), ("method", "REQ(:METHOD)"), ("path", "REQ(X-ENVOY-ORIGINAL-PATH?:PATH)"),
        ("protocol", "PROTOCOL"), ("response_code", "RESPONSE_CODE"), ("response_flags", "RESPONSE_FLAGS"),
        ("response_code_details", "RESPONSE_CODE_DETAILS"), ("bytes_received", "BYTES_RECEIVED"),
        ("bytes_sent", "BYTES_SENT"), ("duration", "DURATION"), ("x_forwarded_for", "REQ(X-FORWARDED-FOR)"),
        ("user_agent", "REQ(USER-AGENT)"), ("request_id", "REQ(X-REQUEST-ID)"), ("authority", "REQ(:AUTHORITY)"),
        ("upstream_host", "UPSTREAM_HOST"), ("upstream_cluster", "UPSTREAM_CLUSTER"),
        ("downstream_local_address", "DOWNSTREAM_LOCAL_ADDRESS"),
        ("downstream_remote_address", "DOWNSTREAM_REMOTE_ADDRESS"), ("route_name", "ROUTE_NAME"),
        ("trace_id", "TRACE_ID"),
    ].map { AccessLogField(name: $0.0, text: "%\($0.1)%") }
}

/// The part of CEL that access logs are filtered with.
enum LogExpression {
    /// Comparisons joined by `&&`; nil for anything else.
    static func filter(_ expression: String) -> AccessLogFilter? {
        var filter = AccessLogFilter()
        var rest = expression[...]
        var parts: [Substring] = []
        while let range = rest.firstRange(of: "&&") {
            parts.append(rest[..<range.lowerBound])
            rest = rest[range.upperBound...]
        }
        parts.append(rest)
        for part in parts {
            let text = part.filter { $0 != " " && $0 != "\t" }
            if text == "has(response.code)" || text == "true" { continue }
            if !add(text, &filter) { return nil }
        }
        return filter
    }

    private static func add(_ text: String, _ filter: inout AccessLogFilter) -> Bool {
        for sign in [">=", "<=", "==", "!=", ">", "<"] {
            guard let range = text.firstRange(of: sign) else { continue }
            let subject = text[..<range.lowerBound]
            let value = text[range.upperBound...]
            switch subject {
            case "response.code": return code(sign, value, &filter)
            case "response.duration": return duration(sign, value, &filter)
            case "response.flags":
                // Envoy's number is a mask; only "any" can be said of it here.
                guard (sign == "!=" || sign == ">") && value == "0" else { return false }
                filter.errorsOnly = true
                return true
            default: return false
            }
        }
        return false
    }

    private static func code(_ sign: String, _ value: Substring, _ filter: inout AccessLogFilter) -> Bool {
        guard let number = Int(value), (0...999).contains(number) else { return false }
        switch sign {
        case ">=": filter.statusAtLeast = max(filter.statusAtLeast ?? 0, number)
        case ">": filter.statusAtLeast = max(filter.statusAtLeast ?? 0, number + 1)
        case "<": filter.statusBelow = min(filter.statusBelow ?? 1000, number)
        case "<=": filter.statusBelow = min(filter.statusBelow ?? 1000, number + 1)
        case "==":
            filter.statusAtLeast = max(filter.statusAtLeast ?? 0, number)
            filter.statusBelow = min(filter.statusBelow ?? 1000, number + 1)
        default: return false
        }
        return true
    }

    /// `duration("500ms")`
    private static func duration(_ sign: String, _ value: Substring, _ filter: inout AccessLogFilter) -> Bool {
        let inside = value.drop { $0 != "(" }.dropFirst().prefix { $0 != ")" }.filter { $0 != "\"" && $0 != "'" }
        guard sign == ">=" || sign == ">", value.hasPrefix("duration("), let wanted = milliseconds(ofDuration: inside)
        else { return false }
        filter.durationAtLeastMilliseconds = max(filter.durationAtLeastMilliseconds ?? 0, wanted)
        return true
    }
}
