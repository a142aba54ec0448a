import COpenSSL

/// How a token may be signed (RFC 7518 §3.1, RFC 8037 §3.1). `none`, and secrets shared with the issuer (HS256 …), are not among them.
package enum TokenAlgorithm: String, Sendable, CaseIterable {
    case rs256 = "RS256"
    case rs384 = "RS384"
    case rs512 = "RS512"
    case ps256 = "PS256"
    case ps384 = "PS384"
    case ps512 = "PS512"
    case es256 = "ES256"
    case es384 = "ES384"
    case es512 = "ES512"
    case edDSA = "EdDSA"

    fileprivate var digest: OpaquePointer? {
        switch self {
        case .rs256, .ps256, .es256: EVP_sha256()
        case .rs384, .ps384, .es384: EVP_sha384()
        case .rs512, .ps512, .es512: EVP_sha512()
        case .edDSA: nil
        }
    }

    fileprivate var isPSS: Bool { self == .ps256 || self == .ps384 || self == .ps512 }
}

/// A public key tokens are signed with.
///
/// `@unchecked Sendable`: never changed after it is made.
package final class TokenKey: @unchecked Sendable {
    package enum Kind: Sendable, Equatable { case rsa, p256, p384, p521, ed25519 }

    package let kind: Kind
    private let pointer: OpaquePointer

    private init?(_ kind: Kind, _ pointer: OpaquePointer?) {
        guard let pointer else {
            ERR_clear_error()
            return nil
        }
        self.kind = kind
        self.pointer = pointer
    }

    deinit { EVP_PKEY_free(pointer) }

    /// `nil` for numbers that make no key, or one shorter than 2048 bits (RFC 7518 §3.3).
    package convenience init?(modulus: [UInt8], exponent: [UInt8]) {
        guard modulus.count <= 1024, exponent.count <= 8 else { return nil }
        self.init(.rsa, weft_rsa_public(modulus, CInt(modulus.count), exponent, CInt(exponent.count)))
        if weft_key_bits(pointer) < 2048 { return nil }
    }

    /// `nil` for a curve we do not know, or a point that is not on it.
    package convenience init?(curve: String, x: [UInt8], y: [UInt8]) {
        let kind: Kind
        let size: Int
        switch curve {
        case "P-256": (kind, size) = (.p256, 32)
        case "P-384": (kind, size) = (.p384, 48)
        case "P-521": (kind, size) = (.p521, 66)
        default: return nil
        }
        guard x.count <= size, y.count <= size else { return nil }
        func padded(_ bytes: [UInt8]) -> [UInt8] { [UInt8](repeating: 0, count: size - bytes.count) + bytes }
        let point = [4] + padded(x) + padded(y)
        self.init(kind, weft_ec_public(curve, point, point.count))
    }

    package convenience init?(ed25519 bytes: [UInt8]) {
        guard bytes.count == 32 else { return nil }
        self.init(.ed25519, weft_ed25519_public(bytes, bytes.count))
    }

    /// Whether a key of this kind makes signatures of this algorithm.
    package func fits(_ algorithm: TokenAlgorithm) -> Bool {
        switch algorithm {
        case .rs256, .rs384, .rs512, .ps256, .ps384, .ps512: kind == .rsa
        case .es256: kind == .p256
        case .es384: kind == .p384
        case .es512: kind == .p521
        case .edDSA: kind == .ed25519
        }
    }

    package func isValid(_ signature: [UInt8], over message: [UInt8], _ algorithm: TokenAlgorithm) -> Bool {
        guard fits(algorithm) else { return false }
        let half =
            switch kind {
            case .p256: 32
            case .p384: 48
            case .p521: 66
            case .rsa, .ed25519: 0
            }
        if half == 0 {
            return weft_verifies(
                pointer, algorithm.digest, algorithm.isPSS ? 1 : 0, signature, signature.count, message, message.count)
                == 1
        }
        guard signature.count == 2 * half else { return false }
        var der: UnsafeMutablePointer<UInt8>?
        let count = weft_ecdsa_der_of(signature, CInt(half), &der)
        guard count > 0, let der else { return false }
        defer { CRYPTO_free(der, #file, #line) }
        return weft_verifies(pointer, algorithm.digest, 0, der, Int(count), message, message.count) == 1
    }
}
