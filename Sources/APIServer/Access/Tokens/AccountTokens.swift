import KubeTypes
import Synchronization
import TLS
import Wire

/// Service-account tokens: JSON Web Tokens signed with the cluster's key (ES256), bound to their account and, if wanted, to a
/// pod, a secret or a node.
final class AccountTokens: TokenAuthenticator {
    static let issuer = "https://kubernetes.default.svc.cluster.local"
    /// What tokens kept in secrets say as their issuer, in the form they had before there was `TokenRequest`.
    static let legacyIssuer = "kubernetes/serviceaccount"
    /// How long a token may outlive its deleted pod: its node ends it within its grace.
    private static let deletionLeeway: Int64 = 60

    let issuer: String
    let audiences: [String]
    let keyID: String
    private let key: PrivateKey
    private let publicKey: PublicKey
    private let registry: Registry
    private let known: Mutex<[String: Known]> = Mutex([:])

    /// A token whose signature is good. That stays so; its time and its objects are looked at anew each time.
    private final class Known: Sendable {
        let token: JSONWebToken
        init(_ token: JSONWebToken) { self.token = token }
    }
    private static let mostKnown = 8192

    init(
        key: PrivateKey, registry: Registry, issuer: String = AccountTokens.issuer, audiences: [String] = []
    ) throws(TLSFailure) {
        self.key = key
        self.registry = registry
        self.issuer = issuer
        self.audiences = audiences.isEmpty ? [issuer] : audiences
        publicKey = try key.publicKey()
        keyID = Base64.encodeForURL(sha256(try publicKey.der()))
    }

    /// The key tokens are checked by, as clients read it (RFC 7517).
    func keySet() throws(TLSFailure) -> JSON {
        // A P-256 key in DER ends with its point: 04, x, y.
        let point = try publicKey.der().suffix(64)
        return [
            "keys": [
                [
                    "use": "sig", "kty": "EC", "kid": .string(keyID), "crv": "P-256", "alg": "ES256",
                    "x": .string(Base64.encodeForURL(point.prefix(32))),
                    "y": .string(Base64.encodeForURL(point.suffix(32))),
                ]
            ]
        ]
    }

    // MARK: Issued

    /// An object a token ends with.
    struct Binding: Sendable, Hashable {
        enum Kind: String, Sendable { case pod, secret, node }
        var kind: Kind
        var name: String
        var uid: String
    }

    /// `lifetime`: seconds. `node`: the one the bound pod runs on.
    func token(
        _ account: KubeObject, audiences: [String], lifetime: Int64, boundTo binding: Binding? = nil,
        node: Binding? = nil
    ) throws(APIFailure) -> (text: String, expires: Timestamp) {
        let now = Timestamp.now()
        var inner: JSON = ["namespace": .string(account.namespace)]
        for part in [node, binding].compactMap({ $0 }) {
            inner[part.kind.rawValue] = ["name": .string(part.name), "uid": .string(part.uid)]
        }
        inner["serviceaccount"] = ["name": .string(account.name), "uid": .string(account.uid)]
        let claims: JSON = [
            "aud": .array((audiences.isEmpty ? self.audiences : audiences).map(JSON.string)),
            "exp": .int(now.seconds + lifetime), "iat": .int(now.seconds), "iss": .string(issuer),
            "jti": .string(ObjectIdentity.newUID()), "kubernetes.io": inner, "nbf": .int(now.seconds),
            "sub": .string(User.accountName(account.namespace, account.name)),
        ]
        return (try sign(claims), Timestamp(seconds: now.seconds + lifetime))
    }

    /// For a secret of type `kubernetes.io/service-account-token`: without an end.
    func legacyToken(_ account: KubeObject, secret: String) throws(APIFailure) -> String {
        try sign([
            "iss": .string(Self.legacyIssuer), "kubernetes.io/serviceaccount/namespace": .string(account.namespace),
            "kubernetes.io/serviceaccount/secret.name": .string(secret),
            "kubernetes.io/serviceaccount/service-account.name": .string(account.name),
            "kubernetes.io/serviceaccount/service-account.uid": .string(account.uid),
            "sub": .string(User.accountName(account.namespace, account.name)),
        ])
    }

    private func sign(_ claims: JSON) throws(APIFailure) -> String {
        do throws(TLSFailure) {
            return try JSONWebToken.signed(claims, keyID: keyID, by: key)
        } catch {
            throw .internalError("the token cannot be signed: \(error)")
        }
    }

    // MARK: Checked

