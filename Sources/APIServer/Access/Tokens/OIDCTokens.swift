import KubeClient
import KubeTypes
import Logging
import Synchronization
import TLS
import Wire

/// Whose ID tokens are believed, and how their claims become a user.
package struct OIDCIssuer: Sendable {
    /// The issuer, exactly as its tokens say it; its keys are found by `/.well-known/openid-configuration` under it.
    package var url: String
    /// The audience a token must be for.
    package var clientID: String
    package var usernameClaim = "sub"
    /// `nil`: the issuer and `#`, but for the claim `email` nothing; "-" for nothing.
    package var usernamePrefix: String?
    package var groupsClaim = ""
    package var groupsPrefix = ""
    /// Claims a token must have, with these values.
    package var requiredClaims: [String: String] = [:]
    /// Certificates, PEM, by which the issuer's server is known.
    package var rootCertificates: [UInt8] = []
    package var algorithms = ["RS256"]

    package init(url: String, clientID: String) {
        self.url = url
        self.clientID = clientID
    }

    var prefix: String {
        switch usernamePrefix {
        case "-": ""
        case let prefix?: prefix
        case nil: usernameClaim == "email" ? "" : "\(url)#"
        }
    }
}

/// ID tokens of an OpenID Connect issuer. Its keys are fetched when first needed, and again when a token names an unknown one.
final class OIDCTokens: TokenAuthenticator {
    private struct Keys {
        var keys: [(id: String, key: TokenKey)] = []
        var fetched: ContinuousClock.Instant?
        var isFetching = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let issuer: OIDCIssuer
    private let logger: Logger
    private let state = Mutex(Keys())
    /// The issuer is not asked more often than this, whatever tokens strangers send.
    private static let pause = Duration.seconds(10)

    init(_ issuer: OIDCIssuer, logger: Logger = Logger(label: "oidc")) {
        self.issuer = issuer
        self.logger = logger
    }

    func check(_ text: String, audiences: [String]) async -> TokenVerdict {
        guard let token = JSONWebToken(text), token.issuer == issuer.url else { return .unknown }
        guard let name = token.header["alg"]?.string, issuer.algorithms.contains(name),
            let algorithm = TokenAlgorithm(rawValue: name)
        else {
            return .refused(
                "oidc: token is signed with \(token.header["alg"]?.text ?? "nothing"), allowed are \(issuer.algorithms)"
            )
        }
        if !hasValidKey(token, algorithm) {
            await fetch()
            guard hasValidKey(token, algorithm) else {
                return .refused("oidc: the token's signature is not the issuer's")
            }
        }
        switch Self.user(token.claims, issuer, token: token, now: Timestamp.now().seconds) {
        case .accepted(let user, _): return .accepted(user, audiences: audiences)
        case let other: return other
        }
    }

    private func hasValidKey(_ token: JSONWebToken, _ algorithm: TokenAlgorithm) -> Bool {
        let keys = state.withLock { $0.keys }
        let id = token.header["kid"]?.string
        return keys.contains { entry in
            if let id, !entry.id.isEmpty, entry.id != id { return false }
            return entry.key.isValid(token.signature, over: token.signed, algorithm)
        }
    }

    /// Reads the issuer's keys, unless that was done just now. Several callers share one reading.
    private func fetch() async {
        let isMine = state.withLock { state -> Bool in
            if state.isFetching { return false }
            if let last = state.fetched, ContinuousClock.now - last < Self.pause { return false }
            state.isFetching = true
            return true
        }
        guard isMine else {
            await withCheckedContinuation { continuation in
                let isLate = state.withLock { state -> Bool in
                    if state.isFetching { state.waiting.append(continuation) }
                    return !state.isFetching
                }
                if isLate { continuation.resume() }
            }
            return
        }
        var found: [(id: String, key: TokenKey)]?
        do throws(HTTPSDocument.Fault) {
            found = try await readKeys()
        } catch {
            logger.warning("oidc: the keys of \(issuer.url) cannot be read: \(error)")
        }
        let waiting = state.withLock { state in
            if let found { state.keys = found }
            state.fetched = .now
            state.isFetching = false
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    private func readKeys() async throws(HTTPSDocument.Fault) -> [(id: String, key: TokenKey)] {
        let base = issuer.url.hasSuffix("/") ? String(issuer.url.dropLast()) : issuer.url
        let document = try await HTTPSDocument.json(
            base + "/.well-known/openid-configuration", roots: issuer.rootCertificates)
        guard document["issuer"]?.string == issuer.url else {
            throw HTTPSDocument.Fault(
                description: "its configuration is of the issuer \(document["issuer"]?.text ?? "(none)")")
        }
        let keys = try await HTTPSDocument.json(
            document["jwks_uri"]?.string ?? "", roots: issuer.rootCertificates)
        return (keys["keys"]?.array ?? []).compactMap(Self.key)
    }

    /// A key of a set (RFC 7517 §4); `nil` for those not for signatures, or of kinds we do not know.
    static func key(_ json: JSON) -> (id: String, key: TokenKey)? {
        if let use = json["use"]?.string, use != "sig" { return nil }
        func bytes(_ name: String) -> [UInt8]? { json[name]?.string.flatMap(Base64.decodeFromURL) }
        var key: TokenKey?
        switch json["kty"]?.string {
        case "RSA":
            if let modulus = bytes("n"), let exponent = bytes("e") {
                key = TokenKey(modulus: modulus, exponent: exponent)
            }
        case "EC":
            if let x = bytes("x"), let y = bytes("y") { key = TokenKey(curve: json["crv"]?.string ?? "", x: x, y: y) }
        case "OKP": if let x = bytes("x") { key = TokenKey(ed25519: x) }
        default: break
        }
        return key.map { (json["kid"]?.string ?? "", $0) }
    }

    /// Who a token with these claims is, its signature being good.
    static func user(_ claims: JSON, _ issuer: OIDCIssuer, token: JSONWebToken, now: Int64) -> TokenVerdict {
        guard token.audiences.contains(issuer.clientID) else {
            return .refused("oidc: expected audience \"\(issuer.clientID)\" got \(token.audiences)")
        }
        guard token.isTimely(at: now) else { return .refused("oidc: token is expired or not valid yet") }
        guard let name = claims[issuer.usernameClaim]?.string, !name.isEmpty else {
            return .refused("oidc: parse username claims \"\(issuer.usernameClaim)\": claim not present")
        }
        if issuer.usernameClaim == "email", let verified = claims["email_verified"], verified != true {
            return .refused("oidc: email not verified")
        }
        for (claim, value) in issuer.requiredClaims where claims[claim]?.string != value {
            return .refused("oidc: required claim \(claim) value does not match")
        }
        var user = User(name: issuer.prefix + name)
        if !issuer.groupsClaim.isEmpty, let groups = claims[issuer.groupsClaim] {
            let names = groups.string.map { [$0] } ?? groups.array?.compactMap(\.string)
            guard let names else { return .refused("oidc: claim \(issuer.groupsClaim) is no list of names") }
            user.groups = names.map { issuer.groupsPrefix + $0 }
        }
        user.groups.append(User.authenticated)
        if let id = claims["jti"]?.string {
            user.extra["authentication.kubernetes.io/credential-id"] = ["JTI=\(id)"]
        }
        return .accepted(user, audiences: [])
    }
}
