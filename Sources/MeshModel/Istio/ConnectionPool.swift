package import ProxyResources
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
        if fields.json["retryRemoteLocalities"]?.bool == true {
            findings.append(
                fields.finding(
                    "retryRemoteLocalities", .unsupported,
                    "is not supported: the service's balancing decides about places"))
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

    /// `retryBudget` of a traffic policy. Istio counts tries in flight; here so many a second are always admitted.
    static func budget(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> RetryBudget {
        fields.reportOthers(than: ["percent", "minRetryConcurrency"], as: "it has no effect", to: &findings)
        var budget = RetryBudget()
        if let percent = fields.json["percent"]?.double { budget.percent = max(0, min(100, Int(percent.rounded()))) }
        if let least = fields.int("minRetryConcurrency") { budget.minPerSecond = max(0, min(1_000_000, least)) }
        return budget
    }
}

/// `connectionPool` of a traffic policy.
package struct ConnectionPool: Sendable, Hashable {
    /// `nil` when none is given.
    package var limits: CircuitLimits?
    /// What endpoints are spoken to in; `nil` leaves it to the port.
    package var appProtocol: AppProtocol?

    init(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) {
        fields.reportOthers(than: ["tcp", "http"], as: "it has no effect", to: &findings)
        var limits = CircuitLimits()
        if let tcp = fields.inside("tcp") { Self.read(tcp: tcp, &limits, &findings) }
        if let http = fields.inside("http") { read(http: http, &limits, &findings) }
        self.limits = limits == CircuitLimits() ? nil : limits
    }

    private static func read(tcp: PolicyFields, _ limits: inout CircuitLimits, _ findings: inout [PolicyFinding]) {
        tcp.reportOthers(
            than: ["maxConnections", "connectTimeout", "tcpKeepalive", "idleTimeout"], as: "it has no effect",
            to: &findings)
        limits.maxConnections = tcp.count("maxConnections", &findings)
        limits.connectTimeoutMilliseconds = tcp.positiveDuration("connectTimeout", &findings)
        limits.tunnelIdleTimeoutMilliseconds = tcp.positiveDuration("idleTimeout", &findings)
        guard let alive = tcp.inside("tcpKeepalive") else { return }
        alive.reportOthers(than: ["probes", "time", "interval"], as: "it has no effect", to: &findings)
        func seconds(_ field: String) -> Int {
            min(32_767, ((alive.positiveDuration(field, &findings) ?? 0) + 999) / 1000)
        }
        limits.keepAlive = TCPKeepAlive(
            probes: min(127, alive.count("probes", &findings) ?? 0), timeSeconds: seconds("time"),
            intervalSeconds: seconds("interval"))
    }

    private mutating func read(
        http: PolicyFields, _ limits: inout CircuitLimits, _ findings: inout [PolicyFinding]
    ) {
        http.reportOthers(
            than: [
                "http1MaxPendingRequests", "http2MaxRequests", "maxRequestsPerConnection", "maxRetries", "idleTimeout",
                "h2UpgradePolicy", "useClientProtocol",
            ], as: "it has no effect", to: &findings)
        limits.maxPending = http.count("http1MaxPendingRequests", &findings) ?? limits.maxPending
        limits.maxRequests = http.count("http2MaxRequests", &findings)
        limits.maxRequestsPerConnection = http.count("maxRequestsPerConnection", &findings)
        limits.maxRetries = http.count("maxRetries", &findings)
        limits.idleTimeoutMilliseconds = http.positiveDuration("idleTimeout", &findings)
        if http.string("h2UpgradePolicy") == "UPGRADE" { appProtocol = .http2 }
        if http.json["useClientProtocol"]?.bool == true {
            appProtocol = .unknown
            if http.string("h2UpgradePolicy") == "UPGRADE" {
                findings.append(http.finding("h2UpgradePolicy", .noEffect, "useClientProtocol stands before it"))
            }
        }
    }
}

extension PolicyFields {
    /// A number above 0; `nil` when there is none.
    fileprivate func count(_ field: String, _ findings: inout [PolicyFinding]) -> Int? {
        guard let number = int(field) else { return nil }
        if number < 0 { findings.append(finding(field, .invalid, "is negative")) }
        return number > 0 ? number : nil
    }

    fileprivate func positiveDuration(_ field: String, _ findings: inout [PolicyFinding]) -> Int? {
        duration(field, &findings).flatMap { $0 > 0 ? $0 : nil }
    }
}
