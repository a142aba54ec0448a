import ProxyResources
import Wire

/// Writes one record as a log has it.
struct AccessLogLine {
    let record: RequestRecord
    let pages: LabelPages
    let plan: TelemetryPlan
    let clock: WallClock

    /// What an operator gives: a text, a number, or nothing.
    enum Found {
        case text(String)
        case number(Int64)
        case nothing

        var written: String {
            switch self {
            case .text(let text): text.isEmpty ? "-" : text
            case .number(let number): String(number)
            case .nothing: "-"
            }
        }
    }

    func line(_ format: AccessLogFormat) -> String {
        var out = ""
        for part in format.parts {
            switch part {
            case .text(let text): out += text
            case .value(let value, let limit): out += find(value).written.prefix(limit)
            }
        }
        return out
    }

    /// A member that is one operator keeps its kind: a number stays one, nothing is null.
    func json(_ fields: [(name: String, format: AccessLogFormat)]) -> String {
        var object = JSONObject()
        for field in fields {
            guard field.format.parts.count == 1, case .value(let value, let limit) = field.format.parts[0] else {
                object[field.name] = .string(line(field.format))
                continue
            }
            switch find(value) {
            case .text(let text): object[field.name] = .string(String(text.prefix(limit)))
            case .number(let number): object[field.name] = .int(number)
            case .nothing: object[field.name] = .null
            }
        }
        return JSON.object(object).text + "\n"
    }

    private func find(_ value: AccessLogFormat.Value) -> Found {
        switch value {
        case .startTime(let format):
            let start = clock.at(record.started)
            return .text(format.isEmpty ? WallTime.text(start) : WallTime.text(start, format: format))
        case .request(let name, let other):
            let first = request(name)
            if case .nothing = first, !other.isEmpty { return request(other) }
            return first
        case .response(let name, let other):
            let first = captured(name, plan.responseHeaders, after: plan.requestHeaders.count)
            if case .nothing = first, !other.isEmpty {
                return captured(other, plan.responseHeaders, after: plan.requestHeaders.count)
            }
            return first
        case .named(let name): return named(name)
        }
    }

    private func request(_ name: String) -> Found {
        switch name {
        case ":method": text(record.string(record.method))
        case ":path": text(record.string(record.path))
        case ":authority": text(record.string(record.host))
        case "x-request-id": text(record.string(record.requestID))
        default: captured(name, plan.requestHeaders, after: 0)
        }
    }

    private func captured(_ name: String, _ names: [String], after first: Int) -> Found {
        guard let place = names.firstIndex(of: name), first + place < RequestRecord.mostCaptures else {
            return .nothing
        }
        return text(record.string(record.captures[first + place]))
    }

    private func text(_ text: String) -> Found { text.isEmpty ? .nothing : .text(text) }

    private func milliseconds(_ from: UInt64, _ to: UInt64) -> Found {
        from == 0 || to == 0 ? .nothing : .number(Int64((to &- from) / 1_000_000))
    }

    private func named(_ name: AccessLogFormat.Name) -> Found {
        let isInbound = record.side == .inbound
        let peer = pages.peer(record.peer)
        switch name {
        case .responseCode: return .number(Int64(record.status))
        case .responseCodeDetails:
            let reason = "\(record.reason)"
            if !reason.isEmpty { return .text(reason) }
            return record.responded == 0 ? .nothing : .text("via_upstream")
        case .responseFlags: return .text(record.flag.short)
        case .connectionTermination, .transportFailure, .upstreamLocal, .serverName: return .nothing
        case .bytesReceived: return .number(Int64(record.requestBytes))
        case .bytesSent: return .number(Int64(record.responseBytes))
        case .duration: return .number(Int64(record.duration / 1_000_000))
        case .requestDuration: return milliseconds(record.started, record.sent)
        case .responseDuration: return milliseconds(record.started, record.responded)
        case .responseSending: return milliseconds(record.responded, record.ended)
        case .upstreamHost:
            guard let attempt = record.lastAttempt else { return .nothing }
            return .text("\(dotted(attempt.address)):\(attempt.port)")
        case .upstreamCluster:
            let direction = isInbound ? "inbound|\(record.originalPort)||" : "outbound||"
            return record.service == 0 ? .nothing : .text("\(direction)\(pages.service(record.service))")
        case .upstreamPeer: return isInbound || peer.principal == "unknown" ? .nothing : .text(peer.principal)
        case .downstreamPeer: return !isInbound || peer.principal == "unknown" ? .nothing : .text(peer.principal)
        case .attempts: return .number(Int64(record.attemptCount))
        case .remoteAddress, .remoteAddressOnly: return .text(dotted(record.remoteAddress))
        case .localAddress:
            if record.originalAddress == 0 { return .nothing }
            return .text("\(dotted(record.originalAddress)):\(record.originalPort)")
        case .route: return text(pages.name(record.rule))
        case .protocolName: return text(record.protocolText)
        case .grpcStatus: return record.grpcStatus == .max ? .nothing : .text(grpcWord(record.grpcStatus))
        case .grpcNumber: return record.grpcStatus == .max ? .nothing : .number(Int64(record.grpcStatus))
        case .trace: return text(record.traceText)
        case .stream: return text(record.string(record.requestID))
        case .hostName: return text(pages.pod)
        case .verdict: return record.verdict == .none ? .nothing : .text(record.verdict.word)
        case .policy: return text(pages.name(record.policy))
        case .subject: return text(record.string(record.subject))
        }
    }
}

/// A gRPC status by its name.
func grpcWord(_ status: UInt8) -> String {
    let words = [
        "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
        "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented",
        "Internal", "Unavailable", "DataLoss", "Unauthenticated",
    ]
    return Int(status) < words.count ? words[Int(status)] : String(status)
}

extension Verdict {
    var word: String {
        switch self {
        case .none: "none"
        case .allowed: "allowed"
        case .denied: "denied"
        case .dryRunDenied: "denied_in_dry_run"
        case .unauthenticated: "unauthenticated"
        }
    }
}

extension LimitVerdict {
    var word: String {
        switch self {
        case .none: "none"
        case .rateLimited: "rate_limited"
        case .overloaded: "overloaded"
        case .tooManyConnections: "too_many_connections"
        case .tooManyRequests: "too_many_requests"
        case .tooManyPending: "too_many_pending"
        case .tooManyRetries: "too_many_retries"
        case .queued: "queued"
        }
    }
}