    func check(_ text: String, audiences: [String]) async -> TokenVerdict {
        guard let token = verified(text) else { return .unknown }
        let wanted = audiences.isEmpty ? self.audiences : audiences
        if token.issuer == Self.legacyIssuer { return legacyUser(token, text, wanted) }
        guard token.isTimely(at: Timestamp.now().seconds) else { return .refused("service account token has expired") }
        let shared = wanted.filter(token.audiences.contains)
        if shared.isEmpty {
            return .refused("token audiences \(token.audiences) is invalid for the target audiences \(wanted)")
        }
        do throws(Refusal) {
            return .accepted(try user(token), audiences: shared)
        } catch {
            return .refused(error.text)
        }
    }

    /// The token when it is one of ours by its signature.
    private func verified(_ text: String) -> JSONWebToken? {
        if let known = known.withLock({ $0[text] }) { return known.token }
        guard let token = JSONWebToken(text), token.header["alg"]?.string == "ES256" else { return nil }
        guard token.issuer == issuer || token.issuer == Self.legacyIssuer else { return nil }
        guard publicKey.isValidES256(token.signature, over: token.signed) else { return nil }
        let fresh = Known(token)
        known.withLock { known in
            if known.count >= Self.mostKnown { known.removeAll(keepingCapacity: true) }
            known[text] = fresh
        }
        return token
    }

    private struct Refusal: Error {
        let text: String
    }

    private func user(_ token: JSONWebToken) throws(Refusal) -> User {
        let inner = token.claims["kubernetes.io"] ?? [:]
        guard let namespace = inner["namespace"]?.string, let name = inner["serviceaccount"]?["name"]?.string else {
            throw Refusal(text: "the token names no service account")
        }
        let account = try live(.serviceAccounts, namespace, inner["serviceaccount"], leeway: 0)
        var user = User.account(namespace, name, uid: account.uid)
        if let id = token.claims["jti"]?.string {
            user.extra["authentication.kubernetes.io/credential-id"] = ["JTI=\(id)"]
        }
        if let secret = inner["secret"] { _ = try live(.secrets, namespace, secret, leeway: 0) }
        if let pod = inner["pod"] {
            let found = try live(.pods, namespace, pod, leeway: Self.deletionLeeway)
            user.extra["authentication.kubernetes.io/pod-name"] = [found.name]
            user.extra["authentication.kubernetes.io/pod-uid"] = [found.uid]
        }
        if let node = inner["node"], let name = node["name"]?.string {
            // Bound to a pod, the node is only told; bound to the node itself, it must be there.
            if inner["pod"] == nil { _ = try live(.nodes, "", node, leeway: Self.deletionLeeway) }
            user.extra["authentication.kubernetes.io/node-name"] = [name]
            if let uid = node["uid"]?.string { user.extra["authentication.kubernetes.io/node-uid"] = [uid] }
        }
        return user
    }

    /// An object the token ends with, while it is there.
    private func live(
        _ type: ResourceType, _ namespace: String, _ reference: JSON?, leeway: Int64
    ) throws(Refusal) -> KubeObject {
        let name = reference?["name"]?.string ?? ""
        guard let definition = registry.catalog.definition(of: type),
            let found = try? registry.get(definition, ObjectKey(namespace: namespace, name: name))
        else {
            throw Refusal(text: "service account token has been invalidated: \(type.kind) \(name) is gone")
        }
        guard found.uid == reference?["uid"]?.string else {
            throw Refusal(text: "service account token has been invalidated: \(type.kind) \(name) is another one now")
        }
        if let text = found.deletionTimestamp, let deleted = Timestamp(text),
            deleted.seconds + leeway < Timestamp.now().seconds
        {
            throw Refusal(text: "service account token has been invalidated: \(type.kind) \(name) is being deleted")
        }
        return found
    }

    private func legacyUser(_ token: JSONWebToken, _ text: String, _ wanted: [String]) -> TokenVerdict {
        func claim(_ name: String) -> String { token.claims["kubernetes.io/serviceaccount/\(name)"]?.string ?? "" }
        let namespace = claim("namespace")
        let name = claim("service-account.name")
        let shared = wanted.filter(self.audiences.contains)
        if shared.isEmpty { return .refused("the token is not for the audiences \(wanted)") }
        do throws(Refusal) {
            let reference: JSON = ["name": .string(name), "uid": .string(claim("service-account.uid"))]
            _ = try live(.serviceAccounts, namespace, reference, leeway: 0)
            guard let definition = registry.catalog.definition(of: .secrets),
                let secret = try? registry.get(
                    definition, ObjectKey(namespace: namespace, name: claim("secret.name"))),
                secret.deletionTimestamp == nil,
                secret.json["data"]?["token"]?.string.flatMap(Base64.decode) == Array(text.utf8)
            else { throw Refusal(text: "the token's secret is gone or holds another token") }
        } catch {
            return .refused(error.text)
        }
        return .accepted(.account(namespace, name, uid: claim("service-account.uid")), audiences: shared)
    }
}
