import APIServer
import ArgumentParser
import Kernel
import KubeTypes
import Store
import Wire

/// Flags of the API server by the names kube-apiserver has for them: `audit-policy-file=/etc/audit.yaml`.
struct APIServerFlags: Hashable {
    private(set) var values: [String: String] = [:]

    static let known = [
        "anonymous-auth", "api-audiences", "audit-log-maxbackup", "audit-log-maxsize", "audit-log-path",
        "audit-policy-file", "etcd-compaction-interval", "max-mutating-requests-inflight", "max-requests-inflight",
        "oidc-ca-file",
        "oidc-client-id", "oidc-groups-claim", "oidc-groups-prefix", "oidc-issuer-url", "oidc-required-claim",
        "oidc-signing-algs", "oidc-username-claim", "oidc-username-prefix", "service-account-issuer",
        "service-account-max-token-expiration",
    ]

    init() {}

    init(_ json: JSON) { values = json.stringMap ?? [:] }

    var json: JSON { JSON(values) }
    var isEmpty: Bool { values.isEmpty }

    /// Takes over `name=value`; an empty value takes the flag back.
    mutating func set(_ text: String) throws {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, Self.known.contains(parts[0]) else {
            throw StartFailed(
                "--kube-apiserver-arg \(text): expected NAME=VALUE with one of the names \(Self.known.joined(separator: ", "))"
            )
        }
        values[parts[0]] = parts[1].isEmpty ? nil : parts[1]
    }

    func configure(_ configuration: inout APIServerConfiguration) throws {
        if let text = values["etcd-compaction-interval"] { configuration.historyAge = try historyAge(text) }
        try configure(&configuration.access)
    }

    /// `nil` for 0.
    private func historyAge(_ text: String) throws -> HistoryAge? {
        guard let interval = Duration(text: text), interval == .zero || interval >= .seconds(1) else {
            throw fault(
                "etcd-compaction-interval",
                "\"\(text)\" is no time such as 5m, of at least 1s; 0 keeps history by its size")
        }
        return interval == .zero ? nil : HistoryAge(interval: interval)
    }

    private func configure(_ access: inout AccessConfiguration) throws {
        switch values["anonymous-auth"] {
        case nil: break
        case "false": access.anonymousPaths = []
        case "true": access.anonymousPaths = nil
        case let other?: throw fault("anonymous-auth", "\"\(other)\" is neither true nor false")
        }
        access.serviceAccountIssuer = values["service-account-issuer"] ?? access.serviceAccountIssuer
        access.audiences = list("api-audiences")
        access.auditPolicyFile = values["audit-policy-file"] ?? ""
        access.auditLogPath = values["audit-log-path"] ?? ""
        if access.auditPolicyFile.isEmpty != access.auditLogPath.isEmpty {
            throw fault("audit-policy-file", "it and audit-log-path belong together")
        }
        if let megabytes = try number("audit-log-maxsize") { access.auditLogSize = megabytes << 20 }
        if let files = try number("audit-log-maxbackup") { access.auditLogBackups = files }
        let reading = try number("max-requests-inflight")
        let writing = try number("max-mutating-requests-inflight")
        if reading != nil || writing != nil { access.requestSeats = (reading ?? 400) + (writing ?? 200) }
        if let text = values["service-account-max-token-expiration"] {
            guard text.hasSuffix("h"), let hours = Int64(text.dropLast()), (1...1_000_000).contains(hours) else {
                throw fault(
                    "service-account-max-token-expiration",
                    "\"\(text)\" is no number of hours from 1h to 1000000h, such as 24h")
            }
            access.mostTokenLifetime = hours * 3600
        }
        if let issuer = try issuer() { access.oidc = [issuer] }
    }

    private func issuer() throws -> OIDCIssuer? {
        guard let url = values["oidc-issuer-url"] else { return nil }
        guard url.hasPrefix("https://") else { throw fault("oidc-issuer-url", "\"\(url)\" must start with https://") }
        guard let client = values["oidc-client-id"] else { throw fault("oidc-client-id", "oidc-issuer-url needs it") }
        guard let file = values["oidc-ca-file"] else {
            throw fault("oidc-ca-file", "oidc-issuer-url needs it: the certificates by which the issuer is known")
        }
        var issuer = OIDCIssuer(url: url, clientID: client)
        issuer.usernameClaim = values["oidc-username-claim"] ?? issuer.usernameClaim
        issuer.usernamePrefix = values["oidc-username-prefix"]
        issuer.groupsClaim = values["oidc-groups-claim"] ?? ""
        issuer.groupsPrefix = values["oidc-groups-prefix"] ?? ""
        for claim in list("oidc-required-claim") {
            let parts = claim.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2 else { throw fault("oidc-required-claim", "\"\(claim)\" is not name=value") }
            issuer.requiredClaims[parts[0]] = parts[1]
        }
        if values["oidc-signing-algs"] != nil { issuer.algorithms = list("oidc-signing-algs") }
        issuer.rootCertificates = try SmallFile.read(file)
        return issuer
    }

    private func list(_ name: String) -> [String] {
        (values[name] ?? "").split(separator: ",").map(String.init)
    }

    private func number(_ name: String) throws -> Int? {
        guard let text = values[name] else { return nil }
        guard let number = Int(text), (0...1_000_000).contains(number) else {
            throw fault(name, "\"\(text)\" is no number from 0 to 1000000")
        }
        return number
    }

    private func fault(_ name: String, _ why: String) -> StartFailed {
        StartFailed("--kube-apiserver-arg \(name): \(why)")
    }
}
