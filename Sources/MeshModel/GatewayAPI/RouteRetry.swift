import ProxyResources
import Wire

/// Retries and times of an HTTPRoute's rule (GEP-1731, GEP-1742).
enum RouteRetry {
    /// `retry`: `codes` alone decide among responses; a connection that failed or ended is tried again too.
    static func policy(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> RetryPolicy? {
        fields.reportOthers(than: ["codes", "attempts", "backoff"], as: "it has no effect", to: &findings)
        let attempts = fields.int("attempts") ?? 1
        if attempts < 0 { findings.append(fields.finding("attempts", .invalid, "is negative")) }
        if attempts > RetryPolicy.mostAttempts {
            findings.append(
                fields.finding(
                    "attempts", .unsupported, "is \(attempts): \(RetryPolicy.mostAttempts) is the most that is made"))
        }
        if attempts <= 0 { return nil }
        var policy = RetryPolicy(
            attempts: min(attempts, RetryPolicy.mostAttempts),
            conditions: [.connectFailure, .refusedStream, .reset])
        for (index, code) in (fields.json["codes"]?.array ?? []).enumerated() {
            guard let code = code.int, (400...599).contains(code) else {
                findings.append(fields.finding("codes[\(index)]", .invalid, "must be a status from 400 to 599"))
                continue
            }
            policy.statusCodes.append(code)
        }
        if let backoff = fields.duration("backoff", &findings) {
            policy.backoffBaseMilliseconds = min(backoff, 60_000)
            policy.backoffMaxMilliseconds = min(backoff * 10, 600_000)
        }
        return policy
    }

    /// `timeouts.backendRequest` is the time of one try; without retries it is that of the only one, so of the exchange.
    static func apply(_ times: PolicyFields, to rule: inout HTTPRoute.Rule, _ findings: inout [PolicyFinding]) {
        let request = times.duration("request", &findings).flatMap { $0 > 0 ? $0 : nil }
        let backend = times.duration("backendRequest", &findings).flatMap { $0 > 0 ? $0 : nil }
        if let request, let backend, backend > request {
            findings.append(times.finding("backendRequest", .invalid, "is longer than timeouts.request"))
        }
        rule.timeoutMilliseconds = request
        guard let backend else { return }
        if rule.retry != nil {
            rule.retry?.perTryTimeoutMilliseconds = backend
        } else {
            rule.timeoutMilliseconds = min(request ?? backend, backend)
        }
    }
}
