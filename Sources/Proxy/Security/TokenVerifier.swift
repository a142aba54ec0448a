import ProxyResources
import TLS
import Wire

/// Why a token is not believed. The words go to records and logs.
enum TokenFault: String, Error {
    case malformed = "jwt_malformed"
    case tooLong = "jwt_too_long"
    case algorithm = "jwt_algorithm"
    case issuer = "jwt_issuer"
    case audience = "jwt_audience"
    case noKey = "jwt_no_key"
    case signature = "jwt_signature"
    case expired = "jwt_expired"
    case early = "jwt_not_yet_valid"
}

/// A token found good.
struct VerifiedToken {
    var claims: JSON
    /// Seconds since 1970; `nil` when it never expires.
    var expires: Double?
    /// As it stands in the token.
    var payload: String
}

/// Checks the tokens of one rule.
struct TokenVerifier: Sendable {
    /// A token and its decoded parts are held to this.
    static let longest = 8192
    static let mostKeys = 64
    /// Clocks may differ by this many seconds.
    static let skew = 60.0

    private struct Key: Sendable {
        var name: String?
        var algorithm: TokenAlgorithm?
        var key: TokenKey
    }

    let rule: TokenRule
    private let keys: [Key]

    init(_ rule: TokenRule) {
        self.rule = rule
        let set = try? JSON(parsing: Array(rule.keys.utf8))
        keys = (set?["keys"]?.array ?? []).prefix(Self.mostKeys).compactMap(Self.key)
        if keys.isEmpty {
            log("tokens of \(rule.issuer) (\(rule.name)) cannot be checked: no key that can be used", level: "warning")
        }
    }

    /// A JSON Web Key (RFC 7517 §4); `nil` for one that is not for checking signatures, or of a kind not used here.
    private static func key(_ json: JSON) -> Key? {
        if let use = json["use"]?.string, use != "sig" { return nil }
        if let uses = json["key_ops"]?.array, !uses.contains(.string("verify")) { return nil }
        func number(_ field: String) -> [UInt8] { json[field]?.string.flatMap(Base64.decodeFromURL) ?? [] }
        let made: TokenKey?
        switch (json["kty"]?.string, json["crv"]?.string) {
        case ("RSA", _): made = TokenKey(modulus: number("n"), exponent: number("e"))
        case ("EC", let curve?): made = TokenKey(curve: curve, x: number("x"), y: number("y"))
        case ("OKP", "Ed25519"): made = TokenKey(ed25519: number("x"))
        default: made = nil
        }
        guard let made else { return nil }
        var algorithm: TokenAlgorithm?
        if let word = json["alg"]?.string {
            algorithm = TokenAlgorithm(rawValue: word)
            // A key for something else, such as encryption.
            if algorithm == nil { return nil }
        }
        return Key(name: json["kid"]?.string, algorithm: algorithm, key: made)
    }

    /// - Parameter now: seconds since 1970.
    /// - Source: RFC 7519 §7.2, RFC 7515 §5.2, RFC 8725 §3.
    func check(_ token: String, now: Double) throws(TokenFault) -> VerifiedToken {
        if token.utf8.count > Self.longest { throw .tooLong }
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, !parts[0].isEmpty, !parts[1].isEmpty else { throw .malformed }
        guard let header = Self.object(parts[0]), let claims = Self.object(parts[1]),
            let signature = Base64.decodeFromURL(String(parts[2]))
        else { throw .malformed }
        guard let word = header["alg"]?.string, let algorithm = TokenAlgorithm(rawValue: word),
            // Extensions that must be understood, and none is.
            header["crit"] == nil
        else { throw .algorithm }
        if claims["iss"]?.string != rule.issuer { throw .issuer }
        if !rule.audiences.isEmpty {
            let audiences = TokenClaims.texts(claims, ["aud"])
            if !audiences.contains(where: rule.audiences.contains) { throw .audience }
        }
        let expires = try Self.time(claims, "exp")
        if let expires, now > expires + Self.skew { throw .expired }
        if let from = try Self.time(claims, "nbf"), now < from - Self.skew { throw .early }
        let name = header["kid"]?.string
        let fitting = keys.filter { key in
            (name == nil || key.name == nil || key.name == name) && key.algorithm ?? algorithm == algorithm
                && key.key.fits(algorithm)
        }
        if fitting.isEmpty { throw .noKey }
        let message = Array("\(parts[0]).\(parts[1])".utf8)
        guard fitting.contains(where: { $0.key.isValid(signature, over: message, algorithm) }) else { throw .signature }
        return VerifiedToken(claims: claims, expires: expires, payload: String(parts[1]))
    }

    private static func object(_ part: Substring) -> JSON? {
        guard let bytes = Base64.decodeFromURL(String(part)), let json = try? JSON(parsing: bytes), json.object != nil
        else { return nil }
        return json
    }

    private static func time(_ claims: JSON, _ name: String) throws(TokenFault) -> Double? {
        guard let value = claims[name], !value.isNull else { return nil }
        guard let seconds = value.double, seconds.isFinite else { throw .malformed }
        return seconds
    }

    /// A claim, by names parted by dots, as a header can carry it.
    static func text(of claims: JSON, _ path: String) -> String? {
        guard let claim = claims[path] ?? claims[path: path.split(separator: ".").map(String.init)] else { return nil }
        let text: String
        switch claim {
        case .string(let value): text = value
        case .int(let value): text = "\(value)"
        case .bool(let value): text = "\(value)"
        default: return nil
        }
        return text.utf8.count <= 4096 && HeaderRules.fault(value: text) == nil ? text : nil
    }
}

/// The verifiers of a table's token rules, in their order.
final class TokenVerifiers: Sendable {
    let all: [TokenVerifier]
    init(_ rules: [TokenRule]) { all = rules.map(TokenVerifier.init) }
}
