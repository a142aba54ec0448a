import COpenSSL

/// ES256, as JSON Web Tokens use it: ECDSA over P-256 with SHA-256, the signature as 64 bytes r and s (RFC 7518 §3.4).
extension PrivateKey {
    package func signES256(_ message: [UInt8]) throws(TLSFailure) -> [UInt8] {
        guard let context = EVP_MD_CTX_new() else { throw .fromQueue("signing") }
        defer { EVP_MD_CTX_free(context) }
        guard EVP_DigestSignInit(context, nil, EVP_sha256(), nil, pointer) == 1 else { throw .fromQueue("signing") }
        var der = [UInt8](repeating: 0, count: 256)
        var count = der.count
        guard EVP_DigestSign(context, &der, &count, message, message.count) == 1 else { throw .fromQueue("signing") }
        var raw = [UInt8](repeating: 0, count: 64)
        guard weft_ecdsa_raw(der, count, &raw) == 1 else { throw .fromQueue("signing: the key is not ECDSA P-256") }
        return raw
    }
}

extension PublicKey {
    /// Whether the signature is this key's over the message. A malformed signature is simply not valid.
    package func isValidES256(_ signature: [UInt8], over message: [UInt8]) -> Bool {
        guard signature.count == 64, let context = EVP_MD_CTX_new() else { return false }
        defer {
            EVP_MD_CTX_free(context)
            ERR_clear_error()
        }
        var der: UnsafeMutablePointer<UInt8>?
        let count = weft_ecdsa_der(signature, &der)
        guard count > 0, let der else { return false }
        defer { CRYPTO_free(der, #file, #line) }
        guard EVP_DigestVerifyInit(context, nil, EVP_sha256(), nil, pointer) == 1 else { return false }
        return EVP_DigestVerify(context, der, Int(count), message, message.count) == 1
    }
}

/// A SHA-256 digest.
package func sha256(_ message: [UInt8]) -> [UInt8] {
    var digest = [UInt8](repeating: 0, count: 32)
    var count: CUnsignedInt = 32
    _ = EVP_Digest(message, message.count, &digest, &count, EVP_sha256(), nil)
    return digest
}
