import KubeTypes
import TLS
import Wire

/// A JSON Web Token in its compact form, taken apart and not yet believed (RFC 7519 §3).
struct JSONWebToken: Sendable {
    let header: JSON
    let claims: JSON
    let signature: [UInt8]
    /// What the signature is over.
    let signed: [UInt8]

    /// `nil` for what is no such token. Longer than 64 KiB none is read.
    init?(_ text: String) {
        guard text.utf8.count <= 65_536 else { return nil }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let head = Base64.decodeFromURL(String(parts[0])),
            let body = Base64.decodeFromURL(String(parts[1])), let signature = Base64.decodeFromURL(String(parts[2]))
        else { return nil }
        guard let header = try? JSON(parsing: head), let claims = try? JSON(parsing: body), claims.object != nil else {
            return nil
        }
        self.header = header
        self.claims = claims
        self.signature = signature
        signed = Array((parts[0] + "." + parts[1]).utf8)
    }

    var issuer: String { claims["iss"]?.string ?? "" }

    /// One name or a list (RFC 7519 §4.1.3).
    var audiences: [String] {
        if let one = claims["aud"]?.string { return [one] }
        return claims["aud"]?.array?.compactMap(\.string) ?? []
    }

    /// Whether the token is in time, with a minute for clocks that differ. `exp` may be left out only where `needsEnd` is false.
    func isTimely(at now: Int64, needsEnd: Bool = true) -> Bool {
        if let end = claims["exp"]?.int {
            if Int64(end) <= now { return false }
        } else if needsEnd {
            return false
        }
        return Int64(claims["nbf"]?.int ?? 0) <= now + 60
    }

    /// A token of these claims, signed with a P-256 key.
    static func signed(_ claims: JSON, keyID: String, by key: PrivateKey) throws(TLSFailure) -> String {
        let header: JSON = ["alg": "ES256", "kid": .string(keyID)]
        let text = Base64.encodeForURL(header.bytes) + "." + Base64.encodeForURL(claims.bytes)
        return text + "." + Base64.encodeForURL(try key.signES256(Array(text.utf8)))
    }
}
