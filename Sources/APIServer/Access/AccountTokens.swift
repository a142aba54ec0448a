import KubeTypes
import TLS
import Wire

/// Service-account tokens: JSON Web Tokens signed with the cluster's key (ES256).
struct AccountTokens: Sendable {
    static let issuer = "https://kubernetes.default.svc.cluster.local"
    let key: PrivateKey
    let registry: Registry

    /// `lifetime`: seconds.
    func token(
        _ account: KubeObject, audiences: [String], lifetime: Int64, boundTo reference: JSON?
    ) throws(APIFailure) -> (text: String, expires: Timestamp) {
        let now = Timestamp.now()
        var inner: JSON = [
            "namespace": .string(account.namespace),
            "serviceaccount": ["name": .string(account.name), "uid": .string(account.uid)],
        ]
        if let reference, let kind = reference["kind"]?.string?.lowercased() {
            inner[kind] = ["name": reference["name"] ?? "", "uid": reference["uid"] ?? ""]
        }
        let claims: JSON = [
            "iss": .string(Self.issuer), "sub": .string(Self.userName(account.namespace, account.name)),
            "aud": .array((audiences.isEmpty ? [Self.issuer] : audiences).map(JSON.string)),
            "iat": .int(now.seconds), "nbf": .int(now.seconds), "exp": .int(now.seconds + lifetime),
            "jti": .string(ObjectIdentity.newUID()), "kubernetes.io": inner,
        ]
        let header: JSON = ["alg": "ES256", "typ": "JWT"]
        let signed = Base64.encodeForURL(header.bytes) + "." + Base64.encodeForURL(claims.bytes)
        do throws(TLSFailure) {
            let signature = try key.signES256(Array(signed.utf8))
            return (signed + "." + Base64.encodeForURL(signature), Timestamp(seconds: now.seconds + lifetime))
        } catch {
            throw .internalError("the token cannot be signed: \(error)")
        }
    }

    static func userName(_ namespace: String, _ name: String) -> String { "system:serviceaccount:\(namespace):\(name)" }

    /// The account a token speaks for; `nil` when it is not ours, not for us, not in time, or its account is gone.
    func user(_ token: String) -> User? {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, let signature = Base64.decodeFromURL(parts[2]),
            let body = Base64.decodeFromURL(parts[1])
        else {
            return nil
        }
        guard let publicKey = try? key.publicKey() else { return nil }
        guard publicKey.isValidES256(signature, over: Array((parts[0] + "." + parts[1]).utf8)) else { return nil }
        guard let claims = try? JSON(parsing: body), claims["iss"]?.string == Self.issuer else { return nil }
        guard claims["aud"]?.array?.contains(.string(Self.issuer)) == true else { return nil }
        let now = Int(Timestamp.now().seconds)
        guard let end = claims["exp"]?.int, end > now, (claims["nbf"]?.int ?? 0) <= now + 60 else { return nil }
        let inner = claims["kubernetes.io"]
        guard let namespace = inner?["namespace"]?.string, let name = inner?["serviceaccount"]?["name"]?.string else {
            return nil
        }
        guard let definition = registry.catalog.definition(of: .serviceAccounts),
            let account = try? registry.get(definition, ObjectKey(namespace: namespace, name: name)),
            account.uid == inner?["serviceaccount"]?["uid"]?.string
        else { return nil }
        return User(
            name: Self.userName(namespace, name),
            groups: ["system:serviceaccounts", "system:serviceaccounts:\(namespace)", "system:authenticated"])
    }
}
