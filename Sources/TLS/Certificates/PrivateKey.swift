import COpenSSL

/// A private key. New ones are ECDSA P-256; any kind OpenSSL reads can be loaded.
///
/// `@unchecked Sendable`: the key is never changed after it is made, and OpenSSL counts its references atomically.
package final class PrivateKey: @unchecked Sendable {
    package let pointer: OpaquePointer

    private init(taking pointer: OpaquePointer) { self.pointer = pointer }

    deinit { EVP_PKEY_free(pointer) }

    package static func generate() throws(TLSFailure) -> PrivateKey {
        guard let key = weft_p256_generate() else { throw .fromQueue("generating a P-256 key") }
        return PrivateKey(taking: key)
    }

    package convenience init(pem: [UInt8]) throws(TLSFailure) {
        guard let key = withBIO(reading: pem, { PEM_read_bio_PrivateKey($0, nil, nil, nil) }) else {
            throw .fromQueue("reading a private key from PEM")
        }
        self.init(taking: key)
    }

    package convenience init(pem: String) throws(TLSFailure) { try self.init(pem: Array(pem.utf8)) }

    /// PKCS #8, not encrypted.
    package func pem() throws(TLSFailure) -> [UInt8] {
        let bytes = bytesWritten { PEM_write_bio_PrivateKey($0, pointer, nil, nil, 0, nil, nil) }
        guard let bytes else { throw .fromQueue("writing a private key as PEM") }
        return bytes
    }

    /// PKCS #8 DER, as the SPIFFE Workload API carries keys.
    package func der() throws(TLSFailure) -> [UInt8] {
        guard let wrapped = EVP_PKEY2PKCS8(pointer) else { throw .fromQueue("writing a private key as DER") }
        defer { PKCS8_PRIV_KEY_INFO_free(wrapped) }
        var start: UnsafeMutablePointer<UInt8>?
        let count = i2d_PKCS8_PRIV_KEY_INFO(wrapped, &start)
        guard count > 0, let start else { throw .fromQueue("writing a private key as DER") }
        defer { CRYPTO_free(start, #file, #line) }
        return Array(UnsafeBufferPointer(start: start, count: Int(count)))
    }

    package func publicKey() throws(TLSFailure) -> PublicKey {
        var start: UnsafeMutablePointer<UInt8>?
        let count = i2d_PUBKEY(pointer, &start)
        guard count > 0, let start else { throw .fromQueue("taking the public half of a key") }
        defer { CRYPTO_free(start, #file, #line) }
        return try PublicKey(der: Array(UnsafeBufferPointer(start: start, count: Int(count))))
    }
}

/// A public key (SubjectPublicKeyInfo).
///
/// `@unchecked Sendable`: as `PrivateKey`.
package final class PublicKey: @unchecked Sendable {
    package let pointer: OpaquePointer

    init(taking pointer: OpaquePointer) { self.pointer = pointer }

    deinit { EVP_PKEY_free(pointer) }

    package convenience init(der: [UInt8]) throws(TLSFailure) {
        let key = der.withUnsafeBufferPointer { space -> OpaquePointer? in
            var start = space.baseAddress
            return d2i_PUBKEY(nil, &start, space.count)
        }
        guard let key else { throw .fromQueue("reading a public key from DER") }
        self.init(taking: key)
    }

    package convenience init(pem: [UInt8]) throws(TLSFailure) {
        guard let key = withBIO(reading: pem, { PEM_read_bio_PUBKEY($0, nil, nil, nil) }) else {
            throw .fromQueue("reading a public key from PEM")
        }
        self.init(taking: key)
    }

    /// SubjectPublicKeyInfo.
    package func der() throws(TLSFailure) -> [UInt8] {
        var start: UnsafeMutablePointer<UInt8>?
        let count = i2d_PUBKEY(pointer, &start)
        guard count > 0, let start else { throw .fromQueue("writing a public key as DER") }
        defer { CRYPTO_free(start, #file, #line) }
        return Array(UnsafeBufferPointer(start: start, count: Int(count)))
    }

    package func pem() throws(TLSFailure) -> [UInt8] {
        guard let bytes = bytesWritten({ PEM_write_bio_PUBKEY($0, pointer) }) else {
            throw .fromQueue("writing a public key as PEM")
        }
        return bytes
    }
}
