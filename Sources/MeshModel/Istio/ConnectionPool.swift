import ProxyResources
import Wire

/// The words of Istio for retries and limits.
enum IstioResilience {
    /// `retries` of a VirtualService's route.
    static func retry(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> RetryPolicy? {
        fields.reportOthers(
            than: [
                "attempts", "perTryTimeout", "retryOn", "retryRemoteLocalities", "retryIgnorePreviousHosts", "backoff",
            ], as: "it has no effect", to: &findings)
        let attempts = fields.int("attempts") ?? 2
        if attempts < 0 {
            findings.append(fields.finding("attempts", .invalid, "is negative"))
            return nil
        }
        if attempts > RetryPolicy.mostAttempts {
            findings.append(
                fields.finding(
                    "attempts", .unsupported, "is \(attempts): \(RetryPolicy.mostAttempts) is the most that is made"))
        }
        if attempts == 0 { return nil }
        var policy = RetryPolicy(attempts: min(attempts, RetryPolicy.mostAttempts))
        conditions(fields, &policy, &findings)
        policy.perTryTimeoutMilliseconds = fields.duration("perTryTimeout", &findings).flatMap { $0 > 0 ? $0 : nil }
        if let base = fields.duration("backoff", &findings), base > 0 {
            policy.backoffBaseMilliseconds = min(base, 60_000)
            policy.backoffMaxMilliseconds = min(base * 10, 600_000)
        }
        policy.avoidsTried = fields.json["retryIgnorePreviousHosts"]?.bool ?? true
        return policy
    }

    /// `retryOn`: words and statuses, with commas between. Absent, Istio's own default without the reset of a request that was sent,
    /// since that may have been worked on.
    private static func conditions(
        _ fields: PolicyFields, _ policy: inout RetryPolicy, _ findings: inout [PolicyFinding]
    ) {
        guard let text = fields.string("retryOn"), !text.isEmpty else {
            policy.conditions = [.connectFailure, .refusedStream, .grpcUnavailable, .grpcCancelled]
            policy.statusCodes = [503]
            return
        }
        for part in text.split(separator: ",") {
            let word = String(part.filter { $0 != " " })
            if let code = Int(word) {
                if (200...599).contains(code) {
                    policy.statusCodes.append(code)
                } else {
                    findings.append(fields.finding("retryOn", .invalid, "\(code) is not a status"))
                }
            } else if let condition = RetryCondition(rawValue: word) {
                policy.conditions.append(condition)
            } else {
                findings.append(
                    fields.finding(
                        "retryOn", .unsupported, "\"\(word)\" is not supported: nothing is tried again for it"))
            }
        }
    }

    /// `connectionPool` of a traffic policy.
    static func limits(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> CircuitLimits? {
        fields.reportOthers(than: ["tcp", "http"], as: "it has no effect", to: &findings)
        var limits = CircuitLimits()
        func count(_ fields: PolicyFields, _ field: String) -> Int? {
            guard let number = fields.int(field) else { return nil }
            if number < 0 { findings.append(fields.finding(field, .invalid, "is negative")) }
            return number > 0 ? number : nil
        }
        if let tcp = fields.inside("tcp") {
            tcp.reportOthers(
                than: ["maxConnections", "connectTimeout"], as: "it has no effect", to: &findings)
            limits.maxConnections = count(tcp, "maxConnections")
            limits.connectTimeoutMilliseconds = tcp.duration("connectTimeout", &findings).flatMap { $0 > 0 ? $0 : nil }
        }
        if let http = fields.inside("http") {
            http.reportOthers(
                than: [
                    "http1MaxPendingRequests", "http2MaxRequests", "maxRequestsPerConnection", "maxRetries",
                    "idleTimeout",
                ], as: "it has no effect", to: &findings)
            limits.maxPending = count(http, "http1MaxPendingRequests") ?? limits.maxPending
            limits.maxRequests = count(http, "http2MaxRequests")
            limits.maxRequestsPerConnection = count(http, "maxRequestsPerConnection")
            limits.maxRetries = count(http, "maxRetries")
            limits.idleTimeoutMilliseconds = http.duration("idleTimeout", &findings).flatMap { $0 > 0 ? $0 : nil }
        }
        return limits == CircuitLimits() ? nil : limits
    }

    /// `retryBudget` of a traffic policy. Istio counts tries in flight; here so many a second are always admitted.
    static func budget(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> RetryBudget {
        fields.reportOthers(than: ["percent", "minRetryConcurrency"], as: "it has no effect", to: &findings)
        var budget = RetryBudget()
        if let percent = fields.json["percent"]?.double { budget.percent = max(0, min(100, Int(percent.rounded()))) }
        if let least = fields.int("minRetryConcurrency") { budget.minPerSecond = max(0, min(1_000_000, least)) }
        return budget
    }
}

extension BackendResilience {
    /// What a traffic policy says of limits; `nil` when nothing.
    init?(trafficPolicy fields: PolicyFields, _ findings: inout [PolicyFinding]) {
        self.init()
        if let pool = fields.inside("connectionPool") { limits = IstioResilience.limits(pool, &findings) }
        if let budget = fields.inside("retryBudget") { retryBudget = IstioResilience.budget(budget, &findings) }
        if self == .none { return nil }
    }

    /// The fields of a traffic policy that are read here.
    static let trafficPolicyFields: Set<String> = ["connectionPool", "retryBudget"]
}
