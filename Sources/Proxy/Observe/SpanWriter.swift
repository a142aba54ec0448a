import ProxyResources
import Wire

/// Writes records as spans of OpenTelemetry's protocol (opentelemetry/proto/trace/v1).
///
/// Inbound a span is of kind SERVER, outbound CLIENT; a gateway has one of each, the second under the first.
struct SpanWriter {
    enum Kind: UInt64 { case server = 2, client = 3 }

    let pages: LabelPages
    let plan: TelemetryPlan
    let clock: WallClock

    /// Each as the bytes of a `Span`.
    func spans(of record: RequestRecord) -> [[UInt8]] {
        switch record.side {
        case .inbound: [span(record, .server, record.span, under: record.parentSpan)]
        case .outbound: [span(record, .client, record.span, under: record.parentSpan)]
        case .gateway:
            [
                span(record, .server, record.span, under: record.parentSpan),
                span(record, .client, record.clientSpan, under: record.span),
            ]
        }
    }

    private func span(_ record: RequestRecord, _ kind: Kind, _ number: UInt64, under parent: UInt64) -> [UInt8] {
        var out = ProtobufWriter()
        out.bytes(1, bigEndian(record.traceHigh) + bigEndian(record.traceLow))
        out.bytes(2, bigEndian(number))
        if parent != 0 { out.bytes(4, bigEndian(parent)) }
        let rule = pages.name(record.rule)
        let method = record.string(record.method)
        let name = method.isEmpty ? "HTTP" : method
        out.string(5, kind == .client || rule.isEmpty ? name : "\(name) \(rule)")
        out.varint(6, kind.rawValue)
        out.fixed64(7, clock.at(kind == .client && record.chosen != 0 ? record.chosen : record.started))
        out.fixed64(8, clock.at(record.ended))
        attributes(record, kind, &out)
        if kind == .client || record.side == .inbound { attempts(record, &out) }
        if hasFailed(record, kind) {
            out.message(15) { status in
                let reason = "\(record.reason)"
                if !reason.isEmpty { status.string(2, reason) }
                status.varint(3, 2)
            }
        }
        // Flags: the lower byte is that of the trace context; bits 8 and 9 say whether the parent is remote.
        let remote: UInt32 = parent != 0 && (kind == .server || record.side != .gateway) ? 0x300 : 0x100
        out.fixed32(16, (record.isSampled ? 1 : 0) | remote)
        return out.bytes
    }

