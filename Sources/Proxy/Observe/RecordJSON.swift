import Wire

extension RequestRecord {
    var hasFailed: Bool {
        var copy = self
        return withUnsafeMutablePointer(to: &copy) { $0.hasFailed }
    }

    /// As `tap`, `requests` and `explain` show it. Times of stages are microseconds after the exchange began.
    func json(_ pages: LabelPages, _ clock: WallClock) -> JSON {
        var out = JSONObject()
        func text(_ key: String, _ value: String) {
            if !value.isEmpty { out[key] = .string(value) }
        }
        text("time", WallTime.text(clock.at(started)))
        out["startedNanoseconds"] = .int(Int64(bitPattern: clock.at(started)))
        out["number"] = .string("\(loop)-\(sequence)")
        text("id", string(requestID))
        text("trace", traceText)
        if span != 0 { text("span", Hex.text(span)) }
        if parentSpan != 0 { text("parentSpan", Hex.text(parentSpan)) }
        text("side", side.word)
        text("protocol", kind == .tcp ? "tcp" : kind == .grpc ? "grpc" : "http")
        text("version", protocolText)
        text("method", string(method))
        text("host", string(host))
        text("path", string(path))
        out["status"] = .int(Int64(status))
        if grpcStatus != .max { out["grpcStatus"] = .int(Int64(grpcStatus)) }
        if flag != .none { text("flags", flag.short) }
        text("reason", "\(reason)")
        if hasFailed, let known = Reason.named("\(reason)".isEmpty ? "\(flag.reason)" : "\(reason)"), flag != .none {
            text("cause", known.cause)
        }
        out["failed"] = .bool(hasFailed)
        text("rule", pages.name(rule))
        text("service", service == 0 ? "" : pages.service(service))
        let other = pages.peer(peer)
        out["source"] = (side == .inbound ? other : pages.own).json
        out["destination"] = (side == .inbound ? pages.own : other).json
        text("security", secure.word)
        text("client", dotted(remoteAddress))
        if originalAddress != 0 { text("destinationAddress", "\(dotted(originalAddress)):\(originalPort)") }
        if verdict != .none { text("authorization", verdict.word) }
        text("policy", pages.name(policy))
        text("subject", string(subject))
        if limit != .none { text("limit", limit.word) }
        text("limitName", pages.name(limitName))
        text("limitKey", string(limitKey))
        out["requestBytes"] = .int(Int64(requestBytes))
        out["responseBytes"] = .int(Int64(responseBytes))
        out["durationMicroseconds"] = .int(Int64(duration / 1000))
        out["stages"] = stages
        out["attempts"] = .int(Int64(attemptCount))
        out["tries"] = .array((0..<min(Int(attemptCount), Self.mostAttempts)).map { attempts[$0].json(pages) })
        return .object(out)
    }

    private var stages: JSON {
        var out = JSONObject()
        func stage(_ key: String, _ moment: UInt64) {
            if moment != 0 { out[key] = .int(Int64(moment &- started) / 1000) }
        }
        stage("headReceived", headReceived)
        stage("authorized", authorized)
        stage("routed", routed)
        stage("upstreamChosen", chosen)
        stage("upstreamConnected", connected)
        stage("requestSent", sent)
        stage("responseHead", responded)
        stage("end", ended)
        return .object(out)
    }
}

extension AttemptRecord {
    func json(_ pages: LabelPages) -> JSON {
        var out = JSONObject()
        out["endpoint"] = .string("\(dotted(address)):\(port)")
        let labels = pages.peer(peer)
        if labels.workload != "unknown" { out["workload"] = .string(labels.workload) }
        if labels.version != "unknown" { out["version"] = .string(labels.version) }
        out["startedMicroseconds"] = .int(Int64(startedAfter))
        out["lastedMicroseconds"] = .int(Int64(lasted))
        if status != 0 { out["status"] = .int(Int64(status)) }
        if flag != .none {
            out["flags"] = .string(flag.short)
            out["reason"] = .string("\(flag.reason)")
        }
        out["reusedConnection"] = .bool(isReused)
        return .object(out)
    }
}

extension PeerLabels {
    var json: JSON {
        var out = JSONObject()
        func text(_ key: String, _ value: String) {
            if !value.isEmpty && value != "unknown" { out[key] = .string(value) }
        }
        text("workload", workload)
        text("namespace", namespace)
        text("principal", principal)
        text("app", app)
        text("version", version)
        return .object(out)
    }
}

extension Side {
    var word: String {
        switch self {
        case .outbound: "outbound"
        case .inbound: "inbound"
        case .gateway: "gateway"
        }
    }
}
