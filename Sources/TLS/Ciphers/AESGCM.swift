import COpenSSL

/// AES in Galois/Counter Mode (NIST SP 800-38D): encrypts, and tells whether what it decrypts was changed.
///
/// A nonce is 12 bytes and must never come twice with a key; a tag is 16 bytes.
package struct AESGCM: Sendable {
    package static let nonceLength = 12
    package static let tagLength = 16

    private let key: [UInt8]

    /// - Parameter key: 16, 24 or 32 bytes; `nil` for another number of them.
    package init?(key: [UInt8]) {
        guard [16, 24, 32].contains(key.count) else { return nil }
        self.key = key
    }

    private var cipher: OpaquePointer? {
        switch key.count {
        case 16: EVP_aes_128_gcm()
        case 24: EVP_aes_192_gcm()
        default: EVP_aes_256_gcm()
        }
    }

    /// Random bytes for a key or a nonce.
    package static func random(_ count: Int) throws(TLSFailure) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        guard RAND_bytes(&bytes, CInt(count)) == 1 else { throw .fromQueue("making random bytes") }
        return bytes
    }

    /// - Parameter context: what the bytes belong to; not part of the outcome, and needed again to open it.
    /// - Returns: the nonce, the encrypted bytes, the tag.
    package func seal(_ plain: [UInt8], context: [UInt8]) throws(TLSFailure) -> [UInt8] {
        try seal(plain, context: context, nonce: Self.random(Self.nonceLength))
    }

    func seal(_ plain: [UInt8], context: [UInt8], nonce: [UInt8]) throws(TLSFailure) -> [UInt8] {
        guard let work = EVP_CIPHER_CTX_new() else { throw .fromQueue("encrypting") }
        defer { EVP_CIPHER_CTX_free(work) }
        var sealed = nonce + [UInt8](repeating: 0, count: plain.count + Self.tagLength)
        let isDone = sealed.withUnsafeMutableBufferPointer { out -> Bool in
            guard let start = out.baseAddress.map({ $0 + Self.nonceLength }) else { return false }
            var count: CInt = 0
            guard EVP_EncryptInit_ex(work, cipher, nil, key, nonce) == 1,
                EVP_EncryptUpdate(work, nil, &count, context, CInt(context.count)) == 1,
                EVP_EncryptUpdate(work, start, &count, plain, CInt(plain.count)) == 1,
                EVP_EncryptFinal_ex(work, start + plain.count, &count) == 1
            else { return false }
            return EVP_CIPHER_CTX_ctrl(work, EVP_CTRL_AEAD_GET_TAG, CInt(Self.tagLength), start + plain.count) == 1
        }
        guard isDone else { throw .fromQueue("encrypting") }
        return sealed
    }

    /// - Returns: `nil` when the bytes were changed, or sealed with another key or in another context.
    package func open(_ sealed: ArraySlice<UInt8>, context: [UInt8]) -> [UInt8]? {
        let length = sealed.count - Self.nonceLength - Self.tagLength
        guard length >= 0, let work = EVP_CIPHER_CTX_new() else { return nil }
        defer { EVP_CIPHER_CTX_free(work) }
        let nonce = Array(sealed.prefix(Self.nonceLength))
        let body = Array(sealed.dropFirst(Self.nonceLength).prefix(length))
        var tag = Array(sealed.suffix(Self.tagLength))
        var plain = [UInt8](repeating: 0, count: length + 1)
        var count: CInt = 0
        var rest: CInt = 0
        guard EVP_DecryptInit_ex(work, cipher, nil, key, nonce) == 1,
            EVP_DecryptUpdate(work, nil, &rest, context, CInt(context.count)) == 1,
            EVP_DecryptUpdate(work, &plain, &count, body, CInt(length)) == 1,
            EVP_CIPHER_CTX_ctrl(work, EVP_CTRL_AEAD_SET_TAG, CInt(Self.tagLength), &tag) == 1,
            EVP_DecryptFinal_ex(work, &tag, &rest) == 1
        else {
            ERR_clear_error()
            return nil
        }
        return Array(plain.prefix(length))
    }
}