    private func bigEndian(_ number: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: number >> UInt64(56 - $0 * 8)) }
    }

    /// An answer of 4xx is the client's failure, not the server's (OpenTelemetry semantic conventions, HTTP spans).
    private func hasFailed(_ record: RequestRecord, _ kind: Kind) -> Bool {
        if record.flag != .none || record.status >= (kind == .client ? 400 : 500) { return true }
        return kind == .client
            ? record.grpcStatus != .max && record.grpcStatus != 0 : [2, 4, 12, 13, 14, 15].contains(record.grpcStatus)
    }

    private func attributes(_ record: RequestRecord, _ kind: Kind, _ out: inout ProtobufWriter) {
        func text(_ key: String, _ value: String) {
            if value.isEmpty || value == "unknown" { return }
            out.message(9) { $0.attribute(key, value) }
        }
        func number(_ key: String, _ value: Int64) { out.message(9) { $0.attribute(key, value) } }
        let method = record.string(record.method)
        let isKnown = Self.methods.contains(method)
        text("http.request.method", isKnown ? method : "_OTHER")
        if !isKnown { text("http.request.method_original", method) }
        let target = record.string(record.path)
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        text("url.path", parts.first.map(String.init) ?? "")
        if parts.count > 1 { text("url.query", String(parts[1])) }
        text("url.scheme", "http")
        text("network.protocol.version", record.majorVersion == 2 ? "2" : "1.\(record.minorVersion)")
        let host = record.string(record.host)
        let hostParts = host.split(separator: ":")
        text("server.address", hostParts.first.map(String.init) ?? "")
        if hostParts.count == 2, let port = Int64(hostParts[1]) { number("server.port", port) }
        if record.status != 0 { number("http.response.status_code", Int64(record.status)) }
        if record.kind == .grpc {
            text("rpc.system", "grpc")
            if record.grpcStatus != .max { number("rpc.grpc.status_code", Int64(record.grpcStatus)) }
        }
        number("http.request.size", Int64(record.requestBytes))
        number("http.response.size", Int64(record.responseBytes))
        let reason = "\(record.reason)"
        if hasFailed(record, kind) { text("error.type", reason.isEmpty ? String(record.status) : reason) }
        let peer = pages.peer(record.peer)
        if kind == .server {
            text("client.address", dotted(record.remoteAddress))
            if record.side == .inbound { text("peer.service", peer.app) }
        } else if let attempt = record.lastAttempt {
            text("network.peer.address", dotted(attempt.address))
            number("network.peer.port", Int64(attempt.port))
            text("peer.service", peer.app)
            if record.attemptCount > 1 { number("http.request.resend_count", Int64(record.attemptCount) - 1) }
        }
        captured("user-agent", record).map { text("user_agent.original", $0) }
        text("http.route", pages.name(record.rule))
        text("weft.request_id", record.string(record.requestID))
        text("weft.service", pages.service(record.service))
        text("weft.reason", reason)
        if record.flag != .none { text("weft.response_flags", record.flag.short) }
        if record.verdict != .none { text("weft.authorization", record.verdict.word) }
        text("weft.policy", pages.name(record.policy))
        for tag in plan.telemetry.tracing?.tags ?? [] {
            text(tag.name, captured(tag.header, record) ?? tag.text)
        }
    }

    private static let methods: Set<String> = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ]

    private func captured(_ header: String, _ record: RequestRecord) -> String? {
        guard !header.isEmpty, let place = plan.requestHeaders.firstIndex(of: header),
            place < RequestRecord.mostCaptures
        else { return nil }
        let value = record.string(record.captures[place])
        return value.isEmpty ? nil : value
    }

    /// One event an attempt, when there was more than one.
    private func attempts(_ record: RequestRecord, _ out: inout ProtobufWriter) {
        if record.attemptCount < 2 { return }
        for place in 0..<min(Int(record.attemptCount), RequestRecord.mostAttempts) {
            let attempt = record.attempts[place]
            out.message(11) { event in
                event.fixed64(1, clock.at(record.started &+ UInt64(attempt.startedAfter) &* 1000))
                event.string(2, "attempt")
                event.message(3) { $0.attribute("network.peer.address", dotted(attempt.address)) }
                event.message(3) { $0.attribute("network.peer.port", Int64(attempt.port)) }
                if attempt.status != 0 {
                    event.message(3) { $0.attribute("http.response.status_code", Int64(attempt.status)) }
                }
                if attempt.flag != .none {
                    event.message(3) { $0.attribute("weft.response_flags", attempt.flag.short) }
                }
            }
        }
    }

    // MARK: the request that carries them

    /// The bytes of a `Resource`: who this proxy speaks for.
    static func resource(_ workload: Workload?) -> [UInt8] {
        var out = ProtobufWriter()
        func text(_ key: String, _ value: String) {
            if !value.isEmpty { out.message(1) { $0.attribute(key, value) } }
        }
        let app = workload?.app ?? ""
        text("service.name", app.isEmpty ? workload?.name ?? "meshproxy" : app)
        text("service.namespace", workload?.namespace ?? "")
        text("service.version", workload?.version ?? "")
        text("service.instance.id", workload?.pod ?? "")
        text("k8s.namespace.name", workload?.namespace ?? "")
        text("k8s.pod.name", workload?.pod ?? "")
        text("k8s.node.name", workload?.node ?? "")
        text("telemetry.sdk.name", "weft")
        text("telemetry.sdk.language", "swift")
        return out.bytes
    }

    /// An `ExportTraceServiceRequest`.
    static func request(_ spans: some Sequence<[UInt8]>, resource: [UInt8]) -> [UInt8] {
        var scope = ProtobufWriter()
        scope.message(1) { $0.string(1, "weft.meshproxy") }
        for span in spans { scope.bytes(2, span) }
        var all = ProtobufWriter()
        all.bytes(1, resource)
        all.bytes(2, scope.bytes)
        var out = ProtobufWriter()
        out.bytes(1, all.bytes)
        return out.bytes
    }
}

extension ProtobufWriter {
    /// The members of a `KeyValue`.
    fileprivate mutating func attribute(_ key: String, _ value: String) {
        string(1, key)
        message(2) { $0.string(1, value) }
    }
    fileprivate mutating func attribute(_ key: String, _ value: Int64) {
        string(1, key)
        message(2) { $0.int64(3, value) }
    }
}
