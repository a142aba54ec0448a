/// Who is known, who may what, what is written down of it and how many at a time, in the words of kube-apiserver's flags.
package struct AccessConfiguration: Sendable {
    /// Paths strangers may ask for; `nil` for all, as far as the roles of `system:anonymous` go (`--anonymous-auth`).
    package var anonymousPaths: [String]? = ["/livez", "/readyz", "/healthz"]
    /// The issuer of service-account tokens (`--service-account-issuer`).
    package var serviceAccountIssuer = AccountTokens.issuer
    /// The audiences this server is; empty for the issuer (`--api-audiences`).
    package var audiences: [String] = []
    /// Seconds; longer wishes are cut to it (`--service-account-max-token-expiration`).
    package var mostTokenLifetime: Int64 = 365 * 86400
    /// Other issuers of ID tokens (`--oidc-issuer-url` and its fellows).
    package var oidc: [OIDCIssuer] = []
    /// What is recorded (`--audit-policy-file`); empty for nothing.
    package var auditPolicyFile = ""
    /// Where (`--audit-log-path`).
    package var auditLogPath = ""
    /// Bytes (`--audit-log-maxsize`).
    package var auditLogSize = 100 << 20
    /// Files (`--audit-log-maxbackup`).
    package var auditLogBackups = 10
    /// Requests at a time, shared by the priority levels (`--max-requests-inflight` and `--max-mutating-requests-inflight`
    /// together); 0 for no bound.
    package var requestSeats = 600

    package init() {}
}
