import ProxyResources
import Wire

/// Reads what a VirtualService's route does beside choosing a destination.
struct VirtualServiceActionReader {
    /// A percentage with fractions, in millionths; `nil` when absent.
    func share(_ fields: PolicyFields, _ field: String, _ findings: inout [PolicyFinding]) -> Int? {
        guard let value = fields.inside(field)?.json["value"] else { return nil }
        let percent = value.double ?? value.int.map(Double.init) ?? -1
        guard (0...100).contains(percent) else {
            findings.append(fields.finding(field, .invalid, "must be from 0 to 100"))
            return 0
        }
        return Int((percent * 10_000).rounded())
    }

    func body(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> DirectBody? {
        fields.reportOthers(than: ["status", "body"], as: "it has no effect", to: &findings)
        guard let body = fields.inside("body") else { return nil }
        var text = body.string("string")
        if let encoded = body.string("bytes") {
            text = Base64.decode(encoded).flatMap { String(validating: $0, as: UTF8.self) }
            if text == nil {
                findings.append(body.finding("bytes", .unsupported, "is no text: the answer has no body"))
            }
        }
        guard let text else { return nil }
        if text.utf8.count > DirectBody.limit {
            findings.append(
                body.finding("", .unsupported, "has more than \(DirectBody.limit) bytes: the answer has no body"))
            return nil
        }
        return DirectBody(text: text)
    }

    func redirect(_ fields: PolicyFields, into rule: inout VirtualService.Rule, _ findings: inout [PolicyFinding]) {
        fields.reportOthers(
            than: ["uri", "authority", "port", "derivePort", "scheme", "redirectCode"], as: "it has no effect",
            to: &findings)
        var redirect = Redirect(
            scheme: fields.string("scheme").flatMap { $0.isEmpty ? nil : $0.lowercased() },
            host: fields.host("authority", &findings), port: fields.port("port", &findings),
            status: fields.int("redirectCode") ?? 301)
        if redirect.status == 0 { redirect.status = 301 }
        if !Redirect.statuses.contains(redirect.status) {
            findings.append(
                fields.finding("redirectCode", .invalid, "is \(redirect.status), must be 301, 302, 303, 307 or 308"))
            redirect.status = 301
        }
        if let scheme = redirect.scheme, scheme != "http", scheme != "https" {
            findings.append(fields.finding("scheme", .invalid, "\(scheme) must be http or https"))
            redirect.scheme = nil
        }
        switch fields.string("derivePort") {
        case "FROM_PROTOCOL_DEFAULT": redirect.port = redirect.scheme == "https" ? 443 : 80
        case "FROM_REQUEST_PORT": rule.keepsPort = true
        default: break
        }
        if let uri = fields.string("uri"), !uri.isEmpty {
            let mark = "%PREFIX()%"
            let text = uri.hasPrefix(mark) ? String(uri.dropFirst(mark.count)) : uri
            if let fault = HeaderRules.fault(path: text) {
                findings.append(fields.finding("uri", .invalid, fault))
            } else {
                redirect.path = uri.hasPrefix(mark) ? .matched(text) : .full(text)
            }
        }
        rule.actions.redirect = redirect
    }

    func rewrite(_ fields: PolicyFields, into rule: inout VirtualService.Rule, _ findings: inout [PolicyFinding]) {
        fields.reportOthers(than: ["uri", "authority", "uriRegexRewrite"], as: "it has no effect", to: &findings)
        if let host = fields.host("authority", &findings) { rule.actions.host = host }
        if let expression = fields.inside("uriRegexRewrite") {
            let pattern = expression.string("match") ?? ""
            let substitution = expression.string("rewrite") ?? ""
            if let fault = expression.expressionFinding("match", pattern) {
                findings.append(fault)
            } else if let fault = HeaderRules.fault(path: substitution) {
                findings.append(expression.finding("rewrite", .invalid, fault))
            } else {
                rule.actions.path = .regex(pattern: pattern, substitution: substitution)
            }
        } else if let uri = fields.string("uri"), !uri.isEmpty {
            if let fault = HeaderRules.fault(path: uri) {
                findings.append(fields.finding("uri", .invalid, fault))
            } else {
                rule.actions.path = .matched(uri)
            }
        }
    }

    func fault(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> Fault? {
        fields.reportOthers(than: ["delay", "abort"], as: "it has no effect", to: &findings)
        var fault = Fault()
        if let delay = fields.inside("delay") {
            delay.reportOthers(
                than: ["fixedDelay", "percentage", "percent"], as: "no request is delayed by it", to: &findings)
            let share = share(delay, "percentage", &findings) ?? delay.int("percent").map { $0 * 10_000 }
            if let time = delay.duration("fixedDelay", &findings) {
                if time > Fault.longestDelay {
                    findings.append(delay.finding("fixedDelay", .invalid, "is longer than an hour"))
                }
                fault.delay = Fault.Delay(
                    milliseconds: min(time, Fault.longestDelay), millionths: min(max(0, share ?? 0), 1_000_000))
                if share == nil { reportNoShare(delay, &findings) }
            }
        }
        if let abort = fields.inside("abort") {
            abort.reportOthers(
                than: ["httpStatus", "grpcStatus", "percentage"], as: "no request is ended by it", to: &findings)
            let share = share(abort, "percentage", &findings)
            if let answer = answer(abort, &findings) {
                fault.abort = Fault.Abort(answer, millionths: share ?? 0)
                if share == nil { reportNoShare(abort, &findings) }
            }
        }
        return fault == Fault() ? nil : fault
    }

    private func reportNoShare(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) {
        findings.append(fields.finding("percentage", .noEffect, "is not given, so no request is affected"))
    }

    private func answer(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> Fault.Abort.Answer? {
        if let status = fields.int("httpStatus") {
            if (200...599).contains(status) { return .http(status) }
            findings.append(fields.finding("httpStatus", .invalid, "is \(status), must be from 200 to 599"))
            return nil
        }
        guard let word = fields.string("grpcStatus") else { return nil }
        if let code = Int(word) ?? Self.grpcCodes.firstIndex(of: word.uppercased()), (0...16).contains(code) {
            return .grpc(code)
        }
        findings.append(fields.finding("grpcStatus", .invalid, "\"\(word)\" is not a status of gRPC"))
        return nil
    }

    private static let grpcCodes = [
        "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
        "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
        "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
    ]

    func cors(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> CORSPolicy {
        fields.reportOthers(
            than: [
                "allowOrigin", "allowOrigins", "allowMethods", "allowHeaders", "exposeHeaders", "maxAge",
                "allowCredentials", "unmatchedPreflights",
            ], as: "it has no effect", to: &findings)
        var origins = fields.strings("allowOrigin").map { TextMatch(.exact, $0) }
        for origin in fields.each("allowOrigins") {
            if let text = VirtualServiceMatchReader.text(origin, &findings) { origins.append(text) }
        }
        return CORSPolicy(
            origins: origins, methods: fields.tokens("allowMethods", &findings),
            headers: fields.tokens("allowHeaders", &findings),
            exposedHeaders: fields.tokens("exposeHeaders", &findings),
            maxAgeSeconds: fields.duration("maxAge", &findings).map { max(0, $0 / 1000) },
            allowsCredentials: fields.json["allowCredentials"]?.bool ?? false,
            forwardsUnmatched: fields.string("unmatchedPreflights") != "IGNORE")
    }
}
